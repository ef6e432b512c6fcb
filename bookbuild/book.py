"""The book as files: chapters, sections, and how a section's text becomes a notebook."""

import ast
import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbformat import NotebookNode

from .record import PROFILES

CELL = re.compile(r"^# %%")
CHECK = re.compile(r"(?:#|<!--)\s*check (\d+\.\d+)-C(\d+)(?:\s*(?:\.\.|to)\s*C?(\d+))?")
SOLUTION = re.compile(r"^#+ Solution \d+\.\d+-\d+")


class BookError(Exception):
    """Something in the book is wrong; the message names file, cell and line where it can."""


@dataclass(frozen=True)
class Section:
    """One section of the plan; it is present when its file exists."""

    id: str
    title: str
    chapter: int
    path: Path  # of the source: .py for a notebook, .md for a page
    checks: int
    exercises: int
    root: Path = field(repr=False)

    @property
    def exists(self) -> bool:
        return self.path.exists()

    @property
    def is_page(self) -> bool:
        return self.path.suffix == ".md"

    @property
    def name(self) -> str:
        """Path from the root, as messages show it."""
        return self.path.relative_to(self.root).as_posix()

    @property
    def ipynb(self) -> Path:
        return self.path.with_suffix(".ipynb")

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def notebook(self) -> NotebookNode:
        """The notebook that the source gives: cells with fixed ids, tags, no outputs."""
        notebook = jupytext.reads(self.text, fmt="py:percent")
        kept = {k: notebook.metadata[k] for k in ("kernelspec", "d2l") if k in notebook.metadata}
        kept["language_info"] = {"name": "python"}
        kept["jupytext"] = {"formats": "ipynb,py:percent"}
        clean = nbformat.v4.new_notebook(metadata=kept)
        for i, cell in enumerate(notebook.cells):
            metadata = {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
            if cell.cell_type == "markdown" and SOLUTION.match(cell.source):
                metadata["jp-MarkdownHeadingCollapsed"] = True
            make = {
                "code": nbformat.v4.new_code_cell,
                "markdown": nbformat.v4.new_markdown_cell,
            }.get(cell.cell_type, nbformat.v4.new_raw_cell)
            clean.cells.append(
                make(cell.source, metadata=metadata, id=f"s{self.id.replace('.', '-')}-{i:03d}")
            )
        return clean

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The `d2l` entry of the header: data sets, profiles, limits."""
        return dict(self.notebook.metadata.get("d2l") or {})

    @cached_property
    def cell_lines(self) -> list[int]:
        """Line of the source file on which each cell's text begins, counted from 1."""
        lines = self.text.splitlines()
        return [i + 2 for i, line in enumerate(lines) if CELL.match(line)]

    def where(self, index: int, line: int = 1) -> str:
        """`book/...py:LINE (cell N)` for a line of a cell, both counted as a reader does, from 1."""
        starts = self.cell_lines
        number = starts[index] + line - 1 if index < len(starts) else 0
        return f"{self.name}:{number} (cell {index + 1})"

    def code_cells(self) -> list[tuple[int, NotebookNode]]:
        return [(i, c) for i, c in enumerate(self.notebook.cells) if c.cell_type == "code"]

    @cached_property
    def marked_checks(self) -> list[str]:
        """Numbers of the checks whose marks stand in code cells, e.g. ['C1', 'C2']."""
        text = "\n".join(c.source for _, c in self.code_cells()) if not self.is_page else self.text
        return checks_in(text, self.id)

    @cached_property
    def parameters(self) -> set[str]:
        """Names assigned in the cell tagged `parameters`."""
        names: set[str] = set()
        for _, cell in self.code_cells():
            if "parameters" in cell.metadata.get("tags", []):
                for node in ast.walk(ast.parse(cell.source)):
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                        names.add(node.id)
        return names

    def profile(self, name: str) -> dict[str, Any]:
        """Values of a profile. `cpu` is what the parameters cell says; `rehearsal` is `gpu`, cut by factors.

        The header's `rehearsal: {name: factor}` names what is cut; other values are those of `gpu`.
        Raises `BookError` for a name that the parameters cell, or for a factor the gpu profile, does not have.
        """
        profiles = self.settings.get("profiles") or {}
        if name not in PROFILES:
            raise BookError(f"There is no profile {name!r}; use {', '.join(PROFILES)}.")
        values = dict(profiles.get("gpu" if name == "rehearsal" else name) or {})
        unknown = sorted(set(values) - self.parameters)
        if unknown:
            raise BookError(
                f"{self.name}: profile {name!r} sets {', '.join(unknown)}, which the parameters cell does not define (it has: {', '.join(sorted(self.parameters)) or 'none'})."
            )
        if name == "rehearsal":
            for key, factor in (self.settings.get("rehearsal") or {}).items():
                if key not in values:
                    raise BookError(
                        f"{self.name}: rehearsal cuts {key}, which the gpu profile does not set (it sets: {', '.join(values) or 'nothing'})."
                    )
                values[key] = _cut(values[key], factor)
        return values


def _cut(value: Any, factor: float) -> Any:
    """A number times a factor, elementwise in a list; an integer stays one, and at least 1."""
    if isinstance(value, list):
        return [_cut(v, factor) for v in value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BookError(f"rehearsal multiplies numbers, not {value!r}.")
    return max(1, round(value * factor)) if isinstance(value, int) else value * factor


def checks_in(text: str, section: str) -> list[str]:
    """Checks of a section marked in some text, in order, each once."""
    found: dict[int, None] = {}
    for match in CHECK.finditer(text):
        if match[1] == section:
            for number in range(int(match[2]), int(match[3] or match[2]) + 1):
                found[number] = None
    return [f"C{number}" for number in found]


@dataclass(frozen=True)
class Chapter:
    number: int
    title: str
    folder: str
    part: str
    sections: tuple[Section, ...]

    @property
    def module(self) -> str:
        """Name of the generated module, e.g. `linear_regression`."""
        return self.folder.split("-", 1)[1].replace("-", "_")


class Book:
    """A folder with `book/contents.toml`; the plan and what is there of it."""

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root or Path(__file__).resolve().parent.parent).resolve()
        plan = tomllib.loads((self.root / "book" / "contents.toml").read_text(encoding="utf-8"))
        self.chapters = tuple(self._chapter(entry) for entry in plan["chapter"])
        self.settings: dict[str, Any] = (
            tomllib.loads((self.root / "pyproject.toml").read_text(encoding="utf-8"))
            .get("tool", {})
            .get("bookbuild", {})
        )

    def _chapter(self, entry: dict[str, Any]) -> Chapter:
        sections = []
        for s in entry["sections"]:
            stem = self.root / "book" / entry["folder"] / s["file"]
            page = stem.with_suffix(".md")
            path = page if page.exists() else stem.with_suffix(".py")
            sections.append(
                Section(
                    s["id"],
                    s["title"],
                    entry["number"],
                    path,
                    s["checks"],
                    s["exercises"],
                    self.root,
                )
            )
        return Chapter(
            entry["number"], entry["title"], entry["folder"], entry["part"], tuple(sections)
        )

    @property
    def planned(self) -> list[Section]:
        return [s for c in self.chapters for s in c.sections]

    @property
    def sections(self) -> list[Section]:
        """Sections that exist, notebooks and pages, in reading order."""
        return [s for s in self.planned if s.exists]

    @property
    def notebooks(self) -> list[Section]:
        return [s for s in self.sections if not s.is_page]

    def select(self, wanted: list[str]) -> list[Section]:
        """Notebooks named by number (`3.4`), chapter (`3`) or path; all without a name."""
        if not wanted:
            return self.notebooks
        chosen = []
        for want in wanted:
            plain = Path(want).with_suffix("").as_posix()
            hits = [
                s
                for s in self.notebooks
                if want in (s.id, str(s.chapter))
                or Path(s.name).with_suffix("").as_posix().endswith(plain)
            ]
            if not hits:
                raise BookError(
                    f"No notebook matches {want!r}. Name a section (3.4), a chapter (3) or a path; there are: {', '.join(s.id for s in self.notebooks)}."
                )
            chosen += [s for s in hits if s not in chosen]
        return chosen

    def stray(self) -> list[Path]:
        """Source files under book/ that the plan does not name."""
        known = {s.path for s in self.planned}
        files = list((self.root / "book").glob("*/*.py")) + list(
            (self.root / "book").glob("*/*.md")
        )
        return sorted(p for p in files if p not in known)
