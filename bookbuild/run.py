"""Run what is out of date: two notebooks side by side, longest first, each result kept at once."""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from . import keys, pair
from .book import Book, BookError, Section, checks_in
from .execute import Job, execute
from .pool import executor, workers
from .progress import Notebooks, phase
from .record import LIMITS, PROFILES, Fault, Run
from .store import Store, write_text


@dataclass(frozen=True)
class Result:
    """A section and its run; the notebook with outputs where the run was good."""

    section: Section
    run: Run
    notebook: NotebookNode | None = None

    @property
    def ok(self) -> bool:
        return self.notebook is not None

    @property
    def message(self) -> str:
        """Where and why it failed, with the file; empty for a good run."""
        fault = self.run.error
        return f"{self.section.where(fault.cell, fault.line)}: {fault.message}" if fault else ""


def store_of(book: Book) -> Store:
    return Store(Path(os.environ.get("BOOK_STORE") or book.root / "store"))


class Planner:
    """Knows what a run of each section would be; sources and data are read once."""

    def __init__(self, book: Book, profile: str):
        self.book, self.profile = book, profile
        self.stamps = _stamps(book)
        self.sources = keys.Sources(book.root)
        self.data: dict[str, str] = {}

    def planned(self, section: Section) -> Run:
        source = self.source(section)
        key = keys.key(section, self.profile, source, self.sources)
        return Run(section.id, self.profile, key=key, source=source)

    def source(self, section: Section) -> str:
        """Fetch the data sets of a section: `real`, or `standin` if one of them is."""
        from d2l_helpers import data

        for name in section.settings.get("data") or []:
            if name in self.data:
                continue
            try:
                self.data[name] = data.fetch(name).source
            except data.DataError as error:
                lines = enumerate(section.text.splitlines(), 1)
                line = next((i for i, text in lines if text.startswith("#     data:")), 1)
                raise BookError(f"{section.name}:{line} (header): {error}") from error
        used = {self.data[name] for name in section.settings.get("data") or []}
        return "standin" if "standin" in used else "real"

    def current(self, section: Section) -> Result:
        """What the store or the committed notebook holds for a section now, or only the plan."""
        run = self.planned(section)
        stored = store_of(self.book).get(run.key)
        known = Run.from_json(stored.metadata.get("run")) if stored is not None else None
        if known is not None:
            return Result(section, known, stored)
        if PROFILES[self.profile].stored:
            notebook = pair.committed(section)
            accepted = pair.stored_run(notebook)
            if accepted is not None and accepted.key == run.key:
                return Result(section, accepted, notebook)
        return Result(section, run)

    def moved(self, section: Section, run: Run) -> tuple[str, list[str]]:
        """The key as the files are now, and the files of the package that changed meanwhile."""
        now = _stamps(self.book)
        changed = {p for p in self.stamps | now if self.stamps.get(p) != now.get(p)}
        if not changed:
            return run.key, []
        names = sorted(p.relative_to(self.book.root).as_posix() for p in changed)
        try:
            fresh = next(s for s in Book(self.book.root).notebooks if s.id == section.id)
            sources = keys.Sources(self.book.root)
            key = keys.key(fresh, run.profile, run.source, sources)
            cells = [cell for _, cell in section.code]
            used = {label.split(":")[0] for label in self.sources.reached(cells)}
        except (BookError, StopIteration, SyntaxError):
            return "", names
        package = self.book.root / keys.PACKAGE
        files = {package / Path(*module.split(".")).with_suffix(".py") for module in used}
        inside = [p for p in changed & files if p in self.stamps]
        return key, sorted(p.relative_to(self.book.root).as_posix() for p in inside)


def _stamps(book: Book) -> dict[Path, int]:
    """When each file that outputs may depend on was written."""
    files = [*(book.root / keys.PACKAGE).rglob("*.py"), *(s.path for s in book.notebooks)]
    return {path: path.stat().st_mtime_ns for path in files}


def limits(book: Book, section: Section, profile: str) -> dict[str, float]:
    """The limits of a profile, as pyproject.toml and the section's header change them."""
    chosen = {name: float(getattr(PROFILES[profile], name)) for name in LIMITS}
    for where, values in (
        ("pyproject.toml: [tool.bookbuild]", book.settings.get("limits")),
        (section.name, section.settings.get("limits")),
    ):
        for name, own in (values or {}).items():
            if name not in PROFILES or not isinstance(own, dict) or set(own) - set(LIMITS):
                raise BookError(
                    f"{where}: limits: {name}: {own!r} is not understood; write for example "
                    f"limits: {{gpu: {{seconds: 600}}}} with {', '.join(LIMITS)} for each of "
                    f"{', '.join(PROFILES)}."
                )
            if name == profile:
                chosen |= {key: float(value) for key, value in own.items()}
    return chosen


def job_of(planner: Planner, section: Section, run: Run) -> Job:
    """The job that a planned run is for a worker."""
    book = planner.book
    limit = limits(book, section, run.profile)
    patience = float(os.environ.get("BOOK_PATIENCE", "1"))  # a slow or busy machine
    threads = os.environ.get("BOOK_THREADS", "1")
    environment = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "D2L_DATA": run.source,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(book.root),
        "MPLCONFIGDIR": str(book.build / "matplotlib"),
    }
    if not PROFILES[run.profile].any_device:
        environment["D2L_DEVICE"] = "cpu"
    return Job(
        run,
        nbformat.writes(section.notebook),
        section.profile(run.profile),
        str(section.path.parent),
        environment,
        patience * limit["seconds"],
        patience * limit["cell_seconds"],
        limit["memory_mb"],
        keys.versions_of(section, planner.sources),
        tuple(section.settings.get("data") or ()),
    )


def run(
    book: Book,
    sections: list[Section],
    profile: str = "cpu",
    fresh: bool = False,
    scheduler: str | None = None,
    say: Callable[[str], None] = print,
) -> list[Result]:
    """Execute the sections that have no current outputs; a result for every one, in order."""
    planner = Planner(book, profile)
    with phase(f"run: looking for what is out of date in {len(sections)} notebooks"):
        results = {
            s.id: Result(s, planner.planned(s)) if fresh else planner.current(s) for s in sections
        }
    todo = [result for result in results.values() if not result.ok]
    if not todo:
        say(f"run: nothing to do, {len(results)} notebooks are current.")
        return list(results.values())
    past = past_seconds(book, profile)
    todo.sort(key=lambda r: -past.get(r.section.id, float("inf")))
    if os.environ.get("BOOK_ORDER"):  # a seed: no notebook may rely on another one that ran before
        random.Random(os.environ["BOOK_ORDER"]).shuffle(todo)
    jobs, begin = [(job_of(planner, r.section, r.run), r) for r in todo], time.monotonic()
    titles = {r.section.id: r.section.title for r in todo}
    # a cluster has workers of its own and takes everything at once
    slots = len(jobs) if scheduler else workers(profile)
    futures: dict[Future[tuple[Run, str]], Result] = {}
    with executor(scheduler, profile) as pool, Notebooks(titles, past, workers(profile)) as shown:

        def fill() -> None:
            while jobs and len(futures) < slots:
                job, planned = jobs.pop(0)
                futures[_submit(pool, job)] = planned
                if not scheduler:
                    shown.started(planned.section.id)

        fill()
        while futures:
            ended = {f: futures.pop(f) for f in wait(futures, return_when=FIRST_COMPLETED).done}
            fill()  # the workers go on while the results are kept
            for future, planned in ended.items():
                result = _finish(planner, planned, future)
                section, done = result.section, result.run
                results[section.id] = result
                mark = "ok    " if result.ok else "FAILED"
                cost = f"{done.seconds:.1f} s, {done.peak_mb} MB"
                line = f"{mark} {section.id} {section.title} {cost}"
                shown.finished(section.id, line, done.error.message if done.error else "")
                if not result.ok:
                    report(book, result)
    say(summary(list(results.values()), time.monotonic() - begin))
    return list(results.values())


def _submit(pool: Executor, job: Job) -> "Future[tuple[Run, str]]":
    """The future of a job; where the pool has broken, one that says so."""
    try:
        return pool.submit(execute, job)
    except BrokenExecutor as error:
        future: Future[tuple[Run, str]] = Future()
        future.set_exception(error)
        return future


def past_seconds(book: Book, profile: str) -> dict[str, float]:
    """How long each section took last time, by the records or the committed notebooks."""
    past = {}
    for section in book.notebooks:
        path = record_path(book, profile, section)
        try:
            known = Run.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            known = pair.stored_run(pair.committed(section))
        if known is not None and known.seconds:
            past[section.id] = known.seconds
    return past


def record_path(book: Book, profile: str, section: Section) -> Path:
    return book.build / "records" / profile / f"{section.id}.json"


def _finish(planner: Planner, planned: Result, future: "Future[tuple[Run, str]]") -> Result:
    """Check what a worker gave, keep it, and write its record."""
    book, section = planner.book, planned.section
    try:
        run, text = future.result()
    except Exception as error:  # the worker itself ended
        fault = Fault(type(error).__name__, f"the worker ended: {type(error).__name__}: {error}")
        run, text = planned.run.but(status="failed", error=fault), nbformat.writes(section.notebook)
    notebook = nbformat.reads(text, as_version=4)
    key, changed = planner.moved(section, planned.run)
    run = run.but(key_after=key)
    if run.ok and (changed or key != run.key):
        what = ", ".join(changed) or "a source"
        text = f"{what} changed while it ran, so its outputs are not kept; run it again"
        run = run.but(status="failed", error=Fault("moved", text))
    done = notebook.cells[: run.error.cell] if run.error else notebook.cells
    code = "\n".join(c.source for c in done if c.cell_type == "code")
    run = run.but(checks=tuple(checks_in(code, section.id)))
    failed = book.build / "failed" / f"{section.id}.ipynb"
    if run.ok:
        notebook = pair.merge(section, notebook)
        notebook.metadata["run"] = run.to_json()
        store_of(book).put(run.key, notebook)
        failed.unlink(missing_ok=True)
    else:
        write_text(failed, nbformat.writes(notebook))
    write_record(book, section, run)
    return Result(section, run, notebook if run.ok else None)


def write_record(book: Book, section: Section, run: Run) -> None:
    text = json.dumps(run.to_json(), indent=1, ensure_ascii=False) + "\n"
    write_text(record_path(book, run.profile, section), text)


def report(book: Book, result: Result) -> None:
    """Tell what stopped a notebook: place, line, the end of the trace, and where the rest is."""
    fault = result.run.error
    if fault is None:
        return
    cells = result.section.notebook.cells
    source = cells[fault.cell].source.splitlines() if fault.cell < len(cells) else []
    shown = source[fault.line - 1].strip() if 0 < fault.line <= len(source) else ""
    lines = [f"error: {result.message}", f"    {shown}" if shown else ""]
    lines += ["    " + line for line in fault.traceback.splitlines()[-12:]]
    inside = book.build.is_relative_to(book.root)
    name = book.build.relative_to(book.root).as_posix() if inside else book.build
    lines += [f"    the notebook as far as it ran: {name}/failed/{result.section.id}.ipynb"]
    print("\n".join(filter(None, lines)), file=sys.stderr, flush=True)


def summary(results: list[Result], seconds: float) -> str:
    """A table of all results and a closing line."""
    rows = [f"{'section':<8} {'status':<7} {'seconds':>8} {'MB':>6} {'checks':>7}  data"]
    for result in results:
        run = result.run
        data = ", ".join(f"{used.name} ({used.source})" for used in run.data)
        checks = f"{len(run.checks):>3}/{result.section.checks:<3}"
        rows.append(
            f"{result.section.id:<8} {run.status:<7} {run.seconds:>8.1f} {run.peak_mb:>6} "
            f"{checks}  {data}"
        )
    failed = [r.section.id for r in results if not r.ok]
    good = f"{len(results) - len(failed)} of {len(results)} notebooks good, {seconds:.0f} s"
    rows.append(good + (f"; failed: {', '.join(failed)}" if failed else ""))
    return "\n".join(rows)
