"""What a reader takes along: notebooks that stand alone, the helper's wheel, the whole book."""

import base64
import copy
import mimetypes
import re
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import nbformat
from nbformat import NotebookNode

from ..book import Book, Section
from ..grammar import CODE, LINK, MATHS, blank
from . import archive
from .addresses import Addresses
from .npm import WEB
from .outputs import clean
from .pieces import page, piece
from .places import doc
from .wheel import Wheel

CELL = WEB / "first_cell.py"
CELL_ID = "look-for-helper"
#: Folded where a notebook opens: in JupyterLab, and in Colab.
FOLDED = {"jupyter": {"source_hidden": True}, "cellView": "form"}
PAIRING = re.compile(r"^#     formats: .*\n", re.MULTILINE)


class Downloads:
    """The files under `downloads/` of a book.

    Parameters
    ----------
    book
        Its settings say what links in a notebook lead to: the site if it has an address, else the
        repository; without either, the words of a link stand alone.
    """

    def __init__(self, book: Book):
        self.book = book
        self.wheel, self.addresses = Wheel(book), Addresses.of(book.settings)
        self.sections = {p: s for s in book.sections for p in (s.path.resolve(), s.ipynb.resolve())}

    def notebook(self, section: Section, notebook: NotebookNode) -> NotebookNode:
        """A notebook as a reader gets it: it runs in any folder, and says what it needs.

        Below the title stands a cell that looks for the helper. Pictures are in the notebook
        itself, as `data:` addresses, since JupyterLab shows no attachment that is an SVG.
        """
        alone = clean(notebook)
        alone.cells = [self._standing_alone(section, cell) for cell in notebook.cells]
        titled = bool(alone.cells) and alone.cells[0].cell_type == "markdown"
        alone.cells.insert(1 if titled else 0, self.first_cell())
        return alone

    def python_file(self, section: Section) -> str:
        """The cells as text, by themselves: saving them leaves a notebook beside them as it is."""
        header, mark, rest = section.text.partition("\n# ---\n")
        return PAIRING.sub("", header + mark) + rest

    def first_cell(self) -> NotebookNode:
        """The cell that looks for the helper in the version of this book."""
        name, places = self.wheel.name, self.addresses
        given = (self.wheel.version, name, places.download(name), places.page("download.html"))
        call = "\n".join(f'    "{value}",' for value in given)
        source = CELL.read_text(encoding="utf-8").rstrip()
        source += f"\n\n\nlook_for_helper(\n{call}\n)\ndel look_for_helper"
        return nbformat.v4.new_code_cell(source, id=CELL_ID, metadata=copy.deepcopy(FOLDED))

    def _standing_alone(self, section: Section, cell: NotebookNode) -> NotebookNode:
        if cell.cell_type != "markdown":
            return cell
        new = NotebookNode(cell)
        new.source = relinked(cell.source, lambda link: self._link(section, link))
        return new

    def _link(self, section: Section, link: "Link") -> str:
        """A link or picture in the words of a notebook that may lie anywhere."""
        if re.match(r"[a-z]+:|#", link.target):
            return link.whole
        target, _, anchor = link.target.partition("#")
        path = (section.path.parent / urllib.parse.unquote(target)).resolve()
        if link.image and path.is_file():
            kind = mimetypes.guess_type(path.name)[0] or "image/png"
            content = base64.b64encode(path.read_bytes()).decode()
            return f"![{link.text}](data:{kind};base64,{content})"
        other, address = self.sections.get(path), ""
        if other is not None:
            address = self.addresses.page(f"{doc(other)}.html")
        there = other is not None or path.is_file()
        if not address and there and path.is_relative_to(self.book.root):
            address = self.addresses.source(path.relative_to(self.book.root).as_posix())
        anchor = f"#{anchor}" if anchor else ""
        return f"[{link.text}]({address}{anchor})" if address else link.text

    def page(self, sizes: dict[str, int]) -> str:
        """The page that names what there is to download, in Markdown.

        Parameters
        ----------
        sizes
            Name below `downloads/` -> bytes, of the zip file and the wheel.
        """
        whole, wheel = archive.NAME, self.wheel.name
        files = [
            {
                "name": name,
                "url": f"downloads/{urllib.parse.quote(name)}",
                "size": size(sizes[name]),
                "what": what,
            }
            for name, what in (
                (
                    whole,
                    "the whole book: text, notebooks, helper, and what builds and checks it",
                ),
                (wheel, "the helper that notebooks import, with its chapters"),
            )
        ]
        setup = next((s for s in self.book.sections if s.id == "0.3"), None)
        launches = self.addresses.launches("")
        return page(
            "download",
            setup=f"{doc(setup)}{'.md' if setup.is_page else '.ipynb'}" if setup else "",
            files=piece("downloads", files=files),
            folder=archive.FOLDER,
            whole=whole,
            repository=self.addresses.repository,
            source=self.addresses.download(wheel) or wheel,
            named=bool(self.addresses.download(wheel)),
            services=[name for name in launches if name != "Binder"],
            binder="Binder" in launches,
        )


@dataclass(frozen=True)
class Link:
    """A link or picture in Markdown: as it stands, and its parts."""

    whole: str
    image: bool
    text: str
    target: str


def relinked(text: str, change: Callable[[Link], str]) -> str:
    """Markdown with every link and picture changed; code and mathematics stay as they are.

    >>> relinked("See [one](1.html), `a[0](b)`.", lambda link: link.text.upper())
    'See ONE, `a[0](b)`.'
    """
    return "".join(_pieces(text, change))


def _pieces(text: str, change: Callable[[Link], str]) -> Iterator[str]:
    prose, end = MATHS.sub(blank, CODE.sub(blank, text)), 0
    for match in LINK.finditer(prose):
        whole, words, target = (text[slice(*match.span(g))] for g in (0, "text", "target"))
        yield text[end : match.start()]
        yield change(Link(whole, bool(match["image"]), words, target))
        end = match.end()
    yield text[end:]


def size(count: int) -> str:
    """Bytes in words, e.g. `24 MB`."""
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
