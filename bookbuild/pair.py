"""The `.ipynb` beside each `.py`: made from it by content, with its reference outputs.

What a person changes in an `.ipynb` is brought over by `edit.from_notebook` or refused with words;
it is never overwritten. Kept are text, code, kinds, tags and order of the cells, pictures pasted
into the text, and the `d2l` entry of the metadata. Everything else that a person writes into a
notebook has no place in the `.py` and is refused; what programs write (`MACHINE`) is dropped.
"""

import copy
import difflib
import json
import re
import warnings
from pathlib import Path
from typing import Any

import nbformat
import nbformat.reader
from nbformat import NotebookNode

from .book import Book, BookError, Section
from .grammar import INJECTED
from .keys import digest
from .outputs import clean_outputs
from .record import Run
from .store import write_text

CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)")
#: Metadata of a cell that programs write: how it was shown, when it ran, how its text was laid out.
MACHINE = {
    *("ExecuteTime", "execution", "papermill", "jupyter", "vscode", "pycharm", "id"),
    *("collapsed", "scrolled", "autoscroll", "trusted", "editable", "hidden", "heading_collapsed"),
    *("jp-MarkdownHeadingCollapsed", "lines_to_next_cell", "lines_to_end_of_cell_marker"),
    *("colab", "colab_type", "outputId", "executionInfo", "language"),
}
#: The same for the whole notebook, with what this module and the runner write there.
MACHINE_NOTEBOOK = {
    *("kernelspec", "language_info", "jupytext", "d2l", "bookbuild", "run", "record", "papermill"),
    *("widgets", "vscode", "interpreter", "colab", "accelerator", "gpuClass", "kaggle", "nteract"),
    *("orig_nbformat", "orig_nbformat_minor", "name", "signature", "varInspector", "celltoolbar"),
    *("toc", "toc-autonumbering", "toc-showcode", "toc-showmarkdowntxt", "toc-showtags"),
    *("anaconda-cloud", "hide_input", "latex_envs", "nbTranslate"),
}
#: Endings of the pictures that a section can show.
PICTURES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
}


def canonical(value: Any) -> Any:
    """A JSON value with numbers as JavaScript writes them, to which `-3.0` and `-3` are the same.

    Examples
    --------
    >>> canonical({"x": [-3.0, 0.5, True]})
    {'x': [-3, 0.5, True]}
    """
    if isinstance(value, dict):
        return {k: canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _cells(notebook: NotebookNode) -> list[tuple[str, str, list[str]]]:
    return [
        (c.cell_type, c.source.rstrip(), sorted(c.metadata.get("tags", []))) for c in notebook.cells
    ]


def content(notebook: NotebookNode) -> str:
    """Digest of what a person writes: cells with their pasted pictures, and the `d2l` metadata."""
    pasted = [c.get("attachments") or {} for c in notebook.cells]
    return digest(canonical([_cells(notebook), pasted, notebook.metadata.get("d2l") or {}]))


def outputs_digest(notebook: NotebookNode) -> str:
    """Digest of the outputs of code; a program that saves `-3.0` as `-3` does not change it."""
    return digest(canonical([c.outputs for c in notebook.cells if c.cell_type == "code"]))


def _known_digests(notebook: NotebookNode) -> set[str]:
    """Digests that stand for the outputs as they are, in all forms that were ever recorded."""
    of_all_cells = [c.get("outputs", []) for c in notebook.cells]
    if "run" in notebook.metadata:
        return {outputs_digest(notebook), digest(canonical(of_all_cells))}
    return {digest(of_all_cells)}


def changed_outputs(notebook: NotebookNode | None) -> bool:
    """Whether a notebook has outputs that neither `make accept` stored nor `make pair` left."""
    if notebook is None or not any(c.get("outputs") for c in notebook.cells):
        return False
    known = (notebook.metadata.get("bookbuild") or {}).get("outputs")
    return known not in _known_digests(notebook)


def before_runs(notebook: NotebookNode) -> str:
    """Digest of a source as it was taken before metadata held a `run`."""
    return digest(_cells(notebook))


def extras(notebook: NotebookNode) -> list[str]:
    """What a person put into a notebook that its source cannot hold; empty entries do not count.

    Examples
    --------
    >>> cell = nbformat.v4.new_code_cell(metadata={"slideshow": {"slide_type": "slide"}})
    >>> extras(nbformat.v4.new_notebook(cells=[cell]))
    ["cell 1 has metadata 'slideshow'"]
    """
    found = [
        f"the notebook has metadata {name!r}"
        for name, value in sorted(notebook.metadata.items())
        if name not in MACHINE_NOTEBOOK and not _empty(value)
    ]
    for number, cell in enumerate(notebook.cells, 1):
        for name, value in sorted(cell.metadata.items()):
            if name not in MACHINE | {"tags"} and not _empty(value):
                found.append(f"cell {number} has metadata {name!r}")
        for name, forms in (cell.get("attachments") or {}).items():
            if cell.cell_type != "markdown" or len(forms) != 1 or not set(forms) <= set(PICTURES):
                kinds = ", ".join(sorted(forms))
                found.append(f"cell {number} has an attachment {name!r} of kind {kinds}")
    return found


def _empty(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_empty(v) for v in value.values())
    return value in (None, "", [], "-")  # JupyterLab's words for no kind of slide


def own_cells(executed: NotebookNode) -> list[NotebookNode]:
    """Cells of an executed notebook without those that papermill put in."""
    return [c for c in executed.cells if not INJECTED & set(c.metadata.get("tags", []))]


def merge(section: Section, executed: NotebookNode) -> NotebookNode:
    """Text of the source with the outputs of an executed copy, cell by cell.

    Raises
    ------
    BookError
        If a code cell of the copy has another source.
    """
    notebook = copy.deepcopy(section.notebook)
    theirs = [c for c in own_cells(executed) if c.cell_type == "code"]
    ours = section.code_cells()
    if len(theirs) != len(ours):
        raise BookError(
            f"{section.name}: the executed copy has {len(theirs)} code cells, "
            f"the source {len(ours)}; run it again."
        )
    for count, ((index, cell), other) in enumerate(zip(ours, theirs, strict=True), 1):
        if cell.source.rstrip() != other.source.rstrip():
            raise BookError(
                f"{section.where(index)}: the executed copy has another source; run it again."
            )
        notebook.cells[index]["outputs"] = clean_outputs(other.outputs)
        notebook.cells[index]["execution_count"] = count
    return notebook


def reference(section: Section, executed: NotebookNode, run: Run) -> NotebookNode:
    """The notebook to commit: source and outputs, the run that made them, and digests of both."""
    notebook = merge(section, executed)
    notebook.metadata["run"] = run.to_json()
    notebook.metadata["bookbuild"] = {
        "source": content(notebook),
        "outputs": outputs_digest(notebook),
    }
    return notebook


def name_of(section: Section) -> str:
    return section.ipynb.relative_to(section.root).as_posix()


def committed(section: Section) -> NotebookNode | None:
    """The `.ipynb` as it lies there, whatever version wrote it, or None where there is none.

    Raises
    ------
    BookError
        If the file cannot be read as a notebook; the message says why.
    """
    try:
        raw = section.ipynb.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return parse(raw)
    except ValueError as error:
        raise BookError(
            f"{name_of(section)}: {error}. An edit in it may exist nowhere else: mend it, or move "
            "it aside (out of book/), and run `make pair`."
        ) from error


def parse(raw: bytes) -> NotebookNode:
    """A notebook of the current format; `ValueError` names what is wrong with the bytes."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} is not UTF-8 (byte 0x{raw[error.start]:02x}); save it as UTF-8"
        ) from None
    if not text.strip():
        raise ValueError("the file is empty")
    for number, row in enumerate(text.splitlines(), 1):
        if mark := CONFLICT.match(row):
            raise ValueError(f"line {number} is the mark of a merge conflict ({mark[1]})")
    try:
        plain = json.loads(text)
    except ValueError as error:
        cut = " (the end seems to be missing)" if text.rstrip()[-1] != "}" else ""
        raise ValueError(f"this is not JSON: {error}{cut}") from None
    if not isinstance(plain, dict) or not {"cells", "worksheets"} & set(plain):
        raise ValueError("this is JSON, but no notebook: it has no list of cells")
    if plain.get("nbformat") not in (1, 2, 3, 4):
        raise ValueError(
            f'its "nbformat" is {plain.get("nbformat")!r}, and nbformat {nbformat.__version__} '
            'reads 1 to 4; save it as format 4 ("nbformat": 4)'
        )
    try:
        with warnings.catch_warnings():  # missing ids are made, double ones are made anew
            warnings.simplefilter("ignore")
            notebook = nbformat.convert(nbformat.reader.reads(text), 4)
            nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise ValueError(f"not a valid notebook: {str(error).splitlines()[0]}") from None
    except Exception as error:  # nbformat raises many kinds for what it does not expect
        raise ValueError(f"not a valid notebook ({type(error).__name__}: {error})") from None
    return notebook


def recorded_run(notebook: NotebookNode | None) -> Run | None:
    """The run that a committed notebook names, whatever became of its outputs since."""
    if notebook is None:
        return None
    if "run" in notebook.metadata:
        return Run.from_json(notebook.metadata["run"])
    info = notebook.metadata.get("bookbuild") or {}
    if not info.get("key"):
        return None
    cell = str(next((c.id for c in notebook.cells), ""))  # s3-4-000
    section = ".".join(cell.lstrip("s").split("-")[:2])
    return Run(section, "cpu", "ok", key=info["key"], source=info.get("data") or "real")


def stored_run(notebook: NotebookNode | None) -> Run | None:
    """The run that a committed notebook's outputs are true for; None if somebody changed them.

    A notebook from before there were runs gives one with section, key and source only.
    """
    if notebook is None:
        return None
    info = notebook.metadata.get("bookbuild") or {}
    whole = info.get("outputs") in _known_digests(notebook) and not info.get("partial")
    return recorded_run(notebook) if whole else None


def stored_key(notebook: NotebookNode | None) -> str | None:
    """The key of `stored_run`."""
    run = stored_run(notebook)
    return run.key if run else None


def hand_edited(section: Section, notebook: NotebookNode) -> bool:
    """Whether the `.ipynb` holds what neither it was made with nor the `.py` has."""
    return bool(extras(notebook)) or not (
        content(notebook) == content(section.notebook) or _as_made(notebook)
    )


def _as_made(notebook: NotebookNode) -> bool:
    """Whether a notebook's text is the one that was written when it was made or brought over."""
    base = (notebook.metadata.get("bookbuild") or {}).get("source")
    if base == content(notebook):
        return True
    pasted = any(c.get("attachments") for c in notebook.cells)
    return base == before_runs(notebook) and not pasted


def refuse_extras(section: Section, notebook: NotebookNode) -> None:
    found = extras(notebook)
    if found:
        raise BookError(
            f"{name_of(section)}: it was edited by hand: {'; '.join(found)}. "
            f"{section.name} has no place for that, so it would be lost.\n"
            f"  To keep it: copy the file out of book/, then remove that here.\n"
            f"  To drop it: python -m bookbuild reset {section.id} (a copy is kept)"
        )


def updated(section: Section, notebook: NotebookNode | None) -> NotebookNode:
    """The `.ipynb` that the source gives, with the outputs of cells whose code did not change."""
    fresh = copy.deepcopy(section.notebook)
    if notebook is None:
        fresh.metadata["bookbuild"] = {"source": content(fresh)}
        return fresh
    if hand_edited(section, notebook):
        refuse_extras(section, notebook)
        raise BookError(
            f"{name_of(section)}: it was edited by hand and would be overwritten from "
            f"{section.name}.\n"
            f"  To keep the edit: python -m bookbuild from-notebook {section.id}\n"
            f"  To drop it:       python -m bookbuild reset {section.id} (a copy is kept)"
        )
    take_outputs(fresh, notebook)
    if "run" in notebook.metadata:
        fresh.metadata["run"] = notebook.metadata["run"]
    info = dict(notebook.metadata.get("bookbuild") or {}) | {"source": content(fresh)}
    if "run" in fresh.metadata and not changed_outputs(notebook):
        info["outputs"] = outputs_digest(fresh)
        if info["outputs"] != outputs_digest(notebook):
            info["partial"] = True  # outputs of changed cells are gone
    fresh.metadata["bookbuild"] = info
    return fresh


def take_outputs(notebook: NotebookNode, other: NotebookNode) -> None:
    """Give the code cells of a notebook the outputs that cells of the same code have in another."""
    code = [i for i, c in enumerate(notebook.cells) if c.cell_type == "code"]
    for mine, its in same_cells(notebook, other, "code"):
        cell, known = notebook.cells[mine], other.cells[its]
        cell["outputs"] = copy.deepcopy(known.outputs)
        if known.execution_count is not None:  # a cell without a run has no number
            cell["execution_count"] = code.index(mine) + 1


def same_cells(
    notebook: NotebookNode, other: NotebookNode, kind: str | None = None
) -> list[tuple[int, int]]:
    """Positions of cells that two notebooks share, in the order of both; of one kind, or of all."""
    ours, theirs = (
        [i for i, c in enumerate(n.cells) if kind in (None, c.cell_type)] for n in (notebook, other)
    )
    a, b = (
        [(n.cells[i].cell_type, n.cells[i].source.rstrip()) for i in places]
        for n, places in ((notebook, ours), (other, theirs))
    )
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return [
        (ours[block.a + i], theirs[block.b + i])
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    ]


def text_of(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook) + "\n"


def _essence(notebook: NotebookNode) -> Any:
    """What has to agree between a committed notebook and its source; programs change the rest."""
    kept = {k: notebook.metadata.get(k) for k in ("d2l", "run")}
    kept["bookbuild"] = {
        k: v
        for k, v in (notebook.metadata.get("bookbuild") or {}).items()
        if k not in ("source", "outputs")
    }
    return canonical([_cells(notebook), [c.get("outputs", []) for c in notebook.cells], kept])


def stale(book: Book, sections: list[Section] | None = None) -> list[str]:
    """Messages for each `.ipynb` that differs from what its source gives.

    In the whole book for stray files too; a reader's own notebook is no fault of a section.
    """
    problems = []
    for section in book.notebooks if sections is None else sections:
        name = name_of(section)
        try:
            notebook = committed(section)
            if notebook is None:
                problems.append(f"{name}: missing; run `make pair`, then `make accept`.")
            elif _essence(updated(section, notebook)) != _essence(notebook):
                problems.append(
                    f"{name}: stale, not what {section.name} gives; run `make pair`"
                    f"{_first_difference(section, notebook)}."
                )
        except BookError as error:
            problems.append(str(error))
    if sections is not None:
        return problems
    known = {s.ipynb for s in book.planned}
    problems += [
        f"{p.relative_to(book.root).as_posix()}: no section of the plan; move or delete it."
        for p in sorted((book.root / "book").glob("*/*.ipynb"))
        if p not in known
    ]
    problems += [
        f"{name_of(s)}: its source {s.name} is missing. Bring it back "
        f"(make reset S={s.id}), or delete the .ipynb."
        for s in book.planned
        if not s.exists and s.ipynb.exists()
    ]
    return problems


def _first_difference(section: Section, notebook: NotebookNode) -> str:
    for index, cell in enumerate(section.notebook.cells):
        if (
            index >= len(notebook.cells)
            or notebook.cells[index].source.rstrip() != cell.source.rstrip()
        ):
            return f" (first difference: {section.where(index)})"
    return ""


def write(book: Book, sections: list[Section] | None = None) -> list[Path]:
    """Bring `.ipynb` files up to their sources; all of them, or those of some sections.

    Raises
    ------
    BookError
        If one was edited by hand or cannot be read; then nothing is written.
    """
    wanted, problems = [], []
    for section in book.notebooks if sections is None else sections:
        try:
            wanted.append((section.ipynb, text_of(updated(section, committed(section)))))
        except BookError as error:
            problems.append(str(error))
    if problems:
        raise BookError("\n".join(problems))
    changed = [
        (path, text)
        for path, text in wanted
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in changed:
        write_text(path, text)
    return [path for path, _ in changed]
