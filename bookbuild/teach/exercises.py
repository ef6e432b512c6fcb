"""The exercises of a section, and which of them a machine can grade.

A solution checks itself, but mostly with names that are its author's choice: no student can know
them. It is graded by machine only where the names are given away without the answer, as the head
and the docstring of functions and classes; everything else is for a person to read.
"""

import ast
import builtins
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..book import BookError, Cell, Section
from ..grammar import PART, TASK

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
Definition = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass
class Exercise:
    """An exercise with its solution.

    Attributes
    ----------
    number
        Such as `3.4-1`.
    task
        What it asks, Markdown.
    words
        The solution in words, Markdown without its heading.
    code
        (position in the section, cell) of the code of the solution.
    """

    number: str
    task: str = ""
    words: str = ""
    code: list[tuple[int, Cell]] = field(default_factory=list)


class Graded(NamedTuple):
    """The code of a solution as nbgrader wants it: what to complete, and what tests it."""

    answer: str
    tests: str


def split(section: Section) -> list[tuple[int, Cell] | Exercise]:
    """The cells of a section in order; an `Exercise` stands where its solution was.

    Raises
    ------
    BookError
        For a solution that does not begin with its cell, or has no exercise before it.
    """
    parts: list[tuple[int, Cell] | Exercise] = []
    asked: dict[str, str] = {}
    solving: Exercise | None = None
    for index, cell in enumerate(section.cells):
        if cell.kind != "markdown":
            (parts if solving is None else solving.code).append((index, cell))
            continue
        task = TASK.search(cell.source)
        if task and task[1] == "Solution":
            if task.start() or task[2] not in asked:
                raise BookError(
                    f"{section.where(index)}: Solution {task[2]} should be the first line of its "
                    "cell and stand after its exercise."
                )
            solving = Exercise(task[2], asked[task[2]], _body(cell.source))
            parts.append(solving)
        elif solving is not None and not PART.search(cell.source):
            solving.words += f"\n\n{cell.source}"
        else:
            solving = None
            for begin, end, number in _tasks(cell.source):
                asked[number] = _body(cell.source[begin:end])
            parts.append((index, cell))
    return parts


def _tasks(text: str) -> Iterable[tuple[int, int, str]]:
    """Begin, end and number of each exercise that a cell asks."""
    found = [(m.start(), m[2]) for m in TASK.finditer(text)]
    ends = [*[begin for begin, _ in found[1:]], len(text)][: len(found)]
    return [(begin, end, number) for (begin, number), end in zip(found, ends, strict=True)]


def _body(text: str) -> str:
    return text.split("\n", 1)[1].strip() if "\n" in text else ""


def graded(exercise: Exercise, earlier: Iterable[str]) -> Graded | None:
    """A solution cut into what a student completes and the tests of it; None: a person grades.

    By machine only if all of this holds: the solution defines functions or classes, each with a
    docstring or named in the task; they need nothing else of the solution; the rest of it asserts
    something about them; and it uses no name that an earlier solution has bound.

    Parameters
    ----------
    earlier
        Names bound in the solutions before this one; see `bound`.
    """
    given, definitions, tests = [], [], []
    for _, cell in exercise.code:
        if cell.tree is None or cell.has_magic:
            return None
        for node, source in _statements(cell):
            if isinstance(node, Definition):
                definitions.append((node, source))
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                given.append(source)
            else:
                tests.append((node, source))
    names = {node.name for node, _ in definitions}
    answers = [_answer(node, source, exercise.task) for node, source in definitions]
    inside = {name for node, _ in definitions for name in _free(node)}
    asking = {name for node, _ in tests for name in _free(node)}
    own = {name for node, _ in tests for name in _bound(node)}
    if (
        not answers
        or not all(answers)
        or inside & own
        or not names & asking
        or (inside | asking) & (set(earlier) - own - names)
        or not any(_asserts(node) for node, _ in tests)
    ):
        return None
    answer = "\n\n".join(["\n".join(given)] * bool(given) + [a for a in answers if a])
    return Graded(answer, "\n".join(source for _, source in tests))


def bound(exercise: Exercise) -> set[str]:
    """Names that a solution binds at its top level."""
    trees = [cell.tree for _, cell in exercise.code if cell.tree is not None]
    return {name for tree in trees for node in tree.body for name in _bound(node)}


def _statements(cell: Cell) -> list[tuple[ast.stmt, str]]:
    """Top-level statements with their text and the comments before it."""
    lines, done, found = cell.source.split("\n"), 0, []
    for node in cell.tree.body if cell.tree else ():
        end = node.end_lineno or node.lineno
        found.append((node, "\n".join(lines[done:end]).strip("\n")))
        done = end
    return found


def _answer(node: ast.stmt, source: str, task: str) -> str | None:
    """A definition with marks around its bodies; None if its head alone says too little."""
    assert isinstance(node, Definition)
    named = re.search(rf"`{node.name}\b", task)
    if node.decorator_list or not (named or ast.get_docstring(node)):
        return None
    functions = [node] if not isinstance(node, ast.ClassDef) else _methods(node)
    lines = source.split("\n")
    above = next(i for i, line in enumerate(lines) if re.match(r"(?:async )?(?:def|class)\b", line))
    offset = node.lineno - above  # line of the cell on which the text begins
    marks: list[tuple[int, str]] = []
    for function in functions:
        body = function.body[1:] if ast.get_docstring(function) else function.body
        if not body or body[0].lineno == function.lineno:
            return None
        indent = " " * body[0].col_offset
        first = min([body[0].lineno, *(d.lineno for d in getattr(body[0], "decorator_list", []))])
        marks += [(first - offset, indent + BEGIN)]
        marks += [((body[-1].end_lineno or 0) + 1 - offset, indent + END)]
    for at, mark in sorted(marks, reverse=True):
        lines.insert(at, mark)
    return "\n".join(lines) if marks else None


def _methods(node: ast.ClassDef) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [each for each in node.body if isinstance(each, kinds)]


def _bound(node: ast.stmt) -> set[str]:
    """Names that a statement binds, what happens inside of definitions apart."""
    if isinstance(node, Definition):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(a.asname or a.name).split(".")[0] for a in node.names}
    found, todo = set(), list(ast.iter_child_nodes(node))
    while todo:
        each = todo.pop()
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            found.add(each.id)
        elif isinstance(each, ast.ExceptHandler) and each.name:
            found.add(each.name)
        if isinstance(each, ast.stmt):
            found |= _bound(each)
        elif not isinstance(each, (ast.comprehension, ast.Lambda)):
            todo += ast.iter_child_nodes(each)
    return found


def _free(node: ast.stmt) -> set[str]:
    """Names that a statement takes from outside; of a definition, what it does not bind itself."""
    loaded = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and _is(n, ast.Load)}
    if not isinstance(node, Definition):
        return loaded - set(dir(builtins))
    inner = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and _is(n, ast.Store)}
    inner |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
    inner |= {n.name for n in ast.walk(node) if isinstance(n, Definition)}
    return loaded - inner - set(dir(builtins))


def _is(name: ast.Name, context: type[ast.expr_context]) -> bool:
    return isinstance(name.ctx, context)


def _asserts(node: ast.stmt) -> bool:
    """Whether a statement can fail: an `assert`, or a function that is called so."""
    return any(
        isinstance(n, ast.Assert)
        or (isinstance(n, ast.Attribute) and n.attr.startswith("assert_"))
        or (isinstance(n, ast.Name) and n.id.startswith("assert_"))
        for n in ast.walk(node)
    )
