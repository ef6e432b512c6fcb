"""The site: Sphinx on the executed notebooks, everything local, every fault named.

The pages are a function of the book's files, the executed notebooks and their runs: building one
section and building all of them leave the same site.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from nbformat import NotebookNode

from ..book import Book
from ..progress import phase
from ..record import Run
from . import check, places
from .inputs import Inputs, State
from .npm import WEB, assets
from .policy import protect
from .publish import publish, stamps
from .source import Source
from .sphinx_run import run_sphinx

__all__ = ["WEB", "assets", "build"]


def build(
    book: Book, executed: Mapping[str, NotebookNode], runs: Mapping[str, Run], out: Path
) -> list[str]:
    """Build the site into `out`.

    Parameters
    ----------
    executed
        Section number -> notebook with outputs. A section without one gets a page without outputs.
    runs
        Section number -> the run that made its outputs. A section that never ran has none.
    out
        Folder of the site. If anything is wrong, it stays as it was.

    Returns
    -------
    What is wrong, each with file and line where they are known. Where the inputs are those of the
    last good build and its files lie in `out`, nothing is done.

    Examples
    --------
    >>> build(Book(), {}, {}, Path("build/html"))  # doctest: +SKIP
    []
    """
    work = book.build
    with alone(work):
        inputs, state = Inputs(book, executed, runs), State.read(work / "site-state.json")
        where = str(out.resolve())
        if (state.published, state.out) == (inputs.total, where) and state.files == stamps(out):
            return []
        assets(WEB.parents[1])
        source = Source(inputs, state)
        with phase(f"site: preparing {len(book.sections)} sections"):
            source.write()
            state.write()
        stage = work / "site-stage"
        problems = run_sphinx(book, source.folder, stage, work / "doctrees")
        if not problems:
            with phase("site: checking links"):
                protect(stage)
                faults = check.check(stage, work / "site-links.json")
            problems = [places.located(book, *fault) for fault in faults]
        if not problems:
            with phase("site: publishing"):
                publish(stage, out)
            state.published, state.out, state.files = inputs.total, where, stamps(out)
            state.write()
        return problems


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold the build folder's lock; a second build says that it waits for the first."""
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "site.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print("site: another build of this book is running; waiting until it has ended", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
