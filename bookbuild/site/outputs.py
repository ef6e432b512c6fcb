"""Outputs of a notebook as a page and a download show them."""

import copy
import re
from typing import Any

from nbformat import NotebookNode

from ..grammar import FIGURE_MIME

PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
KEPT = ("kernelspec", "language_info", "d2l")
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
OVERWRITTEN = re.compile(r"^[^\n]*\r(?=[^\n])", re.MULTILINE)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Text as a terminal leaves it: no colours, no line that was written over, no control bytes.

    Examples
    --------
    >>> plain("10 %\\r100 %\\n\\x1b[31mred\\x1b[0m\\a")
    '100 %\\nred'
    """
    return printable(OVERWRITTEN.sub("", ESCAPE.sub("", text.replace("\r\n", "\n"))))


def printable(text: str) -> str:
    """Text without control bytes but tabs and line ends."""
    return CONTROL.sub("", ESCAPE.sub("", text))


def clean(notebook: NotebookNode) -> NotebookNode:
    """The notebook that a reader downloads: no record of the machine that ran it."""
    kept = copy.copy(notebook)
    kept.metadata = NotebookNode({k: v for k, v in notebook.metadata.items() if k in KEPT})
    return kept


def picture_of(output: NotebookNode) -> dict[str, Any]:
    """Alt text and class: `lines` can be inverted in dark mode, `plate` (photographs) cannot."""
    data = output.data.get(FIGURE_MIME) or {}
    alts = [output.metadata.get(mime, {}).get("alt") for mime in PICTURES] + [data.get("alt")]
    axes = data.get("axes") or []
    inverts = bool(axes) and not any(ax.get("images") for ax in axes)
    return {
        "alt": next((str(alt) for alt in alts if alt), ""),
        "class": "lines" if inverts else "plate",
    }


def shown(outputs: list[NotebookNode]) -> tuple[list[NotebookNode], list[dict[str, Any]]]:
    """Outputs with the one form that the page shows, and what to say of each picture in them."""
    kept, pictures = [], []
    for output in outputs:
        new = copy.deepcopy(output)
        if "text" in new:
            new["text"] = plain(new["text"])
        if "traceback" in new:
            new["traceback"] = [plain(line) for line in new["traceback"]]
        if "data" in new:
            picture = _one_form(new)
            if picture is not None:
                pictures.append(picture)
        if "execution_count" in new:
            new["execution_count"] = None
        kept.append(new)
    return kept, pictures


def _one_form(output: NotebookNode) -> dict[str, Any] | None:
    """Leave the best form of an output alone in it; what to say of it if it is a picture."""
    picture, data = picture_of(output), output["data"]
    data.pop(FIGURE_MIME, None)
    best = next((mime for mime in ("text/html", *PICTURES) if mime in data), None)
    if best is not None:
        content = data[best]
        if "d2l-sliders" in content:
            marked = f'class="d2l-sliders {picture["class"]}"'
            content = content.replace('class="d2l-sliders"', marked)
        if "dataframe" in content:  # the corner of a table of pandas is no header of anything
            content = content.replace("<th></th>", "<td></td>")
        output["data"] = data = NotebookNode({best: content})
    for mime, content in data.items():
        if mime.startswith("text/") and isinstance(content, str):
            data[mime] = plain(content) if mime == "text/plain" else printable(content)
    return picture if best in PICTURES else None
