"""`make lab`: both kinds of file open as notebooks, nothing is fetched, the reader's own settings stay."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from bookbuild import lab


@pytest.fixture
def server(mini):
    mini.add("only", "markdown\nSome text.", "print(1)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        "--no-browser",
        f"--port={port}",
        "--ServerApp.ip=127.0.0.1",
        "--allow-root",
        "--IdentityProvider.token=t",
    ]
    process = subprocess.Popen(
        lab.command(mini.root, *options),
        env=lab.environment(),
        cwd=mini.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def get(path: str):
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}{path}{'&' if '?' in path else '?'}token=t", timeout=30
        ) as reply:
            return json.load(reply)

    for _ in range(120):
        try:
            get("/api")
            break
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    yield get
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
