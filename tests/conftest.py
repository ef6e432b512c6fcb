"""A small book in a temporary folder, made of the same parts as the real one."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bookbuild.book import Book

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("CHROMIUM") or next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
        if (path := shutil.which(name))
    ),
    None,
)
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip

HEADER = """# ---
# jupyter:
#   d2l:
#     data: [{data}]
#     profiles:
#       gpu: {{}}
#       smoke: {smoke}
#     limits: {limits}
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,d2l,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

"""


def end(process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Asks a server to end; one that does not (Jupyter waits for its kernels) is killed."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()  # its kernels watch it, and end by themselves
        process.wait()


class MiniBook:
    """Writes sections `1.1`, `1.2`, ... of a book with one chapter `01-start`."""

    def __init__(self, root: Path):
        self.root = root
        self.names: dict[str, str] = {}
        (root / "book" / "01-start").mkdir(parents=True)
        (root / "pyproject.toml").write_text(
            '[project]\nname = "d2l-helpers"\nversion = "0.1.0"\n[tool.bookbuild]\n'
        )
        package = root / "d2l_helpers"
        shutil.copytree(
            ROOT / "d2l_helpers", package, ignore=shutil.ignore_patterns("__pycache__", "chapters")
        )
        (package / "chapters").mkdir()
        self._plan()

    def _plan(self) -> None:
        rows = ",\n".join(
            f'  {{ id = "{i}", title = "{n}", file = "{i.split(".")[1].zfill(2)}-{n}", checks = 1, exercises = 0 }}'
            for i, n in self.names.items()
        )
        text = f'title = "Small book"\n[[chapter]]\nnumber = 1\ntitle = "Start"\nfolder = "01-start"\npart = "Basics"\nsections = [\n{rows}\n]\n'
        (self.root / "book" / "contents.toml").write_text(text)

    def add(
        self, name: str, *cells: str, data: str = "", smoke: str = "{}", limits: str = "{}"
    ) -> Path:
        """A section whose cells are given as text; a cell may start with `tags=[...]` on a line of its own."""
        number = f"1.{len(self.names) + 1}"
        self.names[number] = name
        self._plan()
        path = self.root / "book" / "01-start" / f"{number.split('.')[1].zfill(2)}-{name}.py"
        text = (
            HEADER.format(data=data, smoke=smoke, limits=limits)
            + f"# %% [markdown]\n# # {number} {name}\n"
        )
        for cell in cells:
            first, _, rest = cell.partition("\n")
            if first.startswith("tags="):
                text += f"\n# %% {first}\n{rest}\n"
            elif first == "markdown":
                text += "\n# %% [markdown]\n" + "".join(f"# {line}\n" for line in rest.splitlines())
            else:
                text += f"\n# %%\n{cell}\n"
        path.write_text(text)
        return path

    @property
    def book(self) -> Book:
        return Book(self.root)


@pytest.fixture
def mini(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MiniBook:
    """An empty small book; its store and its data lie in the same temporary folder."""
    for name in ("BOOK_STORE", "FRESH", "D2L_DATA", "D2L_MIRRORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("D2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("D2L_OFFLINE", "1")
    return MiniBook(tmp_path / "root")


@pytest.fixture
def cli(mini: MiniBook, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a verb on the small book; returns the exit status and everything printed."""
    from bookbuild.cli import main

    def call(*args: str) -> tuple[int, str]:
        capfd.readouterr()
        status = main(["--root", str(mini.root), *args])
        out, err = capfd.readouterr()
        return status, out + err

    return call


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, which pytest's `tmp_path` is not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def stranger(open_folder: Path) -> Iterator[Callable[[Path], None]]:
    """A function that closes a file or folder to us, as another user's umask of 077 does."""
    if sys.platform == "win32":
        pytest.skip("permissions are another thing there")
    root, closed = os.geteuid() == 0, []

    def close(path: Path) -> None:
        if root:
            os.setresuid(0, 0, 0)
        closed.append((path, path.stat().st_mode))
        path.chmod(0)
        if root:  # to whom nothing is closed
            os.setresuid(65534, 65534, 0)

    yield close
    if root:
        os.setresuid(0, 0, 0)
    for path, mode in reversed(closed):
        path.chmod(mode)


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of data or proxies, and a cache of its own."""
    from d2l_helpers import data

    for name in ("D2L_DATA", "D2L_MIRRORS", "D2L_OFFLINE", "D2L_RECORD"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("D2L_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("D2L_HEADLESS", raising=False)
    data.once.forget()


class Server:
    """A server on the loopback whose answer to each path is a function of the handler."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                server.answers.get(Path(self.path).name, lambda handler: handler.send_error(404))(
                    self
                )

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def give(self, name: str, body: bytes, promised: int | None = None, status: int = 200) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body) if promised is None else promised))
            handler.end_headers()
            handler.wfile.write(body)
            handler.close_connection = True

        self.answers[name] = answer


@pytest.fixture
def server() -> Iterator[Server]:
    served = Server()
    yield served
    served.http.shutdown()
    served.http.server_close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        message = "no Chromium on this machine: the pages were not looked at in a browser"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


from small_site import built  # noqa: E402, F401  (a fixture; it needs what stands above)
