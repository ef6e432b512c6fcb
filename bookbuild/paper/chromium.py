"""Chromium as a printer: where it is, and one page printed to PDF."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..book import BookError

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
# Nothing is asked of a network, and no settings of a user are read. The sandbox, which a container
# often refuses, would keep foreign pages away; the pages printed here are our own, without scripts
# but the one that fits wide boxes.
OPTIONS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--no-pdf-header-footer",
]  # fmt: skip
SECONDS = 1800  # for one chapter; the largest one takes about half a minute


def find() -> str:
    """The browser that prints: CHROMIUM, else the first one found.

    Raises
    ------
    BookError
        If there is none; the message says how to name one.
    """
    named = os.environ.get("CHROMIUM")
    if named:
        found = shutil.which(named)
        if found is None:
            raise BookError(
                f"CHROMIUM={named}: there is no such program; name a Chromium or Chrome."
            )
        return found
    for name in (*NAMES, *PLACES):
        found = shutil.which(name)
        if found:
            return found
    raise BookError(
        "PDF files are printed by Chromium, and there is none on this machine. Install Chromium or "
        "Google Chrome (Debian: apt install chromium), or name one: CHROMIUM=/path/to/chrome."
    )


def print_pdf(browser: str, page: Path, out: Path) -> None:
    """Print an HTML file to `out`, tagged, with the size of paper that its styles name."""
    out.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="book-print-", ignore_cleanup_errors=True) as profile:
        command = [browser, *OPTIONS, f"--user-data-dir={profile}", f"--print-to-pdf={out}"]
        try:
            done = subprocess.run(
                [*command, page.as_uri()], capture_output=True, text=True, errors="replace",
                timeout=SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise BookError(f"{browser} did not print {page} within {SECONDS} s.") from None
    if not out.is_file() or not out.read_bytes()[:5] == b"%PDF-":
        said = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise BookError(
            f"{browser} printed nothing of {page} (exit status {done.returncode}); it said:\n{said}"
        )
