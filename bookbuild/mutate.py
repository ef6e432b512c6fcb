"""`make mutate`: do the checks and stored outputs of a section notice small changes to its code?

A notebook runs once as it is, and each mutant of a sample from the changed cell on, until a cell
fails or gives another output than the stored one (see `snapshot`). A change to exported code that
its own section does not notice is tried on the notebooks that use it.
"""

import json
import os
import re
import shutil
import tempfile
import tomllib
from concurrent.futures import Executor, as_completed
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import nbformat

from . import keys, pair
from .book import Book, BookError, Chapter, Section
from .execute import Job, execute
from .mutants import CHECK_CELL, Mutant, sample
from .pool import executor
from .record import Run
from .run import Planner, limits
from .store import write_text

EQUIVALENT = Path("tests") / "equivalent.toml"
SCORES = Path("tests") / "mutation.json"
#: Limit of a mutant in seconds: this much at least, or so many times what the whole notebook took.
LEAST, TIMES = 30.0, 3.0
USERS = 2  # notebooks on which a survivor among the exported definitions is tried


@dataclass(frozen=True)
class Verdict:
    """What became of a change: `by` says what noticed it, empty if nothing did."""

    by: str
    where: str
    message: str
    seconds: float

    @property
    def killed(self) -> bool:
        return bool(self.by)


@dataclass(frozen=True)
class Trial:
    """A notebook to run with its mutants, and the file that takes a line for each verdict."""

    plan: dict[str, Any]
    log: str
    environment: dict[str, str]
    root: str
    seconds: float  # limit for the notebook and all its mutants
    memory_mb: float
    package: dict[str, str] = field(default_factory=dict)  # changed files of d2l_helpers


@dataclass(frozen=True)
class Equivalent:
    """A change that alters nothing a section promises, and why; from tests/equivalent.toml."""

    section: str
    old: str
    new: str
    reason: str


def attempt(trial: Trial) -> None:
    """Run a trial in a kernel of its own. Everything that it writes goes to a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        folder = Path(scratch)
        (folder / "work").mkdir()
        path = [trial.root, str(Path(__file__).resolve().parent.parent)]
        if trial.package:
            shutil.copytree(
                Path(trial.root) / keys.PACKAGE,
                folder / keys.PACKAGE,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
            for name, text in trial.package.items():
                (folder / keys.PACKAGE / name).write_text(text, encoding="utf-8")
            path.insert(0, scratch)
        (folder / "plan.json").write_text(json.dumps(trial.plan), encoding="utf-8")
        code = (
            f"from bookbuild.snapshot import run\nrun({str(folder / 'plan.json')!r}, {trial.log!r})"
        )
        driver = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        environment = trial.environment | {"PYTHONPATH": os.pathsep.join(path)}
        run, _ = execute(
            Job(
                run=Run(str(trial.plan["mark"]["in"]), "cpu"),
                notebook=nbformat.writes(driver),
                parameters={},
                folder=str(folder / "work"),
                environment=environment,
                seconds=trial.seconds,
                cell_seconds=trial.seconds,
                memory_mb=trial.memory_mb,
                versions={},
            )
        )
    if run.error is not None and run.error.kind not in ("data", "warning"):
        raise BookError(f"{run.section}: {run.error.message}")


class Trials:
    """Makes the trials of a book: notebooks, changes, and what the outputs have to be."""

    def __init__(self, book: Book):
        self.book = book
        self.planner = Planner(book, "cpu")
        self.keys: dict[str, str] = {}

    def section(self, number: str) -> Section:
        """The section of this number."""
        return next(s for s in self.book.notebooks if s.id == number)

    def key(self, section: Section) -> str:
        """Digest of everything that a section's verdicts depend on."""
        if section.id not in self.keys:
            stored = pair.committed(section)
            key = self.planner.planned(section).key
            outputs = pair.outputs_digest(stored) if stored else ""
            self.keys[section.id] = keys.digest([key, outputs])[:16]
        return self.keys[section.id]

    def trial(
        self, section: Section, mutants: list[Mutant], log: Path, mark: Any, package: Any = None
    ) -> Trial:
        """The trial of a section with mutants of its own, or on a changed package."""
        stored = pair.committed(section)
        if stored is None:
            raise BookError(f"{section.name}: no stored outputs; run `make accept S={section.id}`.")
        cells: list[dict[str, Any]] = []
        places: dict[int, int] = {}
        for index, cell in enumerate(pair.updated(section, stored).cells):
            if cell.cell_type == "code":
                tags = list(cell.metadata.get("tags", []))
                places[index] = len(cells)
                values = section.profile("cpu") if "parameters" in tags else {}
                source = "\n".join([cell.source, *(f"{k} = {v!r}" for k, v in values.items())])
                cells.append({"source": source, "tags": tags, "expected": cell.outputs})
        memory = limits(self.book, section, "cpu")["memory_mb"]
        plan = {
            "cells": cells,
            "mutants": [{"id": m.id, "cell": places[m.cell], "source": m.source} for m in mutants],
            "memory_mb": memory,
            "least": LEAST,
            "times": TIMES,
            "mark": mark,
        }
        threads = os.environ.get("BOOK_THREADS", "1")
        environment = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "D2L_DATA": self.planner.source(section),
            "MPLCONFIGDIR": str(self.book.build / "matplotlib"),
            "D2L_DEVICE": "cpu",
            "D2L_HEADLESS": "1",
            "PYTHONHASHSEED": "0",
        }
        # Snapshots share memory with the notebook and are counted as if they did not.
        return Trial(
            plan=plan,
            log=str(log),
            environment=environment,
            root=str(self.book.root),
            seconds=7200.0,
            memory_mb=memory * (len(mutants) + 2),
            package=package or {},
        )

    def users(self, mutant: Mutant) -> list[Section]:
        """Notebooks that reach the exported definition that a mutant changes, the nearest first."""
        chapter = self._chapter(mutant)
        labels = {f"chapters.{chapter.module}:{name}" for name in mutant.exports}
        order = [s.id for s in self.book.notebooks]
        home = order.index(mutant.section)
        found = [
            s
            for s in self.book.notebooks
            if s.id != mutant.section
            and labels & set(self.planner.sources.reached(cell for _, cell in s.code))
        ]
        return sorted(found, key=lambda s: abs(order.index(s.id) - home))[:USERS]

    def package(self, mutant: Mutant) -> dict[str, str]:
        """The file of the generated module that holds the change."""
        name = f"chapters/{self._chapter(mutant).module}.py"
        text = (self.book.root / keys.PACKAGE / name).read_text(encoding="utf-8")
        if text.count(mutant.before.rstrip()) != 1:
            raise BookError(
                f"{keys.PACKAGE}/{name} is not what {mutant.section} exports; run `make pair`."
            )
        return {name: text.replace(mutant.before.rstrip(), mutant.source.rstrip())}

    def _chapter(self, mutant: Mutant) -> Chapter:
        return next(
            c for c in self.book.chapters if any(s.id == mutant.section for s in c.sections)
        )


class Verdicts:
    """Verdicts in build/mutants, a file of lines for a section, so that a broken run goes on.

    A line holds under `for` the key of the changed section, under `in` and `key` the notebook that
    ran and its key, and the mutant's id; the id is empty for the notebook without a change.
    """

    def __init__(self, trials: Trials):
        self.trials = trials
        self.folder = trials.book.build / "mutants"
        self.folder.mkdir(parents=True, exist_ok=True)

    def log(self, section: Section) -> Path:
        """The file of a section."""
        return self.folder / f"{section.id}.jsonl"

    def mark(self, section: Section, user: Section | None = None, mutant: str = "") -> Any:
        """What every line of a trial says: whose change, and where it is tried."""
        ran = user or section
        return {"for": self.trials.key(section), "in": ran.id, "key": self.trials.key(ran)} | (
            {"of": mutant} if mutant else {}
        )

    def of(self, section: Section) -> dict[tuple[str, str], Verdict]:
        """(mutant's id, notebook) -> verdict, of the lines that are true for what is there now."""
        found: dict[tuple[str, str], Verdict] = {}
        path = self.log(section)
        known = {s.id: s for s in self.trials.book.notebooks}
        for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                line = json.loads(text)
            except ValueError:  # the last line of a run that was killed
                continue
            ran = known.get(line["in"])
            if ran is None or line["for"] != self.trials.key(section):
                continue
            if line["key"] == self.trials.key(ran):
                number = line.get("of") or line["id"]
                found[number, ran.id] = _verdict(ran, line)
        return found


def check_name(source: str) -> str:
    """What the first line of a check calls it: `check 3.4-C2`, or `check`."""
    match = re.match(r"\s*# (check(?: [\d.]+-C\d+)?)", source)
    return match[1] if match else ""


def _verdict(section: Section, line: dict[str, Any]) -> Verdict:
    """A line of a log for a reader: the name of the check that failed, file and line."""
    if not line["by"]:
        return Verdict("", "", "", line["seconds"])
    index, cell = section.code_cells()[min(line["cell"], len(section.code_cells()) - 1)]
    by = line["by"]
    if CHECK_CELL.match(cell.source) and by not in ("output", "limit"):
        by = check_name(cell.source)
    return Verdict(by, section.where(index, line["line"]), line["message"], line["seconds"])


def equivalents(root: Path) -> list[Equivalent]:
    """The entries of tests/equivalent.toml."""
    path = root / EQUIVALENT
    if not path.exists():
        return []
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("equivalent", [])
    return [
        Equivalent(str(e["section"]), e["old"].strip(), e["new"].strip(), e["reason"])
        for e in entries
    ]


def idle(book: Book, entries: list[Equivalent]) -> list[str]:
    """What is wrong with entries: their lines are gone, or the reason is no reason."""
    problems, known = [], {s.id: s for s in book.notebooks}
    for entry in entries:
        label = f"{EQUIVALENT.as_posix()}, {entry.section}, {entry.old!r}"
        if entry.section not in known:
            problems.append(f"{label}: there is no notebook {entry.section}.")
            continue
        lines = {line.strip() for line in known[entry.section].text.splitlines()}
        gone = [line for line in entry.old.splitlines() if line.strip() not in lines]
        if gone:
            problems.append(f"{label}: no line of the section is {gone[0]!r}; remove the entry.")
        if len(entry.reason.split()) < 5:
            problems.append(f"{label}: say in a sentence why nothing that is promised changes.")
    return problems


@dataclass
class Row:
    """The score of a section."""

    section: str
    tried: int = 0
    killed: int = 0
    equivalent: int = 0
    survived: int = 0

    @property
    def score(self) -> float | None:
        """Killed among those that could be; None where nothing was tried."""
        real = self.tried - self.equivalent
        return self.killed / real if real else None

    def __add__(self, other: "Row") -> "Row":
        return Row(
            self.section,
            self.tried + other.tried,
            self.killed + other.killed,
            self.equivalent + other.equivalent,
            self.survived + other.survived,
        )


def mutate(
    book: Book,
    sections: list[Section],
    seed: object = 0,
    count: int = 5,
    record: bool = False,
    floor: float = 0.0,
) -> int:
    """Try the sampled mutants of the sections, print survivors and scores; the exit status.

    Parameters
    ----------
    seed, count
        Which mutants, and how many for each section.
    record
        Write the scores to tests/mutation.json.
    floor
        The total below which the status is 1.
    """
    if not hasattr(os, "fork"):
        raise BookError("mutate needs a system with fork: Linux, macOS, or WSL on Windows.")
    trials, known = Trials(book), equivalents(book.root)
    verdicts = Verdicts(trials)
    samples = {s: sample(s, seed, count) for s in sections}
    wanted = {s: [m for m in found if not reason(m, known)] for s, found in samples.items()}
    with executor(None, "cpu") as workers:
        _own(verdicts, workers, wanted)
        green = [s for s in sections if not _unchanged(verdicts, s).killed]
        _others(verdicts, workers, {s: wanted[s] for s in green})
    rows, lines = [], []
    for section in green:
        row, survivors = _row(verdicts, section, samples[section], known)
        rows.append(row)
        lines += survivors
    print("\n".join([*lines, "", *table(rows)]))
    red = [s for s in sections if s not in green]
    for section in red:
        found = _unchanged(verdicts, section)
        text = f"no score, as it is red without a change: {found.where}: {found.message}"
        print(f"{section.id}: {text}")
    if record:
        _record(book, rows, seed)
    total = sum(rows, Row("total")).score
    return 1 if red or (total is not None and total < floor) else 0


def _run(workers: Executor, trials: dict[str, Trial]) -> None:
    """Carry out trials, with a line for each that ends; what a kernel's end leaves open is said."""
    futures = {workers.submit(attempt, trial): name for name, trial in trials.items()}
    for number, future in enumerate(as_completed(futures), 1):
        try:
            future.result()
            mark = "done"
        except BookError as error:
            mark = f"not finished: {error}"
        print(f"[{number}/{len(futures)}] {futures[future]}: {mark}", flush=True)


def _unchanged(verdicts: Verdicts, section: Section) -> Verdict:
    """How the notebook without a change came out."""
    missing = Verdict("limit", section.name, "it did not run to its end", 0.0)
    return verdicts.of(section).get(("", section.id), missing)


def _own(verdicts: Verdicts, workers: Executor, wanted: dict[Section, list[Mutant]]) -> None:
    """Every mutant on its own section; those with a verdict are not run again."""
    todo = {}
    for section, mutants in wanted.items():
        found = verdicts.of(section)
        left = [m for m in mutants if (m.id, section.id) not in found]
        if left or ("", section.id) not in found:
            mark = verdicts.mark(section)
            todo[f"{section.id}, {len(left)} mutants"] = verdicts.trials.trial(
                section, left, verdicts.log(section), mark
            )
    _run(workers, todo)


def _others(verdicts: Verdicts, workers: Executor, wanted: dict[Section, list[Mutant]]) -> None:
    """Survivors among the exported definitions on the notebooks that use them."""
    trials = verdicts.trials
    left: list[tuple[Section, Mutant, Section]] = []
    for section, mutants in wanted.items():
        found = verdicts.of(section)
        for mutant in mutants:
            if mutant.exports and not noticed(found, mutant):
                users = [u for u in trials.users(mutant) if (mutant.id, u.id) not in found]
                left += [(section, mutant, user) for user in users]
    missing = {user for _, _, user in left if ("", user.id) not in verdicts.of(user)}
    _own(verdicts, workers, {user: [] for user in missing})  # they have to be green
    todo = {}
    for section, mutant, user in left:
        if not _unchanged(verdicts, user).killed:
            mark = verdicts.mark(section, user, mutant.id)
            todo[f"{section.id}:{mutant.line} in {user.id}"] = trials.trial(
                user, [], verdicts.log(section), mark, trials.package(mutant)
            )
    _run(workers, todo)


def noticed(found: dict[tuple[str, str], Verdict], mutant: Mutant) -> list[Verdict]:
    """The verdicts that kill a mutant."""
    return [v for (number, _), v in found.items() if number == mutant.id and v.killed]


def reason(mutant: Mutant, known: list[Equivalent]) -> str:
    """Why a mutant is marked as equivalent; empty if it is not."""
    marked = (e for e in known if e.section == mutant.section)
    return next(
        (e.reason for e in marked if (_bare(e.old), _bare(e.new)) == (mutant.old, mutant.new)), ""
    )


def _bare(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _row(
    verdicts: Verdicts, section: Section, mutants: list[Mutant], known: list[Equivalent]
) -> tuple[Row, list[str]]:
    """The score of a section, and lines that show what survived; all goes to build/mutants too."""
    row, lines, report = Row(section.id), [], []
    found = verdicts.of(section)
    for mutant in mutants:
        why, killers = reason(mutant, known), noticed(found, mutant)
        tried = [notebook for number, notebook in found if number == mutant.id]
        status = "equivalent" if why else "killed" if killers else "survived"
        if not why and (mutant.id, section.id) not in found:
            status = "open"
        row.tried += status != "open"
        row.equivalent += status == "equivalent"
        row.killed += status == "killed"
        row.survived += status == "survived"
        described = {k: v for k, v in asdict(mutant).items() if k not in ("source", "before")}
        report.append(
            described
            | {"id": mutant.id, "status": status, "reason": why, "tried": tried}
            | {"killers": [asdict(v) for v in killers]}
        )
        if status in ("survived", "open"):
            others = ", ".join(n for n in tried if n != section.id)
            place = f"{section.name}:{mutant.line} [{mutant.operator}]"
            lines.append(f"{status}: {place}{', also in ' + others if others else ''}")
            lines += [f"    - {text}" for text in mutant.old.splitlines()]
            lines += [f"    + {text}" for text in mutant.new.splitlines()]
    text = json.dumps(asdict(row) | {"mutants": report}, indent=1, ensure_ascii=False)
    write_text(verdicts.folder / f"{section.id}.json", text + "\n")
    return row, lines


def table(rows: list[Row]) -> list[str]:
    """Lines of a table of scores with the total."""
    heads = ("section", "tried", "killed", "equivalent", "survived", "score")
    lines = [f"{heads[0]:<8}" + "".join(f"{head:>11}" for head in heads[1:])]
    for row in [*rows, sum(rows, Row("total"))]:
        shown = "-" if row.score is None else f"{row.score:.2f}"
        cells = (row.tried, row.killed, row.equivalent, row.survived, shown)
        lines.append(f"{row.section:<8}" + "".join(f"{cell:>11}" for cell in cells))
    return lines


def recorded(root: Path) -> list[Row]:
    """The scores of tests/mutation.json."""
    path = root / SCORES
    scores = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    names = ("tried", "killed", "equivalent", "survived")
    return [Row(section, *(entry[n] for n in names)) for section, entry in scores.items()]


def _record(book: Book, rows: list[Row], seed: object) -> None:
    """Bring tests/mutation.json up to these scores."""
    path = book.root / SCORES
    scores = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    when = {"date": date.today().isoformat(), "seed": int(s) if (s := str(seed)).isdigit() else s}
    for row in rows:
        scores[row.section] = when | {k: v for k, v in asdict(row).items() if k != "section"}
    order = [s.id for s in book.planned]
    kept = {k: scores[k] for k in sorted(scores, key=order.index)}
    write_text(path, json.dumps(kept, indent=1) + "\n")
