"""The build survives: two at once, killed at any moment, a full disk. Nothing is lost, and what comes out is the same.

`python tests/test_survive.py 20` kills a build twenty times, as the weekly run does.
"""

import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bookbuild.store import read_notebook, sweep
from d2l_helpers.data import manifest

ROOT = Path(__file__).resolve().parent.parent
CELLS = (
    "import time\nimport torch",
    "time.sleep(0.3)",
    "print(torch.arange(4).sum())",
    "tags=['export']\ndef answer():\n    return 42",
    "print(answer())",
)


def build(mini, *words: str, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "bookbuild", "--root", str(mini.root), *words]
    return subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)} | environment, cwd=mini.root, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def finish(process: "subprocess.Popen[str]") -> str:
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 0, text
    return text


def fill(mini, count: int = 4) -> None:
    for i in range(count):
        cells = [c.replace("answer", f"answer_{i}") for c in CELLS]
        mini.add(f"part{i}", *cells, f"print('notebook', {i})")


def state(mini) -> dict[str, str]:
    """What the build leaves in the book: its notebooks and modules, without the times of the runs."""
    files = [*mini.root.glob("book/**/*"), *mini.root.glob("d2l_helpers/chapters/*.py")]
    return {p.relative_to(mini.root).as_posix(): _timeless(p) for p in files if p.is_file()}


def _timeless(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    return re.sub(r'"(when|seconds|peak_mb)": .*', r'"\1": ...', text)


def stored(mini) -> set[str]:
    """Keys in the store; each entry is whole."""
    entries = list((mini.root / "store").glob("*"))
    assert all(p.suffix == ".ipynb" and not p.name.startswith(".") for p in entries), entries
    assert all(read_notebook(p) is not None for p in entries)
    return {p.stem for p in entries}


def left_running(root: Path) -> list[str]:
    """Processes that still work on the book in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        if str(root) in " ".join(process.info["cmdline"] or []) or (
            process.info["environ"] or {}
        ).get("PYTHONPATH", "").startswith(str(root)):
            found.append(" ".join(process.info["cmdline"] or []))
    return found


@pytest.fixture
def clean(mini, tmp_path: Path) -> dict[str, Any]:
    """The book after one undisturbed build; the folder itself is as before it."""
    fill(mini)
    shutil.copytree(mini.root, tmp_path / "before")
    finish(build(mini, "accept"))
    after = state(mini), stored(mini)
    shutil.rmtree(mini.root)
    shutil.copytree(tmp_path / "before", mini.root)
    return dict(zip(("files", "keys"), after, strict=True))  # type: ignore[arg-type]


def test_two_builds_at_once(mini, clean):
    """Both run everything in one checkout, in another order; both end well, and the book is that of one build."""
    first, second = build(mini, "accept", BOOK_ORDER="1"), build(mini, "accept", BOOK_ORDER="2")
    finish(first), finish(second)
    assert state(mini) == clean["files"] and stored(mini) == clean["keys"]
    assert "nothing to do" in finish(build(mini, "run"))


def kill_and_finish(mini, clean, times: int, seed: int = 0) -> None:
    rng, rounds = random.Random(seed), 0
    while rounds < times:
        process = build(mini, "accept", FRESH="1" if rounds % 2 else "0")
        time.sleep(rng.uniform(0.1, 7.0))
        if process.poll() is None:
            rounds += 1
            if rng.random() < 0.5:
                os.kill(process.pid, signal.SIGKILL)  # the build alone: its workers have to notice
            else:
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        for path in mini.root.glob("book/**/*.ipynb"):
            assert read_notebook(path) is not None, f"{path} is half written"
    limit = time.monotonic() + 30
    while running := left_running(mini.root):
        assert time.monotonic() < limit, f"still running: {running}"
        time.sleep(0.2)
    finish(build(mini, "accept", FRESH="1"))
    assert state(mini) == clean["files"] and stored(mini) == clean["keys"]


def test_a_killed_build_is_finished_by_the_next(mini, clean):
    kill_and_finish(mini, clean, 3)


@pytest.mark.weekly
@pytest.mark.skipif(
    not os.environ.get("BOOK_WEEKLY"), reason="takes minutes; BOOK_WEEKLY=1 runs it"
)
def test_twenty_kills(mini, clean):
    kill_and_finish(mini, clean, 20, seed=1)


def test_only_parts_of_dead_writers_are_swept(tmp_path: Path):
    """A part of a process that is alive, of another machine or of another program is nobody's to remove."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = platform.node().replace(".", "-")
    dead, own, other, foreign = (
        tmp_path / "deep" / f".a.b.ipynb.{rest}.part"
        for rest in (
            f"{here}.{ended.pid}.x1",
            f"{here}.{os.getpid()}.x2",
            f"elsewhere.{ended.pid}.x3",
            "x4",
        )
    )
    dead.parent.mkdir()
    for path in (dead, own, other, foreign):
        path.touch()
    assert sweep(tmp_path, tmp_path / "missing") == [dead]
    assert not dead.exists() and own.exists() and other.exists() and foreign.exists()


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no right to mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(mini, small_disk: Path):
    """The entry that fits is kept, the other one is an error that names the place and the remedy; then it goes on elsewhere."""
    mini.add("small", "print(1)")
    mini.add("large", "print('x' * 1_500_000)")
    process = build(mini, "run", BOOK_STORE=str(small_disk / "store"), BOOK_WORKERS="1")
    text, _ = process.communicate(timeout=600)
    assert process.returncode == 1 and "Traceback" not in text, text
    assert "No space left on device" in text and "BOOK_STORE" in text and str(small_disk) in text
    names = [p.name for p in (small_disk / "store").iterdir()]
    assert all(not name.startswith(".") for name in names) and all(
        read_notebook(small_disk / "store" / name) for name in names
    )
    shutil.copytree(small_disk / "store", mini.root / "store", dirs_exist_ok=True)
    finish(build(mini, "run"))
    assert len(stored(mini)) == 2


@pytest.mark.parametrize("source", ["standin", "mirror"])
def test_data_on_a_full_disk(tmp_path: Path, small_disk: Path, source: str):
    """An error with the remedy, nothing half written; a full disk does not turn real data into a stand-in."""
    setting = {"D2L_DATA": "standin"}
    if source == "mirror":
        mirror = tmp_path / "mirror" / "fashion-mnist"
        mirror.mkdir(parents=True)
        for name, spec in manifest()["fashion-mnist"]["files"].items():
            (mirror / name).write_bytes(bytes(spec["bytes"]))
        setting = {"D2L_DATA": "auto", "D2L_MIRRORS": str(mirror.parent)}
    code = "import d2l_helpers as d2l\ntry:\n    d2l.fetch('fashion-mnist')\nexcept d2l.DataError as error:\n    print(error)\n"
    environment = (
        os.environ
        | {"D2L_CACHE": str(small_disk / "data"), "D2L_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
        | setting
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    assert (
        "No space left on device" in result.stdout
        and "D2L_CACHE" in result.stdout
        and "stand-in" not in result.stdout
    )
    assert not [p for p in (small_disk / "data").rglob("*") if p.is_file() and p.suffix != ".lock"]


def test_a_read_only_data_folder(small_disk: Path):
    """What lies there is used; what does not is an error that says what to do."""
    code = "from d2l_helpers import standins; from pathlib import Path; import sys; standins.MAKERS['kaggle-house'](Path(sys.argv[1]))"
    with_path = os.environ | {"PYTHONPATH": str(ROOT)}
    name = subprocess.run(
        [
            sys.executable,
            "-c",
            "from d2l_helpers import standins; print(standins.version('kaggle-house'))",
        ],
        capture_output=True,
        text=True,
        env=with_path,
    )
    there = small_disk / f"kaggle-house-standin-{name.stdout.strip()}"
    there.mkdir()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    subprocess.run([sys.executable, "-c", code, str(there)], check=True, env=with_path)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code = "import d2l_helpers as d2l\nfor name in ('kaggle-house', 'fashion-mnist'):\n    try:\n        print(d2l.fetch(name).source)\n    except d2l.DataError as error:\n        print(error)\n"
    environment = with_path | {
        "D2L_CACHE": str(small_disk),
        "D2L_DATA": "standin",
        "D2L_OFFLINE": "1",
    }
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    lines = result.stdout.splitlines()
    assert lines[1] == "standin", result.stdout + result.stderr
    assert (
        lines[2].startswith(f"{small_disk} cannot be written (")
        and "Read-only file system" in lines[2]
        and "D2L_CACHE" in lines[2]
    )


if __name__ == "__main__":
    os.environ["BOOK_WEEKLY"] = "1"
    sys.exit(pytest.main([__file__, "-q", "-k", "twenty"]))
