"""A generated book of many sections: a run without changes, after one change, and the site.

python -m benchmarks.scale [--count 200] [--site]

The sections are as long as those of the book: about 900 lines, 70 cells and 0.4 MB of outputs,
each with a definition that it exports and one that it imports. Each size runs in a process of its
own, so that its peak memory is its own; the run without changes is `python -m bookbuild run`,
measured with the start of the interpreter. The notebooks are not executed one by one, which would
measure the start of a kernel for each (see benchmarks/notebook.py): their outputs are put into the
store in the form in which a run leaves them, and are accepted as those of a run are.
"""

import argparse
import base64
import contextlib
import io
import json
import random
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
CHAPTER = 10  # sections in a chapter
PAIRS = 33  # of a cell of text and a cell of code
PICTURES, PICTURE_BYTES = 6, 50_000
TITLE = """# %% [markdown]
# # {id} Section {n}
#
# A sentence about section {n}, and a link to [the first one](../01-part1/01-section.ipynb).

# %%
import math

import d2l_helpers as d2l
from d2l_helpers.chapters.part1 import f_1_1_0

# %% tags=["export"]
def f_{name}(x):
    \"\"\"The square root of x, plus {n}.\"\"\"
    return math.sqrt(x) + {n}

# %%
total = {n} + 1
print("the total of section {n} is", total)

# %%
# check {id}-C1: the sum
assert total == {n} + 1
"""
TEXT = """
# %% [markdown]
# ## Part {k} of section {n}
#
# Some words about $x^2 + y_{{{k}}}$, and a link to [the first](../01-part1/01-section.ipynb).
# More words follow, a line for each sentence, as in the book; this one is longer than others.
# Equation ({id}.{k}) says what the code below computes.
#
# $$y_{{{k}}} = a_{{{k}}} x + b. \\tag{{{id}.{k}}}$$
#
# - The first of two points, which the text makes.
# - The second of two points, which the text makes as well.
"""
CODE = """
# %%
def compute_{k}(values, scale={k}):
    \"\"\"Sums of `values`, each with its square.\"\"\"
    rows = []
    for i, value in enumerate(values):
        if value > scale:
            rows.append((i, value, value ** 2))
        else:
            rows.append((i, value, f_1_1_0(abs(value))))
    return [sum(row) for row in rows]


values = [0.5 * i for i in range(10)]
result_{k} = compute_{k}(values)
print(f"{{len(result_{k})}} results of part {k}: {{result_{k}[0]:.3f}}")
assert len(result_{k}) == len(values)
"""


def section_text(number: str, n: int) -> str:
    """The source of a section."""
    parts = [HEADER + TITLE.format(id=number, n=n, name=f"{number.replace('.', '_')}_0")]
    for k in range(1, PAIRS + 1):
        parts += [TEXT.format(id=number, n=n, k=k), CODE.format(k=k)]
    text = "".join(parts)
    if number == "1.1":  # it exports what the others import
        text = text.replace("from d2l_helpers.chapters.part1 import f_1_1_0\n", "")
    return text


def generate(root: Path, count: int) -> None:
    """A book of `count` sections in chapters of ten."""
    text = 'title = "Large book"\n'
    for first in range(0, count, CHAPTER):
        chapter = first // CHAPTER + 1
        folder = root / "book" / f"{chapter:02}-part{chapter}"
        folder.mkdir(parents=True)
        rows = []
        for n in range(first, min(first + CHAPTER, count)):
            number = n - first + 1
            rows.append(
                f'  {{ id = "{chapter}.{number}", title = "Section {n}", '
                f'file = "{number:02}-section", checks = 1, exercises = 0 }}'
            )
            (folder / f"{number:02}-section.py").write_text(section_text(f"{chapter}.{number}", n))
        text += (
            f'[[chapter]]\nnumber = {chapter}\ntitle = "Part {chapter}"\n'
            f'folder = "{folder.name}"\npart = "Basics"\nsections = [\n'
            + ",\n".join(rows)
            + "\n]\n"
        )
    (root / "book" / "contents.toml").write_text(text)
    (root / "pyproject.toml").write_text(
        '[project]\nname = "d2l-helpers"\nversion = "0.1.0"\n[tool.bookbuild]\n'
    )
    shutil.copytree(
        ROOT / "d2l_helpers",
        root / "d2l_helpers",
        ignore=shutil.ignore_patterns("__pycache__", "chapters"),
    )
    (root / "d2l_helpers" / "chapters").mkdir()


def outputs_of(
    n: int, position: int, source: str, draw: random.Random
) -> list[nbformat.NotebookNode]:
    """What a cell would have shown: a line of text, and for some cells a picture."""
    outputs = []
    if "print" in source:
        outputs.append(nbformat.v4.new_output("stream", text=f"a result of section {n}\n"))
    if position % (PAIRS // PICTURES) == 5 and source.startswith("def compute"):
        data = base64.b64encode(draw.randbytes(PICTURE_BYTES)).decode()
        outputs.append(
            nbformat.v4.new_output(
                "display_data",
                data={"image/png": data, "text/plain": "<Figure>"},
                metadata={"image/png": {"alt": "a curve"}},
            )
        )
    return outputs


def fill_store(root: Path) -> None:
    """What a run of all notebooks would have left."""
    from bookbuild import export, keys
    from bookbuild.book import Book
    from bookbuild.record import Run
    from bookbuild.run import store_of

    book = Book(root)
    export.write(book)
    sources, store = keys.Sources(book.root), store_of(book)
    for section in book.notebooks:
        notebook, n = section.notebook, int(section.title.split()[-1])
        draw = random.Random(n)
        for count, (_, cell) in enumerate(section.code_cells(), 1):
            cell["execution_count"] = count
            cell["outputs"] = outputs_of(n, count, cell.source, draw)
        key = keys.key(section, "cpu", "real", sources)
        run = Run(
            section.id, "cpu", "ok", key, key, seconds=1.0, peak_mb=60, checks=("C1",), compared=1
        )
        notebook.metadata["run"] = run.to_json()
        store.put(key, notebook)


def cpu_seconds(root: Path, *verb: str) -> float:
    """CPU time, user and system, of `python -m bookbuild VERB` in a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "bookbuild", "--root", str(root), *verb]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or "nothing to do" not in done.stdout:
        raise SystemExit(f"{' '.join(verb)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(count: int, site: bool) -> dict[str, float]:
    """Seconds of each step for a book of this size, and the peak memory in MB."""
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
        result["CPU of a run without changes"] = cpu_seconds(root, "run")
        path = root / "book" / "01-part1" / "02-section.py"
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
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--site", action="store_true", help="build the sites too (minutes)")
    parser.add_argument("--quick", action="store_true", help="forty notebooks")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.site)))
        return 0
    count = 40 if args.quick else args.count
    sizes, rows = [count // 2, count], []
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
    idle = "CPU of a run without changes"
    ratio = large[idle] / small[idle]
    print(f"  {idle}: {large[idle]:.2f} s, {ratio:.2f} times that of half the sections")
    for name in [k for k in small if "MB" not in k and k != "one file changed"]:
        good &= goal(
            f"{name}: cost of a notebook, {sizes[1]} over {sizes[0]}",
            (large[name] / sizes[1]) / (small[name] / sizes[0]),
            1.5,
        )
    good &= goal(
        "memory for each further notebook",
        (large["MB"] - small["MB"]) / (sizes[1] - sizes[0]),
        6,
        " MB",
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
