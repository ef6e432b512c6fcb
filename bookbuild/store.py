"""The store of executed notebooks: one folder, `<key>.ipynb`, written whole or not at all."""

import os
import platform
import re
import sys
import tempfile
from pathlib import Path

import nbformat
import psutil
from nbformat import NotebookNode


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.{_machine()}.{os.getpid()}.", suffix=".part"
    )
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException as error:
        Path(part).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # a full disk is told without saying where
        raise


def _machine() -> str:
    """Name of this machine without dots; two machines may share a folder."""
    return platform.node().replace(".", "-") or "-"


def sweep(*folders: Path) -> list[Path]:
    """Remove the parts of files whose writers on this machine were killed; returns them."""
    ours = re.compile(rf"\..+\.{re.escape(_machine())}\.(\d+)\.[^.]+\.part")
    parts = [
        (left, ours.fullmatch(left.name)) for folder in folders for left in folder.rglob(".*.part")
    ]
    gone = [left for left, match in parts if match and not psutil.pid_exists(int(match[1]))]
    for left in gone:
        left.unlink(missing_ok=True)
    return gone


def read_notebook(path: Path) -> NotebookNode | None:
    """A notebook file, or None where it is missing or no valid notebook."""
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        return None
    except Exception:  # nbformat raises many kinds for a damaged file
        return None


class Store:
    """Executed notebooks by key. The folder is the whole state: copy it, or unite several."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, key: str) -> Path:
        return self.folder / f"{key}.ipynb"

    def get(self, key: str) -> NotebookNode | None:
        """The entry, or None. A damaged entry is moved aside, with a message."""
        path = self.path(key)
        if not path.exists():
            return None
        notebook = read_notebook(path)
        if notebook is None:
            aside = path.with_suffix(".damaged")
            os.replace(path, aside)
            print(
                f"store: {path.name} is damaged; moved to {aside.name}, the notebook runs again.",
                file=sys.stderr,
            )
        return notebook

    def put(self, key: str, notebook: NotebookNode) -> None:
        write_text(self.path(key), nbformat.writes(notebook))

    def merge(self, other: Path) -> int:
        """Take over the entries of another folder that are missing here; returns how many."""
        count = 0
        for path in sorted(other.glob("*.ipynb")):
            if not (self.folder / path.name).exists() and read_notebook(path) is not None:
                write_text(self.folder / path.name, path.read_text(encoding="utf-8"))
                count += 1
        return count

    def prune(self, keep: set[str], max_mb: float) -> tuple[int, float]:
        """Remove the oldest entries that are not in `keep` until the folder fits.

        Returns how many files went and the megabytes that are left.
        """
        gone = 0
        entries = sorted(self.folder.glob("*.ipynb"), key=lambda p: p.stat().st_mtime)
        total = sum(path.stat().st_size for path in entries)
        for path in entries:
            if total <= max_mb * 2**20:
                break
            if path.stem not in keep:
                total -= path.stat().st_size
                path.unlink(missing_ok=True)
                gone += 1
        return gone, total / 2**20
