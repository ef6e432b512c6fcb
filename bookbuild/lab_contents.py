"""What JupyterLab reads and writes in `make lab`: a section is one notebook, saved in its `.py`.

Opening a section shows its cells with the accepted outputs. Saving writes the cells that changed
into the `.py`, and what a run or a person left beside them (outputs, other metadata) into a working
copy in `build/lab`. What cannot be saved is told in words and kept in `kept/not-saved`. The
`.ipynb` of a section, whose outputs are the accepted ones, is never written; asked for by its name,
as links in the text do, it is the same notebook.
"""

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
from ipykernel.ipkernel import IPythonKernel
from jupyter_server.services.contents.filecheckpoints import FileCheckpoints
from jupytext import TextFileContentsManager
from nbformat import NotebookNode
from tornado.web import HTTPError
from traitlets import default

from . import edit, pair
from .book import Book, BookError, Section
from .lab import WELCOME, welcome
from .reset import KEPT, working_copy
from .store import read_notebook, write_text

Model = dict[str, Any]


def shown(book: Book, section: Section, mine: bool = True) -> NotebookNode:
    """The notebook that a reader sees: cells of the source, outputs accepted or of a run in Lab.

    Parameters
    ----------
    book, section
        Whose notebook it is.
    mine
        Whether the working copy counts. One from before the last `make accept` never does.
    """
    notebook = copy.deepcopy(section.notebook)
    try:
        accepted = pair.committed(section)
    except BookError:  # it cannot be read; the text is there all the same
        accepted = None
    if accepted is not None:
        pair.take_outputs(notebook, accepted)
        notebook.metadata["run"] = accepted.metadata.get("run") or {}
    notebook.metadata["language_info"] = _language()
    path = working_copy(book, section)
    saved = read_notebook(path) if mine and path.exists() else None
    if saved is not None and _same(saved.metadata.get("run"), notebook.metadata.get("run")):
        pair.take_outputs(notebook, saved)
        for ours, theirs in pair.same_cells(notebook, saved):
            kept = {k: v for k, v in saved.cells[theirs].metadata.items() if k != "tags"}
            tags = {k: v for k, v in notebook.cells[ours].metadata.items() if k == "tags"}
            notebook.cells[ours]["metadata"] = nbformat.from_dict(kept | tags)
    return notebook


def _language() -> Any:
    """What a kernel says of its language, so that its start changes nothing in the notebook."""
    return nbformat.from_dict(json.loads(json.dumps(IPythonKernel.language_info)))


def _same(one: Any, other: Any) -> bool:
    return bool(pair.canonical(one or {}) == pair.canonical(other or {}))


def _beside(notebook: NotebookNode) -> Any:
    """What the working copy is for: outputs, and what else a person can set or see."""
    cells = []
    for cell in notebook.cells:
        metadata = {k: v for k, v in cell.metadata.items() if k not in ("trusted", "tags")}
        number = cell.get("execution_count")
        cells.append([cell.source.rstrip(), cell.get("outputs", []), number, metadata])
    return pair.canonical(cells)


class Refused(HTTPError):
    """A refusal whose words Lab shows: it takes `log_message`, in which Tornado doubles each %."""

    def __init__(self, words: object) -> None:
        super().__init__(400, str(words))

    @property
    def log_message(self) -> str | None:
        return self.get_message()


class BookCheckpoints(FileCheckpoints):  # type: ignore[misc]
    """Checkpoints of the source, under whichever name a section was opened."""

    def _source(self, path: str) -> str:
        return str(self.parent.source_path(path)) if self.parent else path

    def checkpoint_path(self, checkpoint_id: str, path: str) -> str:
        return str(super().checkpoint_path(checkpoint_id, self._source(path)))

    def create_checkpoint(self, contents_mgr: Any, path: str) -> Any:
        return super().create_checkpoint(contents_mgr, self._source(path))

    def restore_checkpoint(self, contents_mgr: Any, checkpoint_id: str, path: str) -> None:
        super().restore_checkpoint(contents_mgr, checkpoint_id, self._source(path))


class BookContents(TextFileContentsManager):  # type: ignore[misc]
    """The files of the book for JupyterLab; all but sections as Jupytext has them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.known: tuple[int, Book] | None = None

    @default("checkpoints_class")
    def _default_checkpoints(self) -> type:
        return BookCheckpoints

    @property
    def book(self) -> Book:
        """The plan, read anew when it changed."""
        stamp = (Path(self.root_dir) / "book" / "contents.toml").stat().st_mtime_ns
        if self.known is None or self.known[0] != stamp:
            self.known = (stamp, Book(self.root_dir))
        return self.known[1]

    def section(self, path: str) -> Section | None:
        """The section whose `.py` or `.ipynb` a path names, as it is now; None for other files."""
        file = Path(self.root_dir) / path.strip("/")
        if file.suffix not in (".py", ".ipynb") or not file.with_suffix(".py").exists():
            return None
        source = file.with_suffix(".py").resolve()
        found = next((s for s in self.book.planned if s.path == source), None)
        return replace(found) if found else None  # a new one: it has read nothing yet

    def source_path(self, path: str) -> str:
        """The path of a section's source for either of its names; others stay."""
        section = self.section(path)
        return section.name if section else path

    def get(
        self,
        path: str,
        content: bool = True,
        type: str | None = None,
        format: str | None = None,
        **options: Any,
    ) -> Model:
        """A file, folder or notebook as Jupyter's models have it."""
        path = path.strip("/")
        if path == WELCOME:
            return self._welcome(content)
        section = self.section(path) if type in (None, "notebook") else None
        if section is not None:
            return self._section(section, path, content, options)
        model = super().get(path, content=content, type=type, format=format, **options)
        if model["type"] == "directory" and content:
            sources = {f"{s.name[:-3]}.ipynb" for s in self.book.notebooks}
            model["content"] = [m for m in model["content"] if m["path"] not in sources]
            if not path:
                model["content"].append(self._welcome(content=False))
        return dict(model)

    def _welcome(self, content: bool) -> Model:
        plan = Path(self.root_dir) / "book" / "contents.toml"
        now = datetime.fromtimestamp(plan.stat().st_mtime, UTC)
        return {
            "name": WELCOME, "path": WELCOME, "type": "file", "mimetype": None, "size": None,
            "format": "text" if content else None, "writable": False,
            "content": welcome(self.book) if content else None,
            "created": now, "last_modified": now, "hash": "", "hash_algorithm": "sha256",
        }  # fmt: skip

    def _section(self, section: Section, path: str, content: bool, options: Model) -> Model:
        """The model of a section; when it changed is when its source did."""
        model = dict(super().get(section.name, content=False, type="file", **options))
        model |= {"name": Path(path).name, "path": path, "type": "notebook", "mimetype": None}
        if not content:
            return model
        try:
            notebook = shown(self.book, section)
        except BookError as error:
            raise Refused(f"{error} Open it with the text editor.") from error
        self.mark_trusted_cells(notebook, path)
        return model | {"content": notebook, "format": "json"}

    def save(self, model: Model, path: str = "") -> Model:
        """Save a file or notebook; of a section only what changed."""
        path = path.strip("/")
        if path == WELCOME:
            raise Refused(f"{WELCOME} is made from the plan of the book.")
        section = self.section(path) if model.get("type") == "notebook" else None
        if section is None or "content" not in model:
            return dict(super().save(model, path))
        notebook = nbformat.from_dict(model["content"])
        self.check_and_sign(notebook, path)
        pictures: dict[Path, bytes] = {}
        try:
            text = edit.source_text(section, notebook, pictures)
            edit.write_pictures(pictures)
            if text != section.text:
                write_text(section.path, text)
        except (BookError, OSError) as error:
            aside = (
                self.book.root
                / KEPT
                / "not-saved"
                / section.ipynb.relative_to(self.book.root / "book")
            )
            _keep(aside, notebook)
            where = aside.relative_to(self.book.root).as_posix()
            words = str(error).rstrip(".")
            raise Refused(f"{words}. What you have open is kept in {where}.") from error
        after = replace(section)
        if _beside(notebook) == _beside(shown(self.book, after, mine=False)):
            working_copy(self.book, after).unlink(missing_ok=True)
        else:
            _keep(working_copy(self.book, after), notebook)
        return self.get(path, content=False, type="notebook")

    def rename_file(self, old_path: str, new_path: str) -> None:
        """Rename a file or folder, but none that the plan names."""
        old = old_path.strip("/")
        if self.section(old) or any(s.name.startswith(f"{old}/") for s in self.book.sections):
            raise Refused(
                f"{old} stays: book/contents.toml names it. For a copy of your own, "
                "right-click it and choose Duplicate, or choose File > Save Notebook As."
            )
        super().rename_file(old_path, new_path)


def _keep(path: Path, notebook: NotebookNode) -> None:
    kept = copy.deepcopy(notebook)
    for cell in kept.cells:
        cell.metadata.pop("trusted", None)
    write_text(path, pair.text_of(kept))
