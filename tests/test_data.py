"""Data sets under every fault that sources, archives and processes can show; stand-ins; batches."""

import doctest
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Server
from torch.utils.data import DataLoader, TensorDataset

from d2l_helpers import data, sources, standins
from d2l_helpers.batches import BatchLoader
from d2l_helpers.data import DataError, fetch, manifest

pytestmark = pytest.mark.usefixtures("clean")

CONTENT = {"a.bin": bytes(range(256)) * 40, "b.txt": b"second file\n"}
ADVICE = "name a folder or URL that has it in D2L_MIRRORS, or set D2L_DATA=standin."


def toy_maker(folder: Path) -> None:
    for name, content in CONTENT.items():
        (folder / name).write_bytes(b"made " + content)


def toy_manifest(urls: str = "", folders: tuple[str, ...] = (), compression: str = "gzip") -> str:
    text = f'[toy]\nlicense = "CC0"\nfolders = {json.dumps(list(folders))}\n'
    for name, content in CONTENT.items():
        addresses = [f"{base}/{name}.gz" for base in urls.split()]
        text += f'[toy.files."{name}"]\nsha256 = "{hashlib.sha256(content).hexdigest()}"\nbytes = {len(content)}\n'
        text += f'compression = "{compression}"\nurls = {json.dumps(addresses)}\n'
    return text


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace the manifest by one with a data set `toy` of two small files; call it again for other URLs."""

    def use(**settings) -> None:
        path = tmp_path / f"manifest-{time.monotonic_ns()}.toml"
        path.write_text(toy_manifest(**settings))
        monkeypatch.setattr(data, "MANIFEST", path)

    use()
    monkeypatch.setitem(standins.MAKERS, "toy", toy_maker)
    monkeypatch.setitem(standins._VERSIONS, "toy", "1")
    return use


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in D2L_MIRRORS with both files of `toy`."""
    folder = tmp_path / "mirror" / "toy"
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(content)
    monkeypatch.setenv("D2L_MIRRORS", str(folder.parent))
    return folder


def good(server: Server) -> None:
    for name, content in CONTENT.items():
        server.give(f"{name}.gz", gzip.compress(content))


def left_over(cache: Path) -> list[str]:
    """Everything in the cache that is neither a lock nor a complete file."""
    return sorted(
        str(p.relative_to(cache))
        for p in cache.rglob("*")
        if not p.name.endswith(".lock") and (".part" in str(p) or "download" in p.name)
    )


def refusal() -> str:
    with pytest.raises(DataError) as caught:
        fetch("toy")
    return str(caught.value)


def check_real(found: data.Dataset) -> None:
    assert found.is_real
    assert found.source == "real"
    assert {name: path.read_bytes() for name, path in found.files.items()} == CONTENT
    assert left_over(data.cache_folder()) == []


def check_standin(found: data.Dataset) -> None:
    assert not found.is_real
    assert {name: path.read_bytes() for name, path in found.files.items()} == {
        name: b"made " + c for name, c in CONTENT.items()
    }
    assert left_over(data.cache_folder()) == []


# modes and settings


def test_doctests():
    for module in (data, sources, standins):
        result = doctest.testmod(module)
        assert result.attempted
        assert not result.failed


def test_manifest_is_complete():
    for name, entry in manifest().items():
        for key in ("title", "license", "origin", "citation"):
            assert entry[key], f"{name}: {key}"
        assert ("files" in entry) != ("members" in entry)
        assert entry.get("official", name) in manifest()
        assert name in standins.MAKERS and standins.version(name)
        assert name == "austen" or list(
            sources.of_members(name, entry)
            if "members" in entry
            else sources.of_file(name, entry, next(iter(entry["files"])))
        ), f"{name} is nowhere to be had"
        for spec in entry.get("files", {"": entry.get("members")}).values():
            assert re.fullmatch("[0-9a-f]{64}", spec["sha256"])
            assert spec["bytes"] > 0
        assert bool(entry.get("repository")) == bool(
            re.fullmatch("[0-9a-f]{40}", entry.get("commit", ""))
        )
        assert re.fullmatch("[a-z0-9-]+==[0-9.]+", entry.get("package", "a==1"))
    assert manifest()["fashion-mnist"]["folders"] == ["/usr/share/datasets/fashion-mnist"]
    assert all(len(s["urls"]) >= 2 for s in manifest()["fashion-mnist"]["files"].values())


def test_a_copy_that_is_not_the_official_set_says_so():
    lossy = manifest()["cifar10-jpeg"]
    assert "lossy" in lossy["note"] and lossy["official"] == "cifar10" and "1,000" in lossy["part"]
    assert "not stated" in lossy["license"]


def test_unknown_name(toy):
    with pytest.raises(DataError, match="There is no data set 'cats'; the manifest has: toy."):
        fetch("cats")


def test_unknown_mode(toy, monkeypatch):
    monkeypatch.setenv("D2L_DATA", "fake")
    assert refusal() == "D2L_DATA is 'fake'; use one of auto, real, standin."


def test_cache_folder(monkeypatch, tmp_path):
    assert data.cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("D2L_CACHE", "~/somewhere")
    assert data.cache_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("D2L_CACHE")
    assert "d2l_helpers" in str(data.cache_folder())


def test_the_record_names_what_was_used(toy, mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("D2L_RECORD", str(tmp_path / "record"))
    fetch("toy")
    monkeypatch.setenv("D2L_DATA", "standin")
    fetch("toy")
    assert [json.loads(line) for line in (tmp_path / "record").read_text().splitlines()] == [
        {"name": "toy", "source": "real"},
        {"name": "toy", "source": "standin"},
    ]


def test_standin_on_request(toy, mirror, monkeypatch, capsys):
    monkeypatch.setenv("D2L_DATA", "standin")
    check_standin(fetch("toy"))
    assert (
        capsys.readouterr().out
        == "toy: stand-in data: D2L_DATA=standin; numbers differ from those of the real set.\n"
    )
    monkeypatch.setitem(standins.MAKERS, "toy", lambda folder: pytest.fail("made twice"))
    check_standin(fetch("toy"))
    assert capsys.readouterr().out == ""  # told once a process


def test_another_version_is_another_folder(toy, monkeypatch):
    monkeypatch.setenv("D2L_DATA", "standin")
    first = fetch("toy").folder
    monkeypatch.setitem(standins._VERSIONS, "toy", "2")
    assert fetch("toy").folder != first


def test_a_maker_that_fails_leaves_nothing(toy, monkeypatch):
    def broken(folder: Path) -> None:
        toy_maker(folder)
        raise OSError("disk full")

    monkeypatch.setenv("D2L_DATA", "standin")
    monkeypatch.setitem(standins.MAKERS, "toy", broken)
    with pytest.raises(OSError, match="disk full"):
        fetch("toy")
    assert [p.name for p in data.cache_folder().iterdir()] == ["toy-standin-1.lock"]


def test_a_cache_that_cannot_be_written(toy, mirror, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("D2L_CACHE", str(tmp_path / "file" / "below"))
    message = refusal()
    assert message.startswith(f"{tmp_path / 'file' / 'below'} cannot be written (")
    assert message.endswith("name another folder (for data sets in D2L_CACHE).")


@pytest.fixture
def shared_cache(open_folder, monkeypatch) -> Path:
    monkeypatch.setenv("D2L_CACHE", str(open_folder / "cache"))
    return open_folder / "cache"


@pytest.mark.parametrize("closed", ["", "toy", "toy/a.bin", "toy-standin-1", "toy-standin-1/a.bin"])
def test_a_cache_that_another_user_filled(toy, mirror, monkeypatch, shared_cache, stranger, closed):
    monkeypatch.setenv("D2L_DATA", "standin" if "standin" in closed else "real")
    fetch("toy")
    stranger(shared_cache / closed)
    message = refusal()
    assert message.startswith(f"The cache of data sets {shared_cache} is closed to you (")
    assert "D2L_CACHE" in message and f"chmod -R a+rX {shared_cache}" in message


# local sources


@pytest.mark.parametrize("place", ["toy/{}", "toy/{}.gz", "{}", "{}.gz"])
def test_a_folder_may_hold_the_files_in_four_forms(toy, tmp_path, monkeypatch, capsys, place):
    for name, content in CONTENT.items():
        path = tmp_path / "m" / place.format(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if place.endswith("gz") else content)
    monkeypatch.setenv("D2L_MIRRORS", f" {tmp_path / 'none'} ; ;{tmp_path / 'm'}")
    check_real(fetch("toy"))
    shutil.rmtree(tmp_path / "m")
    check_real(fetch("toy"))
    assert capsys.readouterr().out == ""


def test_a_home_folder_as_mirror(toy, mirror, monkeypatch):
    monkeypatch.setenv("HOME", str(mirror.parent.parent))
    monkeypatch.setenv("D2L_MIRRORS", "~/mirror")
    check_real(fetch("toy"))


def test_a_folder_of_the_operating_system(toy, mirror, monkeypatch):
    monkeypatch.delenv("D2L_MIRRORS")
    toy(folders=(str(mirror.parent / "elsewhere"), str(mirror)))
    check_real(fetch("toy"))


def test_files_that_are_gzip_by_nature_are_not_unpacked(toy, mirror, monkeypatch):
    zipped = {name: gzip.compress(content, mtime=0) for name, content in CONTENT.items()}
    monkeypatch.setattr(sys.modules[__name__], "CONTENT", zipped)
    toy(compression="none")
    for name, content in zipped.items():
        (mirror / name).write_bytes(content)
    check_real(fetch("toy"))


def faults(content: bytes) -> dict[str, tuple[str, bytes, str]]:
    zipped = gzip.compress(content)
    digest = f"sha256 {hashlib.sha256(b'X' + content[1:]).hexdigest()[:12]}"
    spoilt = zipped[:10] + bytes([zipped[10] ^ 0xFF]) + zipped[11:]
    return {
        "tampered": (
            "",
            b"X" + content[1:],
            f"ValueError: wrong content ({len(content)} bytes, {digest}...; expected {len(content)} bytes, ",
        ),
        "truncated": ("", content[:100], "ValueError: wrong content (100 bytes, "),
        "empty": ("", b"", "ValueError: wrong content (0 bytes, "),
        "too large": (
            "",
            content + b"more",
            f"ValueError: larger than the expected {len(content)} bytes",
        ),
        "bomb": (
            ".gz",
            gzip.compress(bytes(50_000_000)),
            f"ValueError: larger than the expected {len(content)} bytes",
        ),
        "truncated gzip": (".gz", zipped[:-20], "EOFError: "),
        "spoilt gzip": (".gz", spoilt, "error: Error -3"),
        "wrong gzip sum": (
            ".gz",
            zipped[:-8] + b"\0\0\0\0" + zipped[-4:],
            "BadGzipFile: CRC check failed",
        ),
        "gzip of another": (".gz", gzip.compress(b"other"), "ValueError: wrong content (5 bytes, "),
    }


@pytest.mark.parametrize("fault", faults(b"abc"))
@pytest.mark.parametrize("mode", ["auto", "real"])
def test_a_damaged_source_is_an_error_in_every_mode(toy, mirror, monkeypatch, fault, mode):
    suffix, content, message = faults(CONTENT["a.bin"])[fault]
    (mirror / "a.bin").unlink()
    bad = mirror / f"a.bin{suffix}"
    bad.write_bytes(content)
    monkeypatch.setenv("D2L_DATA", mode)
    text = refusal()
    assert text.startswith(
        f"Data set 'toy': the file 'a.bin' could not be had.\n  {bad}: {message}"
    )
    assert text.endswith(f"Put it into {data.cache_folder() / 'toy'}, {ADVICE}")
    assert sorted(p.name for p in data.cache_folder().rglob("*")) == ["toy", "toy.lock"]


def test_a_damaged_source_is_passed_over_for_a_good_one(toy, mirror, tmp_path, monkeypatch):
    shutil.copytree(mirror.parent, tmp_path / "good")
    (mirror / "a.bin").write_bytes(b"bad")
    monkeypatch.setenv("D2L_MIRRORS", f"{mirror.parent};{tmp_path / 'good'}")
    check_real(fetch("toy"))


def test_missing_everywhere(toy, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("D2L_MIRRORS", str(tmp_path / "typo"))
    check_standin(fetch("toy"))
    assert capsys.readouterr().out == (
        f"toy: stand-in data: there is no folder {tmp_path / 'typo'}; "
        "numbers differ from those of the real set.\n"
    )
    monkeypatch.setenv("D2L_DATA", "real")
    text = refusal()
    assert f"  {tmp_path / 'typo' / 'toy' / 'a.bin'}: FileNotFoundError: " in text
    monkeypatch.delenv("D2L_MIRRORS")
    assert refusal().splitlines()[1] == "  no source is configured"


@pytest.mark.parametrize("damage", [b"", b"X" * len(CONTENT["a.bin"]), CONTENT["a.bin"] + b"!"])
def test_a_damaged_file_in_the_cache_is_replaced_and_kept_beside(toy, mirror, damage):
    path = fetch("toy").files["a.bin"]
    path.write_bytes(damage)
    check_real(fetch("toy"))
    assert path.with_name("a.bin.damaged").read_bytes() == damage


def test_a_damaged_file_in_the_cache_without_a_good_source_stays_an_error(toy, mirror, monkeypatch):
    path = fetch("toy").files["a.bin"]
    path.write_bytes(b"spoilt")
    monkeypatch.delenv("D2L_MIRRORS")
    for _ in range(2):
        assert refusal().splitlines()[1] == f"  {path}: damaged, its size or checksum is wrong"
    assert path.read_bytes() == b"spoilt"
    monkeypatch.setenv("D2L_DATA", "standin")
    check_standin(fetch("toy"))


# the network, as far as the loopback


def test_download(toy, server):
    toy(urls=server.url)
    good(server)
    check_real(fetch("toy"))
    check_real(fetch("toy"))
    assert server.asked == ["/a.bin.gz", "/b.txt.gz"]


def test_a_mirror_by_url_comes_first(toy, server, monkeypatch):
    toy(urls="http://127.0.0.1:1")
    good(server)
    monkeypatch.setenv("D2L_MIRRORS", f"{server.url}/data/")
    check_real(fetch("toy"))
    assert server.asked == ["/data/toy/a.bin.gz", "/data/toy/b.txt.gz"]


def test_a_download_says_how_much_it_is_before_it_begins(toy, server, monkeypatch, capsys):
    toy(urls=server.url)
    good(server)
    monkeypatch.setenv("D2L_HEADLESS", "1")
    fetch("toy")
    assert capsys.readouterr().out == "", "the runner would store it"
    shutil.rmtree(data.cache_folder())
    monkeypatch.delenv("D2L_HEADLESS")
    heard: list[str] = []
    give = server.answers["a.bin.gz"]
    server.answers["a.bin.gz"] = lambda handler: (
        heard.append(capsys.readouterr().out),
        give(handler),
    )
    fetch("toy")
    assert heard == [f"toy: downloading 0.0 MB (unpacked) from {server.url[7:]}\n"]
    fetch("toy")
    assert capsys.readouterr().out == ""


def test_why_there_is_a_standin(toy, server, mirror, monkeypatch, tmp_path):
    """In a few words: what the reader set and what came of it; folders of packages are not named."""
    toy(urls="http://127.0.0.1:1", folders=("/usr/share/no-such-package",))
    (mirror / "a.bin").unlink()
    monkeypatch.setenv("D2L_MIRRORS", f"{mirror.parent};{server.url};htp://typo/x")
    assert fetch("toy").reason == (
        f"not in {mirror.parent}, {server.url[7:]} answered 404, typo: InvalidSchema, "
        "127.0.0.1:1 did not answer"
    )
    monkeypatch.setenv("D2L_OFFLINE", "1")
    monkeypatch.delenv("D2L_MIRRORS")
    assert fetch("toy").reason == "D2L_OFFLINE=1"
    monkeypatch.delenv("D2L_OFFLINE")
    toy()
    assert fetch("toy").reason == "no source is configured"


def test_a_mirror_that_is_closed_to_us(toy, shared_cache, stranger, monkeypatch):
    mirror = shared_cache.parent / "mirror"
    mirror.mkdir()
    shared_cache.mkdir(mode=0o777)
    shared_cache.chmod(0o777)
    monkeypatch.setenv("D2L_MIRRORS", str(mirror))
    data.manifest()  # read before we become a stranger
    stranger(mirror)
    assert fetch("toy").reason == f"{mirror / 'toy' / 'a.bin'}: Permission denied"


def test_offline_asks_nobody(toy, server, monkeypatch):
    toy(urls=server.url)
    monkeypatch.setenv("D2L_OFFLINE", "1")
    check_standin(fetch("toy"))
    assert server.asked == []


def test_not_found_is_asked_again_for_the_next_file(toy, server, mirror, monkeypatch):
    toy(urls=server.url)
    monkeypatch.setenv("D2L_DATA", "real")
    monkeypatch.delenv("D2L_MIRRORS")
    assert f"  {server.url}/a.bin.gz: HTTPError: 404 Client Error: Not Found" in refusal()
    (mirror / "b.txt").unlink()
    monkeypatch.setenv("D2L_MIRRORS", f"{server.url}/other;{mirror}")
    server.give("b.txt.gz", gzip.compress(CONTENT["b.txt"]))
    check_real(fetch("toy"))


@pytest.mark.parametrize("mode", ["auto", "real"])
def test_an_error_page_is_no_data(toy, server, monkeypatch, mode):
    toy(urls=server.url)
    monkeypatch.setenv("D2L_DATA", mode)
    for name in CONTENT:
        server.give(f"{name}.gz", b"<html>Please log in</html>")
    assert "/a.bin.gz: ValueError: wrong content (26 bytes, sha256 " in refusal()


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_server_error_gives_the_standin(toy, server, status):
    toy(urls=server.url)
    for name in CONTENT:
        server.give(f"{name}.gz", b"sorry", status=status)
    found = fetch("toy")
    check_standin(found)
    assert found.reason == f"{server.url[7:]} answered {status}"


def test_a_dropped_connection(toy, server, monkeypatch):
    toy(urls=server.url)
    whole = gzip.compress(CONTENT["a.bin"])
    server.give("a.bin.gz", whole[:30], promised=len(whole))
    monkeypatch.setenv("D2L_DATA", "real")
    assert re.search(
        r"/a.bin.gz: (ChunkedEncodingError|ConnectionError|ProtocolError): .*(IncompleteRead|broken)",
        refusal(),
    )
    assert left_over(data.cache_folder()) == []
    monkeypatch.setenv("D2L_DATA", "auto")
    check_standin(fetch("toy"))
    good(server)
    check_real(fetch("toy"))


def test_an_endless_answer_is_cut_off(toy, server):
    toy(urls=server.url)
    sent = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while len(sent) < 10_000:
                handler.wfile.write(bytes(65536))
                sent.append(1)
        except OSError:
            pass

    server.answers["a.bin.gz"] = endless
    assert (
        f"/a.bin.gz: ValueError: larger than the expected {len(CONTENT['a.bin']) + 65536} bytes"
        in refusal()
    )
    assert len(sent) < 1000


def test_a_silent_host_is_waited_for_once(toy, server, mirror, monkeypatch):
    """The first file comes from another source; for the second file the silent host is not asked again."""
    hold = threading.Event()
    server.answers = {f"{name}.gz": lambda handler: hold.wait(5) for name in CONTENT}
    monkeypatch.setattr(sources, "TIMEOUT", (0.3, 0.3))
    monkeypatch.setenv("D2L_MIRRORS", f"{server.url};{mirror}")
    start = time.monotonic()
    check_real(fetch("toy"))
    assert time.monotonic() - start < 3
    assert server.asked == ["/toy/a.bin.gz"]
    (mirror / "b.txt").unlink()
    shutil.rmtree(data.cache_folder())
    monkeypatch.setenv("D2L_DATA", "real")
    assert f"{server.url}/toy/b.txt.gz: {server.url[7:]} did not answer before" in refusal()
    hold.set()


def test_nobody_listens(toy, monkeypatch):
    toy(urls="http://127.0.0.1:1 http://127.0.0.1:1/second")
    check_standin(fetch("toy"))
    monkeypatch.setenv("D2L_DATA", "real")
    text = refusal()
    assert "http://127.0.0.1:1/a.bin.gz: ConnectionError: " in text
    assert "http://127.0.0.1:1/second/a.bin.gz: 127.0.0.1:1 did not answer before" in text


def test_waiting_has_a_limit():
    connect, read = sources.TIMEOUT
    assert connect == 5
    assert read <= 30


# several processes

# Fetching needs no tensors, so an empty module in place of PyTorch saves seconds in each process.
WORKER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
sys.modules["torch"] = SimpleNamespace(Tensor=object, Generator=object, device=object)
from d2l_helpers import data, sources, standins
data.MANIFEST = Path(sys.argv[1])
def make(folder):
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    (folder / "a.bin").write_bytes(b"half")
    time.sleep(float(sys.argv[3]))
    (folder / "a.bin").write_bytes(b"whole")
    (folder / "b.txt").write_bytes(b"whole")
standins.MAKERS["toy"], standins._VERSIONS["toy"] = make, "1"
print("ready", flush=True)
sys.stdin.readline()
found = data.fetch("toy")
print(found.source, found.files["b.txt"].read_bytes())
"""


def start(tmp_path: Path, *seconds: float) -> list[subprocess.Popen[str]]:
    """Processes that have imported everything and wait for a line; each makes a stand-in in so many seconds."""
    commands = [
        [sys.executable, "-c", WORKER, str(data.MANIFEST), str(tmp_path / "log"), str(s)]
        for s in seconds
    ]
    workers = [
        subprocess.Popen(
            c,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(data.__file__).parents[1],
        )
        for c in commands
    ]
    assert all(worker.stdout and worker.stdout.readline() == "ready\n" for worker in workers)
    return workers


def let_go(workers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for worker in workers:
        assert worker.stdin
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return workers


def wait_for(condition: Callable[[], object]) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_two_processes_do_the_work_once(toy, server, tmp_path, monkeypatch):
    """Both ask at the same moment; one downloads, the other waits and finds the files."""
    monkeypatch.setenv("D2L_HEADLESS", "1")
    toy(urls=server.url)
    workers = start(tmp_path, 0, 0)

    def slow(name: str) -> Callable[[BaseHTTPRequestHandler], None]:
        server.give(name, gzip.compress(CONTENT[name[:-3]]))
        answer = server.answers[name]
        return lambda handler: (time.sleep(0.3), answer(handler))[1]

    server.answers = {f"{name}.gz": slow(f"{name}.gz") for name in CONTENT}
    results = [worker.communicate(timeout=120)[0] for worker in let_go(workers)]
    assert all(result == f"real {CONTENT['b.txt']!r}\n" for result in results)
    assert server.asked == ["/a.bin.gz", "/b.txt.gz"]


def test_a_killed_process_leaves_nothing_that_counts(toy, tmp_path, monkeypatch):
    """One process is killed while it makes a stand-in; two others then make it once, and nothing is left over."""
    monkeypatch.setenv("D2L_OFFLINE", "1")
    killed, *others = start(tmp_path, 60, 0.3, 0.3)
    let_go([killed])
    part = data.cache_folder() / ".part-toy-standin-1" / "a.bin"
    wait_for(part.exists)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert part.exists()
    assert not (data.cache_folder() / "toy-standin-1").exists()
    results = [worker.communicate(timeout=120)[0] for worker in let_go(others)]
    assert all(result.endswith("standin b'whole'\n") for result in results)
    assert (tmp_path / "log").read_text().splitlines() == ["made", "made"], (
        "once by the killed process, once by one of the two"
    )
    assert left_over(data.cache_folder()) == []


def test_a_process_killed_in_a_download(toy, server, tmp_path):
    toy(urls=server.url)
    hold = threading.Event()

    def half(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        handler.wfile.write(bytes(1000))
        hold.wait(20)

    server.answers["a.bin.gz"] = half
    (killed,) = let_go(start(tmp_path, 0))
    wait_for((data.cache_folder() / ".part-toy" / "download").exists)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    hold.set()
    assert list((data.cache_folder() / "toy").iterdir()) == []
    good(server)
    check_real(fetch("toy"))


# the stand-in of Fashion-MNIST

FASHION = {"train-images-idx3-ubyte": (60_000, 28, 28), "train-labels-idx1-ubyte": (60_000,), "t10k-images-idx3-ubyte": (10_000, 28, 28), "t10k-labels-idx1-ubyte": (10_000,)}  # fmt: skip


@pytest.fixture(scope="session")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fashion")
    standins.MAKERS["fashion-mnist"](folder)
    return folder


def read(path: Path) -> np.ndarray:
    raw = path.read_bytes()
    assert raw[:3] == b"\0\0\x08"
    sizes = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes)


def test_fashion_standin_has_the_shape_of_the_real_set(fashion):
    files = manifest()["fashion-mnist"]["files"]
    assert {p.name for p in fashion.iterdir()} == set(files)
    for name, shape in FASHION.items():
        assert (fashion / name).stat().st_size == files[name]["bytes"]
        assert read(fashion / name).shape == shape


def test_fashion_standin_is_balanced_shuffled_and_varied(fashion):
    for part, each in (("train", 6000), ("t10k", 1000)):
        labels, images = (
            read(fashion / f"{part}-labels-idx1-ubyte"),
            read(fashion / f"{part}-images-idx3-ubyte"),
        )
        assert np.bincount(labels).tolist() == [each] * 10
        assert 0.05 < np.mean(labels[1:] == labels[:-1]) < 0.15
        assert len({image.tobytes() for image in images[:2000]}) == 2000
        assert images.max() == 255
        assert 30 < images.mean() < 90
    seen = {image.tobytes() for image in read(fashion / "train-images-idx3-ubyte")[:5000]}
    assert not seen & {image.tobytes() for image in images[:5000]}


def test_fashion_standin_has_the_bytes_that_its_version_names(fashion):
    """If this fails after a change of the drawing code, put the new start of the digest into `_VERSIONS`."""
    digest = hashlib.sha256(
        b"".join((fashion / name).read_bytes() for name in sorted(FASHION))
    ).hexdigest()
    assert digest.startswith(standins.version("fashion-mnist"))


def test_fashion_standin_is_neither_trivial_nor_hopeless(fashion):
    """Nearest class mean on 10 000 training and 2000 test pictures; a linear classifier and a CNN lie above it."""
    X, y = (
        read(fashion / f"train-{kind}")[:10_000]
        for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    Z, u = (
        read(fashion / f"t10k-{kind}")[:2000] for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    )
    means = torch.stack(
        [torch.tensor(X[y == kind]).float().mean(0).flatten() for kind in range(10)]
    )
    nearest = torch.cdist(torch.tensor(Z).float().flatten(1), means).argmin(1).numpy()
    assert 0.6 < np.mean(nearest == u) < 0.75


def test_garments_depend_on_the_seed_alone():
    first, second, other = standins.garments(3), standins.garments(3), standins.garments(3, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert len(standins.KINDS) == 10


# batches


@pytest.mark.parametrize("size", [1, 3, 5, 10, 12])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_equal_those_of_dataloader(size, drop_last):
    X, y = torch.arange(20.0).reshape(10, 2), torch.arange(10)
    ours, theirs = (
        BatchLoader((X, y), size, drop_last=drop_last),
        DataLoader(TensorDataset(X, y), size, drop_last=drop_last),
    )
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, tuple(other), rtol=0, atol=0)


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_shuffled_epoch_visits_each_example_once(drop_last):
    loader = BatchLoader(
        [torch.arange(10), torch.arange(10) * 2], 4, shuffle=True, drop_last=drop_last
    )
    batches = list(loader)
    assert [len(x) for x, _ in batches] == [4, 4, 2][: len(loader)]
    assert all((twice == 2 * x).all() for x, twice in batches)
    seen = torch.cat([x for x, _ in batches]).tolist()
    assert len(set(seen)) == len(seen) == (8 if drop_last else 10)


def test_the_generator_fixes_the_order():
    def epochs(seed: int) -> list[list[int]]:
        loader = BatchLoader(
            [torch.arange(100)], 7, shuffle=True, generator=torch.Generator().manual_seed(seed)
        )
        return [torch.cat([x for (x,) in loader]).tolist() for _ in range(2)]

    first, second = epochs(0)
    assert epochs(0) == [first, second]
    assert first != second
    assert epochs(1)[0] != first
    torch.manual_seed(3)
    one = [x.tolist() for (x,) in BatchLoader([torch.arange(9)], 2, shuffle=True)]
    torch.manual_seed(3)
    assert one == [x.tolist() for (x,) in BatchLoader([torch.arange(9)], 2, shuffle=True)]


def test_transform_receives_the_tensors_of_a_batch():
    X, y = torch.full((3, 2), 255, dtype=torch.uint8), torch.arange(3)
    loader = BatchLoader([X, y], 2, transform=lambda X, y: {"X": X / 255, "y": y})
    assert [batch["y"].tolist() for batch in loader] == [[0, 1], [2]]
    assert next(iter(loader))["X"].dtype == torch.float32


def test_no_examples_no_batches():
    assert list(BatchLoader([torch.zeros(0, 3)], 4, shuffle=True)) == []


@pytest.mark.parametrize(
    ("tensors", "size", "message"),
    [
        ([], 2, "BatchLoader needs a tuple or list of at least one tensor, such as (X,)."),
        (
            torch.zeros(3),
            2,
            "BatchLoader needs a tuple or list of at least one tensor, such as (X,).",
        ),
        (
            [torch.zeros(3), torch.zeros(4)],
            2,
            "BatchLoader got tensors of different lengths [3, 4]; the first dimension must agree.",
        ),
        ([torch.zeros(3)], 0, "batch_size is 0; it must be at least 1."),
        (
            [torch.zeros(3), torch.zeros(3, device="meta")],
            2,
            "tensors on cpu and meta; move them to one device.",
        ),
    ],
)
def test_batch_loader_refuses(tensors, size, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BatchLoader(tensors, size)


# what an import costs


def test_data_and_device_load_neither_torchvision_nor_dynamo_nor_matplotlib():
    code = (
        "import sys, d2l_helpers as d2l; d2l.fetch, d2l.BatchLoader, d2l.try_device(quiet=True)\n"
        "print(sorted({'torchvision', 'torch._dynamo', 'matplotlib', 'pooch', 'requests'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "D2L_DEVICE": "cpu"},
    )
    assert run.stdout == "[]\n"


# --------------------------------------------------------------------------------------------------
# the stand-in of the house prices


@pytest.fixture(scope="module")
def houses(tmp_path_factory) -> dict[str, list[list[str]]]:
    folder = tmp_path_factory.mktemp("houses")
    standins.MAKERS["kaggle-house"](folder)
    digest = hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    ).hexdigest()
    assert digest.startswith(standins.version("kaggle-house"))
    assert {path.name for path in folder.iterdir()} == set(manifest()["kaggle-house"]["files"])
    return {
        path.stem.rsplit("_", 1)[1]: [line.split(",") for line in path.read_text().splitlines()]
        for path in folder.iterdir()
    }


def test_house_standin_has_the_shape_of_the_real_tables(houses):
    train, test = houses["train"], houses["test"]
    assert [len(train), len(train[0]), len(test), len(test[0])] == [1461, 81, 1460, 80]
    assert train[0][:-1] == test[0]
    assert train[0][-1] == "SalePrice"
    assert {len(row) for row in train} == {81}
    assert [int(row[0]) for row in train[1:] + test[1:]] == list(range(1, 2920))


def test_house_standin_has_the_traps_of_the_real_tables(houses):
    """Missing pools and garages, the word None as a level, a class of the test table that training lacks."""
    train, test = (
        {name: column for name, *column in zip(*rows, strict=True)}
        for rows in (houses["train"], houses["test"])
    )
    assert all(
        (area == "0") == (grade == "NA")
        for area, grade in zip(train["PoolArea"], train["PoolQC"], strict=True)
    )
    assert all(
        (cars == "0") == (kind == "NA")
        for cars, kind in zip(train["GarageCars"], train["GarageType"], strict=True)
    )
    assert 0.4 < train["MasVnrType"].count("None") / 1460 < 0.8
    assert "150" in test["MSSubClass"]
    assert "150" not in train["MSSubClass"]
    numbers = [
        name
        for name, column in train.items()
        if all(value == "NA" or value.lstrip("-").isdigit() for value in column)
    ]
    assert len(numbers) == 38  # with Id and SalePrice, as in the real table


def test_house_standin_prices_follow_from_the_features(houses):
    """The logarithm of the price is mostly, not wholly, a linear function of four columns."""
    train = {name: column for name, *column in zip(*houses["train"], strict=True)}
    y = np.log(np.array(train["SalePrice"], float))
    X = np.array(
        [train[name] for name in ("OverallQual", "GrLivArea", "YearBuilt", "TotalBsmtSF")], float
    ).T
    X = np.column_stack([np.ones(len(y)), (X - X.mean(0)) / X.std(0)])
    rest = y - X @ np.linalg.lstsq(X, y, rcond=None)[0]
    assert 0.5 < 1 - rest.var() / y.var() < 0.95


# --------------------------------------------------------------------------------------------------
# the stand-ins of chapters 8 to 16


@pytest.mark.parametrize("name", sorted(standins.PARTS))
def test_a_standin_has_the_form_of_the_real_set(name):
    """Its bytes, which the version names; the names of its files; shapes and types of pictures."""
    digest, entry = hashlib.sha256(), manifest()[name]
    paths, kinds = [], set()
    for path, content in standins.PARTS[name]():
        paths.append(path)
        if isinstance(content, np.ndarray):
            assert content.dtype == np.uint8 and content.shape[2:] in ((3,), ())
            kinds.add(content.shape)
        digest.update(path.encode())
        arrays = content if isinstance(content, dict) else {"": content}
        for key, value in arrays.items():
            digest.update(key.encode() + (value if isinstance(value, bytes) else value.tobytes()))
    assert digest.hexdigest().startswith(standins.version(name)), (
        "put the new start into `_VERSIONS`"
    )
    assert len(paths) > 2 or digest.hexdigest() == standins.fingerprint(name)
    if "files" in entry:
        assert set(paths) == set(entry["files"])
    else:
        assert len(paths) == len(set(paths)) == entry["members"]["count"]
    shapes = {"cifar10-jpeg": {(32, 32, 3)}, "bccd": {(480, 640, 3)}, "camvid": {(360, 480, 3), (360, 480)}}  # fmt: skip
    assert kinds == shapes.get(name, kinds)


def test_standin_files_have_the_lines_of_the_real_ones():
    parts = {
        path: content for name in ("fra-eng", "multi30k", "snli-dev-test", "stsb", "sunspots", "co2", "airfoil", "bert-vocab", "word-analogies") for path, content in standins.PARTS[name]()
    }  # fmt: skip
    counts = {path: content.count(b"\n") for path, content in parts.items()}
    expected = {"fra.txt": 167130, "train.de": 29000, "val.en": 1014, "s1.dev": 9842, "labels.test": 9824, "stsb-en-test.csv": 1379, "sunspots.csv": 310, "co2.csv": 2285, "airfoil_self_noise.dat": 1503, "bert-base-uncased-vocab.txt": 30522, "questions-words.txt": 19558}  # fmt: skip
    assert {path: counts[path] for path in expected} == expected
    vocab = parts["bert-base-uncased-vocab.txt"].decode().splitlines()
    assert len(set(vocab)) == 30522
    assert [vocab.index(mark) for mark in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")] == [0, 100, 101, 102, 103]  # fmt: skip
    assert {line.count("\t") for line in parts["airfoil_self_noise.dat"].decode().splitlines()} == {
        5
    }


def test_the_standin_of_bpe_is_a_tokenizer():
    """Every merge joins what is there before it, and every token but the last has its id."""
    parts = dict(standins.PARTS["gpt2-bpe"]())
    ids = json.loads(parts["gpt2-encoder.json"])
    merges = [line.split(" ") for line in parts["gpt2-vocab.bpe"].decode().splitlines()[1:]]
    assert len(ids) == 50257 and sorted(ids.values()) == list(range(50257)) and len(merges) == 50000
    assert all(ids[a] < ids[a + b] > ids[b] for a, b in merges)


def test_written_standins_are_what_they_are_called(tmp_path, monkeypatch):
    monkeypatch.setenv("D2L_DATA", "standin")
    found = fetch("skimage-pictures")
    assert {path.read_bytes()[:4] for path in found.files.values()} == {b"\x89PNG"}
    standins._write(tmp_path / "a.jpg", np.zeros((4, 5, 3), np.uint8))
    assert (tmp_path / "a.jpg").read_bytes()[:3] == b"\xff\xd8\xff"
    with zipfile.ZipFile(fetch("snli").files["snli_1.0.zip"]) as zipped:
        first = json.loads(zipped.open("snli_1.0/snli_1.0_dev.jsonl").readline())
    assert {"gold_label", "sentence1", "sentence2"} <= set(first)
