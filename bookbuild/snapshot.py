"""Inside a kernel: run a notebook once, and its mutants from snapshots before the changed cells.

A snapshot is a fork that waits. When the unchanged notebook has come to its end, and all its
outputs are the stored ones, the snapshots go on one after the other with a changed cell, until a
cell fails or gives another output. So a mutant that is noticed soon costs next to nothing, however
long the notebook is. Needs a system with `fork`.
"""

import contextlib
import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .compare import differences


class Recorder:
    """Takes what a cell writes and shows, in the form of the outputs of a notebook."""

    def __init__(self, shell: Any):
        self.shell = shell
        self.outputs: list[dict[str, Any]] = []
        self.clear = self.quiet = False

    def add(self, output: dict[str, Any]) -> None:
        if self.clear:
            self.outputs.clear()
            self.clear = False
        self.outputs.append(output)

    def publish(
        self,
        data: dict[str, Any],
        metadata: Any = None,
        *_: Any,
        transient: Any = None,
        update: bool = False,
        **__: Any,
    ) -> None:
        """In the place of the kernel's `display_pub.publish`."""
        number = (transient or {}).get("display_id")
        output = {"output_type": "display_data", "data": data, "metadata": metadata or {}}
        if update:
            for old in self.outputs:
                if number is not None and old.get("display_id") == number:
                    old |= output
            return
        self.add(output | {"display_id": number})

    def clear_output(self, wait: bool = False) -> None:
        """In the place of the kernel's `display_pub.clear_output`."""
        self.clear = True
        if not wait:
            self.outputs.clear()
            self.clear = False

    def show(self, value: object) -> None:
        """In the place of `sys.displayhook`."""
        if value is None or self.quiet:
            return
        data, metadata = self.shell.display_formatter.format(value)
        if data:
            self.add({"output_type": "execute_result", "data": data, "metadata": metadata})

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Within it everything shown is recorded, and the kernel sends nothing."""
        shell, publisher = self.shell, self.shell.display_pub
        kept = (sys.stdout, sys.stderr, sys.displayhook)
        methods = (publisher.publish, publisher.clear_output, shell._showtraceback)
        sys.stdout = Stream(self, "stdout")  # type: ignore[assignment]
        sys.stderr = Stream(self, "stderr")  # type: ignore[assignment]
        sys.displayhook = self.show
        publisher.publish, publisher.clear_output = self.publish, self.clear_output
        shell._showtraceback = lambda *_: None
        try:
            yield
        finally:
            sys.stdout, sys.stderr, sys.displayhook = kept
            publisher.publish, publisher.clear_output, shell._showtraceback = methods


class Stream:
    """A text stream that writes into a recorder."""

    encoding, errors = "utf-8", "strict"

    def __init__(self, recorder: Recorder, name: str):
        self.recorder, self.name = recorder, name

    def write(self, text: str) -> int:
        if text:
            self.recorder.add({"output_type": "stream", "name": self.name, "text": str(text)})
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True


def step(recorder: Recorder, number: int, cell: dict[str, Any]) -> dict[str, Any] | None:
    """Run a cell; what is wrong with it, or None: `by`, `cell` from 0, `line`, `message`."""
    recorder.outputs, recorder.clear = [], False
    recorder.quiet = cell["source"].rstrip().endswith(";")
    with recorder():
        result = recorder.shell.run_cell(cell["source"], store_history=False)
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        text = f"{type(error).__name__}: {error}".strip()
        by = type(error).__name__
        return {"by": by, "cell": number, "line": _line(error), "message": text[:300]}
    tags = cell["tags"]
    written = [o["text"] for o in recorder.outputs if o.get("name") == "stderr"]
    if "".join(written).strip() and "warns" not in tags:
        text = "".join(written).strip().splitlines()[0]
        return {"by": "warning", "cell": number, "line": 1, "message": text[:300]}
    found = differences(cell["expected"], json.loads(_plain(recorder.outputs)), tags)
    if not found:
        return None
    return {"by": "output", "cell": number, "line": 1, "message": found[0][:300]}


def _plain(outputs: list[dict[str, Any]]) -> str:
    """Outputs as JSON text; pictures are text as in a notebook's file."""
    from base64 import b64encode

    return json.dumps(
        outputs, default=lambda v: b64encode(v).decode() if isinstance(v, bytes) else str(v)
    )


def _line(error: BaseException) -> int:
    """Line of the cell that an error came from, counted from 1."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f.lineno for f in frames if "ipykernel_" in f.filename or "<ipython" in f.filename]
    return (lines[0] if lines else getattr(error, "lineno", 1)) or 1


class Snapshot:
    """A fork that waits before a cell, to run that cell changed and those that follow."""

    def __init__(self, mutant: dict[str, Any], others: "list[Snapshot]", report: Path):
        self.mutant, self.report = mutant, report
        read, self.go = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other threads exist; the child does without them
            self.pid = os.fork()
        self.child = self.pid == 0
        if not self.child:
            os.close(read)
            return
        os.setpgrp()
        os.close(self.go)
        for other in others:
            os.close(other.go)
        word = os.read(read, 100).decode()
        if not word:  # the parent is gone, or the notebook is red without a change
            os._exit(0)
        seconds, memory = (int(float(x)) for x in word.split())
        resource.setrlimit(resource.RLIMIT_CPU, (_cpu() + seconds, _cpu() + seconds + 5))
        sizes = Path("/proc/self/statm")
        if sizes.exists():
            used = int(sizes.read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + memory * 2**20, resource.RLIM_INFINITY))

    def run(self, recorder: Recorder, cells: list[dict[str, Any]]) -> None:
        """In the child: run on, write the verdict and end."""
        first = self.mutant["cell"]
        verdict: dict[str, Any] | None = None
        try:
            for number in range(first, len(cells)):
                cell = cells[number]
                if number == first:
                    cell = cell | {"source": self.mutant["source"]}
                verdict = step(recorder, number, cell)
                if verdict:
                    break
        except BaseException as error:
            text = str(error)[:300]
            verdict = {"by": type(error).__name__, "cell": first, "line": 1, "message": text}
        finally:
            self.report.write_text(json.dumps(verdict), encoding="utf-8")
            os._exit(0)

    def resume(self, seconds: float, memory: float) -> dict[str, Any]:
        """In the parent: let the child run within limits of CPU time and memory; its verdict."""
        begin = time.monotonic()
        os.write(self.go, f"{seconds:.0f} {memory:.0f}".encode())
        os.close(self.go)
        while time.monotonic() - begin < 20 * seconds:  # the machine may be busy
            pid, _ = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.02)
        else:
            os.killpg(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        took = {"seconds": round(time.monotonic() - begin, 2)}
        if not self.report.exists():
            text = f"ended from outside, or took longer than {seconds:.0f} s"
            return {"by": "limit", "cell": self.mutant["cell"], "line": 1, "message": text} | took
        verdict = json.loads(self.report.read_text(encoding="utf-8"))
        return (verdict or {"by": "", "cell": -1, "line": 0, "message": ""}) | took


def _cpu() -> int:
    return int(time.process_time()) + 1


def run(plan: str, log: str) -> None:
    """Carry out a plan in the kernel that calls this; a verdict is a line of JSON added to `log`.

    Parameters
    ----------
    plan
        Path of a JSON file: `cells`, each with source, tags and the outputs expected;
        `mutants`, each with id, cell and changed source; `memory_mb`, `least` and `times` for
        limits; `mark`, which goes into every line.
    """
    from IPython import get_ipython

    job = json.loads(Path(plan).read_text(encoding="utf-8"))
    recorder = Recorder(get_ipython())
    waiting: list[Snapshot] = []
    wrong: dict[str, Any] | None = None
    begin, cpu = time.monotonic(), time.process_time()
    for number, cell in enumerate(job["cells"]):
        for mutant in job["mutants"]:
            if mutant["cell"] != number:
                continue
            snapshot = Snapshot(mutant, waiting, Path(plan).with_name(f"{mutant['id']}.json"))
            if snapshot.child:
                snapshot.run(recorder, job["cells"])
            waiting.append(snapshot)
        wrong = step(recorder, number, cell)
        if wrong:
            break
    seconds, used = time.monotonic() - begin, time.process_time() - cpu
    whole = wrong or {"by": "", "cell": -1, "line": 0, "message": ""}
    took = {"id": "", "seconds": round(seconds, 2), "cpu": round(used, 2)}
    _note(log, job["mark"] | took | whole)
    for snapshot in waiting:
        if wrong:
            os.close(snapshot.go)
            os.waitpid(snapshot.pid, 0)
            continue
        limit = max(job["least"], job["times"] * used)
        verdict = snapshot.resume(limit, job["memory_mb"])
        _note(log, job["mark"] | {"id": snapshot.mutant["id"]} | verdict)


def _note(log: str, line: dict[str, Any]) -> None:
    with open(log, "a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
