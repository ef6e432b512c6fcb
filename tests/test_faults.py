"""The check catches faults: each one of faults.toml, planted in a copy of the book, has to turn it red.

`python tests/test_faults.py` plants all of them (about ten minutes on two cores) and writes the table build/faults.md,
with the mutation scores of tests/mutation.json; `python tests/test_faults.py word` those whose name contains the word.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nbformat
import pytest

from bookbuild import pair
from bookbuild.mutants import CHECK_CELL
from bookbuild.mutate import check_name, recorded, table
from bookbuild.store import write_text

ROOT = Path(__file__).resolve().parent.parent
FAULTS: list[dict[str, Any]] = tomllib.loads(
    (ROOT / "tests" / "faults.toml").read_text(encoding="utf-8")
)["fault"]
WANTED = 0.93
PARTS = ("book", "d2l_helpers", "pyproject.toml")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_each_fault_can_be_planted(fault):
    assert (ROOT / fault["file"]).read_text(encoding="utf-8").count(fault["old"]) == 1
    assert fault["old"] != fault["new"]


def test_there_are_many_different_faults():
    assert len({fault["name"] for fault in FAULTS}) == len(FAULTS) >= 30


@pytest.mark.weekly
@pytest.mark.skipif(
    not os.environ.get("BOOK_WEEKLY"), reason="takes ten minutes; BOOK_WEEKLY=1 runs it"
)
def test_faults_turn_the_check_red():
    rows = plant_all(FAULTS)
    write_table(rows)
    missed = [name for name, caught, _ in rows if not caught]
    assert 1 - len(missed) / len(rows) >= WANTED, missed


def plant_all(faults: list[dict[str, Any]]) -> list[tuple[str, bool, str]]:
    """(name, caught, by what) for each fault; the unchanged copy has to be green first."""
    with tempfile.TemporaryDirectory() as folder:
        sections = sorted({s for fault in faults for s in fault["sections"]})
        green, text = check(copy_of_the_book(Path(folder) / "unchanged"), sections)
        assert green, f"the unchanged book is red, so red would prove nothing:\n{text}"
        with ThreadPoolExecutor(2) as pool:
            return list(
                pool.map(
                    lambda numbered: plant(numbered[1], Path(folder) / str(numbered[0])),
                    enumerate(faults),
                )
            )


def copy_of_the_book(target: Path) -> Path:
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(
                source,
                target / part,
                ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
            )
        else:
            shutil.copy2(source, target / part)
    return target


def plant(fault: dict[str, Any], target: Path) -> tuple[str, bool, str]:
    root = copy_of_the_book(target)
    path = root / fault["file"]
    path.write_text(
        path.read_text(encoding="utf-8").replace(fault["old"], fault["new"]), encoding="utf-8"
    )
    bookbuild(root, "pair")  # so that the generated files are not what the check finds fault with
    keep_outputs(path.with_suffix(".ipynb"), ROOT / Path(fault["file"]).with_suffix(".ipynb"))
    green, text = check(root, fault["sections"])
    shutil.rmtree(root)
    by = "" if green else caught_by(text, root)
    print(f"{'missed' if green else 'caught'}: {fault['name']} ({by})", flush=True)
    return fault["name"], not green, by


def keep_outputs(notebook: Path, before: Path) -> None:
    """Give the cell that was changed the outputs that it had: pairing drops them, and that alone would be red."""
    if not notebook.exists():  # a fault of the package
        return
    new, old = (nbformat.read(path, as_version=4) for path in (notebook, before))
    for cell, known in zip(new.cells, old.cells, strict=True):
        if cell.cell_type == "code":
            cell.outputs = known.outputs
    write_text(notebook, pair.text_of(new))


def check(root: Path, sections: list[str]) -> tuple[bool, str]:
    result = bookbuild(root, "check", *sections)
    return result.returncode == 0, result.stdout + result.stderr


def bookbuild(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "BOOK_WORKERS": "1",
        "PYTHONPATH": str(ROOT),
        "BOOK_STORE": str(root / "store"),
    }
    return subprocess.run(
        [sys.executable, "-m", "bookbuild", "--root", str(root), *words],
        capture_output=True,
        text=True,
        env=environment,
        cwd=root,
    )


def caught_by(text: str, root: Path) -> str:
    """The check cell whose assertion failed, else the cell that stopped, else the output that differs."""
    places = re.findall(r"error: (book/\S+?\.py):(\d+)", text)
    for name, line in places:
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        start = max((i for i in range(int(line)) if lines[i].startswith("# %%")), default=0)
        marks = [check_name(row) for row in lines[start : start + 3] if CHECK_CELL.match(row)]
        if marks:
            return marks[0]
    if places:
        kind = re.search(r"\b(\w+Error)\b", text)
        return f"{kind[1] if kind else 'a cell that stops'} at {places[0][0].rsplit('/', 1)[1]}:{places[0][1]}"
    different = re.search(r"(\S+\.ipynb).{0,40}?[Cc]ell (\d+)", text)
    return (
        f"stored output: {different[1].rsplit('/', 1)[-1]} cell {different[2]}"
        if different
        else text.strip().splitlines()[-1]
    )


def write_table(rows: list[tuple[str, bool, str]]) -> None:
    caught = sum(row[1] for row in rows)
    lines = [
        f"# Planted faults: {caught} of {len(rows)} caught",
        "",
        "| fault | caught by |",
        "| --- | --- |",
    ]
    lines += [f"| {name} | {by if found else '**nothing**'} |" for name, found, by in rows]
    scores = recorded(ROOT)
    if scores:
        lines += ["", "# Small changes by chance, by section", "", "```", *table(scores), "```"]
    path = ROOT / "build" / "faults.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{caught} of {len(rows)} caught; {path}")


if __name__ == "__main__":
    chosen = [fault for fault in FAULTS if all(word in fault["name"] for word in sys.argv[1:])]
    write_table(plant_all(chosen))
