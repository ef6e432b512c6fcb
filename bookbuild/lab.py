"""`make lab`: JupyterLab on the book, with `.py` and `.ipynb` both opening as notebooks."""

import os
import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).with_name("lab")


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
        "--LabApp.default_url=/lab/tree/book",
        *options,
    ]


def start(root: Path, *options: str) -> int:
    return subprocess.run(command(root, *options), env=environment(), cwd=root).returncode
