"""`make lab`: both kinds of file open as notebooks, nothing is fetched, the reader's own settings stay."""

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from bookbuild import lab


@pytest.fixture
def server(mini, tmp_path):
    """A server of `make lab`; gives a function that asks it."""
    mini.add("only", "markdown\nSome text.", "print(1)")
    options = ["--no-browser", "--ServerApp.ip=127.0.0.1", "--allow-root"]
    process = subprocess.Popen(
        lab.command(mini.root, *options, "--IdentityProvider.token=t"),
        env=lab.environment() | {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")},
        cwd=mini.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def address() -> str:
        """Where it listens: it takes a port that is free, and writes down which."""
        for _ in range(600):
            for file in (tmp_path / "runtime").glob("jpserver-*.json"):
                with contextlib.suppress(ValueError, KeyError):  # not written to its end yet
                    return str(json.loads(file.read_text())["url"]).rstrip("/")
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        raise AssertionError("the server did not say where it listens")

    def get(path: str):
        mark = "&" if "?" in path else "?"
        with urllib.request.urlopen(f"{base}{path}{mark}token=t", timeout=30) as reply:
            return json.load(reply)

    try:
        base = address()
        for _ in range(600):
            try:
                get("/api")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
        yield get
    finally:
        process.terminate()
        process.wait(20)


def test_lab_opens_sources_as_notebooks(server):
    content = server("/api/contents/book/01-start/01-only.py?type=notebook&content=1")
    assert content["type"] == "notebook"
    assert [c["cell_type"] for c in content["content"]["cells"]] == ["markdown", "markdown", "code"]
    viewers = server("/lab/api/settings/@jupyterlab/docmanager-extension:plugin")["schema"][
        "properties"
    ]["defaultViewers"]["default"]
    assert viewers == {"python": "Jupytext Notebook", "notebook": "Notebook"}
    news = server("/lab/api/settings/@jupyterlab/apputils-extension:notification")["schema"][
        "properties"
    ]
    assert news["fetchNews"]["default"] == "false"
