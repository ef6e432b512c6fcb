"""The whole book in one zip file, from which it runs as from a checkout."""

import io
import os
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

from ..book import Book

NAME = "book.zip"
FOLDER = "d2l-book"  # that the file unpacks into
#: What lies in the root where there is no git to ask.
FOLDERS = (
    "book", "bookbuild", "d2l_helpers", "tests", "benchmarks", "binder", ".ci", ".devcontainer",
    ".github",
)  # fmt: skip
FILES = (
    "*.md", "LICENSE*", "Makefile", "pyproject.toml", "environment.yml", "requirements.lock",
    "CITATION.cff", ".gitignore", ".gitattributes", ".pre-commit-config.yaml",
)  # fmt: skip
SKIPPED = {"node_modules", "__pycache__", ".ipynb_checkpoints", "data"}
EPOCH = (1980, 1, 1, 0, 0, 0)


def files(book: Book) -> list[Path]:
    """The book's files: those that git knows, so that nothing else of a folder gets out.

    Without git, and where it refuses, those of the folders and names that a book has.
    """
    command = ["git", "ls-files", "-z", "--cached"]
    if (book.root / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(command, cwd=book.root, capture_output=True)
        names = os.fsdecode(listed.stdout).split("\0")[:-1]
        if names:
            return sorted({path for name in names if (path := book.root / name).is_file()})
    return sorted(walk(book.root))


def walk(root: Path) -> Iterator[Path]:
    """The same without git."""
    for pattern in FILES:
        yield from (p for p in root.glob(pattern) if p.is_file())
    for name in FOLDERS:
        for base, folders, names in os.walk(root / name):
            folders[:] = [f for f in folders if f not in SKIPPED]
            yield from (Path(base, n) for n in names if not n.endswith((".pyc", ".part")))


def archive(book: Book) -> bytes:
    """The zip file: equal files give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for path in files(book):
            name = path.relative_to(book.root).as_posix()
            entry = zipfile.ZipInfo(f"{FOLDER}/{name}", EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, whose rights these are
            entry.external_attr = (0o100755 if os.access(path, os.X_OK) else 0o100644) << 16
            file.writestr(entry, path.read_bytes())
    return buffer.getvalue()
