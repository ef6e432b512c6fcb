"""A generated book of many small notebooks: a run without changes, after one change, and the site; cost of a notebook.

python -m benchmarks.scale [--count 1000] [--site]

Each size runs in a process of its own, so that its peak memory is its own. The notebooks are not executed one by one,
which would measure the start of a kernel a thousand times (see benchmarks/notebook.py): their outputs are put into the
store in the form in which a run leaves them, and are accepted as those of a run are.
"""

import argparse
import contextlib
import io
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nbformat

from .common import goal

ROOT = Path(__file__).resolve().parent.parent
HEADER = (
    (ROOT / "book" / "03-linear-regression" / "01-linear-regression.py")
    .read_text(encoding="utf-8")
    .split("# %% [markdown]")[0]
)
CHAPTER = 25  # sections in a chapter
BODY = """# %% [markdown]
# # {id} Section {n}
#
# A sentence about section {n}, with a formula $x^2 + y^2$ and a link to [the first one](../01-part/01-section.ipynb).

# %%
total = {n} + 1
print("the total of section {n} is", total)

# %%
# check {id}-C1: the sum
assert total == {n} + 1

# %% [markdown]
# $$\\mathbf{{y}} = \\mathbf{{W}}\\mathbf{{x}}. \\tag{{{id}.1}}$$
"""


def generate(root: Path, count: int) -> None:
    """A book of `count` sections in chapters of 25."""
    text = 'title = "Large book"\n'
    for first in range(0, count, CHAPTER):
        chapter = first // CHAPTER + 1
        folder = root / "book" / f"{chapter:02}-part"
        folder.mkdir(parents=True)
        rows = []
        for n in range(first, min(first + CHAPTER, count)):
            number = n - first + 1
            rows.append(
                f'  {{ id = "{chapter}.{number}", title = "Section {n}", file = "{number:02}-section", checks = 1, exercises = 0 }}'
            )
            (folder / f"{number:02}-section.py").write_text(
                HEADER + BODY.format(id=f"{chapter}.{number}", n=n)
            )
        text += (
            f'[[chapter]]\nnumber = {chapter}\ntitle = "Part {chapter}"\nfolder = "{folder.name}"\npart = "Basics"\nsections = [\n'
            + ",\n".join(rows)
            + "\n]\n"
        )
    (root / "book" / "contents.toml").write_text(text)
    (root / "pyproject.toml").write_text("[tool.bookbuild]\n")
    shutil.copytree(
        ROOT / "d2l_helpers",
        root / "d2l_helpers",
        ignore=shutil.ignore_patterns("__pycache__", "chapters"),
    )
    (root / "d2l_helpers" / "chapters").mkdir()


def fill_store(root: Path) -> None:
    """What a run of all notebooks would have left."""
    from bookbuild import keys
    from bookbuild.book import Book
    from bookbuild.run import store_of

    book = Book(root)
    sources, store = keys.Sources(book.root), store_of(book)
    for section in book.notebooks:
        notebook = section.notebook
        n = int(section.title.split()[-1])
        for count, (_, cell) in enumerate(section.code_cells(), 1):
            cell["execution_count"] = count
            cell["outputs"] = (
                [nbformat.v4.new_output("stream", text=f"the total of section {n} is {n + 1}\n")]
                if "print" in cell.source
                else []
            )
        notebook.metadata["record"] = {
            "section": section.id,
            "status": "ok",
            "seconds": 1.0,
            "peak_mb": 60,
            "profile": "cpu",
            "device": "cpu",
            "checks": section.marked_checks,
        }
        store.put(keys.key(section, "cpu", "real", sources), notebook)


def measure(count: int, site: bool) -> dict[str, float]:
    """Seconds of each step for a book of this size, and the peak memory in MB; runs in a fresh process."""
    from bookbuild.cli import main

    result: dict[str, float] = {}

    def step(name: str, action: Callable[[], object]) -> None:
        begin = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = action()
        if status not in (None, 0):
            raise SystemExit(f"{name} failed:\n{said.getvalue()[-2000:]}")
        result[name] = time.perf_counter() - begin

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate(root, count)
        fill_store(root)
        verb = ["--root", str(root)]
        step("outputs taken over", lambda: main([*verb, "accept"]))
        step("nothing changed", lambda: main([*verb, "run"]))
        path = root / "book" / "01-part" / "02-section.py"
        path.write_text(
            path.read_text()
            .replace("total = 1 + 1", "total = 1 + 1 + 0")
            .replace("total == 1 + 1", "total == 2")
        )
        step("one file changed", lambda: main([*verb, "run"]))
        step("one file accepted", lambda: main([*verb, "accept", "1.2"]))
        result["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if site:
            step("site", lambda: main([*verb, "build"]))
            result["site MB"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--site", action="store_true", help="build the sites too (minutes)")
    parser.add_argument("--quick", action="store_true", help="a hundred notebooks")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.site)))
        return 0
    count = 100 if args.quick else args.count
    sizes, rows = [count // 4, count], []
    for size in sizes:
        command = [
            sys.executable,
            "-m",
            "benchmarks.scale",
            "--one",
            str(size),
            *(["--site"] if args.site else []),
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        if done.returncode:
            print(done.stdout[-3000:], done.stderr[-3000:])
            return 1
        rows.append(json.loads(done.stdout.splitlines()[-1]))
        print(
            f"{size} notebooks: "
            + ", ".join(
                f"{k} {v:.0f}" if "MB" in k else f"{k} {v:.1f} s ({v / size * 1e3:.1f} ms each)"
                for k, v in rows[-1].items()
            )
        )
    good, small, large = True, rows[0], rows[1]
    for name in [k for k in small if "MB" not in k and k != "one file changed"]:
        good &= goal(
            f"{name}: cost of a notebook, {sizes[1]} over {sizes[0]}",
            (large[name] / sizes[1]) / (small[name] / sizes[0]),
            1.5,
        )
    good &= goal(
        "memory for each further notebook",
        (large["MB"] - small["MB"]) / (sizes[1] - sizes[0]),
        0.5,
        " MB",
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
