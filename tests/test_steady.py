"""The check does not cry wolf: full runs under changed conditions, all of which have to be green.

`python tests/test_steady.py` makes ten of them (hours on a laptop) and writes the table build/steady.md;
`python tests/test_steady.py 3 7` the third and the seventh; `BOOK_PYTHON=…/python` takes another interpreter, for example
one with the oldest PyTorch that pyproject.toml allows.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OLD_ISA = {
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
}
AVX2 = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
TWO = {
    "BOOK_THREADS": "2",
    "BOOK_WORKERS": "1",
}  # as many threads as cores: more of them wait for each other by spinning
#: Name, environment, and whether another process keeps a core busy. Every run has another order.
RUNS: list[tuple[str, dict[str, str], bool]] = [
    ("one thread", {"BOOK_THREADS": "1"}, False),
    ("one thread, under load", {"BOOK_THREADS": "1"}, True),
    ("two threads", TWO, False),
    ("two threads, under load", TWO, True),
    ("instructions up to AVX2", AVX2, False),
    ("instructions up to AVX2, two threads", {**AVX2, **TWO}, False),
    ("instructions up to SSE4", OLD_ISA, False),
    ("instructions up to SSE4, under load", OLD_ISA, True),
    (
        "no limit on returning memory, three notebooks at once",
        {"BOOK_MALLOC": "0", "BOOK_WORKERS": "3"},
        False,
    ),
    ("one notebook at a time", {"BOOK_WORKERS": "1"}, False),
]


def test_no_two_runs_are_the_same():
    assert len({name for name, _, _ in RUNS}) == len(RUNS)
    assert len({(*sorted(settings.items()), busy) for _, settings, busy in RUNS}) == len(RUNS)
    read = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bookbuild").glob("*.py"))
    for name in {n for _, settings, _ in RUNS for n in settings if n.startswith("BOOK_")}:
        assert f'"{name}"' in read, f"bookbuild does not know {name}, so that run is like another"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_a_run_has_its_conditions(tmp_path, monkeypatch):
    """A check of everything, in a store of its own, with load where there is to be load."""
    started = []
    popen = subprocess.Popen

    def watched(command, *args, **kwargs):
        started.append(command)
        return popen(command, *args, **kwargs)

    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"; env; ls "$BOOK_STORE"; exit 3\n')
    python.chmod(0o755)
    monkeypatch.setenv("BOOK_PYTHON", str(python))
    monkeypatch.setattr(subprocess, "Popen", watched)
    status, _, text = run(4)
    assert status == 3 and text.startswith("-m bookbuild check --fresh\n")
    assert {"BOOK_THREADS=2", "BOOK_WORKERS=1", "BOOK_ORDER=4"} <= set(text.splitlines())
    assert len(started) == 2 and "while True" in started[0][2]
    run(1)
    assert len(started) == 3, "no load"


@pytest.mark.weekly
@pytest.mark.skipif(not os.environ.get("BOOK_WEEKLY"), reason="takes hours; BOOK_WEEKLY=1 runs it")
@pytest.mark.parametrize("number", range(1, len(RUNS) + 1))
def test_no_false_alarm(number: int):
    status, _, text = run(number)
    assert status == 0, text


@contextmanager
def load(wanted: bool) -> Iterator[None]:
    """Another process that keeps one core busy."""
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if busy:
            busy.kill()
            busy.wait()


def run(number: int) -> tuple[int, float, str]:
    """(exit status, seconds, output) of a check of the whole book, everything anew, under the conditions of that run."""
    _, environment, busy = RUNS[number - 1]
    python, begin = os.environ.get("BOOK_PYTHON", sys.executable), time.monotonic()
    with tempfile.TemporaryDirectory() as store, load(busy):
        settings = os.environ | {
            "BOOK_STORE": store,
            "BOOK_ORDER": str(number),
            "BOOK_PATIENCE": "5",
            **environment,
        }
        done = subprocess.run(
            [python, "-m", "bookbuild", "check", "--fresh"],
            cwd=ROOT,
            env=settings,
            capture_output=True,
            text=True,
        )
    return done.returncode, time.monotonic() - begin, done.stdout + done.stderr


def main(numbers: list[int]) -> int:
    path = ROOT / "build" / "steady.md"
    path.parent.mkdir(exist_ok=True)
    rows, failed = (
        ["| run | result | notebooks | cells equal | seconds |", "| --- | --- | --- | --- | --- |"],
        0,
    )
    for number in numbers or range(1, len(RUNS) + 1):
        status, seconds, text = run(number)
        failed += status != 0
        good, cells = (
            re.search(r"(\d+ of \d+) notebooks good", text),
            re.search(r"(\d+) passed", text),
        )
        rows.append(
            f"| {RUNS[number - 1][0]} | {'red' if status else 'green'} | {good and good[1]} | {cells and cells[1]} | {seconds:.0f} |"
        )
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        print(rows[-1], flush=True)
        if status:
            print(
                "\n".join(
                    line for line in text.splitlines() if re.match(r"error|FAILED|book/|    ", line)
                ),
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]]))
