"""The page that leads to glossary, index and lists, and the names that the search suggests."""

from ..book import Book
from ..terms import Terms
from .bibliography import entries
from .figures import captions
from .glossary import place
from .pieces import page
from .reference import Reference


def look_up_page(book: Book, terms: Terms) -> str:
    """The page in Markdown."""
    return page(
        "look-up",
        terms=sum(bool(term.found) for term in terms.defined),
        works=len(entries(book)),
        figures=sum(len(captions(section)) for section in book.sections),
    )


def names(book: Book, terms: Terms, reference: Reference) -> list[list[str]]:
    """Name, kind, address, and the section that defines it, of every term and name of code."""
    sections = {s.id: s for s in book.sections}
    found = []
    for term in terms.defined:
        first = next((s for s in term.sections if s in term.found), None)
        if first is not None:
            where = place(sections[first], term.found[first][0])
            found.append([term.shown, "term", where["url"], f"{where['id']} {where['title']}"])
    for name in reference.names:
        section = name.section
        where_taught = f"{section.id} {section.title}" if section else "d2l_helpers"
        found.append([name.shown, "code", name.url, where_taught])
    return found
