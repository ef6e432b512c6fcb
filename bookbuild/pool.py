"""Where notebooks run, a pool of this machine or the workers of a cluster, and the progress."""

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from .book import BookError, Section
from .execute import end_with
from .record import PROFILES

WORKERS = 2


def workers(profile: str) -> int:
    """Notebooks side by side."""
    return PROFILES[profile].workers or int(os.environ.get("BOOK_WORKERS", WORKERS))


@contextmanager
def executor(scheduler: str | None, profile: str) -> Iterator[Executor]:
    """A local pool, or the workers of a Dask cluster (`tcp://host:port`), in the same form."""
    if scheduler:
        from distributed import Client

        resources = {"resources": {"GPU": 1}} if PROFILES[profile].any_device else {}
        with Client(scheduler, set_as_default=False) as client:
            yield client.get_executor(pure=False, retries=1, **resources)
        return
    with ProcessPoolExecutor(
        workers(profile),
        mp_context=get_context("spawn"),
        initializer=end_with,
        initargs=(os.getpid(),),
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


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


class Progress:
    """A line for each finished notebook; on a terminal a live line with what runs."""

    def __init__(self, names: list[str], expected: dict[str, float], workers: int):
        self.left, self.expected, self.workers = list(names), expected, workers
        self.total, self.begin = len(names), time.monotonic()
        self.live = None
        if sys.stdout.isatty():
            from rich.live import Live

            self.live = Live(get_renderable=self.line, refresh_per_second=2, transient=True)

    def remaining(self) -> float | None:
        """Seconds that the notebooks left took last time, spread over the workers, or None."""
        known = [self.expected[name] for name in self.left if name in self.expected]
        return sum(known) / self.workers if known or not self.left else None

    def _estimate(self) -> str:
        left = self.remaining()
        return f", about {left:.0f} s left" if left and self.left else ""

    def _elapsed(self) -> float:
        return time.monotonic() - self.begin

    def line(self) -> str:
        running = ", ".join(self.left[: self.workers])
        done = f"{self.total - len(self.left)}/{self.total} done"
        return f"{done}, running {running}, {self._elapsed():.0f} s{self._estimate()}"

    def finished(self, name: str, what: str) -> None:
        self.left.remove(name)
        done = f"[{self.total - len(self.left)}/{self.total}]"
        print(f"{done} {what}, {self._elapsed():.0f} s elapsed{self._estimate()}", flush=True)

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()
