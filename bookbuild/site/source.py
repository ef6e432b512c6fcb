"""The source tree of the site, from the executed notebooks; only what changed is written."""

import base64
import copy
import json
import re
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from ..book import Section
from . import data_sets, npm, outputs, pages, status
from .inputs import Inputs, State
from .places import doc, with_facts

LICENCES = (
    "Code: MIT licence. "
    "Text and figures: Creative Commons Attribution-ShareAlike 4.0 (CC BY-SA 4.0)."
)
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
        self.tree = Tree(self.book.build / "site-src")
        self.plan = tomllib.loads(
            (self.book.root / "book" / "contents.toml").read_text(encoding="utf-8")
        )

    @property
    def folder(self) -> Path:
        return self.tree.folder

    def write(self) -> list[str]:
        """Write everything, remove what no longer belongs; returns the sections written."""
        changed = [s.id for s in self.book.sections if self._section(s)]
        self.tree.put("book/contents.md", pages.contents(self.book))
        self.tree.put("book/data-sets.md", data_sets.data_sets_page(self.book))
        self.tree.put("book/status.md", status.status_page(self.book, self.executed, self.runs))
        home = pages.Home(self.book, self.title, self.executed, self._picture)
        self.tree.put("book/index.md", home.text())
        self.tree.put("site.json", json.dumps(self.settings(), indent=1, ensure_ascii=False))
        self.tree.put("extra/.nojekyll", "")
        for name, content in npm.static():
            self.tree.put(f"static/{name}", content)
        self.tree.prune()
        return changed

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
            "licences": LICENCES,
            "parts": self.parts(),
            "unwritten": sorted(s.id for s in self.book.planned if not s.exists),
            "tool": self.inputs.tool,
            "node": npm.node(),
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
        """Write the files of a section; False if they are there, made from the same inputs."""
        known = self.state.tree.get(section.id, {})
        inputs = self.inputs.sections[section.id]
        files = known.get("files", {})
        if known.get("inputs") == inputs and all(
            self.tree.stamp(name) == stamp for name, stamp in files.items()
        ):
            self.tree.written += files
            return False
        begin = len(self.tree.written)
        self._write_section(section)
        stamps = {name: self.tree.stamp(name) for name in self.tree.written[begin:]}
        self.state.tree[section.id] = {"inputs": inputs, "files": stamps}
        return True

    def _write_section(self, section: Section) -> None:
        known = section.id in self.executed
        facts = pages.facts(self.book, section, self.runs.get(section.id), known)
        for path in self.inputs.linked[section.id]:
            self.tree.put(path.relative_to(self.book.root).as_posix(), path.read_bytes())
        if section.is_page:
            self.tree.put(f"book/{doc(section)}.md", with_facts(section.text, facts))
            return
        notebook = self.executed.get(section.id, None) or section.notebook
        download = nbformat.v4.writes(outputs.clean(notebook)) + "\n"
        self.tree.put(f"extra/downloads/{doc(section)}.py", section.text)
        self.tree.put(f"extra/downloads/{doc(section)}.ipynb", download)
        self.tree.put(f"book/{doc(section)}.ipynb", nbformat.v4.writes(page_of(notebook, facts)))


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
