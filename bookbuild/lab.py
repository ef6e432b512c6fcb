"""`make lab`: JupyterLab on the book, where each section opens as one notebook."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from .book import Book
from .site import pieces

CONFIG = Path(__file__).with_name("lab")
#: The page that Lab opens: a file that `lab_contents` makes up, which lies nowhere.
WELCOME = "Welcome.md"


def environment() -> dict[str, str]:
    """The environment of the server: our settings before the reader's, which stay as they are."""
    paths = [str(CONFIG), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return {**os.environ, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


def command(root: Path, *options: str) -> list[str]:
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={root}",
        f"--LabApp.default_url=/lab/tree/{WELCOME}",
        *options,
    ]


def start(root: Path, *options: str) -> int:
    return subprocess.run(command(root, *options), env=environment(), cwd=root).returncode


def welcome(book: Book) -> str:
    """The table of contents as Markdown, with a link to every section that is there."""
    links = {s.id: quote(s.name) for s in book.sections}
    return pieces.page("welcome", title=book.plan["title"], chapters=book.chapters, links=links)
