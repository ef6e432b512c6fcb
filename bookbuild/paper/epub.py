"""The book as an EPUB 3: a file for each section, one for the solutions of a chapter, MathML."""

import base64
import datetime
import posixpath
import re
import unicodedata
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from bs4 import BeautifulSoup, Tag

from ..book import Book, BookError, Chapter, Section
from ..site.npm import WEB
from ..site.pieces import PIECES
from .document import SCHEME, Documents, by_chapter, solutions_of, take_solutions

TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".gif": "image/gif"}
#: What XHTML of today no longer has; pandas writes the first.
OLD = ("border", "align", "valign", "width", "bgcolor")
#: Elements of MathML with a fixed number of children.
FIXED = ("msub", "msup", "msubsup", "mfrac", "munder", "mover", "munderover", "mroot")
ALPHABET = re.compile(
    r"(?:MATHEMATICAL )?(BOLD ITALIC|BOLD|DOUBLE-STRUCK|SCRIPT|FRAKTUR|BLACK-LETTER|SANS-SERIF"
    r"|MONOSPACE) (?:CAPITAL|SMALL|DIGIT)"
)
CONTAINER = (
    '<?xml version="1.0"?><container version="1.0" '
    'xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile '
    'full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def _letters() -> dict[tuple[str, str], str]:
    """(`mathvariant`, letter) -> the letter of Unicode's mathematical alphabet.

    Browsers, and so many e-readers, no longer know the attribute.
    """
    found: dict[tuple[str, str], str] = {}
    for code in (*range(0x2100, 0x2150), *range(0x1D400, 0x1D800)):
        match = ALPHABET.match(unicodedata.name(chr(code), ""))
        if match:
            style = match[1].lower().replace(" ", "-").replace("black-letter", "fraktur")
            found.setdefault((style, unicodedata.normalize("NFKC", chr(code))), chr(code))
    return found


LETTERS = _letters()


@dataclass
class Page:
    """A file of the EPUB."""

    name: str
    title: str
    content: Tag


@dataclass
class Shelf:
    """A chapter in the contents: its title and pages."""

    title: str
    pages: list[Page]


@dataclass
class Pictures:
    """Pictures by the address that a page gives them; each gets one file."""

    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    def name(self, address: str) -> str:
        """Name of the file in the EPUB."""
        if address not in self.files:
            ending, content = _picture(address)
            name = f"images/{len(self.files):04d}{ending}"
            self.files[address] = name, content
        return self.files[address][0]


def write_epub(
    book: Book, sections: list[Section], out: Path, title: str, author: str, about: dict[str, str]
) -> None:
    """Write sections, in the order of the book, into one EPUB.

    `about` says of the book its `edition` and `licences`.

    Raises
    ------
    BookError
        If a link leads to a place that the EPUB does not have.
    """
    documents = Documents(book, book.build / "html", sections, "A4")
    shelves = [
        Shelf(f"{c.number} {c.title}", list(_pages(documents, c, own)))
        for c, own in by_chapter(book, sections)
    ]
    pages = [page for shelf in shelves for page in shelf.pages]
    pictures = Pictures()
    where = {str(e["id"]): p.name for p in pages for e in _all(p.content) if e.has_attr("id")}
    for page in pages:
        _plain(page.content, pictures)
        _resolve(page.content, where)
    values = {
        "title": title, "author": author, "about": about, "shelves": shelves, "pages": pages,
        "pictures": [(name, TYPES[Path(name).suffix]) for name, _ in pictures.files.values()],
        "id": uuid.uuid5(uuid.NAMESPACE_URL, f"{title} {[s.id for s in sections]}"),
        "now": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }  # fmt: skip
    part = out.with_name(f".{out.name}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        file.writestr("META-INF/container.xml", CONTAINER)
        for name in ("book.opf", "nav.xhtml"):
            file.writestr(name, PIECES.get_template(f"epub-{name}").render(values))
        file.write(WEB / "paper" / "epub.css", "epub.css")
        template = PIECES.get_template("epub-page.xhtml")
        for page in pages:
            text = page.content.decode(formatter="minimal")
            file.writestr(page.name, template.render(title=page.title, body=text))
        for name, content in pictures.files.values():
            file.writestr(name, content, zipfile.ZIP_STORED)
    part.replace(out)


def _pages(documents: Documents, chapter: Chapter, sections: list[Section]) -> Iterator[Page]:
    """The sections of a chapter, then the solutions of them all."""
    solutions: list[Tag] = []
    for section in sections:
        article = documents.article(section)
        own = take_solutions(article, section)
        yield Page(f"s{section.id}.xhtml", f"{section.id} {section.title}", article)
        if own is not None:
            solutions.append(own)
    if solutions:
        soup = BeautifulSoup("", "lxml")
        last = soup.new_tag("section", id=solutions_of(chapter.number))
        last.append(soup.new_tag("h1", string=f"Solutions of Chapter {chapter.number}"))
        last.extend(solutions)
        yield Page(f"c{chapter.number}-solutions.xhtml", "Solutions", last)


def _all(content: Tag) -> Iterator[Tag]:
    yield content
    yield from content.find_all(True)


def _plain(content: Tag, pictures: Pictures) -> None:
    """Formulas as MathML alone, pictures as files, none of the styles of the site."""
    for formula in content.select(".katex"):
        math = formula.find("math")
        if isinstance(math, Tag):
            _valid(math)
            formula.replace_with(math.extract())
    for wrapper in content.select(".katex-display"):
        wrapper.unwrap()
    for style in content.find_all("style"):
        style.decompose()
    for element in _all(content):
        if element.find_parent("math") is None and element.name != "math":
            for name in ("style", "tabindex", "name", *OLD):
                if name in element.attrs and not (name == "width" and element.name == "img"):
                    del element[name]
        if element.name == "img":
            element["src"] = pictures.name(str(element["src"]))
            for name in ("width", "height"):
                element.attrs.pop(name, None)


def _valid(math: Tag) -> None:
    """KaTeX's MathML without what the standard refuses, its alphabets as letters of their own.

    The sign of an applied function is a third child of a subscript with `max` in it, a letter with
    a hat may stand within a letter, and tables with the number of an equation have widths.
    """
    for sign in math.find_all("mo", string="\u2061"):
        if sign.parent is not None and sign.parent.name in FIXED:
            sign.decompose()
    for letter in math.find_all(["mi", "mn", "mo"]):
        if letter.find(True):
            letter.name, letter.attrs = "mrow", {}
        else:
            style = str(letter.attrs.get("mathvariant", ""))
            drawn = [LETTERS.get((style, char), "") for char in letter.get_text()]
            if drawn and all(drawn):
                letter.string = "".join(drawn)
                del letter["mathvariant"]
    for element in math.find_all(["mtable", "mtd"]):
        element.attrs.pop("width", None)


def _resolve(content: Tag, where: dict[str, str]) -> None:
    for link in content.find_all("a", href=True):
        address = str(link["href"])
        name = address.removeprefix(SCHEME) if address.startswith(SCHEME) else address[1:]
        if not address.startswith((SCHEME, "#")):
            continue
        if name not in where:
            raise BookError(f"the EPUB has a link to {name}, which is not in it.")
        link["href"] = f"{where[name]}#{name}"


def _picture(address: str) -> tuple[str, bytes]:
    """Ending and content of a picture, from a file or from the address itself."""
    if address.startswith("data:"):
        kind, _, text = address.removeprefix("data:").partition(",")
        ending = next(e for e, mime in TYPES.items() if kind.startswith(mime))
        return ending, base64.b64decode(text) if "base64" in kind else unquote(text).encode()
    path = Path(url2pathname(urlsplit(address).path))
    return posixpath.splitext(path.name)[1].replace(".jpeg", ".jpg"), path.read_bytes()
