"""The `.ipynb` beside each `.py`: made from it by content, with its reference outputs.

What a person changes in an `.ipynb` is brought over by `from_notebook` or refused with words; it is
never overwritten. Kept are text, code, kinds, tags and order of the cells, pictures pasted into the
text, and the `d2l` entry of the metadata. Everything else that a person writes into a notebook has
no place in the `.py` and is refused; what programs write there (`MACHINE`) is dropped.
"""

import base64
import binascii
import copy
import difflib
import json
import re
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import nbformat.reader
from nbformat import NotebookNode

from .book import Book, BookError, Section
from .grammar import CELL, INJECTED
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
    """Digest of all outputs; a program that saves `-3.0` as `-3` does not change it."""
    return digest(canonical([c.get("outputs", []) for c in notebook.cells]))


def _before_runs(notebook: NotebookNode) -> tuple[str, str]:
    """Digests of source and outputs as they were taken before metadata held a `run`."""
    return digest(_cells(notebook)), digest([c.get("outputs", []) for c in notebook.cells])


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


def _name(section: Section) -> str:
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
        return _parse(raw)
    except ValueError as error:
        raise BookError(
            f"{_name(section)}: {error}. An edit in it may exist nowhere else: mend it, or move it "
            f"aside (out of book/), and run `make pair`."
        ) from error


def _parse(raw: bytes) -> NotebookNode:
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
    known = (notebook.metadata.get("bookbuild") or {}).get("outputs")
    now = outputs_digest(notebook) if "run" in notebook.metadata else _before_runs(notebook)[1]
    return recorded_run(notebook) if known == now else None


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
    return base == _before_runs(notebook)[0] and not pasted


def _refuse_extras(section: Section, notebook: NotebookNode) -> None:
    found = extras(notebook)
    if found:
        raise BookError(
            f"{_name(section)}: it was edited by hand: {'; '.join(found)}. "
            f"{section.name} has no place for that, so it would be lost.\n"
            f"  To keep it: copy the file out of book/, then remove that here.\n"
            f"  To drop it: git checkout -- {_name(section)}"
        )


def updated(section: Section, notebook: NotebookNode | None) -> NotebookNode:
    """The `.ipynb` that the source gives, with the outputs of cells whose code did not change."""
    fresh = copy.deepcopy(section.notebook)
    if notebook is None:
        fresh.metadata["bookbuild"] = {"source": content(fresh)}
        return fresh
    if hand_edited(section, notebook):
        _refuse_extras(section, notebook)
        raise BookError(
            f"{_name(section)}: it was edited by hand and would be overwritten from "
            f"{section.name}.\n"
            f"  To keep the edit: python -m bookbuild from-notebook {section.id}\n"
            f"  To drop it:       git checkout -- {_name(section)}"
        )
    ours = [c for c in fresh.cells if c.cell_type == "code"]
    theirs = [c for c in notebook.cells if c.cell_type == "code"]
    for mine, other in _same_code(ours, theirs):
        ours[mine]["outputs"] = copy.deepcopy(theirs[other].outputs)
        if theirs[other].execution_count is not None:  # a cell without a run has no number
            ours[mine]["execution_count"] = mine + 1
    if "run" in notebook.metadata:
        fresh.metadata["run"] = notebook.metadata["run"]
    info = dict(notebook.metadata.get("bookbuild") or {})
    fresh.metadata["bookbuild"] = info | {"source": content(fresh)}
    return fresh


def _same_code(ours: list[NotebookNode], theirs: list[NotebookNode]) -> list[tuple[int, int]]:
    """Pairs of cells with the same source, both counted from 0, in the order of both lists."""
    a, b = ([c.source.rstrip() for c in cells] for cells in (ours, theirs))
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    return [
        (block.a + i, block.b + i)
        for block in matcher.get_matching_blocks()
        for i in range(block.size)
    ]


def text_of(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook) + "\n"


def _essence(notebook: NotebookNode) -> Any:
    """What has to agree between a committed notebook and its source; programs change the rest."""
    kept = {k: notebook.metadata.get(k) for k in ("d2l", "run")}
    kept["bookbuild"] = {
        k: v for k, v in (notebook.metadata.get("bookbuild") or {}).items() if k != "source"
    }
    return canonical([_cells(notebook), [c.get("outputs", []) for c in notebook.cells], kept])


def stale(book: Book, sections: list[Section] | None = None) -> list[str]:
    """Messages for each `.ipynb` that differs from what its source gives, and for stray files."""
    problems = []
    for section in book.notebooks if sections is None else sections:
        name = _name(section)
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
    known = {s.ipynb for s in book.planned}
    problems += [
        f"{p.relative_to(book.root).as_posix()}: no section of the plan; move or delete it."
        for p in sorted((book.root / "book").glob("*/*.ipynb"))
        if p not in known
    ]
    problems += [
        f"{_name(s)}: its source {s.name} is missing."
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


def from_notebook(section: Section) -> Path:
    """Bring an edit made in the `.ipynb` into the `.py`.

    Pasted pictures become files in `img/`. Where both files changed since they last agreed, the
    notebook's version is written beside the source for a merge by hand, and nothing is overwritten.

    Returns
    -------
    The `.py`.

    Raises
    ------
    BookError
        If there is no `.ipynb`, if both changed, or if the `.py` cannot hold the edit.
    """
    notebook = committed(section)
    if notebook is None:
        raise BookError(f"{_name(section)} does not exist; there is no edit to bring over.")
    _refuse_extras(section, notebook)
    pictures: dict[Path, bytes] = {}
    cells = [_plain(section, cell, pictures) for cell in notebook.cells]
    text = _percent(section, cells, notebook.metadata.get("d2l") or {})
    for path, picture in pictures.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture)
    if content(section.notebook) != content(notebook) and not _base_of(section, notebook):
        aside = section.path.with_suffix(".from-notebook.txt")
        write_text(aside, text)
        raise BookError(
            f"{section.name} and its .ipynb were both changed. The notebook's text is in "
            f"{aside.name}; merge it into {section.path.name} by hand, then move "
            f"{section.ipynb.name} aside (out of book/) and run `make pair`."
        )
    write_text(section.path, text)
    # The edit is in the source now, so the notebook may be made anew from it.
    info = dict(notebook.metadata.get("bookbuild") or {})
    notebook.metadata["bookbuild"] = info | {"source": content(notebook)}
    write_text(section.ipynb, text_of(notebook))
    return section.path


def _base_of(section: Section, notebook: NotebookNode) -> bool:
    """Whether the source is still the one that the notebook was made from."""
    base = (notebook.metadata.get("bookbuild") or {}).get("source")
    return base in (content(section.notebook), _before_runs(section.notebook)[0])


def _percent(section: Section, cells: list[NotebookNode], settings: dict[str, Any]) -> str:
    """The source with other cells; its header stays as it is unless `d2l` changed."""
    import jupytext  # slow to import, and seldom needed

    current = jupytext.reads(section.text, fmt="py:percent")
    changed = canonical(settings) != canonical(section.settings)
    if changed:
        if re.search(r"^# +[^'\"\n]*(?<=\s)#", _header(section.text), re.M):
            raise BookError(
                f"{_name(section)}: its `d2l` settings were changed, and the header of "
                f"{section.name} has comments, which would be lost; change the header by hand."
            )
        current.metadata["d2l"] = settings
    current.cells = cells
    text = str(jupytext.writes(current, fmt="py:percent"))
    again = jupytext.reads(text, fmt="py:percent").cells
    for number, cell in enumerate(cells, 1):
        other = again[number - 1] if number <= len(again) else None
        if other is None or _comparable(other) != _comparable(cell):
            raise BookError(
                f"{_name(section)}: cell {number} would be another one in {section.name} (does a "
                f"line begin with `# %%`?); nothing was written. Change the cell, or copy it over "
                f"by hand."
            )
    if len(again) != len(cells):
        raise BookError(
            f"{_name(section)}: its {len(cells)} cells would be {len(again)} in {section.name}; "
            f"nothing was written."
        )
    return text if changed else _header(section.text) + text[len(_header(text)) :]


def _comparable(cell: NotebookNode) -> tuple[str, str, list[str]]:
    return cell.cell_type, cell.source.strip("\n").rstrip(), sorted(cell.metadata.get("tags", []))


def _header(text: str) -> str:
    """What stands before the first cell."""
    lines = text.splitlines(keepends=True)
    first = next((i for i, line in enumerate(lines) if CELL.match(line)), len(lines))
    return "".join(lines[:first])


def _plain(section: Section, cell: NotebookNode, pictures: dict[Path, bytes]) -> NotebookNode:
    """A cell as the source holds it; adds its pasted pictures to those to be written."""
    kept = copy.deepcopy(cell)
    kept.metadata = NotebookNode({"tags": cell.metadata.tags} if cell.metadata.get("tags") else {})
    for name, forms in (kept.pop("attachments", None) or {}).items():
        (kind, data), *_ = forms.items()
        try:
            picture = data.encode() if data.startswith("<") else base64.b64decode(data)
        except (AttributeError, binascii.Error) as error:
            raise BookError(f"{_name(section)}: attachment {name!r}: {error}.") from error
        path = _free(section, Path(name).stem, PICTURES[kind], picture, pictures)
        pictures[path] = picture
        for spelled in {name, quote(name)}:
            kept.source = kept.source.replace(f"attachment:{spelled}", f"img/{path.name}")
    return kept


def _free(
    section: Section, stem: str, suffix: str, picture: bytes, taken: dict[Path, bytes]
) -> Path:
    """A path in `img/` for a picture: a new one, or one that holds these very bytes."""
    plain = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-") or "picture"
    base, number = f"{section.path.stem}-{plain}", 1
    while True:
        name = base + (f"-{number}" if number > 1 else "") + suffix
        path = section.path.parent / "img" / name
        there = taken.get(path, path.read_bytes() if path.exists() else picture)
        if there == picture:
            return path
        number += 1
