"""Run one notebook in its own kernel, within limits. Knows no book: it works the same in a pool and on a cluster."""

import contextlib
import json
import os
import re
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil

ANSI = re.compile(r"\x1b\[[0-9;]*m")
CELL_LINE = re.compile(r"Cell In\[[^\]]*\], line (\d+)")
LIMIT = re.compile(r"\d+ seconds")
#: glibc keeps freed pages: about half the time of a convolution on a CPU. BOOK_MALLOC=0 switches it off.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}


@dataclass(frozen=True)
class Job:
    """A notebook to run and how."""

    section: str
    notebook: str  # JSON text
    parameters: dict[str, Any]
    folder: str  # working folder of the kernel
    environment: dict[str, str]
    seconds: float  # limit for the whole notebook
    cell_seconds: float  # limit for one cell
    memory_mb: float
    declared_data: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What came of it. `error` has kind, message, and cell and line counted from 0 and 1."""

    section: str
    status: str  # ok | failed
    notebook: str
    seconds: float
    peak_mb: float
    data: list[dict[str, str]] = field(default_factory=list)
    device: str = "cpu"
    error: dict[str, Any] | None = None


class Watch(threading.Thread):
    """Measures the memory of the kernel and ends it when it is over a limit."""

    def __init__(self, seconds: float, memory_mb: float):
        super().__init__(daemon=True)
        self.seconds, self.memory_mb = seconds, memory_mb
        self.peak_mb, self.reason = 0.0, ""
        self.done = threading.Event()

    def run(self) -> None:
        begin, me = time.monotonic(), psutil.Process()
        while not self.done.wait(0.1):
            kernels = me.children(recursive=True)
            self.peak_mb = max(self.peak_mb, sum(_memory(p) for p in kernels) / 2**20)
            if time.monotonic() - begin > self.seconds:
                self.reason = f"took longer than its limit of {self.seconds:g} s"
            elif self.peak_mb > self.memory_mb:
                self.reason = f"used {self.peak_mb:.0f} MB of memory, over its limit of {self.memory_mb:.0f} MB"
            if self.reason:
                for process in kernels:
                    _kill(process)
                return


def end_with(parent: int) -> None:
    """In a worker of a pool: end it and its kernel when the process that started the pool is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        for process in psutil.Process().children(recursive=True):
            _kill(process)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.kill()


def kernel_spec(folder: Path, environment: dict[str, str]) -> None:
    """A kernel of this interpreter, quiet about its transport, found through JUPYTER_PATH."""
    spec = folder / "kernels" / "book"
    spec.mkdir(parents=True)
    argv = [
        sys.executable,
        "-m",
        "ipykernel_launcher",
        "-f",
        "{connection_file}",
        "--log-level=ERROR",
    ]
    (spec / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "book", "language": "python", "env": environment})
    )


def execute(job: Job) -> Outcome:
    """Run a job; never raises for what the notebook does."""
    import papermill
    from traitlets.config import Config

    with tempfile.TemporaryDirectory(prefix="book-") as scratch:
        folder = Path(scratch)
        source, target, used = folder / "in.ipynb", folder / "out.ipynb", folder / "data.jsonl"
        source.write_text(job.notebook, encoding="utf-8")
        environment = {**job.environment, "D2L_RECORD": str(used), "D2L_HEADLESS": "1"}
        if os.environ.get("BOOK_MALLOC") != "0":
            environment |= MALLOC
        kernel_spec(folder, environment)
        # Sockets in the scratch folder: two kernels never ask for the same port, and nobody else can connect.
        transport = Config(
            {}
            if sys.platform == "win32"
            else {"KernelManager": {"transport": "ipc", "ip": str(folder / "socket")}}
        )
        os.environ["JUPYTER_PATH"] = str(folder)
        watch, begin, problem = Watch(job.seconds, job.memory_mb), time.perf_counter(), None
        watch.start()
        try:
            papermill.execute_notebook(
                str(source), str(target), parameters=job.parameters, kernel_name="book", progress_bar=False, log_output=False,
                cwd=job.folder if Path(job.folder).is_dir() else scratch, execution_timeout=int(job.cell_seconds), start_timeout=120, config=transport, autosave_cell_every=0,
            )  # fmt: skip
        except Exception as error:  # what the notebook did, or the kernel's end
            problem = error
        seconds = time.perf_counter() - begin
        watch.done.set()
        watch.join()
        notebook = nbformat.read(target if target.exists() else source, as_version=4)
        noted = (
            [json.loads(line) for line in used.read_text().splitlines()] if used.exists() else []
        )
        unique = list({(d["name"], d["source"]): d for d in noted if "name" in d}.values())
        error_info = (
            _error(notebook, problem, watch.reason)
            if problem or watch.reason
            else _afterthoughts(notebook, unique, job)
        )
        status = "failed" if error_info else "ok"
        devices = [d["device"] for d in noted if "device" in d]
        device = next((d for d in devices if d != "cpu"), "cpu")
        return Outcome(
            job.section,
            status,
            nbformat.writes(notebook),
            seconds,
            watch.peak_mb,
            unique,
            device,
            error_info,
        )


def _own(notebook: Any) -> list[Any]:
    added = {"injected-parameters", "papermill-error-cell-tag"}
    return [c for c in notebook.cells if not added & set(c.metadata.get("tags", []))]


def _error(notebook: Any, problem: Exception | None, reason: str) -> dict[str, Any]:
    """Kind, message, cell and line of what stopped a notebook."""
    cells = _own(notebook)
    begun = [
        i
        for i, c in enumerate(cells)
        if c.cell_type == "code" and c.metadata.get("papermill", {}).get("start_time")
    ]
    index = begun[-1] if begun else 0  # papermill stops at the cell that failed
    raised = None
    for i, cell in enumerate(cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error" and raised is None:
                raised, index = output, i
    if reason:
        return {"kind": "limit", "message": f"the notebook {reason}", "cell": index, "line": 1}
    if type(problem).__name__ == "CellTimeoutError":
        allowed = LIMIT.search(str(problem))
        text = "the cell did not end within its limit" + (f" of {allowed[0]}" if allowed else "")
        return {"kind": "limit", "message": text, "cell": index, "line": 1}
    if raised is not None:
        trace = ANSI.sub("", "\n".join(raised.traceback))
        line = CELL_LINE.search(trace)
        return {
            "kind": raised.ename,
            "message": f"{raised.ename}: {raised.evalue}",
            "cell": index,
            "line": int(line[1]) if line else 1,
            "traceback": trace,
        }
    kind, first = type(problem).__name__, next(iter(str(problem).strip().splitlines()), "")
    text = (
        "the kernel died (killed, or out of memory)"
        if kind == "DeadKernelError"
        else f"{kind}: {first}"
    )
    return {"kind": kind, "message": text, "cell": index, "line": 1}


def _afterthoughts(notebook: Any, data: list[dict[str, str]], job: Job) -> dict[str, Any] | None:
    """Faults of a notebook that ran: a warning that was not announced, a data set that was not declared."""
    for i, cell in enumerate(_own(notebook)):
        for output in cell.get("outputs", []):
            if (
                output.output_type == "stream"
                and output.name == "stderr"
                and "warns" not in cell.metadata.get("tags", [])
            ):
                return {
                    "kind": "warning",
                    "message": f"the cell wrote to stderr: {output.text.strip().splitlines()[0]}",
                    "cell": i,
                    "line": 1,
                    "traceback": output.text,
                }
    missing = sorted({d["name"] for d in data} - set(job.declared_data))
    if missing:
        return {
            "kind": "data",
            "message": f"the notebook fetched {', '.join(missing)}, which its header does not declare under d2l: data",
            "cell": 0,
            "line": 1,
        }
    return None
