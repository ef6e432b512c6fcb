"""HTML pieces of pages, from the templates in web/pieces, and the words that they use."""

import re
from datetime import datetime
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from .npm import WEB

DEVICES = {"cpu": "a CPU", "cuda": "a GPU", "mps": "an Apple GPU", "xpu": "an Intel GPU"}


def duration(seconds: float) -> str:
    """Seconds in words, e.g. `12 s` or `3 min`."""
    if seconds < 1:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def day(when: str) -> str:
    """A date in words, e.g. `2 Jan 2026`; nothing for what is no date."""
    try:
        return f"{datetime.fromisoformat(when):%d %b %Y}".lstrip("0")
    except ValueError:
        return ""


def device(name: str) -> str:
    """A device in words, e.g. `an Apple GPU` for `mps`."""
    return DEVICES.get(name.split(":")[0], name)


def code(text: str) -> Markup:
    """Text with what stands in backticks set as code."""
    return Markup(re.sub(r"``?([^`]+)``?", r"<code>\1</code>", str(escape(text))))


def lines(text: str) -> Markup:
    """Text whose line breaks survive in a template that becomes one line."""
    return Markup(str(escape(text)).replace("\n", "&#10;").replace("    ", "&#32;" * 4))


def piece(name: str, **values: Any) -> str:
    """A filled template as one line: Markdown ends a block of HTML at a blank line.

    Parameters
    ----------
    name
        File in web/pieces without its ending.
    values
        What the template asks for; all of it is escaped.
    """
    text = PIECES.get_template(f"{name}.html").render(values)
    return "".join(line.strip() for line in text.splitlines())


def page(name: str, **values: Any) -> str:
    """A filled template of a whole page in Markdown."""
    return PIECES.get_template(f"{name}.md").render(values)


PIECES = Environment(
    loader=FileSystemLoader(WEB / "pieces"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
PIECES.filters |= {"duration": duration, "day": day, "device": device, "code": code, "lines": lines}
