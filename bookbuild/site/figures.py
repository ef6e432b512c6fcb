"""The list of figures: number, place and what the caption says."""

import posixpath
import re

from ..book import Book, Section
from ..grammar import CAPTION, LINK
from .pieces import page
from .places import doc


def captions(section: Section) -> list[tuple[str, str]]:
    """Number and caption of each figure of a section, in order; links lead from the site's root."""
    text = section.text
    if not section.is_page:
        text = "\n\n".join(c.source for c in section.cells if c.kind == "markdown")
    folder = posixpath.dirname(doc(section))

    def moved(match: re.Match[str]) -> str:
        target = match["target"]
        if "://" not in target and not target.startswith("#"):
            target = posixpath.normpath(posixpath.join(folder, target))
        return f"[{match['text']}]({target})"

    return [(m[1], LINK.sub(moved, m[2].strip())) for m in CAPTION.finditer(text)]


def figures_page(book: Book) -> str:
    """The page in Markdown, by chapter."""
    chapters = []
    for chapter in book.chapters:
        rows = [
            {
                "number": number,
                "caption": caption,
                "url": f"{doc(section)}.html#figure-{number.replace('.', '-')}",
            }
            for section in chapter.sections
            if section.exists
            for number, caption in captions(section)
        ]
        if rows:
            chapters.append((chapter, rows))
    return page("figures", chapters=chapters, count=sum(len(rows) for _, rows in chapters))
