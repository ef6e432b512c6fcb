"""The book as files: chapters, sections, and how a section's text becomes a notebook."""

import ast
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from nbformat import NotebookNode

from . import grammar
from .record import PROFILES

#: What Jupytext may read in another way than line by line: magics (`# %time f()` is one, behind a
#: comment sign too), cells within a string. A section with any of it is read by Jupytext itself.
_CARE = re.compile(
    r"^\s*(?:# ?)*\s*(?:[%!?]|[A-Za-z_]\w*\s*=\s*[%!]"
    r"|(?:cat|cd|cp|mv|rm|rmdir|mkdir|copy|ddir|echo|ls|ldir|ren)(?:$|\s$|\s[^=,]))|\?\s*$|^# [+-]",
    re.M,
)
_MAGIC = re.compile(r"^\s*(?:[A-Za-z_]\w*\s*=\s*)?[%!]|^\s*\??[\w.]+\?{1,2}\s*$", re.M)
#: Magics whose argument is Python: indentation, options, argument.
_TIMED = re.compile(
    r"^(\s*)%{1,2}(?:time|timeit|prun|memit)\b((?:\s+-\w+(?:\s*\d+)?)*)\s*(.*)$", re.M
)
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\x85\u2028\u2029\ufeff]")


class BookError(Exception):
    """Something in the book is wrong; the message names file, cell and line where it can."""


def read_text(path: Path, root: Path | None = None) -> str:
    r"""The text of a file of the book: UTF-8, without a mark (BOM) before it, lines ended by `\n`.

    Parameters
    ----------
    path
        The file.
    root
        Folder that the name in a message starts from.

    Raises
    ------
    BookError
        For bytes that are not UTF-8 and for invisible characters, with file, line and remedy.
    """
    name = path.relative_to(root).as_posix() if root and path.is_relative_to(root) else str(path)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        raise BookError(
            f"{name}:{before.count(10) + 1}: the byte 0x{data[error.start]:02x} is not UTF-8; "
            "save the file in the encoding UTF-8."
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    odd = _INVISIBLE.search(text)
    if odd:
        raise BookError(
            f"{name}:{grammar.line_of(text, odd.start()) + 1}: there is the invisible character "
            f"U+{ord(odd[0]):04X}; delete it."
        )
    return text


@dataclass(frozen=True)
class Cell:
    """One cell of a source file."""

    kind: str  # code, markdown or raw
    source: str
    tags: tuple[str, ...]
    line: int  # of the file, on which its text begins, counted from 1

    @property
    def has_magic(self) -> bool:
        """Whether some line is not Python but IPython: `%time f()`, `!ls`, `f?`."""
        return _MAGIC.search(self.source) is not None

    @cached_property
    def tree(self) -> ast.Module | None:
        """Syntax tree, parsed once for all who read it; None where the cell is no Python.

        Of a magic that runs Python, such as `%time f()`, the Python counts; others are `pass`.
        """
        try:
            return ast.parse(self.source)
        except SyntaxError:
            pass
        if not self.has_magic:
            return None
        lines = []
        for line in _TIMED.sub(_argument, self.source).split("\n"):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}pass" if _MAGIC.match(line) else line)
        try:
            return ast.parse("\n".join(lines))
        except SyntaxError:
            return None


def _argument(magic: re.Match[str]) -> str:
    """The Python that a magic runs, on its line; `pass` where there is none."""
    try:
        ast.parse(magic[3])
    except SyntaxError:
        return f"{magic[1]}pass"
    return f"{magic[1]}{magic[3] or 'pass'}"


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
        """The source, read once."""
        return read_text(self.path, self.root)

    @cached_property
    def header(self) -> dict[str, Any]:
        """The `jupyter` entry of the header: kernel, Jupytext's settings, and `d2l`."""
        lines = self.text.split("\n")
        end = self._header_end
        if end == 0:
            return {}
        text = "\n".join(line[2:] if line.startswith("# ") else "" for line in lines[1:end])
        try:
            loaded = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            return dict((loaded or {}).get("jupyter") or {})
        except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or "an entry `jupyter` is missing"
            raise BookError(
                f"{self.name}:{2 + (mark.line if mark else 0)} (header): {problem}; "
                "compare it with the header of another section."
            ) from None

    @cached_property
    def _header_end(self) -> int:
        """Line of the header's end, counted from 0; 0 without a header."""
        lines = self.text.split("\n")
        if lines[0].rstrip() != "# ---":
            return 0
        return next((i for i, line in enumerate(lines[1:], 1) if line.rstrip() == "# ---"), 0)

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of a notebook's source, read once.

        Raises
        ------
        BookError
            If there is text before the first cell, or the file is not of the percent format.
        """
        lines = self.text.split("\n")
        begin = self._header_end + 1 if self._header_end else 0
        starts = [i for i, line in enumerate(lines) if i >= begin and grammar.CELL.match(line)]
        for i in range(begin, starts[0] if starts else len(lines)):
            if lines[i].strip():
                raise BookError(
                    f"{self.name}:{i + 1}: there is text before the first cell; begin it with "
                    "`# %%` or `# %% [markdown]`, after a header between two lines `# ---`."
                )
        cells = []
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            cell = _cell(lines[start], lines[start + 1 : end], start + 2)
            if cell is None:
                return self._through_jupytext([start + 2 for start in starts])
            cells.append(cell)
        return tuple(cells)

    def _through_jupytext(self, starts: list[int]) -> tuple[Cell, ...]:
        """The cells as Jupytext reads them, for a source that needs more than its lines."""
        import jupytext

        notebook = jupytext.reads(self.text, fmt="py:percent")
        if len(notebook.cells) != len(starts):
            raise BookError(
                f"{self.name}: it has {len(starts)} lines `# %%` and {len(notebook.cells)} cells; "
                "is there such a line within a string?"
            )
        return tuple(
            Cell(c.cell_type, c.source, tuple(c.metadata.get("tags") or ()), line)
            for c, line in zip(notebook.cells, starts, strict=True)
        )

    @property
    def code(self) -> list[tuple[int, Cell]]:
        """(position, cell) of every code cell."""
        return [(i, c) for i, c in enumerate(self.cells) if c.kind == "code"]

    @cached_property
    def notebook(self) -> NotebookNode:
        """The notebook that the source gives: cells with fixed ids, tags, no outputs."""
        kept: dict[str, Any] = {
            k: self.header[k] for k in ("kernelspec", "d2l") if k in self.header
        }
        kept["language_info"] = {"name": "python"}
        kept["jupytext"] = {"formats": "ipynb,py:percent"}
        cells, prefix = [], f"s{self.id.replace('.', '-')}"
        for i, cell in enumerate(self.cells):
            metadata: dict[str, Any] = {"tags": list(cell.tags)} if cell.tags else {}
            task = grammar.TASK.match(cell.source) if cell.kind == "markdown" else None
            if task and task[1] == "Solution":
                metadata["jp-MarkdownHeadingCollapsed"] = True
            one: dict[str, Any] = {"cell_type": cell.kind, "id": f"{prefix}-{i:03d}"}
            if cell.kind == "code":
                one |= {"execution_count": None, "outputs": []}
            cells.append({**one, "metadata": metadata, "source": cell.source})
        # Not by nbformat's `new_code_cell`, which holds each cell against the whole schema.
        return _node({"cells": cells, "metadata": kept, "nbformat": 4, "nbformat_minor": 5})

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The `d2l` entry of the header: data sets, profiles, limits."""
        return {} if self.is_page else dict(self.header.get("d2l") or {})

    @cached_property
    def cell_lines(self) -> list[int]:
        """Line of the source file on which each cell's text begins, counted from 1."""
        return [] if self.is_page else [cell.line for cell in self.cells]

    def where(self, index: int, line: int = 1) -> str:
        """`book/...py:LINE (cell N)` for a line of a cell, both counted from 1, as readers do."""
        starts = self.cell_lines
        number = starts[index] + line - 1 if index < len(starts) else 0
        return f"{self.name}:{number} (cell {index + 1})"

    def code_cells(self) -> list[tuple[int, NotebookNode]]:
        """(position, cell of `notebook`) of every code cell."""
        return [(i, c) for i, c in enumerate(self.notebook.cells) if c.cell_type == "code"]

    @cached_property
    def marked_checks(self) -> list[str]:
        """Numbers of the checks whose marks stand in code cells, e.g. ['C1', 'C2']."""
        text = self.text if self.is_page else "\n".join(c.source for _, c in self.code)
        return checks_in(text, self.id)

    @cached_property
    def parameters(self) -> set[str]:
        """Names assigned in the cell tagged `parameters`."""
        return {
            node.id
            for _, cell in self.code
            if "parameters" in cell.tags and cell.tree
            for node in ast.walk(cell.tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }

    def profile(self, name: str) -> dict[str, Any]:
        """Values that a profile puts into the parameters cell; `cpu` is what the cell says.

        `rehearsal` has the values of `gpu`; those that the header names under `rehearsal` are
        multiplied by the factor given there (a list number by number). An integer stays one, and
        at least 1.

        Raises
        ------
        BookError
            For a profile that `record.PROFILES` does not have, for a name that the parameters cell
            does not define, and for a factor that does not fit a value.
        """
        profiles = self.settings.get("profiles") or {}
        for each in [name, *profiles]:
            if each not in PROFILES:
                raise BookError(
                    f"{self.name}: there is no profile {each!r}; use {', '.join(PROFILES)}."
                )
        if "rehearsal" in profiles:
            raise BookError(
                f"{self.name}: the profile 'rehearsal' is made from gpu; write `rehearsal:` with "
                "factors beside `profiles:`, not within."
            )
        values = dict(profiles.get("gpu" if name == "rehearsal" else name) or {})
        unknown = sorted(set(values) - self.parameters)
        if unknown:
            raise BookError(
                f"{self.name}: profile {name!r} sets {', '.join(unknown)}, which the parameters "
                f"cell does not define (it has: {', '.join(sorted(self.parameters)) or 'none'})."
            )
        if name == "rehearsal":
            for key, factor in (self.settings.get("rehearsal") or {}).items():
                if key not in values:
                    raise BookError(
                        f"{self.name}: rehearsal cuts {key!r}, which the profile gpu does not set "
                        f"(it sets: {', '.join(sorted(values)) or 'nothing'})."
                    )
                try:
                    values[key] = _times(values[key], factor)
                except TypeError:
                    raise BookError(
                        f"{self.name}: rehearsal multiplies {key!r}, which is {values[key]!r}, by "
                        f"{factor!r}; both must be numbers, or the value a list of them."
                    ) from None
        return values


def _cell(head: str, body: Sequence[str], line: int) -> Cell | None:
    """A cell of the usual form; None where only Jupytext can tell what it means."""
    match = grammar.HEAD.match(head)
    last = max((i for i, text in enumerate(body, 1) if text.strip()), default=0)
    body = body[:last]
    if not match or not body or not body[0].strip():
        return None
    kind, tags = match[1] or "code", tuple(re.findall(r"\"([^\"]+)\"", match[2] or ""))
    if kind == "markdown":
        if not all(text == "#" or text.startswith("# ") for text in body):
            return None
        return Cell(kind, "\n".join(text[2:] for text in body), tags, line)
    source = "\n".join(body)
    open_string = source.count('"""') % 2 or source.count("'''") % 2
    if open_string or _CARE.search(source) or any(tag.startswith("active-") for tag in tags):
        return None
    return Cell(kind, source, tags, line)


def _node(value: Any) -> Any:
    """A JSON value with its dictionaries as nbformat has them."""
    if isinstance(value, dict):
        return NotebookNode({k: _node(v) for k, v in value.items()})
    return [_node(v) for v in value] if isinstance(value, (list, tuple)) else value


def _times(value: Any, factor: Any) -> Any:
    """A number, or each number of a list, multiplied; an integer stays one, and at least 1."""
    if isinstance(value, list):
        return [_times(each, factor) for each in value]
    for each in (value, factor):
        if isinstance(each, bool) or not isinstance(each, (int, float)):
            raise TypeError(each)
    return max(1, round(value * factor)) if isinstance(value, int) else value * factor


def checks_in(text: str, section: str) -> list[str]:
    """Checks of a section marked in some text, in order, each once."""
    found: dict[int, None] = {}
    for match in grammar.CHECK.finditer(text):
        if match[1] == section:
            for number in range(int(match[2]), int(match[3] or match[2]) + 1):
                found[number] = None
    return [f"C{number}" for number in found]


@dataclass(frozen=True)
class Chapter:
    """A chapter of the plan with its sections, there or not."""

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
    """A folder with `book/contents.toml`; the plan and what is there of it.

    Files are read when they are asked for, each once; make one `Book` and hand it around.
    """

    def __init__(self, root: Path | str | None = None):
        self.root = Path(root or Path(__file__).resolve().parent.parent).resolve()
        #: Everything that can be made again: BOOK_BUILD, else `build/`.
        self.build = Path(os.environ.get("BOOK_BUILD") or self.root / "build").resolve()
        self.plan: dict[str, Any] = self._toml(self.root / "book" / "contents.toml")
        try:
            self.chapters = tuple(self._chapter(entry) for entry in self.plan["chapter"])
        except KeyError as error:
            raise BookError(f"book/contents.toml: an entry has no {error}.") from None
        about = self._toml(self.root / "pyproject.toml")
        self.settings: dict[str, Any] = about.get("tool", {}).get("bookbuild", {})
        #: Name, version and requirements, as pyproject.toml has them.
        self.project: dict[str, Any] = about.get("project", {})
        #: Of the book and its helper; empty where pyproject.toml names none.
        self.version = str(self.project.get("version", ""))

    def _toml(self, path: Path) -> dict[str, Any]:
        try:
            return tomllib.loads(read_text(path, self.root))
        except FileNotFoundError:
            raise BookError(
                f"{path}: no such file; {self.root} is no root of a book (see --root)."
            ) from None
        except tomllib.TOMLDecodeError as error:
            raise BookError(f"{path.relative_to(self.root).as_posix()}: {error}.") from None

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

    def select(
        self, wanted: list[str], pages: bool = False, missing: bool = False
    ) -> list[Section]:
        """Notebooks named by number (`3.4`), chapter (`3`) or path; all without a name.

        With `pages`, the sections that are pages count too; with `missing`, all of the plan.
        """
        there = self.planned if missing else self.sections if pages else self.notebooks
        if not wanted:
            return there
        chosen = []
        for want in wanted:
            plain = want.removesuffix(".py").removesuffix(".ipynb").removesuffix(".md")
            hits = [
                s
                for s in there
                if want in (s.id, str(s.chapter))
                or f"/{Path(s.name).with_suffix('').as_posix()}".endswith(f"/{plain}")
            ]
            if not hits:
                kind = "section" if pages or missing else "notebook"
                raise BookError(
                    f"No {kind} matches {want!r}. Name a section (3.4), a chapter (3) or a path; "
                    f"there are: {', '.join(s.id for s in there)}."
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
