"""An edit made in a notebook, brought into the `.py`: `from_notebook`, or a save in `make lab`."""

import base64
import binascii
import copy
import difflib
import re
from pathlib import Path
from urllib.parse import quote

from nbformat import NotebookNode

from .book import BookError, Section
from .grammar import CELL
from .pair import (
    PICTURES,
    before_runs,
    canonical,
    committed,
    content,
    name_of,
    refuse_extras,
    text_of,
)
from .store import write_text

#: Kind, text and tags of a cell.
Form = tuple[str, str, list[str]]


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
        raise BookError(f"{name_of(section)} does not exist; there is no edit to bring over.")
    refuse_extras(section, notebook)
    pictures: dict[Path, bytes] = {}
    text = source_text(section, notebook, pictures)
    write_pictures(pictures)
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


def write_pictures(pictures: dict[Path, bytes]) -> None:
    """Write pasted pictures where the source looks for them."""
    for path, picture in pictures.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture)


def _base_of(section: Section, notebook: NotebookNode) -> bool:
    """Whether the source is still the one that the notebook was made from."""
    base = (notebook.metadata.get("bookbuild") or {}).get("source")
    return base in (content(section.notebook), before_runs(section.notebook))


def source_text(
    section: Section, notebook: NotebookNode, pictures: dict[Path, bytes] | None = None
) -> str:
    """The source as a notebook has it: cells that did not change stay as they are, to the byte.

    Parameters
    ----------
    section
        What the notebook was made from; its header stays unless the `d2l` settings changed.
    notebook
        Text, code, kinds, tags and order of the cells are taken from it, nothing else.
    pictures
        Takes up the pictures pasted into the text, as the paths and bytes that are to be written.

    Raises
    ------
    BookError
        If a cell would be another one in the source; the message names it.
    """
    import jupytext  # slow to import, and seldom needed

    taken: dict[Path, bytes] = {} if pictures is None else pictures
    cells = [_plain(section, cell, taken) for cell in notebook.cells]
    settings = notebook.metadata.get("d2l") or {}
    current = jupytext.reads(section.text, fmt="py:percent")
    changed = canonical(settings) != canonical(section.settings)
    if changed:
        if re.search(r"^# +[^'\"\n]*(?<=\s)#", _header(section.text), re.M):
            raise BookError(
                f"{name_of(section)}: its `d2l` settings were changed, and the header of "
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
                f"{name_of(section)}: cell {number} would be another one in {section.name} (does "
                "a line begin with `# %%`?); nothing was written. Change the cell, or copy it "
                "over by hand."
            )
    pieces = _pieces(text)
    if not len(again) == len(cells) == len(pieces):
        raise BookError(
            f"{name_of(section)}: its {len(cells)} cells would be {len(again)} in {section.name}; "
            "nothing was written. Copy the edit over by hand."
        )
    head = _header(text if changed else section.text)
    return head + _kept(section, [_comparable(cell) for cell in cells], pieces)


def _kept(section: Section, cells: list[Form], pieces: list[str]) -> str:
    """Cells as text: the lines that stand in the source for those that it has already."""
    there = [(c.kind, c.source.strip("\n").rstrip(), sorted(c.tags)) for c in section.cells]
    lines = _pieces(section.text)
    a, b = ([repr(form) for form in forms] for forms in (there, cells))
    matcher = difflib.SequenceMatcher(None, a, b, autojunk=False)
    chosen = [piece.rstrip("\n") + "\n\n" for piece in pieces]
    for old, new, size in matcher.get_matching_blocks():
        for i in range(size):
            piece = lines[old + i]
            last = old + i == len(lines) - 1
            chosen[new + i] = piece.rstrip("\n") + "\n\n" if last else piece
    return "".join(chosen).rstrip("\n") + "\n"


def _pieces(text: str) -> list[str]:
    """The text of each cell, with the line that begins it and the empty lines behind it."""
    lines = text[len(_header(text)) :].splitlines(keepends=True)
    starts = [i for i, line in enumerate(lines) if CELL.match(line)]
    return ["".join(lines[i:j]) for i, j in zip(starts, [*starts[1:], len(lines)], strict=True)]


def _comparable(cell: NotebookNode) -> Form:
    """What a source keeps of a cell: kind, text and tags."""
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
        if kind not in PICTURES:
            raise BookError(
                f"{name_of(section)}: attachment {name!r} is of kind {kind}, and the book shows "
                f"{', '.join(PICTURES)}; nothing was written. Paste it as one of these."
            )
        try:
            picture = data.encode() if data.startswith("<") else base64.b64decode(data)
        except (AttributeError, binascii.Error) as error:
            raise BookError(f"{name_of(section)}: attachment {name!r}: {error}.") from error
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
