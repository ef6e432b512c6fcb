"""What needs what: computed from what sections import of each other and which they link to."""

import ast
from collections.abc import Iterable
from functools import cached_property

from ..book import Book, Section
from ..grammar import LINK, PART
from ..keys import CHAPTERS, PACKAGE


class Needs:
    """Which sections of a book stand on which.

    A section *needs* an earlier one whose definitions it imports from `d2l_helpers.chapters` (what
    it takes from a later one is a tool and no prerequisite); it *mentions* an earlier one to which
    its main text links.
    """

    def __init__(self, book: Book):
        self.book = book
        self.by_path = {s.ipynb: s for s in book.sections} | {s.path: s for s in book.sections}

    @cached_property
    def defined(self) -> dict[tuple[str, str], Section]:
        """(module of a chapter, name) -> the section that defines it."""
        found: dict[tuple[str, str], Section] = {}
        for chapter in self.book.chapters:
            for section in chapter.sections:
                for name in exported(section) if section.exists and not section.is_page else ():
                    found.setdefault((chapter.module, name), section)
        return found

    @cached_property
    def needs(self) -> dict[str, list[Section]]:
        """Number of a section -> the sections that it imports from, in reading order."""
        return {s.id: self._imported(s) for s in self.book.notebooks}

    @cached_property
    def mentions(self) -> dict[str, list[Section]]:
        """Number of a section -> the earlier sections that its main text links to."""
        order = {s.id: i for i, s in enumerate(self.book.sections)}
        found = {}
        for section in self.book.sections:
            linked = {
                other.id: other
                for text in main_text(section)
                for match in LINK.finditer(text)
                if (other := self._target(section, match["target"])) is not None
            }
            earlier = [o for o in linked.values() if order[o.id] < order[section.id]]
            found[section.id] = sorted(earlier, key=lambda other: order[other.id])
        return found

    def _target(self, section: Section, target: str) -> Section | None:
        return self.by_path.get((section.path.parent / target.split("#")[0]).resolve())

    def _imported(self, section: Section) -> list[Section]:
        found = set()
        for _, cell in section.code:
            for node in ast.walk(cell.tree) if cell.tree and PACKAGE in cell.source else ():
                if isinstance(node, ast.ImportFrom):
                    module = (node.module or "").removeprefix(f"{PACKAGE}.{CHAPTERS}.")
                    found |= {(module, alias.name) for alias in node.names}
        there = {self.defined[key].id for key in found if key in self.defined}
        order = [s for s in self.book.sections if s.id in there or s == section]
        return order[: order.index(section)]

    def chapters(self) -> dict[int, list[int]]:
        """Number of a chapter -> the other chapters that its sections import from."""
        return self._by_chapter(self.needs)

    def mentioned(self) -> dict[int, list[int]]:
        """Number of a chapter -> the other chapters that its sections link back to."""
        return self._by_chapter(self.mentions)

    def _by_chapter(self, sections: dict[str, list[Section]]) -> dict[int, list[int]]:
        found: dict[int, set[int]] = {c.number: set() for c in self.book.chapters}
        for section in self.book.sections:
            found[section.chapter] |= {s.chapter for s in sections.get(section.id, [])}
        return {number: sorted(others - {number}) for number, others in found.items()}


def exported(section: Section) -> Iterable[str]:
    """Names that the export cells of a section define."""
    for _, cell in section.code:
        for node in cell.tree.body if "export" in cell.tags and cell.tree else ():
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield node.name
            elif isinstance(node, ast.Assign):
                yield from (t.id for t in node.targets if isinstance(t, ast.Name))


def main_text(section: Section) -> list[str]:
    """The Markdown of a section before its exercises."""
    found: list[str] = []
    texts = [section.text] if section.is_page else []
    texts = texts or [c.source for c in section.cells if c.kind == "markdown"]
    for text in texts:
        end = next((m.start() for m in PART.finditer(text) if m[2] == "Exercises"), None)
        found.append(text[:end])
        if end is not None:
            break
    return found
