"""`make slides`: a section as slides that open from the disk, by reveal.js.

What a slide shows is chosen by form: headings with the first sentence of their text, formulas with
the sentence that leads to them, lists, tables, figures with their captions, and code that later
sections use. The rest of the text becomes the speaker's notes. Two tags correct this: `slide` shows
a cell in full, `no-slide` leaves it out.
"""

from dataclasses import dataclass, field
from pathlib import Path

from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from .. import pair
from ..book import Book, Section
from ..grammar import FIGURE_MIME, SLIDE_TAGS
from ..site import npm, outputs
from ..site.pieces import PIECES
from ..site.policy import protected
from ..store import write_text
from .blocks import Block, Reader, code_blocks, picture_block, text_block

SHOW, LEAVE_OUT = SLIDE_TAGS
#: Lines of text that fit on a slide below its heading.
ROOM = 15.5
#: Parts of a section that are no matter of a lecture.
NOT_SHOWN = ("Exercises", "Sources")
WEB = npm.WEB / "slides"


@dataclass
class Slide:
    """One slide: headings, what is shown, and what the speaker says.

    Attributes
    ----------
    above
        The part that the slide belongs to, where its own heading is that of a lesser part.
    """

    heading: str
    above: str = ""
    blocks: list[Block] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kind: str = ""

    @property
    def used(self) -> float:
        return sum(block.lines for block in self.blocks)


def write_slides(book: Book, sections: list[Section]) -> list[Path]:
    """Write `build/slides/CHAPTER/SECTION.html` and what the slides load; returns the slides."""
    folder = book.build / "slides"
    npm.assets(npm.WEB.parents[1])
    for name, content in _assets():
        path = folder / "assets" / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    written = []
    with Reader() as reader:
        for section in sections:
            path = folder / section.path.parent.name / f"{section.path.stem}.html"
            write_text(path, page(book, section, Deck(section, reader).slides()))
            written.append(path)
    return written


def page(book: Book, section: Section, slides: list[Slide]) -> str:
    """The page of a section's slides."""
    text = PIECES.get_template("slides.html").render(
        title=f"{section.id} {section.title}",
        book=book.plan.get("title", ""),
        author=book.plan.get("author", ""),
        version=book.version,
        slides=slides,
    )
    return protected(text)


class Deck:
    """Makes the slides of a section, cell by cell."""

    def __init__(self, section: Section, reader: Reader):
        self.section, self.reader = section, reader
        self.done: list[Slide] = []
        self.part = ""
        self.fresh = True  # nothing of the text below a heading was shown
        self.within = True  # not in the exercises or the sources

    def slides(self) -> list[Slide]:
        notebook = pair.updated(self.section, pair.committed(self.section))
        for cell in notebook.cells:
            tags = cell.metadata.get("tags", [])
            if LEAVE_OUT in tags:
                continue
            if cell.cell_type == "markdown":
                self._text(cell.source, SHOW in tags)
            elif self.within:
                self._code(cell, tags)
        return [slide for slide in self.done if slide.blocks or slide.notes]

    @property
    def slide(self) -> Slide:
        return self.done[-1]

    # -- text ----------------------------------------------------------------------------------

    def _text(self, source: str, full: bool) -> None:
        blocks = self.reader.read(source, self.section.path.parent)
        for before, block, after in zip([None, *blocks], blocks, [*blocks[1:], None], strict=False):
            if block.kind == "heading":
                self._heading(block)
            elif self.within:
                self._block(block, before, after, full)

    def _heading(self, block: Block) -> None:
        if block.level == 2:
            self.within = block.source not in NOT_SHOWN
        if not self.within:
            return
        if block.level == 1:
            self.done.append(Slide(block.html, kind="title"))
        elif block.level == 2:
            self.part = block.html
            self.done.append(Slide(block.html))
        else:
            self.done.append(Slide(block.html, self.part))
        self.fresh = True

    def _block(self, block: Block, before: Block | None, after: Block | None, full: bool) -> None:
        if not self.done:
            self.done.append(Slide(self.section.title))
        if self.slide.kind == "title":
            if block.source == "**You will**":
                self.done.append(Slide("You will"))
                self.part, self.fresh = "You will", False
                return
        if block.kind == "caption":
            self._caption(block, full)
        elif block.kind != "text":
            self._show(block)
        elif full or (self.slide.kind == "title" and self.fresh):
            self._show(block)
        else:
            self.slide.notes.append(block.html)
            room = after.lines if after is not None and after.kind == "formula" else 0
            for sentence in self._sentences(block, before, after):
                self._show(text_block(self.reader.line(sentence)), noted=True, room=room)
        self.fresh = False

    def _sentences(self, block: Block, before: Block | None, after: Block | None) -> list[str]:
        """The sentences of a paragraph that are shown, each a line of its source.

        They are what names the symbols of the formula above, what leads to the formula below, and
        the first below a heading.
        """
        lines = block.source.split("\n")
        shown = {0: self.fresh}
        if before is not None and before.kind == "formula":
            shown[0] = lines[0].startswith(("where ", "Here "))
        if after is not None and after.kind == "formula":
            shown = {len(lines) - 1: True}
        return [lines[number] for number, yes in shown.items() if yes]

    def _caption(self, block: Block, full: bool) -> None:
        """The first sentence below the figure, on the slide on which it stands."""
        first, _, rest = block.source.partition("\n")
        target = next(
            (s for s in reversed(self.done) if any(b.kind == "picture" for b in s.blocks)), None
        )
        if target is None or target.heading != self.slide.heading:
            self.slide.notes.append(block.html)
            return
        target.blocks.append(Block("caption", block.source, self.reader.line(first), 1.0))
        if rest:
            target.notes.append(block.html)

    # -- code ----------------------------------------------------------------------------------

    def _code(self, cell: NotebookNode, tags: list[str]) -> None:
        if not self.done:
            return
        full = SHOW in tags
        if full or "export" in tags:
            self._lines(cell.source)
        shown, _ = outputs.shown(cell.get("outputs", []))
        for raw, output in zip(cell.get("outputs", []), shown, strict=True):
            picture = picture_block(raw)
            if picture is not None:
                self._show(picture)
            elif full and "text" in output:
                self._lines(output["text"].rstrip(), output=True)
            elif full and "text/plain" in output.get("data", {}) and FIGURE_MIME not in raw.data:
                self._lines(output["data"]["text/plain"], output=True)
        self.fresh = False

    def _lines(self, text: str, *, output: bool = False) -> None:
        for block in code_blocks(text, output=output):
            self._show(block)

    def _show(self, block: Block, *, noted: bool = False, room: float = 0) -> None:
        """Put a block on this slide, or on another with the same heading if it is full.

        Parameters
        ----------
        noted
            The last of the notes belongs to the block.
        room
            Lines that are to be left below it.
        """
        lone = block.kind == "picture" and any(b.kind == "picture" for b in self.slide.blocks)
        if self.slide.blocks and (lone or self.slide.used + block.lines + room > ROOM):
            old = self.slide
            new = Slide(old.heading, old.above)
            if noted:  # the paragraph goes where its sentence is
                new.notes.append(old.notes.pop())
            self.done.append(new)
        self.slide.blocks.append(block)


def _assets() -> list[tuple[str, bytes]]:
    """Name and content of what slides load: reveal.js, fonts, mathematics, own styles."""
    reveal = npm.WEB / "node_modules" / "reveal.js"
    files = {n: reveal / "dist" / n for n in ("reveal.js", "reveal.css")}
    files["LICENSE"] = reveal / "LICENSE"
    found = [(f"reveal/{name}", path.read_bytes()) for name, path in files.items()]
    found += [(path.name, path.read_bytes()) for path in sorted(WEB.iterdir())]
    style = HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".code")
    return [*found, *npm.static(), ("code.css", style.encode())]
