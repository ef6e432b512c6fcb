"""Glossary and index, from the terms that the sections define."""

import re
import unicodedata
from typing import Any

from ..book import Book, Section
from ..grammar import term_anchor
from ..terms import Terms
from .pieces import page
from .places import doc


def glossary_page(book: Book, terms: Terms) -> str:
    """The glossary in Markdown: each term in the words of the section that defines it."""
    sections = {s.id: s for s in book.sections}
    rows = []
    for term in terms.defined:
        there = [s for s in term.sections if s in term.found]
        if there:
            italic, text = term.found[there[0]]
            rows.append(
                {
                    "name": term.shown,
                    "anchor": term.anchor,
                    "text": text.replace("\n", "\n  "),
                    "section": place(sections[there[0]], italic),
                    "also": [place(sections[s], term.found[s][0]) for s in there[1:]],
                }
            )
    return page("glossary", letters=by_letter(rows), count=len(rows))


def place(section: Section, italic: str) -> dict[str, str]:
    """Number, title and address of the place where a section defines a term."""
    return {
        "id": section.id,
        "title": section.title,
        "url": f"{doc(section)}.html#{term_anchor(italic)}",
    }


def _order(name: str) -> tuple[str, str]:
    """Sorted by letters and digits alone, accents left aside."""
    bare = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    return re.sub(r"[\W_]", "", bare), name


def by_letter(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Rows with a `name` under their first letters; what begins with none stands under #."""
    letters: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: _order(row["name"])):
        first = _order(row["name"])[0][:1].upper()
        letters.setdefault(first if first.isalpha() else "#", []).append(row)
    return letters


def index_page(book: Book, terms: Terms, names: list[dict[str, Any]]) -> str:
    """The index in Markdown: terms with their sections, and names of code with their reference.

    Parameters
    ----------
    names
        `name` and `url` of each taught definition and helper.
    """
    sections, uses = {s.id: s for s in book.sections}, terms.uses()
    rows: list[dict[str, Any]] = []
    for term in terms.defined:
        there = [place(sections[s], term.found[s][0]) for s in term.sections if s in term.found]
        if there:
            more = [
                {"id": s.id, "title": s.title, "url": f"{doc(s)}.html"}
                for s in uses.get(term.name, [])
            ]
            rows.append({"name": term.shown, "anchor": term.anchor, "defined": there, "used": more})
    rows += names
    tables = [s for s in book.notebooks if any("notation" in cell.tags for cell in s.cells)]
    notation = f"{doc(tables[0])}.html" if tables else ""
    return page("term-index", letters=by_letter(rows), notation=notation)
