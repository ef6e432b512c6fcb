"""`make check`: nothing stale, everything runs, and what comes out is what is stored."""

import subprocess
import sys
from pathlib import Path

import nbformat

from . import export, lint, pair
from .book import Book, BookError, Section
from .record import Run
from .run import Result, run
from .store import write_text


def static_problems(book: Book) -> list[str]:
    """Faults that need no run."""
    problems = lint.problems(book)
    try:
        problems += export.stale(book)
    except BookError as error:
        problems.append(str(error))
    return problems + pair.stale(book)


def check(
    book: Book, sections: list[Section], profile: str, fresh: bool, scheduler: str | None = None
) -> int:
    """Run what is not current (all with `fresh`), compare, report; returns the exit status."""
    problems = static_problems(book)
    results = run(book, sections, profile, fresh, scheduler)
    problems += [r.message for r in results if not r.ok]
    for result in results:
        if result.notebook is not None:
            problems += lint.missing_alt(result.section, result.notebook) + lint.private_outputs(
                result.section, result.notebook, book.root
            )
    status = compare(book, [r for r in results if r.ok]) if profile == "cpu" else 0
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    good = not problems and status == 0
    print(
        f"check: {len(sections)} notebooks, profile {profile}: {'good' if good else 'FAILED'}",
        flush=True,
    )
    return 0 if good else 1


def compare(book: Book, results: list[Result]) -> int:
    """Compare the executed copies with the committed notebooks, through nbval."""
    folder, files = book.root / "build" / "executed", []
    for result in results:
        stored = pair.committed(result.section)
        if stored is None:
            continue  # reported as missing
        made_by = pair.recorded_run(stored)
        made_with = made_by.source if made_by else None
        if made_with and made_with != result.source:
            print(
                f"{result.section.id}: the stored outputs are of {made_with} data, this run had {result.source} data: checks ran, outputs are not compared."
            )
            continue
        assert result.notebook is not None
        write_text(
            folder / result.section.ipynb.relative_to(book.root), nbformat.writes(result.notebook)
        )
        files.append(str(result.section.ipynb))
    if not files:
        return 0
    return replay(book.root, files, folder)


def replay(root: Path, files: list[str], executed: Path) -> int:
    """pytest with nbval on the committed notebooks, comparing executed copies."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "bookbuild.nbval_plugin",
        "--nbval",
        "--nbval-executed",
        str(executed),
        "--book-root",
        str(root),
    ]
    options = [
        "-q",
        "--no-header",
        "--color=no",
        "-p",
        "no:cacheprovider",
        "-o",
        "addopts=",
        "--rootdir",
        str(root),
    ]
    return subprocess.run([*command, *options, *files], cwd=root).returncode


def accept(book: Book, sections: list[Section], profile_results: list[Result]) -> list[Path]:
    """Take the outputs of these results as the new reference."""
    changed = []
    for result in profile_results:
        if result.notebook is None:
            raise BookError(
                f"{result.message}\n{result.section.id} did not run; its stored outputs stay as they are."
            )
        existing = pair.committed(result.section)
        if existing is not None and pair.hand_edited(result.section, existing):
            pair.updated(result.section, existing)  # raises, and says what to do
        text = pair.text_of(
            pair.reference(
                result.section,
                result.notebook,
                Run(result.section.id, "cpu", "ok", key=result.key, source=result.source),
            )
        )
        if (
            not result.section.ipynb.exists()
            or result.section.ipynb.read_text(encoding="utf-8") != text
        ):
            write_text(result.section.ipynb, text)
            changed.append(result.section.ipynb)
    return changed
