"""`make assignments`: a section's notebook to hand out, and the same with solutions as the key.

`build/assignments/source` has the notebooks with solutions and outputs: the key, and what
`nbgrader generate_assignment` takes. `build/assignments/release` has what students get. Each
section is an assignment, a folder with its pictures.
"""

import copy
import re
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from .. import pair
from ..book import Book, BookError, Cell, Section
from ..grammar import LINK
from ..keys import digest
from ..site.inputs import Linked
from ..store import write_text
from . import exercises
from .exercises import BEGIN, END, Exercise

#: Points for the words and for the code of a solution; a teacher changes them in nbgrader.
POINTS = 2
BEGIN_TESTS, END_TESTS = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"
#: What nbgrader puts in the place of a solution.
CODE_STUB, TEXT_STUB = ("# YOUR CODE HERE", "raise NotImplementedError()"), "YOUR ANSWER HERE"
NOTE = (
    "*An assignment from {title}{version}, by {author}; text and figures "
    "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/), code MIT. "
    "It needs the package `d2l_helpers` of the book. "
    "Write only where a cell says YOUR ANSWER HERE or YOUR CODE HERE; "
    "the exercises are at the end.*"
)


def write_assignments(book: Book, sections: list[Section]) -> tuple[list[Path], list[str]]:
    """Write the assignments of sections; one without exercises has none.

    Returns
    -------
    The notebooks written, and for each that was left alone because somebody edited it, a message.
    """
    folder = book.build / "assignments"
    written: list[Path] = []
    kept: list[str] = []
    linked = Linked(book)
    for section in sections:
        source = assignment(book, section)
        if source is None:
            continue
        for kind, notebook in (("source", source), ("release", release(source))):
            path = folder / kind / name(section) / section.ipynb.name
            if _edited(path):
                kept.append(
                    f"{path}: it was edited since it was made, so it stays; "
                    "move it away to have it made anew."
                )
                continue
            text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
            for file in linked.of(section, text):
                kept += _copied(file, path.parent / file.relative_to(section.path.parent))
            notebook.metadata["assignment"] = _digest(notebook)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, pair.text_of(notebook))
            written.append(path)
    return written, kept


def _copied(file: Path, target: Path) -> list[str]:
    """Put a picture beside a notebook, but not over one that differs; says which it left alone."""
    content = file.read_bytes()
    if target.exists() and target.read_bytes() != content:
        return [f"{target}: it differs from the book's and stays; move it away to have that."]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return []


def name(section: Section) -> str:
    """Name of the assignment, such as `03-04-linear-regression-scratch`."""
    return f"{section.chapter:02}-{section.path.stem}"


def assignment(book: Book, section: Section) -> NotebookNode | None:
    """The notebook with solutions, marked for nbgrader; None for a section without exercises."""
    parts = exercises.split(section)
    if not any(isinstance(part, Exercise) for part in parts):
        return None
    notebook = pair.updated(section, pair.committed(section))
    kept = {k: v for k, v in notebook.metadata.items() if k in ("kernelspec", "language_info")}
    cells: list[NotebookNode] = []
    earlier: set[str] = set()
    for part in parts:
        if isinstance(part, Exercise):
            cells += _answers(part, notebook, earlier)
            earlier |= exercises.bound(part)
        else:
            cells.append(_given(part[0], part[1], notebook))
    author = str(book.plan.get("author", "its authors"))
    version = f", version {book.version}" if book.version else ""
    title = str(book.plan.get("title", "the book"))
    cells[0].source += "\n\n" + NOTE.format(title=title, version=version, author=author)
    return nbformat.v4.new_notebook(cells=cells, metadata=kept)


def _given(index: int, cell: Cell, notebook: NotebookNode) -> NotebookNode:
    """A cell of the section; its code cannot be changed, because solutions stand on it."""
    new = copy.deepcopy(notebook.cells[index])
    new.metadata.pop("jp-MarkdownHeadingCollapsed", None)
    if cell.kind == "code":
        new.metadata["nbgrader"] = _marks(new.id, locked=True)
    else:
        new.source = _unlinked(new.source)
    return new


def _answers(exercise: Exercise, notebook: NotebookNode, earlier: set[str]) -> list[NotebookNode]:
    """The cells of a solution: its words, its code, and the tests where a machine can grade it."""
    prefix = f"e{re.sub('[.]', '-', exercise.number)}"
    words = _cell(
        "markdown", f"{prefix}-words", _unlinked(exercise.words), grade=True, solution=True
    )
    if not exercise.code:
        return [words]
    graded = exercises.graded(exercise, earlier)
    outputs = [o for i, _ in exercise.code for o in notebook.cells[i].get("outputs", [])]
    if graded is None:
        text = "\n\n".join(cell.source for _, cell in exercise.code)
        code = _cell("code", f"{prefix}-code", text, grade=True, solution=True)
        code["outputs"] = outputs
        return [words, code]
    head = f"# Exercise {exercise.number}: complete what follows; it is tested when it is graded.\n"
    code = _cell("code", f"{prefix}-code", head + graded.answer, solution=True)
    text = f"# The tests of Exercise {exercise.number} run here when it is graded.\n"
    text += f"{BEGIN_TESTS}\n{graded.tests}\n{END_TESTS}"
    tests = _cell("code", f"{prefix}-tests", text, grade=True, locked=True)
    tests["outputs"] = outputs
    return [words, code, tests]


def _cell(kind: str, mark: str, source: str, **flags: bool) -> NotebookNode:
    new = nbformat.v4.new_code_cell if kind == "code" else nbformat.v4.new_markdown_cell
    cell = new(source=source, metadata={"nbgrader": _marks(mark, **flags)})
    cell["id"] = mark
    return cell


def _marks(
    mark: str, *, grade: bool = False, solution: bool = False, locked: bool = False
) -> dict[str, Any]:
    """The metadata of nbgrader, version 3 of its schema."""
    flags: dict[str, Any] = {"grade": grade, "solution": solution, "locked": locked, "task": False}
    points = {"points": POINTS} if grade else {}
    return {"schema_version": 3, "grade_id": mark} | flags | points


def _unlinked(text: str) -> str:
    """Markdown that names sections of the book, which are not handed out, without a link."""

    def plain(match: re.Match[str]) -> str:
        inner = match["image"] or "://" in match["target"] or not match["target"].count(".ipynb")
        return match[0] if inner and not match["target"].endswith(".md") else match["text"]

    return LINK.sub(plain, text)


def release(source: NotebookNode) -> NotebookNode:
    """What students get: no solutions, no hidden tests, no outputs; locked cells stay as they are.

    `nbgrader generate_assignment` makes the same from the same notebook.
    """
    notebook = copy.deepcopy(source)
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader") or {}
        if cell.cell_type == "code":
            cell["outputs"], cell["execution_count"] = [], None
            cell.source = _without(cell.source, BEGIN_TESTS, END_TESTS, ())
        if marks.get("solution"):
            stub = CODE_STUB if cell.cell_type == "code" else (TEXT_STUB,)
            whole = BEGIN not in cell.source
            cell.source = "\n".join(stub) if whole else _without(cell.source, BEGIN, END, stub)
        if marks:
            cell.metadata["deletable"] = False
            if not marks["solution"]:
                cell.metadata["editable"] = False
    return notebook


def _without(text: str, begin: str, end: str, stub: tuple[str, ...]) -> str:
    """Text with another in the place of each region between two marks, as deep as the mark."""
    kept: list[str] = []
    inside = False
    for line in text.split("\n"):
        if line.strip() == begin:
            inside = True
            kept += [line[: len(line) - len(line.lstrip())] + each for each in stub]
        elif line.strip() == end:
            inside = False
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def _digest(notebook: NotebookNode) -> str:
    """Digest of what a teacher may edit: text, code, tags, points; outputs come and go."""
    return digest(
        [
            (c.cell_type, c.source, c.metadata.get("tags"), c.metadata.get("nbgrader"))
            for c in notebook.cells
        ]
    )


def _edited(path: Path) -> bool:
    """Whether a file is something else than what was written there."""
    if not path.exists():
        return False
    try:
        notebook = nbformat.read(path, as_version=4)
    except (ValueError, OSError, nbformat.ValidationError) as error:
        raise BookError(f"{path}: not a notebook ({error}); move it away.") from None
    return bool(notebook.metadata.get("assignment") != _digest(notebook))
