"""Where notebooks run, a pool of this machine or the workers of a cluster."""

import os
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
