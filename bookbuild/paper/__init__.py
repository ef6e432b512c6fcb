"""The book as a PDF or an EPUB: all of it, a chapter or some sections, from the built pages.

Each chapter becomes one document (`document`), which Chromium prints (`chromium`); title page and
contents follow when the numbers of the pages are known, and all is bound into one file (`binding`).
`epub` puts the same sections into an EPUB.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..book import Book, BookError, Chapter, Section
from ..site.pieces import PIECES
from . import chromium
from .binding import Entry, Place, bind, places
from .document import SCHEME, WIDTHS, Documents, by_chapter, place, solutions_of
from .epub import write_epub

__all__ = ["Printed", "make_epub", "make_pdf"]


@dataclass(frozen=True)
class Printed:
    """A PDF or EPUB, and what it took; an EPUB has no pages."""

    path: Path
    pages: int | None
    megabytes: float
    seconds: float

    def __str__(self) -> str:
        pages = "" if self.pages is None else f"{self.pages} pages, "
        return f"{self.path.as_uri()}: {pages}{self.megabytes:.1f} MB, {self.seconds:.0f} s"


def make_pdf(book: Book, sections: list[Section], name: str, paper: str = "A4") -> Printed:
    """Print sections, in the order of the book, into `build/pdf/NAME.pdf`.

    Parameters
    ----------
    book
        The book; its pages lie in `build/html`.
    sections
        Sections that exist, notebooks and pages.
    name
        Name of the file without its ending.
    paper
        One of `document.WIDTHS`.
    """
    began = time.monotonic()
    if paper not in WIDTHS:
        raise BookError(f"PAPER={paper}: there is no such size; take {' or '.join(WIDTHS)}.")
    browser = chromium.find()
    work, out = book.build / "paper", book.build / "pdf" / f"{name}.pdf"
    work.mkdir(parents=True, exist_ok=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    documents = Documents(book, book.build / "html", sections, paper)
    chapters = by_chapter(book, sections)
    numbers: dict[str, int] = {}
    parts, count = [], 0
    for chapter, own in chapters:
        html = documents.chapter(chapter, own, count + 1)
        pdf, found, pages = _print(browser, work / f"{name}-{chapter.number:02d}.html", html)
        numbers |= {key: count + page + 1 for key, (page, _, _) in found.items()}
        parts.append(pdf)
        print(f"printed chapter {chapter.number}, {pages} pages", flush=True)
        count += pages
    entries = [_entry(chapter, own, numbers) for chapter, own in chapters]
    settings = _settings(book)
    title, part = str(settings["title"]), _part(chapters)
    front = PIECES.get_template("paper-front.html").render(
        title=title, author=settings["author"], about=settings["footer"], part=part,
        entries=entries, numbers=numbers,
        scheme=SCHEME, there=len(book.sections), planned=len(book.planned),
    )  # fmt: skip
    html = documents.frame(title, front, 1, ["contents"])
    pdf, _, pages = _print(browser, work / f"{name}-front.html", html)
    entries.insert(0, Entry("Contents", "contents"))
    bind([pdf, *parts], pages, entries, out, _subject(title, part), str(settings["author"]))
    seconds = time.monotonic() - began
    return Printed(out, pages + count, out.stat().st_size / 1e6, seconds)


def make_epub(book: Book, sections: list[Section], name: str) -> Printed:
    """Write sections, in the order of the book, into `build/epub/NAME.epub`."""
    began = time.monotonic()
    out = book.build / "epub" / f"{name}.epub"
    out.parent.mkdir(parents=True, exist_ok=True)
    settings = _settings(book)
    title = _subject(str(settings["title"]), _part(by_chapter(book, sections)))
    write_epub(book, sections, out, title, str(settings["author"]), settings["footer"])
    return Printed(out, None, out.stat().st_size / 1e6, time.monotonic() - began)


def _part(chapters: list[tuple[Chapter, list[Section]]]) -> list[str]:
    """Number and title of the one section or the one chapter that is printed; else nothing."""
    if len(chapters) > 1:
        return []
    chapter, sections = chapters[0]
    if len(sections) == 1:
        return [f"Section {sections[0].id}", sections[0].title]
    return [f"Chapter {chapter.number}", chapter.title]


def _subject(title: str, part: list[str]) -> str:
    """What a reader's library calls the file."""
    return f"{title}: {', '.join(part)}" if part else title


def _settings(book: Book) -> dict[str, Any]:
    """What the pages were built with; of version and date of the outputs, those there are."""
    path = book.build / "site-src" / "site.json"
    if not path.is_file():
        raise BookError(f"{path} is not there: `make book` builds the pages first.")
    settings = dict(json.loads(path.read_text(encoding="utf-8")))
    about = settings["footer"]
    edition = [f"Version {about['version']}"] if about["version"] else []
    edition += [f"outputs of {about['date']}"] if about["date"] else []
    about["edition"] = ", ".join(edition)
    return settings


def _print(browser: str, path: Path, html: str) -> tuple[Path, dict[str, Place], int]:
    path.write_text(html, encoding="utf-8")
    pdf = path.with_suffix(".pdf")
    chromium.print_pdf(browser, path, pdf)
    return pdf, *places(pdf)


def _entry(chapter: Chapter, sections: list[Section], numbers: dict[str, int]) -> Entry:
    below = [Entry(f"{s.id} {s.title}", place(s.id)) for s in sections]
    last = solutions_of(chapter.number)
    if last in numbers:
        below.append(Entry("Solutions", last))
    return Entry(f"{chapter.number} {chapter.title}", f"c{chapter.number}", below)
