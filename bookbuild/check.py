"""`make check`: nothing stale, everything runs, and what comes out is what is stored."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import nbformat

from . import export, lint, outputs, pair, reset
from .book import Book, BookError, Section
from .progress import phase
from .record import PROFILES
from .run import Result, run, write_record
from .store import write_text


def static_problems(book: Book, sections: list[Section] | None = None) -> list[str]:
    """Faults that need no run, of the whole book or of some sections."""
    problems = lint.problems(book, sections)
    try:
        problems += export.stale(book)
    except BookError as error:
        problems.append(str(error))
    return problems + pair.stale(book, sections)


def check(
    book: Book,
    sections: list[Section],
    profile: str,
    fresh: bool,
    scheduler: str | None = None,
    allow_standin: bool = False,
) -> int:
    """Run what is not current (all with `fresh`), compare, report; returns the exit status."""
    with phase("check: form and what is stale"):
        every = len(sections) == len(book.notebooks)
        problems = static_problems(book, None if every else sections)
    results = run(book, sections, profile, fresh, scheduler)
    problems += [r.message for r in results if not r.ok]
    for result in results:
        if result.notebook is not None:
            problems += outputs.problems(result.section, result.notebook, book.root)
    status, skipped = 0, 0
    if PROFILES[profile].stored:
        good = [r for r in results if r.ok]
        problems += lost_checks(good)
        for section in sections:
            said, fault = changed_outputs(section)
            if said and fault:
                problems.append(said)
            elif said:
                print(f"note: {said}")
        status, skipped = compare(book, good)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if skipped:
        what = f"{skipped} of {len(results)} notebooks not compared (stand-in data)"
        print(f"check: {what}" if allow_standin else f"error: {what}; get the data (make doctor "
              "says what is missing), or pass --allow-standin.")  # fmt: skip
    passed = not problems and status == 0 and (allow_standin or not skipped)
    verdict = "good" if passed else "FAILED"
    print(f"check: {len(sections)} notebooks, profile {profile}: {verdict}", flush=True)
    return 0 if passed else 1


def lost_checks(results: Iterable[Result]) -> list[str]:
    """Checks that the stored run passed and this one did not reach; the data do not matter."""
    found = []
    for result in results:
        accepted = pair.stored_run(pair.committed(result.section))
        lost = [c for c in accepted.checks if c not in result.run.checks] if accepted else []
        if lost:
            names = ", ".join(f"{result.section.id}-{number}" for number in lost)
            found.append(f"{result.section.name}: the stored run passed {names}, this one did not.")
    return found


def compare(book: Book, results: list[Result]) -> tuple[int, int]:
    """Compare the executed copies with the committed notebooks, through nbval.

    Returns the exit status, and how many notebooks were not compared for their stand-in data.
    """
    folder, files, skipped = book.build / "executed", [], 0
    accepted = book.build / "accepted"
    for result in results:
        stored = pair.committed(result.section)
        if stored is None:
            continue  # reported as missing
        made_by = pair.recorded_run(stored)
        if made_by is not None and made_by.source != result.run.source:
            skipped += 1
            cells = result.run.compared
            reason = {**result.run.uncompared, "stand-in data": cells}
            write_record(book, result.section, result.run.but(compared=0, uncompared=reason))
            print(
                f"{result.section.id}: the stored outputs are of {made_by.source} data, this run "
                f"had {result.run.source} data: checks ran, outputs are not compared."
            )
            continue
        name = result.section.ipynb.relative_to(book.root)
        (accepted / name).unlink(missing_ok=True)
        if pair.changed_outputs(stored) and (other := reset.accepted(result.section)):
            write_text(accepted / name, pair.text_of(other))
        assert result.notebook is not None
        write_text(folder / name, nbformat.writes(result.notebook))
        files.append(str(result.section.ipynb))
    if not files:
        return 0, skipped
    print(f"check: comparing {len(files)} notebooks with their stored outputs", flush=True)
    return replay(book.root, files, folder, accepted), skipped


def changed_outputs(section: Section) -> tuple[str, bool]:
    """What is to say of stored outputs that `make accept` did not store, and whether it is a fault.

    No fault where the last commit has the accepted ones, for these are compared then.
    """
    if not pair.changed_outputs(pair.committed(section)):
        return "", False
    known = reset.accepted(section) is not None
    what = (
        "the run is compared with those of the last commit"
        if known
        else "the accepted ones are not known here, so nothing tells whether they are right"
    )
    return (
        f"{section.ipynb.relative_to(section.root).as_posix()}: its outputs are not those that "
        f"`make accept` stored (a notebook editor saved them?); {what}. To take outputs of the "
        f"present code: make accept S={section.id}; to go back: make reset S={section.id}",
        not known,
    )


def replay(root: Path, files: list[str], executed: Path, accepted: Path | None = None) -> int:
    """pytest with nbval on the committed notebooks, comparing executed copies.

    Outputs of a notebook that `accepted` has under the same name are compared instead.
    """
    command = [sys.executable, "-m", "pytest", "-p", "bookbuild.nbval_plugin", "--nbval"]
    command += ["--nbval-executed", str(executed), "--book-root", str(root)]
    command += ["--nbval-accepted", str(accepted)] if accepted else []
    command += ["-q", "--no-header", "--color=no", "-p", "no:cacheprovider", "-o", "addopts="]
    return subprocess.run([*command, "--rootdir", str(root), *files], cwd=root).returncode


def accept(book: Book, results: list[Result]) -> tuple[list[Path], list[str]]:
    """Take the outputs of these results as the new reference.

    Returns what was written, and what was not with the reason.

    What ran well is kept whatever happened to another section. Outputs of real data are never
    replaced by those of a stand-in.
    """
    written, refused = [], []
    for result in results:
        section = result.section
        if result.notebook is None:
            refused.append(f"{result.message}\n  {section.id} did not run; its outputs stay.")
            continue
        try:
            existing = pair.committed(section)
            if existing is not None:
                pair.updated(section, existing)  # raises where it was edited by hand
        except BookError as error:
            refused.append(str(error))
            continue
        if found := outputs.problems(section, result.notebook, book.root):
            refused += [*found, f"{section.id}: its outputs stay as they are."]
            continue
        made_by = pair.recorded_run(existing)
        if made_by is not None and made_by.source == "real" != result.run.source:
            refused.append(
                f"{section.name}: the stored outputs are of real data, this run had stand-ins; "
                "they stay. Get the data (make doctor says what is missing)."
            )
            continue
        text = pair.text_of(pair.reference(section, result.notebook, result.run))
        old = section.ipynb.read_text(encoding="utf-8") if section.ipynb.exists() else ""
        if old != text:
            write_text(section.ipynb, text)
            written.append(section.ipynb)
    return written, refused
