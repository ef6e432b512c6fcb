"""The whole book runs in the time that CI has: the records of the stored outputs, added up."""

from pathlib import Path

from bookbuild import pair
from bookbuild.book import Book

ROOT = Path(__file__).resolve().parent.parent
SECONDS, MEAN, MEMORY_MB = 60, 35, 2048


def test_every_section_keeps_the_budget(capsys):
    book = Book(ROOT)
    runs = {s.id: pair.stored_run(pair.committed(s)) for s in book.notebooks}
    unknown = [name for name, run in runs.items() if run is None or not run.seconds]
    assert not unknown, f"no record of a run: {', '.join(unknown)}; run `make accept`"
    total = sum(run.seconds for run in runs.values())
    planned = sum(not section.is_page for section in book.planned)
    with capsys.disabled():
        print(
            f"\nbudget: {len(runs)} notebooks in {total:.0f} s of kernel time, "
            f"{total / len(runs):.1f} s each ({MEAN} allowed); "
            f"at this pace {planned} notebooks take {planned * total / len(runs) / 120:.0f} min "
            "on two cores"
        )
    slow = {name: run.seconds for name, run in runs.items() if run.seconds > SECONDS}
    large = {name: run.peak_mb for name, run in runs.items() if run.peak_mb > MEMORY_MB}
    assert not slow, f"longer than {SECONDS} s: {slow}"
    assert not large, f"more than {MEMORY_MB} MB: {large}"
    assert total <= MEAN * len(runs), f"{total:.0f} s for {len(runs)} notebooks"
