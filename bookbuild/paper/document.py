"""One HTML document for paper from the built pages of a chapter.

Sections follow each other, solutions stand at the end, what only a screen can do is left out or
shown as it first stands, and every link leads to a place in the same PDF or to an address.
"""

import copy
import posixpath
import re
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from ..book import Book, BookError, Chapter, Section
from ..site.npm import WEB
from ..site.pieces import PIECES
from ..site.places import doc

#: Scheme of a link into another document of the same PDF; the binding resolves it.
SCHEME = "book:"
GONE = "a.headerlink, .page-facts, .d2l-sliders script, script, noscript, button"
#: Sizes of paper, as style sheets name them, and how wide their text is, which paper.css's margins
#: leave. Boxes are measured at this width before they are printed.
WIDTHS = {"A4": "160mm", "letter": "166mm"}
ARTICLE = re.compile(r'<article class="bd-article">(.*)</article>', re.S)
ODD = re.compile(r"[^A-Za-z0-9._-]")


def place(section: str, fragment: str = "") -> str:
    """Name of a place in the PDF; every section has names of its own.

    Examples
    --------
    >>> place("3.1"), place("3.1", "equation-3-1-1"), place("0.4", "λ")
    ('s3.1', 's3.1.equation-3-1-1', 's0.4._3bb')
    """
    safe = ODD.sub(lambda match: f"_{ord(match[0]):x}", unquote(fragment))
    return f"s{section}.{safe}" if safe else f"s{section}"


def solutions_of(chapter: int) -> str:
    """Name of the place where the solutions of a chapter begin."""
    return f"c{chapter}.solutions"


def by_chapter(book: Book, sections: list[Section]) -> list[tuple[Chapter, list[Section]]]:
    """The chapters that have some of these sections, each with those, in the order of the book."""
    chapters = [(c, [s for s in c.sections if s in sections]) for c in book.chapters]
    return [(chapter, own) for chapter, own in chapters if own]


class Documents:
    """Makes documents from the pages in `site`.

    Parameters
    ----------
    book
        The book whose pages they are.
    site
        Folder of the built pages.
    sections
        What the PDF has; links to other sections lead to the web, or are plain text.
    paper
        One of `WIDTHS`.
    """

    def __init__(self, book: Book, site: Path, sections: list[Section], paper: str):
        self.site, self.paper = site, paper
        self.ids = {f"{doc(s)}.html": s.id for s in sections}
        self.url = str(book.settings.get("site_url") or "").rstrip("/")

    def chapter(self, chapter: Chapter, sections: list[Section], first: int) -> str:
        """The chapter as one page whose first sheet has the number `first`."""
        heading = f"{chapter.number} {chapter.title}"
        soup = BeautifulSoup(f'<h1 class="chapter" id="c{chapter.number}"></h1>', "lxml")
        body, title = soup.body, soup.h1
        assert body is not None and title is not None
        title.append(soup.new_tag("span", string=f"Chapter {chapter.number}"))
        title.append(chapter.title)
        solutions: list[Tag] = []
        here = {s.id for s in sections}
        for section in sections:
            article = self.article(section, here)
            own = take_solutions(article, section)
            body.append(article)
            if own is not None:
                solutions.append(own)
        if solutions:
            last = soup.new_tag("section", id=solutions_of(chapter.number))
            last["class"] = "solutions"
            last.append(soup.new_tag("h1", string=f"Solutions of Chapter {chapter.number}"))
            last.extend(solutions)
            body.append(last)
        for formula in body.select(".katex"):
            _say(formula)
        names = [str(e["id"]) for e in body.find_all(id=True)]
        return self.frame(heading, body.decode_contents(), first, names, heading)

    def frame(
        self, title: str, body: str, first: int, names: Iterable[str] = (), head: str = ""
    ) -> str:
        """A whole page: styles of the site and of paper, and a link to each place that has a name.

        Chromium remembers in the PDF only places that some link names, seen or not.
        """
        page = next(self.site / name for name in self.ids)
        head_of_page = page.read_text(encoding="utf-8").partition("</head>")[0]
        styles = [
            (page.parent / str(link["href"]).split("?")[0]).resolve().as_uri()
            for link in BeautifulSoup(head_of_page, "lxml").select("link[rel=stylesheet]")
        ]
        return PIECES.get_template("paper.html").render(
            title=title, head=_css(head), body=body, first=first, names=list(names), styles=styles,
            paper=self.paper, roman=not head, width=WIDTHS[self.paper],
            css=(WEB / "paper" / "paper.css").read_text(encoding="utf-8"),
            script=(WEB / "paper" / "fit.js").read_text(encoding="utf-8"),
        )  # fmt: skip

    def article(self, section: Section, here: AbstractSet[str] = frozenset()) -> Tag:
        """The text of a section for paper, with names of its own.

        Links to the sections `here` begin with `#`, those to others of the PDF with `SCHEME`.
        """
        page = self.site / f"{doc(section)}.html"
        if not page.is_file():
            raise BookError(f"{page} is not there: `make book` builds the pages first.")
        text = ARTICLE.search(page.read_text(encoding="utf-8"))
        found = BeautifulSoup(text[1], "lxml").find("section") if text else None
        if not isinstance(found, Tag):
            raise BookError(f"{page} has no text of a section; build it anew: `make book`.")
        for element in found.select(GONE):
            element.decompose()
        _still(found)
        self._names(found, section)
        self._links(found, section, here)
        return found

    def _names(self, article: Tag, section: Section) -> None:
        """Names that are unique in the PDF, for places and for all that refers to one."""
        for element in article.find_all(id=True):
            element["id"] = place(section.id, str(element["id"]))
        article["id"] = place(section.id)
        article["class"] = "book-section"

    def _links(self, article: Tag, section: Section, here: AbstractSet[str]) -> None:
        folder = posixpath.dirname(doc(section))
        for link in article.find_all("a", href=True):
            address = urlsplit(str(link["href"]))
            if address.scheme:
                continue
            target = posixpath.normpath(posixpath.join(folder, address.path))
            to = self.ids.get(target) if address.path else section.id
            if to is not None:
                name = place(to, address.fragment)
                link["href"] = f"#{name}" if to in here else f"{SCHEME}{name}"
            elif self.url:
                mark = f"#{address.fragment}" if address.fragment else ""
                link["href"] = f"{self.url}/{target}{mark}"
            else:
                link.unwrap()
        for picture in article.find_all("img", src=True):
            if not urlsplit(str(picture["src"])).scheme:
                path = self.site / folder / unquote(str(picture["src"]))
                picture["src"] = path.resolve().as_uri()


def _css(text: str) -> str:
    """Text as it may stand in a string of a style sheet within a page."""
    return re.sub(r'[\\"<>&\n]', lambda match: f"\\{ord(match[0]):x} ", text)


def _still(article: Tag) -> None:
    """What moves, sounds or unfolds on a screen, as paper can have it."""
    for figure in article.select(".d2l-sliders"):
        values = [" ".join(label.get_text(" ").split()) for label in figure.find_all("label")]
        for label in figure.find_all("label"):
            label.decompose()
        del figure["data-frames"]
        shown = ", ".join(value.replace(" ", " = ", 1) for value in values)
        _note(figure, f"Drawn for {shown}; on the page there are sliders.", inside=True)
    for sound in article.find_all(["audio", "video"]):
        _note(sound, "(to be heard on the page)" if sound.name == "audio" else "(on the page)")
        sound.decompose()
    for folded in article.select("details.hide"):
        _note(folded, "The code of this cell is in the notebook.")
        folded.decompose()
    for folded in article.select("details:not(.solution)"):
        folded["open"] = ""


def _note(element: Tag, text: str, inside: bool = False) -> None:
    note = BeautifulSoup("", "lxml").new_tag("span", string=text)
    note["class"] = "on-paper"
    if inside:
        element.append(note)
    else:
        element.insert_before(note)


def _say(formula: Tag) -> None:
    """The TeX for who hears the PDF, and no hidden MathML.

    Chromium tags what is hidden from a screen reader as nothing, and a picture with words as such.
    """
    source, hidden = formula.select_one("annotation"), formula.select_one(".katex-mathml")
    drawn = formula.select_one(".katex-html")
    if source is not None and hidden is not None and drawn is not None:
        formula["role"], formula["aria-label"] = "img", source.get_text()
        hidden.decompose()
        del drawn["aria-hidden"]


def take_solutions(article: Tag, section: Section) -> Tag | None:
    """Move the solutions out; where each stood there is a link to it."""
    soup = BeautifulSoup("", "lxml")
    taken = soup.new_tag("section", id=place(section.id, "all-solutions"))
    taken.append(soup.new_tag("h2", string=f"{section.id} {section.title}"))
    for folded in article.select("details.solution"):
        summary, text = folded.find("summary"), folded.find("div")
        if not isinstance(summary, Tag) or not isinstance(text, Tag):
            continue
        name = str(folded["id"])
        link = soup.new_tag("p")
        link["class"] = "to-solution"
        to = soup.new_tag("a", href=f"#{name}", string=summary.get_text())
        link.extend([to, " stands at the end of the chapter."])
        solution = soup.new_tag("section", id=name)
        solution["class"] = "solution"
        heading = soup.new_tag("h3")
        heading.extend(copy.copy(child) for child in summary.contents)
        solution.extend([heading, text.extract()])
        taken.append(solution)
        folded.replace_with(link)
    return taken if taken.find("section") else None
