"""Sphinx as a process of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from ..book import Book
from ..progress import Phase, phase
from . import places
from .npm import WEB
from .publish import remove

OPTIONS = ["-b", "html", "-j1", "-W", "--keep-going", "-N"]
STEP = re.compile(r"(?P<what>[a-z ]+)\.\.\. ?\[ *(?P<share>\d+)%\] (?P<name>.*)")


def run_sphinx(book: Book, source: Path, stage: Path, doctrees: Path) -> list[str]:
    """Make pages in `stage` from a source tree; returns Sphinx's warnings.

    A page that warned is read again next time: Sphinx itself would be silent about a page that
    did not change. After a build that was broken off, everything is made anew.
    """
    unfinished, log = doctrees / "unfinished", doctrees.parent / "sphinx.log"
    warned = doctrees.parent / "sphinx-warnings.txt"
    if unfinished.exists():
        remove(doctrees)
        remove(stage)
    doctrees.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    warned.write_text("")
    command = [sys.executable, "-m", "sphinx", *OPTIONS, "-w", str(warned), "-d", str(doctrees)]
    command += ["-c", str(WEB), str(source / "book"), str(stage)]
    path = [str(WEB.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "BOOK_SITE_SOURCE": str(source),
        "PYTHONUNBUFFERED": "1",  # its steps are told as they happen
        "PYTHONPATH": os.pathsep.join(path),
    }
    with log.open("w") as file, phase("site: making the pages") as shown:
        status = _in_group(command, environment, file, shown)
    text = warned.read_text(encoding="utf-8")
    problems = places.warnings(book, source, text)
    if status and not problems:
        tail = "\n".join(log.read_text(encoding="utf-8").strip().splitlines()[-15:])
        return [f"Sphinx ended with status {status}; the end of {log}:\n{tail}"]
    if not problems or _read_again(source, text):
        unfinished.unlink(missing_ok=True)
    return problems


def _in_group(command: list[str], environment: dict[str, str], log: IO[str], shown: Phase) -> int:
    """Run a command in a process group; whatever it started is gone when this returns."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    )
    assert process.stdout is not None
    reader = threading.Thread(target=_follow, args=(process.stdout, log, shown), daemon=True)
    reader.start()
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if hasattr(os, "killpg"):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        reader.join(10)


def _follow(output: IO[str], log: IO[str], shown: Phase) -> None:
    """Tell the steps that Sphinx prints; everything else goes to the log."""
    with output:
        for line in output:
            step = STEP.match(line)
            if step:
                shown.step(f"{step['what']}, {step['share']} % ({step['name'].strip()})")
            else:
                log.write(line)


def _read_again(source: Path, text: str) -> bool:
    """Mark the pages named in the warnings as changed; False if a warning names none."""
    for path in places.named_files(text):
        if path is None or not path.is_file() or not path.is_relative_to(source):
            return False
        os.utime(path)
    return True
