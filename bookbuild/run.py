"""Run what is out of date: two notebooks side by side, longest first, each result kept as soon as it is there."""

import contextlib
import io
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from . import keys, pair
from .book import Book, BookError, Section, checks_in
from .execute import Job, Outcome, end_with, execute
from .store import Store, write_text

DEFAULTS: dict[str, dict[str, float]] = {
    "cpu": {"seconds": 180, "cell_seconds": 120, "memory_mb": 2048},
    "smoke": {"seconds": 90, "cell_seconds": 60, "memory_mb": 2048},
    "gpu": {"seconds": 1800, "cell_seconds": 1200, "memory_mb": 32768},
    "rehearsal": {"seconds": 300, "cell_seconds": 240, "memory_mb": 4096},
}
WORKERS = 2


@dataclass
class Plan:
    """What a run has to do for one section."""

    section: Section
    profile: str
    source: str  # real | standin
    key: str
    stored: NotebookNode | None  # executed already, under this key


@dataclass
class Result:
    """A section after a run: its executed notebook, or why there is none."""

    section: Section
    key: str
    source: str
    notebook: NotebookNode | None
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.notebook is not None

    @property
    def message(self) -> str:
        error = self.record.get("error")
        if not error:
            return ""
        return f"{self.section.where(error['cell'], error['line'])}: {error['message']}"


def store_of(book: Book) -> Store:
    return Store(Path(os.environ.get("BOOK_STORE") or book.root / "store"))


def data_source(section: Section) -> str:
    """Fetch the data sets of a section once, before any notebook needs them: `real`, or `standin` if one is."""
    from d2l_helpers import data

    names = section.settings.get("data") or []
    sources = set()
    for name in names:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                sources.add(data.fetch(name).source)
        except data.DataError as error:
            line = next(
                (
                    i
                    for i, text in enumerate(section.text.splitlines(), 1)
                    if text.startswith("#     data:")
                ),
                1,
            )
            raise BookError(f"{section.name}:{line} (header): {error}") from error
    return "standin" if "standin" in sources else "real"


def plan(book: Book, sections: list[Section], profile: str, fresh: bool) -> list[Plan]:
    """Keys of the sections, and what the store or the committed notebook holds under them."""
    sources, store, plans = keys.Sources(book.root), store_of(book), []
    for section in sections:
        source = data_source(section)
        key = keys.key(section, profile, source, sources)
        stored = None
        if not fresh:
            stored = store.get(key)
            notebook = pair.committed(section) if stored is None and profile == "cpu" else None
            if notebook is not None and pair.stored_key(notebook) == key:
                stored = notebook
        plans.append(Plan(section, profile, source, key, stored))
    return plans


def job_of(book: Book, item: Plan) -> Job:
    section = item.section
    limits = {
        **DEFAULTS[item.profile],
        **book.settings.get("limits", {}),
        **(section.settings.get("limits") or {}),
    }
    patience = float(os.environ.get("BOOK_PATIENCE", "1"))  # a slow or busy machine
    environment = {
        "OMP_NUM_THREADS": os.environ.get("BOOK_THREADS", "1"),
        "MKL_NUM_THREADS": os.environ.get("BOOK_THREADS", "1"),
        "D2L_DATA": item.source,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(book.root),
    }
    if item.profile != "gpu":
        environment["D2L_DEVICE"] = "cpu"
    return Job(
        section.id, nbformat.writes(section.notebook), section.profile(item.profile), str(section.path.parent), environment,
        patience * limits["seconds"], patience * limits["cell_seconds"], limits["memory_mb"], tuple(section.settings.get("data") or ()),
    )  # fmt: skip


@contextmanager
def executor(scheduler: str | None, profile: str) -> Iterator[Executor]:
    """A local pool, or the workers of a Dask cluster (`tcp://host:port`) behind the same interface."""
    if scheduler:
        from distributed import Client

        with Client(scheduler, set_as_default=False) as client:
            yield client.get_executor(
                pure=False, retries=1, **({"resources": {"GPU": 1}} if profile == "gpu" else {})
            )
        return
    workers = 1 if profile == "gpu" else int(os.environ.get("BOOK_WORKERS", WORKERS))
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class Progress:
    """A line for each finished notebook; on a terminal a live line with what runs and what is left."""

    def __init__(self, names: list[str], expected: dict[str, float], workers: int):
        self.left, self.expected, self.workers = list(names), expected, workers
        self.total, self.begin = len(names), time.monotonic()
        self.live = None
        if sys.stdout.isatty():
            from rich.live import Live

            self.live = Live(get_renderable=self.line, refresh_per_second=2, transient=True)

    def remaining(self) -> float | None:
        """Seconds that the notebooks left took last time, spread over the workers; None if unknown."""
        known = [self.expected[name] for name in self.left if name in self.expected]
        return sum(known) / self.workers if known or not self.left else None

    def line(self) -> str:
        left = self.remaining()
        estimate = f", about {left:.0f} s left" if left else ""
        running = ", ".join(self.left[: self.workers])
        return f"{self.total - len(self.left)}/{self.total} done, running {running}, {time.monotonic() - self.begin:.0f} s{estimate}"

    def finished(self, name: str, what: str) -> None:
        self.left.remove(name)
        left = self.remaining()
        estimate = f", about {left:.0f} s left" if left and self.left else ""
        print(
            f"[{self.total - len(self.left)}/{self.total}] {what}, {time.monotonic() - self.begin:.0f} s elapsed{estimate}",
            flush=True,
        )

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()


def shard(sections: list[Section], which: str | None) -> list[Section]:
    """Part `i/n` of the sorted list, for a CI matrix."""
    if not which:
        return sections
    try:
        part, count = (int(x) for x in which.split("/"))
        if not 1 <= part <= count:
            raise ValueError
    except ValueError:
        raise BookError(
            f"--shard {which!r}: write i/n with 1 <= i <= n, for example 2/4."
        ) from None
    return sections[part - 1 :: count]


def run(
    book: Book,
    sections: list[Section],
    profile: str = "cpu",
    fresh: bool = False,
    scheduler: str | None = None,
    say: Callable[[str], None] = print,
) -> list[Result]:
    """Execute the sections that have no current outputs; returns a result for every one, in order."""
    plans = plan(book, sections, profile, fresh)
    store = store_of(book)
    results = {p.section.id: _stored(p) for p in plans if p.stored is not None}
    todo = [p for p in plans if p.stored is None]
    if not todo:
        say(f"run: nothing to do, {len(plans)} notebooks are current.")
        return [results[p.section.id] for p in plans]
    past = {name: float(str(record.get("seconds", 0))) for name, record in store.records().items()}
    todo.sort(key=lambda p: -past.get(p.section.id, float("inf")))
    if os.environ.get("BOOK_ORDER"):  # a seed: no notebook may rely on another one that ran before
        random.Random(os.environ["BOOK_ORDER"]).shuffle(todo)
    workers = 1 if profile == "gpu" else int(os.environ.get("BOOK_WORKERS", WORKERS))
    begin = time.monotonic()
    with (
        executor(scheduler, profile) as pool,
        Progress([p.section.id for p in todo], past, workers) as progress,
    ):
        futures: dict[Future[Outcome], Plan] = {
            pool.submit(execute, job_of(book, p)): p for p in todo
        }
        for future in as_completed(futures):
            item = futures[future]
            result = _finish(book, item, future, store)
            results[item.section.id] = result
            mark = "ok    " if result.ok else "FAILED"
            seconds, peak = result.record.get("seconds", 0.0), result.record.get("peak_mb", 0.0)
            progress.finished(
                item.section.id,
                f"{mark} {item.section.id} {item.section.title} {seconds:.1f} s, {peak:.0f} MB",
            )
            if not result.ok:
                _report(book, result)
    say(summary([results[p.section.id] for p in plans], time.monotonic() - begin))
    return [results[p.section.id] for p in plans]


def _stored(item: Plan) -> Result:
    assert item.stored is not None
    record = dict(
        item.stored.metadata.get("record")
        or {
            "section": item.section.id,
            "status": "stored",
            "profile": item.profile,
            "device": "cpu",
        }
    )
    record.setdefault("checks", item.section.marked_checks)
    record.setdefault(
        "data",
        [{"name": n, "source": item.source} for n in item.section.settings.get("data") or []],
    )
    return Result(item.section, item.key, item.source, item.stored, record)


def _finish(book: Book, item: Plan, future: "Future[Outcome]", store: Store) -> Result:
    try:
        outcome = future.result()
    except Exception as error:  # the worker itself ended
        outcome = Outcome(item.section.id, "failed", nbformat.writes(item.section.notebook), 0.0, 0.0, error={
            "kind": type(error).__name__, "message": f"the worker ended: {type(error).__name__}: {error}", "cell": 0, "line": 1})  # fmt: skip
    notebook = nbformat.reads(outcome.notebook, as_version=4)
    record = {k: v for k, v in asdict(outcome).items() if k not in ("notebook", "error")}
    record |= {
        "profile": item.profile,
        "versions": keys.versions(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "key": item.key,
    }
    record["seconds"], record["peak_mb"] = round(outcome.seconds, 2), round(outcome.peak_mb)
    done = notebook.cells[: outcome.error["cell"]] if outcome.error else notebook.cells
    record["checks"] = checks_in(
        "\n".join(c.source for c in done if c.cell_type == "code"), item.section.id
    )
    folder = book.root / "build"
    if outcome.error:
        record["error"] = outcome.error
        write_text(folder / "failed" / f"{item.section.id}.ipynb", nbformat.writes(notebook))
        _write_record(book, item, record)
        return Result(item.section, item.key, item.source, None, record)
    executed = pair.merge(item.section, notebook)
    executed.metadata["record"] = record
    store.put(item.key, executed)
    (folder / "failed" / f"{item.section.id}.ipynb").unlink(missing_ok=True)
    _write_record(book, item, record)
    return Result(item.section, item.key, item.source, executed, record)


def _write_record(book: Book, item: Plan, record: dict[str, Any]) -> None:
    write_text(
        book.root / "build" / "records" / item.profile / f"{item.section.id}.json",
        json.dumps(record, indent=1, ensure_ascii=False) + "\n",
    )


def _report(book: Book, result: Result) -> None:
    error = result.record["error"]
    source = result.section.notebook.cells[error["cell"]].source.splitlines()
    shown = source[error["line"] - 1].strip() if 0 < error["line"] <= len(source) else ""
    print(f"error: {result.message}", file=sys.stderr)
    if shown:
        print(f"    {shown}", file=sys.stderr)
    if error.get("traceback"):
        print(
            "\n".join("    " + line for line in error["traceback"].splitlines()[-12:]),
            file=sys.stderr,
        )
    print(
        f"    the notebook as far as it ran: build/failed/{result.section.id}.ipynb",
        file=sys.stderr,
        flush=True,
    )


def summary(results: list[Result], seconds: float) -> str:
    """A table of all results and a closing line."""
    rows = [f"{'section':<8} {'status':<7} {'seconds':>8} {'MB':>6} {'checks':>7}  data"]
    for result in results:
        r = result.record
        data = ", ".join(f"{d['name']} ({d['source']})" for d in r.get("data", []))
        status = str(r.get("status", "ok"))
        rows.append(
            f"{result.section.id:<8} {status:<7} {r.get('seconds', 0) or 0:>8.1f} {r.get('peak_mb', 0) or 0:>6.0f} "
            f"{len(r.get('checks', [])):>3}/{result.section.checks:<3}  {data}"
        )
    failed = [r.section.id for r in results if not r.ok]
    rows.append(
        f"{len(results) - len(failed)} of {len(results)} notebooks good, {seconds:.0f} s"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return "\n".join(rows)
