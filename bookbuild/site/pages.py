"""What the site says about the book: facts below titles, contents, home page."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePosixPath
from typing import Any
from xml.sax.saxutils import escape

from nbformat import NotebookNode

from ..book import Book, Chapter, Section
from ..grammar import CAPTION
from ..record import Run
from . import outputs
from .addresses import Addresses
from .pieces import device, duration, page, piece
from .places import doc
from .status import anchor

PLACEHOLDER = re.compile(r"^<!-- (start|figure|progress)(?:: *([^>]*?))? -->$", re.MULTILINE)
#: Pages of the site that are no sections: name -> what the menu calls it, in their order.
MENU = {
    "index": "Start",
    "contents": "Contents",
    "look-up": "Look up",
    "download": "Download",
    "data-sets": "Data sets",
    "teaching": "Teaching",
    "status": "Status",
}


def facts(book: Book, section: Section, run: Run | None, known: bool) -> str:
    """Below a title: how the page was made, how to run it, banners.

    Parameters
    ----------
    run
        The run that made the outputs, or None.
    known
        Whether the page has outputs.
    """
    up = "../" * doc(section).count("/")
    notebook = not section.is_page
    return piece(
        "facts",
        status=f"{up}status.html#{anchor(section)}",
        facts=list(_run_facts(run)) if run is not None and notebook else [],
        links=list(_links(book, section, up)),
        standins=run.standins if run is not None and known else [],
        not_run=notebook and (not known or (run is not None and run.status == "failed")),
        failed=run is not None and run.status == "failed",
    )


def _run_facts(run: Run) -> Iterator[str]:
    if run.seconds:
        yield f"Ran in {duration(run.seconds)} on {device(run.device)}"
    if run.checks:
        yield f"{len(run.checks)} check{'s' if len(run.checks) > 1 else ''} passed"


def _links(book: Book, section: Section, up: str) -> Iterator[dict[str, Any]]:
    name, addresses = doc(section), Addresses.of(book.settings)
    if not section.is_page:
        for kind, text in (("ipynb", "Notebook"), ("py", "Python file")):
            yield {"url": f"{up}downloads/{name}.{kind}", "text": text, "download": True}
        yield {"url": f"{up}download.html#one-notebook", "text": "How to run it"} | OPEN
        for service, url in addresses.launches(name).items():
            yield {"url": url, "text": service} | OPEN
    for text, url in (
        ("Source", addresses.source(section.path.relative_to(book.root).as_posix())),
        ("Report an error", addresses.report(section.id, version(book, section))),
    ):
        if url:
            yield {"url": url, "text": text} | OPEN


OPEN = {"download": False}


def version(book: Book, section: Section) -> str:
    """Version of the book, and of the section's file as git names it.

    `git log --find-object` finds the commits that brought or changed this very text.
    """
    text = section.text.encode()
    blob = hashlib.sha1(b"blob %d\0%b" % (len(text), text), usedforsecurity=False).hexdigest()
    return f"{book.project['version']}, file {blob[:12]}"


def sitemap(files: Iterable[PurePosixPath], addresses: Addresses) -> str:
    """The list of pages for search engines, as sitemaps.org has it, from the pages' sources."""
    there = (addresses.page(file.with_suffix(".html").as_posix()) for file in files)
    urls = (f"<url><loc>{escape(address)}</loc></url>" for address in there)
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    space = "http://www.sitemaps.org/schemas/sitemap/0.9"
    return "\n".join([head, f'<urlset xmlns="{space}">', *urls, "</urlset>", ""])


def parts(book: Book) -> dict[str, list[Chapter]]:
    """Title of a part -> its chapters, in order."""
    found: dict[str, list[Chapter]] = {}
    for chapter in book.chapters:
        found.setdefault(chapter.part, []).append(chapter)
    return found


def file_of(section: Section) -> str:
    """A section's page in the source tree."""
    return f"{doc(section)}{'.md' if section.is_page else '.ipynb'}"


def contents(book: Book) -> str:
    """The whole plan: sections that exist as links, the others marked as to come."""
    return page(
        "contents",
        there=len(book.sections),
        planned=len(book.planned),
        parts=[
            {"title": title, "chapters": [_chapter(c) for c in chapters]}
            for title, chapters in parts(book).items()
        ],
    )


def _chapter(chapter: Chapter) -> dict[str, Any]:
    sections = [
        {"name": f"{s.id} {s.title}", "file": file_of(s) if s.exists else ""}
        for s in chapter.sections
    ]
    return {"number": chapter.number, "title": chapter.title, "sections": sections}


class Home:
    """The home page: book/index.md with its placeholders filled, and the order of all pages.

    Parameters
    ----------
    executed
        Section number -> notebook with outputs; one of its figures is shown.
    put
        Takes name and content of a picture that the page shows.
    """

    def __init__(
        self,
        book: Book,
        title: str,
        executed: dict[str, NotebookNode],
        put: Callable[[str, str], None],
    ):
        self.book, self.title, self.executed, self.put = book, title, executed, put

    def text(self) -> str:
        own = self.book.root / "book" / "index.md"
        text = f"# {self.title}\n\n<!-- start -->\n\n<!-- progress -->\n"
        if own.exists():
            text = own.read_text(encoding="utf-8")
        fill = {"start": self._start, "figure": self._figure, "progress": self._progress}
        text = PLACEHOLDER.sub(lambda m: fill[m[1]](m[2] or ""), text)
        about = [name for name in MENU if name not in ("index", "contents")]
        names = ["contents", *(doc(s) for s in self.book.sections), *about]
        return f"{text.rstrip()}\n\n```{{toctree}}\n:hidden:\n\n" + "\n".join(names) + "\n```\n"

    def _start(self, _: str) -> str:
        sections = self.book.sections
        first = next((s for s in sections if s.chapter > 0), next(iter(sections), None))
        if first is None:
            return ""
        chapter = next(c for c in self.book.chapters if first in c.sections)
        title = chapter.title[0].lower() + chapter.title[1:]
        return piece("start", url=f"{doc(first)}.html", number=chapter.number, title=title)

    def _progress(self, _: str) -> str:
        """One line for each part: how many of its sections are there."""
        rows = []
        for title, chapters in parts(self.book).items():
            sections = [s for c in chapters for s in c.sections]
            there = sum(s.exists for s in sections)
            percent = round(100 * there / len(sections))
            rows.append(
                {"title": title, "there": there, "planned": len(sections), "percent": percent}
            )
        return piece("progress", parts=rows)

    def _figure(self, wanted: str) -> str:
        """The first wanted figure that exists, else the first of the book, with its caption."""
        figures = {number: (shown, text, s) for number, shown, text, s in self.figures()}
        number = next((n for n in wanted.split() if n in figures), next(iter(figures), None))
        if number is None:
            return ""
        output, caption, section = figures[number]
        source = f"From [Section {section.id}, {section.title}]({file_of(section)})."
        caption = f'<div class="home-caption"></div>\n\n{caption} {source}\n'
        if "d2l-sliders" in output.data.get("text/html", ""):
            page = outputs.shown([output])[0][0].data["text/html"]
            return f"{''.join(page.splitlines())}\n\n{caption}"
        name = f"figures/{number.replace('.', '-')}.png"
        self.put(name, output.data["image/png"])
        width = output.metadata.get("image/png", {}).get("width")
        options = outputs.picture_of(output) | {"width": f"{width}px" if width else ""}
        lines = [f":{key}: {value}" for key, value in options.items() if value]
        return "\n".join([f"```{{image}} {name}", *lines, "```", "", caption])

    def figures(self) -> Iterator[tuple[str, NotebookNode, str, Section]]:
        """Number, output, caption and section of each figure that a code cell draws."""
        for section in self.book.notebooks:
            notebook = self.executed.get(section.id)
            last: NotebookNode | None = None
            for cell in notebook.cells if notebook is not None else []:
                if cell.cell_type == "code":
                    for output in cell.get("outputs", []):
                        last = output if "image/png" in output.get("data", {}) else last
                elif last is not None:
                    match = CAPTION.match(cell.source)
                    if match:
                        yield match[1], last, match[2], section
                    last = None
