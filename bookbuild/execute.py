"""Run one notebook in its own kernel, within limits. Knows no book, in a pool or on a cluster."""

import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import nbformat
import psutil

from .compare import coverage
from .grammar import INJECTED
from .record import Fault, Run, Used

ANSI = re.compile(r"\x1b\[[0-9;]*m")
CELL_LINE = re.compile(r"Cell In\[[^\]]*\], line (\d+)")
LIMIT = re.compile(r"\d+ seconds")
DESCRIBED = re.compile(r"^\s*(?:d2l\.)?describe\(", re.MULTILINE)
#: glibc keeps freed pages: half the time of a convolution on a CPU. BOOK_MALLOC=0 switches it off.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
#: What a reader's own environment must not do to outputs: another backend, silent checks, colours.
NEUTRAL = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONOPTIMIZE": "",  # would drop every assert
    "PYTHONSTARTUP": "",
    "PYTHONWARNINGS": "",
    "FORCE_COLOR": "",
    "NO_COLOR": "",
    "TZ": "UTC",
}
#: Longest path of a socket that every system takes, with room for the port that is put behind it.
SOCKET = 88


@dataclass(frozen=True)
class Job:
    """A notebook to run and how."""

    run: Run  # planned: section, profile, key, source
    notebook: str  # JSON text
    parameters: dict[str, Any]
    folder: str  # working folder of the kernel
    environment: dict[str, str]
    seconds: float  # limit for the whole notebook
    cell_seconds: float  # limit for one cell
    memory_mb: float
    versions: dict[str, str]
    declared_data: tuple[str, ...] = ()


class Watch(threading.Thread):
    """Measures one kernel, known by a word of its command line, and ends it over a limit."""

    def __init__(self, mark: str, seconds: float, memory_mb: float):
        super().__init__(daemon=True)
        self.mark, self.seconds, self.memory_mb = mark, seconds, memory_mb
        self.peak_mb, self.reason = 0.0, ""
        self.done = threading.Event()
        self.kernel: psutil.Process | None = None

    def run(self) -> None:
        begin = time.monotonic()
        while not self.done.wait(0.1):
            processes = self.processes()
            shared = len(processes) > 1
            self.peak_mb = max(self.peak_mb, sum(_memory(p, shared) for p in processes) / 2**20)
            if time.monotonic() - begin > self.seconds:
                self.reason = f"took longer than its limit of {self.seconds:g} s"
            elif self.peak_mb > self.memory_mb:
                self.reason = (
                    f"used {self.peak_mb:.0f} MB of memory, "
                    f"over its limit of {self.memory_mb:.0f} MB"
                )
            if self.reason:
                for process in processes:
                    _kill(process)
                return

    def processes(self) -> list[psutil.Process]:
        """The kernel and what it started; nothing else that this process runs."""
        if self.kernel is None:
            children = psutil.Process().children(recursive=True)
            self.kernel = next((p for p in children if self.mark in _command(p)), None)
        if self.kernel is None:
            return []
        try:
            return [self.kernel, *self.kernel.children(recursive=True)]
        except psutil.Error:
            return []


def end_with(parent: int) -> None:
    """In a worker of a pool: end it and its kernel when the process that started it is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        for process in psutil.Process().children(recursive=True):
            _kill(process)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _memory(process: psutil.Process, shared: bool) -> int:
    """Bytes of a process; what it may share with others counts in proportion where Linux tells."""
    try:
        if shared and sys.platform == "linux":
            return int(process.memory_full_info().pss)
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.kill()


def _environment(job: Job, scratch: Path) -> dict[str, str]:
    """What the kernel sees: nothing of a reader's own settings may reach outputs."""
    environment = {**NEUTRAL, **job.environment, "D2L_RECORD": str(scratch / "used.jsonl")}
    environment |= {"D2L_HEADLESS": "1", "IPYTHONDIR": str(scratch / "ipython")}
    (scratch / "ipython").mkdir()
    if os.environ.get("BOOK_MALLOC") != "0":
        environment |= MALLOC
    fonts = Path(environment.get("MPLCONFIGDIR") or scratch / "matplotlib")
    try:  # a folder shared by all runs keeps the list of fonts
        fonts.mkdir(parents=True, exist_ok=True)
        writable = os.access(fonts, os.W_OK)
    except OSError:
        writable = False
    fonts = fonts if writable else scratch / "matplotlib"
    return environment | {"MPLCONFIGDIR": str(fonts), "MATPLOTLIBRC": str(fonts)}


def _socket(scratch: Path) -> Path | None:
    """Where the kernel's sockets may lie; None where no path is short enough, and TCP has to do."""
    if sys.platform == "win32":
        return None
    if len(str(scratch / "socket")) <= SOCKET:
        return scratch / "socket"
    for folder in ("/tmp", "/var/tmp"):
        if os.access(folder, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="book-", dir=folder)) / "socket"
    return None


def kernel_manager(folder: Path, environment: dict[str, str]) -> type:
    """A kernel manager that knows one kernel: this interpreter, with settings of its own."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager

    spec = folder / "kernels" / "book"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    argv += ["--log-level=ERROR", f"--ipython-dir={folder / 'ipython'}"]
    kernel = {"argv": argv, "display_name": "book", "language": "python", "env": environment}
    (spec / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")

    class Manager(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return KernelSpecManager(kernel_dirs=[str(folder / "kernels")])

    return Manager


def execute(job: Job) -> tuple[Run, str]:
    """Run a job; never raises for what the notebook does.

    Gives the run and the executed notebook as JSON.
    """
    import papermill
    from traitlets.config import Config

    if other := _other_versions(job.versions):
        text = f"this worker has {other}; give it the versions of the machine that asks"
        return job.run.but(status="failed", error=Fault("versions", text)), job.notebook
    with tempfile.TemporaryDirectory(prefix="book-", ignore_cleanup_errors=True) as name:
        scratch = Path(name)
        source, target = scratch / "in.ipynb", scratch / "out.ipynb"
        source.write_text(job.notebook, encoding="utf-8")
        # Sockets in a folder: two kernels never ask for the same port, and nobody else can connect.
        socket = _socket(scratch)
        ipc = {"transport": "ipc", "ip": str(socket)}
        watch, problem = Watch(str(scratch / "ipython"), job.seconds, job.memory_mb), None
        begin = time.perf_counter()
        watch.start()
        try:
            papermill.execute_notebook(
                str(source),
                str(target),
                parameters=job.parameters,
                kernel_name="book",
                kernel_manager_class=kernel_manager(scratch, _environment(job, scratch)),
                progress_bar=False,
                log_output=False,
                cwd=job.folder if Path(job.folder).is_dir() else name,
                execution_timeout=int(job.cell_seconds),
                start_timeout=120,
                config=Config({"KernelManager": ipc} if socket else {}),
                autosave_cell_every=0,
            )
        except Exception as error:  # what the notebook did, or the kernel's end
            problem = error
        finally:
            seconds = time.perf_counter() - begin
            watch.done.set()
            watch.join()
            if socket is not None and socket.parent != scratch:
                shutil.rmtree(socket.parent, ignore_errors=True)
        notebook = nbformat.read(target if target.exists() else source, as_version=4)
        devices, data = _used(scratch / "used.jsonl")
        bad = problem or watch.reason
        fault: Fault | None
        fault = (
            _fault(notebook, problem, watch.reason) if bad else _afterthought(notebook, data, job)
        )
        compared, uncompared = coverage(notebook)
        run = job.run.but(
            status="failed" if fault else "ok",
            device=devices[0] if devices else "cpu",
            data=data,
            versions=job.versions,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 2),
            peak_mb=round(watch.peak_mb),
            compared=compared,
            uncompared=uncompared,
            error=fault,
        )
        return run, nbformat.writes(notebook)


def _other_versions(wanted: dict[str, str]) -> str:
    """Packages here that are not those of the key: a worker may be another machine."""
    other = []
    for name, expected in wanted.items():
        if name == "python":
            found = f"{sys.version_info.major}.{sys.version_info.minor}"
        else:
            try:
                found = version(name).split("+")[0]
            except PackageNotFoundError:
                found = "none"
        if found != expected:
            other.append(f"{name} {found} instead of {expected}")
    return ", ".join(other)


def _used(path: Path) -> tuple[list[str], tuple[Used, ...]]:
    """Devices, accelerators first, and data sets that the notebook said it used."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = [json.loads(line) for line in lines]
    devices = dict.fromkeys(str(e["device"]) for e in entries if "device" in e)
    data = dict.fromkeys(Used(e["name"], e["source"]) for e in entries if "name" in e)
    return sorted(devices, key=lambda device: device == "cpu"), tuple(data)


def _own(notebook: Any) -> list[Any]:
    return [c for c in notebook.cells if not INJECTED & set(c.metadata.get("tags", []))]


def _fault(notebook: Any, problem: Exception | None, reason: str) -> Fault:
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
        return Fault("limit", f"the notebook {reason}", index)
    if type(problem).__name__ == "CellTimeoutError":
        allowed = LIMIT.search(str(problem))
        text = "the cell did not end within its limit" + (f" of {allowed[0]}" if allowed else "")
        return Fault("limit", text, index)
    if raised is not None:
        trace = ANSI.sub("", "\n".join(raised.traceback))
        line = CELL_LINE.search(trace)
        message = f"{raised.ename}: {raised.evalue}"
        return Fault(raised.ename, message, index, int(line[1]) if line else 1, trace)
    kind = type(problem).__name__
    first = next(iter(str(problem).strip().splitlines()), "")
    died = kind == "DeadKernelError"
    text = "the kernel died (killed, or out of memory)" if died else f"{kind}: {first}"
    return Fault(kind, text, index)


def _afterthought(notebook: Any, data: tuple[Used, ...], job: Job) -> Fault | None:
    """Faults of a notebook that ran: an unannounced warning, a lost picture, undeclared data."""
    for i, cell in enumerate(_own(notebook)):
        outputs = cell.get("outputs", [])
        for output in outputs:
            errors = output.output_type == "stream" and output.name == "stderr"
            if errors and "warns" not in cell.metadata.get("tags", []):
                first = next(iter(output.text.strip().splitlines()), "")
                text = f"the cell wrote to stderr: {first}"
                return Fault("warning", text, i, 1, output.text)
        defines = "export" in cell.metadata.get("tags", [])  # a method that describes, say
        if cell.cell_type == "code" and DESCRIBED.search(cell.source) and not defines:
            if not any("image/png" in output.get("data", {}) for output in outputs):
                text = "the cell describes a figure, and no picture came of it"
                return Fault("picture", text, i)
    missing = sorted({used.name for used in data} - set(job.declared_data))
    if missing:
        names = ", ".join(missing)
        text = f"the notebook fetched {names}, which its header does not declare under d2l: data"
        return Fault("data", text)
    return None
