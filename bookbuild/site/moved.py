"""Pages at addresses that a section once had: `[moved]` in book/contents.toml."""

from collections.abc import Iterator

from ..book import Book, BookError
from .pieces import piece
from .places import doc


def moved(book: Book) -> Iterator[tuple[str, str]]:
    """Name and content of a page for each old address, which leads to the section's page.

    Raises
    ------
    BookError
        For a section that does not exist, and for an address that is that of a page.
    """
    sections = {s.id: s for s in book.sections}
    taken = {doc(s) for s in sections.values()}
    for old, number in book.plan.get("moved", {}).items():
        where = f"book/contents.toml: [moved] {old!r} = {number!r}"
        if number not in sections:
            raise BookError(f"{where}: there is no section {number!r}; name one that exists.")
        if old in taken or old.endswith(".html") or old.startswith(("/", ".")):
            raise BookError(
                f"{where}: write the path of a page that is gone, without .html, "
                "such as '03-linear-regression/09-old-name'."
            )
        section = sections[number]
        yield (
            f"{old}.html",
            piece(
                "moved",
                url=f"{'../' * old.count('/')}{doc(section)}.html",
                title=f"{section.id} {section.title}",
            ),
        )
