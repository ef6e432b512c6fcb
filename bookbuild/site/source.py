"""The source tree of the site, from the executed notebooks; only what changed is written."""

import base64
import copy
import json
import re
import tomllib
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import Any

import nbformat
from nbformat import NotebookNode

from ..book import Section
from ..terms import Terms
from . import (
    archive,
    bibliography,
    data_sets,
    figures,
    glossary,
    licence,
    look_up,
    npm,
    outputs,
    pages,
    status,
    teaching,
)
from .downloads import Downloads
from .inputs import Inputs, State
from .moved import moved
from .pieces import day
from .places import doc, with_facts
from .reference import Reference, reference_page

MAGIC = re.compile(r"^\s*[%!]", re.MULTILINE)


class Tree:
    """Files in a folder: put one by one, at the end the others are removed.

    Attributes
    ----------
    written
        Names of the files put so far.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.written: list[str] = []

    def put(self, name: str, content: str | bytes) -> None:
        """Write a file unless it already says this."""
        path = self.folder / name
        self.written.append(name)
        data = content.encode() if isinstance(content, str) else content
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def stamp(self, name: str) -> list[int] | None:
        """Size and time of change of a file; None if it is not there."""
        try:
            known = (self.folder / name).stat()
        except OSError:
            return None
        return [known.st_size, known.st_mtime_ns]

    def prune(self) -> None:
        """Remove files that were not put, and folders without any."""
        keep = {self.folder / name for name in self.written}
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_file() and path not in keep:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()


class Source:
    """Writes `book/` (pages), `extra/` (downloads), `static/` (fonts), `site.json` (settings).

    Parameters
    ----------
    inputs
        Book, notebooks and runs.
    state
        What the last build wrote; a section with the same inputs is not written again.
    """

    def __init__(self, inputs: Inputs, state: State):
        self.inputs, self.state = inputs, state
        self.book, self.executed, self.runs = inputs.book, dict(inputs.executed), inputs.runs
        self.downloads = Downloads(self.book)
        self.tree = Tree(self.book.build / "site-src")
        self.plan = tomllib.loads(
            (self.book.root / "book" / "contents.toml").read_text(encoding="utf-8")
        )

        self.names: list[list[str]] = []

    @property
    def folder(self) -> Path:
        return self.tree.folder

    def write(self) -> list[str]:
        """Write everything, remove what no longer belongs; returns the sections written."""
        changed = [s.id for s in self.book.sections if self._section(s)]
        self._made("wheel", self.downloads.wheel.version + self.inputs.tool, self._write_wheel)
        self._made("archive", self.inputs.archive + self.inputs.tool, self._write_archive)
        names = (archive.NAME, self.downloads.wheel.name)
        sizes = {n: (self.folder / "extra" / "downloads" / n).stat().st_size for n in names}
        self.tree.put("book/download.md", self.downloads.page(sizes))
        self.tree.put("book/contents.md", pages.contents(self.book))
        self.tree.put("book/data-sets.md", data_sets.data_sets_page(self.book))
        self.tree.put("book/teaching.md", teaching.teaching_page(self.book, self.runs))
        self.tree.put("book/licence.md", licence.licence_page(self.book))
        self._look_up()
        self.tree.put("book/status.md", status.status_page(self.book, self.executed, self.runs))
        home = pages.Home(self.book, self.title, self.executed, self._picture)
        self.tree.put("book/index.md", home.text())
        self.tree.put("site.json", json.dumps(self.settings(), indent=1, ensure_ascii=False))
        self.tree.put("extra/.nojekyll", "")
        if self.downloads.addresses.site:
            put = [PurePosixPath(name) for name in self.tree.written if name.startswith("book/")]
            shown = [path.relative_to("book") for path in put if path.suffix in (".md", ".ipynb")]
            self.tree.put("extra/sitemap.xml", pages.sitemap(shown, self.downloads.addresses))
        for old, text in moved(self.book):
            self.tree.put(f"extra/{old}", text)
        for name, content in npm.static():
            self.tree.put(f"static/{name}", content)
        self.tree.prune()
        return changed

    def _look_up(self) -> None:
        """The pages that answer "where was that?", and the names that the search suggests."""
        known, reference = Terms(self.book), Reference(self.book)
        code = [{"name": n.shown, "url": n.url} for n in reference.names]
        self.tree.put("book/glossary.md", glossary.glossary_page(self.book, known))
        self.tree.put("book/term-index.md", glossary.index_page(self.book, known, code))
        self.tree.put("book/bibliography.md", bibliography.bibliography_page(self.book))
        self.tree.put("book/figures.md", figures.figures_page(self.book))
        self.tree.put("book/reference.md", reference_page(self.book, reference))
        self.tree.put("book/look-up.md", look_up.look_up_page(self.book, known))
        self.names = look_up.names(self.book, known, reference)

    def _picture(self, name: str, content: str) -> None:
        self.tree.put(f"book/{name}", base64.b64decode(content))

    @cached_property
    def title(self) -> str:
        return str(self.plan.get("title", "Deep Learning, Run and Checked"))

    def settings(self) -> dict[str, Any]:
        """What conf.py wants to know of the book."""
        return {
            "title": self.title,
            "author": self.plan.get("author", "The authors of the book"),
            "footer": licence.footer(self.book, self.runs),
            "site": self.downloads.addresses.site,
            "pages": pages.MENU,
            "parts": self.parts(),
            "unwritten": sorted(s.id for s in self.book.planned if not s.exists),
            "tool": self.inputs.tool,
            "node": npm.node(),
            "names": self.names,
        }

    def parts(self) -> list[dict[str, Any]]:
        """Parts with their chapters; a chapter lists the sections that exist."""
        return [
            {"title": title, "chapters": [self._chapter(c) for c in chapters]}
            for title, chapters in pages.parts(self.book).items()
        ]

    @staticmethod
    def _chapter(chapter: Any) -> dict[str, Any]:
        sections = [
            {"id": s.id, "title": s.title, "doc": doc(s)} for s in chapter.sections if s.exists
        ]
        return {"number": chapter.number, "title": chapter.title, "sections": sections}

    # -- sections ------------------------------------------------------------------------------

    def _section(self, section: Section) -> bool:
        inputs = self.inputs.sections[section.id]
        return self._made(section.id, inputs, partial(self._write_section, section))

    def _made(self, name: str, inputs: str, write: Callable[[], None]) -> bool:
        """Write some files; False if they are there, made from the same inputs."""
        known = self.state.tree.get(name, {})
        files = known.get("files", {})
        if known.get("inputs") == inputs and all(
            self.tree.stamp(file) == stamp for file, stamp in files.items()
        ):
            self.tree.written += files
            return False
        begin = len(self.tree.written)
        write()
        stamps = {file: self.tree.stamp(file) for file in self.tree.written[begin:]}
        self.state.tree[name] = {"inputs": inputs, "files": stamps}
        return True

    def _write_wheel(self) -> None:
        wheel = self.downloads.wheel
        self.tree.put(f"extra/downloads/{wheel.name}", wheel.build())

    def _write_archive(self) -> None:
        self.tree.put(f"extra/downloads/{archive.NAME}", archive.archive(self.book))

    def _write_section(self, section: Section) -> None:
        known = section.id in self.executed
        facts = pages.facts(self.book, section, self.runs.get(section.id), known)
        for path in self.inputs.linked[section.id]:
            self.tree.put(path.relative_to(self.book.root).as_posix(), path.read_bytes())
        if section.is_page:
            self.tree.put(f"book/{doc(section)}.md", with_facts(section.text, facts))
            return
        notebook = self.executed.get(section.id, None) or section.notebook
        download = nbformat.v4.writes(self.downloads.notebook(section, notebook)) + "\n"
        self.tree.put(f"extra/downloads/{doc(section)}.py", self.downloads.python_file(section))
        self.tree.put(f"extra/downloads/{doc(section)}.ipynb", download)
        page = page_of(notebook, facts)
        run = self.runs.get(section.id)
        if run is not None and known and day(run.when):
            page.metadata["outputs"] = day(run.when)  # for the foot of the page
        self.tree.put(f"book/{doc(section)}.ipynb", nbformat.v4.writes(page))


def page_of(notebook: NotebookNode, facts: str) -> NotebookNode:
    """The site's copy of a notebook: facts below the title, outputs as the page shows them.

    Cells keep their places, so that lines of warnings can be counted back.
    """
    code = [c.source for c in notebook.cells if c.cell_type == "code"]
    lexer = "ipython3" if any(map(MAGIC.search, code)) else "python"
    page = nbformat.v4.new_notebook(
        metadata={"language_info": {"name": "python", "pygments_lexer": lexer}}
    )
    if "kernelspec" in notebook.metadata:
        page.metadata["kernelspec"] = notebook.metadata["kernelspec"]
    for cell in notebook.cells:
        new = copy.copy(cell)
        tags = cell.metadata.get("tags")
        new.metadata = NotebookNode({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            new.outputs, pictures = outputs.shown(cell.get("outputs", []))
            new.execution_count = None
            if pictures:
                new.metadata["pictures"] = pictures
        page.cells.append(new)
    if page.cells and page.cells[0].cell_type == "markdown":
        page.cells[0].source = with_facts(page.cells[0].source, facts)
    return page
