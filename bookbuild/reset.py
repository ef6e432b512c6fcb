"""The way back: a section as it was accepted, while the reader's version is kept.

What was accepted is what the last commit of git holds, or the archive that the book came in.
"""

import shutil
import subprocess
import zipfile
from datetime import datetime
from pathlib import Path

from nbformat import NotebookNode

from . import pair
from .book import Book, BookError, Section
from .store import write_text

#: Folder of the versions that a reset put aside; `make clean` leaves it alone.
KEPT = "kept"


def working_copy(book: Book, section: Section) -> Path:
    """Where a save in JupyterLab leaves what the `.py` has no place for."""
    return book.build / "lab" / section.ipynb.relative_to(book.root / "book")


def last_commit(root: Path, path: Path) -> bytes | None:
    """A file of the book as the last commit has it; None without git, or where it has none."""
    name = path.relative_to(root).as_posix()
    try:
        done = subprocess.run(["git", "show", f"HEAD:./{name}"], cwd=root, capture_output=True)
    except OSError:  # there is no git
        return None
    return done.stdout if done.returncode == 0 else None


def accepted(section: Section) -> NotebookNode | None:
    """The notebook of the last commit, if its outputs are those that `make accept` stored."""
    raw = last_commit(section.root, section.ipynb)
    try:
        notebook = pair.parse(raw) if raw is not None else None
    except ValueError:
        return None
    return notebook if notebook is not None and not pair.changed_outputs(notebook) else None


def original(section: Section, path: Path, archive: Path | None) -> bytes | None:
    """A file of a section as it was: from an archive or folder if one is named, else from git."""
    if archive is None:
        return last_commit(section.root, path)
    name = path.relative_to(section.root).as_posix()
    if archive.is_dir():
        found = archive / name
        return found.read_bytes() if found.is_file() else None
    try:
        with zipfile.ZipFile(archive) as files:
            members = [n for n in files.namelist() if f"/{n}".endswith(f"/{name}")]
            return files.read(min(members, key=len)) if members else None
    except (OSError, zipfile.BadZipFile) as error:
        raise BookError(
            f"{archive}: {error}; name the .zip that the book came in, or its folder."
        ) from None


def accepted_source(section: Section, archive: Path | None) -> Path | None:
    """Where the accepted source lies; a page that is gone looks like a notebook to the plan."""
    paths = (section.path, section.path.with_suffix(".md"))
    return next((p for p in paths if original(section, p, archive) is not None), None)


def archive_nearby(book: Book) -> Path | None:
    """The archive that the book was unpacked from, if it still lies beside it; None with git."""
    from .site.archive import NAME

    if last_commit(book.root, book.root / "book" / "contents.toml") is not None:
        return None
    places = [folder / NAME for folder in book.root.parents[:2]]
    return next((path for path in places if path.is_file()), None)


def reset(book: Book, section: Section, archive: Path | None = None) -> tuple[list[Path], Path]:
    """Bring a section back; what differs is moved aside first.

    Returns
    -------
    The files that were brought back or put away, and the folder that has what they were.

    Raises
    ------
    BookError
        If nothing is known of the accepted version; then nothing is changed.
    """
    source = accepted_source(section, archive)
    if source is None:
        place = f"{archive} does" if archive else "git knows none, or its last commit does"
        raise BookError(
            f"{section.name}: {place} not have it, so there is no version to go back to. "
            "Name the archive that the book came in: "
            f"make reset S={section.id} FROM=book.zip"
        )
    files = {path: original(section, path, archive) for path in (source, section.ipynb)}
    kept = _folder(book)
    changed = []
    for path, data in files.items():
        mine = path.read_bytes() if path.exists() else None
        if data is None or mine == data:
            continue
        if mine is not None:
            _copy(path, kept / path.relative_to(book.root / "book"))
        write_text(path, data.decode())
        changed.append(path)
    copy = working_copy(book, section)
    if copy.exists():
        _copy(copy, kept / copy.relative_to(book.build))
        copy.unlink()
        changed.append(copy)
    return changed, kept


def _copy(path: Path, aside: Path) -> None:
    aside.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, aside)


def _folder(book: Book) -> Path:
    """A new folder whose name says when."""
    base = book.root / KEPT / f"{datetime.now():%Y-%m-%d-%H%M%S}"
    number, folder = 1, base
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder
