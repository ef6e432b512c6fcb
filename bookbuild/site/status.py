"""The status page: when and how each section ran, what was compared, what its checks catch."""

import json
from collections.abc import Mapping
from typing import Any

from nbformat import NotebookNode

from ..book import Book, BookError, Section
from ..record import Run
from .pieces import day, page, piece
from .places import doc

MUTATION = "tests/mutation.json"


def status_page(book: Book, executed: Mapping[str, NotebookNode], runs: Mapping[str, Run]) -> str:
    """The status page in Markdown.

    Parameters
    ----------
    executed
        Section number -> notebook with outputs.
    runs
        Section number -> the run that made them; a section that never ran has none.
    """
    letters = _letters(runs)
    scores = mutation(book)
    rows = []
    for section in book.sections:
        row = {"anchor": anchor(section), "url": f"{doc(section)}.html", "section": section}
        row |= {"state": _state(section, section.id in executed, runs.get(section.id))}
        row |= {"mutants": _killed(scores.get(section.id))}
        row |= _run_columns(section, runs.get(section.id), letters)
        rows.append(row)
    return page(
        "status",
        table=piece("status", rows=rows),
        versions=piece("versions", sets={v: json.loads(k) for k, v in letters.items()}),
        total=sum(run.seconds for run in runs.values()),
    )


def anchor(section: Section) -> str:
    """Name of a section's row, such as `s3-4`."""
    return f"s{section.id.replace('.', '-')}"


def mutation(book: Book) -> dict[str, dict[str, Any]]:
    """Section number -> what became of the faults planted in it, from tests/mutation.json.

    Raises
    ------
    BookError
        If the file is there and holds something else.
    """
    path = book.root / MUTATION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(number): dict(score) for number, score in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError) as error:
        raise BookError(f"{MUTATION}: not an object of scores by section ({error}).") from error


def _letters(runs: Mapping[str, Run]) -> dict[str, str]:
    """A letter for each set of versions, the set as JSON: A is that of the first run."""
    letters: dict[str, str] = {}
    for number in sorted(runs, key=lambda n: [int(x) for x in n.split(".")]):
        if runs[number].versions:
            count = len(letters)
            letter = chr(ord("A") + count % 26) * (1 + count // 26)
            letters.setdefault(json.dumps(runs[number].versions), letter)
    return letters


def _state(section: Section, known: bool, run: Run | None) -> str:
    if section.is_page:
        return "page"
    if run is None:
        return "no record" if known else "not run"
    return {"ok": "good" if known else "not run", "planned": "not run"}.get(run.status, run.status)


def _killed(score: dict[str, Any] | None) -> str:
    """E.g. `4 of 4, 28 Nov 2026`: changes that mean the same count neither way."""
    if not score:
        return ""
    tried = int(score.get("tried", 0)) - int(score.get("equivalent", 0))
    parts = [f"{score.get('killed', 0)} of {tried}", day(str(score.get("date", "")))]
    return ", ".join(filter(None, parts))


def _run_columns(section: Section, run: Run | None, letters: dict[str, str]) -> dict[str, Any]:
    """What the table says of a run; of none, nothing."""
    known = run is not None and not section.is_page
    if run is None or not known:
        return dict.fromkeys(COLUMNS, "")
    names = ", ".join(
        f"{used.name} ({'stand-in' if used.source == 'standin' else used.source})"
        for used in run.data
    )
    return {
        "when": day(run.when),
        "seconds": run.seconds,
        "memory": f"{run.peak_mb:.0f} MB" if run.peak_mb else "",
        "device": run.device,
        "data": names or "none",
        "versions": letters.get(json.dumps(run.versions), ""),
        "compared": str(run.compared) if run.compared or run.uncompared else "",
        "uncompared": ", ".join(f"{count} ({why})" for why, count in run.uncompared.items()),
        "checks": f"{len(run.checks)} of {section.checks}",
    }


COLUMNS = (
    "when", "seconds", "memory", "device", "data", "versions", "compared", "uncompared", "checks",
)  # fmt: skip
