"""pytest plugin on nbval: our comparator, and *replay* of an executed copy instead of a new run.

`pytest -p bookbuild.nbval_plugin --nbval FILE.ipynb` runs the notebook and compares every cell with
its stored outputs; with `--nbval-executed FOLDER` it compares the executed copy
`FOLDER/<path below the root>.ipynb`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import nbval.plugin as nb
import pytest

from . import compare, pair
from .book import Book, Section

SECTIONS = pytest.StashKey[dict[Path, dict[Path, Section]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("book")
    group.addoption(
        "--nbval-executed",
        metavar="FOLDER",
        help="compare the executed copies in FOLDER, run nothing",
    )
    group.addoption(
        "--nbval-accepted",
        metavar="FOLDER",
        help="compare with the outputs of the notebooks in FOLDER, where it has them",
    )
    group.addoption(
        "--book-root", metavar="FOLDER", help="root of the book (default: the working folder)"
    )


def _section(config: pytest.Config, path: Path) -> Section | None:
    root = Path(config.getoption("--book-root") or Path.cwd()).resolve()
    if not (root / "book" / "contents.toml").exists():
        return None
    known = config.stash.setdefault(SECTIONS, {})
    if root not in known:
        known[root] = {s.ipynb: s for s in Book(root).notebooks}
    return known[root].get(path.resolve())


class Cell(nb.IPyNbCell):  # type: ignore[misc]
    """A code cell, compared by `compare.differences`."""

    def compare_outputs(self, test: list[Any], ref: list[Any], skip_compare: Any = None) -> bool:
        self.comparison_traceback = compare.differences(
            ref, test, self.cell.metadata.get("tags", [])
        )
        return not self.comparison_traceback

    def where(self) -> str:
        """File, line and cell of this item, in the source where there is one."""
        section = self.parent.section
        index = self.parent.positions[self.cell_num]
        return section.where(index) if section else f"{self.path.name} (cell {index + 1})"

    def repr_failure(self, excinfo: Any) -> str:
        exc = excinfo.value
        if not isinstance(exc, nb.NbCellError):
            return f"{self.where()}: {exc}"
        detail = "\n    ".join(str(exc.inner_traceback or "").splitlines())
        return f"{self.where()}: {exc}\n    {detail}\n    in:\n" + "\n".join(
            "      | " + line for line in self.cell.source.splitlines()
        )


class ReplayCell(Cell):
    """Compared with the executed copy."""

    def setup(self) -> None:
        self.test_outputs = None

    def runtest(self) -> None:
        if self.options["skip"]:
            pytest.skip("tagged nbval-skip")
        cells = [c for c in self.parent.executed.cells if c.cell_type == "code"]
        if (
            len(cells) <= self.cell_num
            or cells[self.cell_num].source.rstrip() != self.cell.source.rstrip()
        ):
            self.raise_cell_error(
                "the stored notebook is stale: the cell that ran has another source; "
                "run `make pair`"
            )
        outputs = self.test_outputs = cells[self.cell_num].outputs
        errors = [o for o in outputs if o.output_type == "error"]
        if errors and not self.options["check_exception"]:
            self.raise_cell_error("the cell raised", "\n".join(errors[0].traceback))
        if self.options["check"] and not self.compare_outputs(outputs, self.cell.outputs):
            section = self.parent.section
            which = f" S={section.id}" if section else ""
            self.raise_cell_error(
                f"the outputs are not the stored ones; if these are right: make accept{which}",
                "\n".join(self.comparison_traceback),
            )


class NotVacuous(pytest.Item):
    """Fails for a notebook in which nothing is compared."""

    def runtest(self) -> None:
        compared, others = compare.coverage(self.parent.nb)  # type: ignore[union-attr]
        if not compared:
            why = "".join(f", {count} tagged {tag}" for tag, count in others.items())
            raise AssertionError(
                f"no cell has an output to compare{why}; run `make accept`, or let a cell show "
                "a result"
            )

    def repr_failure(self, excinfo: Any, style: Any = None) -> str:
        return f"{self.path.name}: {excinfo.value}"

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.path.name}::something is compared"


class File(nb.IPyNbFile):  # type: ignore[misc]
    """A notebook that runs again."""

    item: type[Cell] = Cell

    def collect(self) -> Iterator[pytest.Item]:
        self.section = _section(self.config, self.path)
        for item in super().collect():
            item.__class__ = (
                self.item
            )  # nbval makes the items itself and has no hook for their class
            yield item
        self.positions = [i for i, c in enumerate(self.nb.cells) if c.cell_type == "code"]
        yield NotVacuous.from_parent(self, name="something is compared")


class ReplayFile(File):
    """A notebook whose executed copy is compared."""

    item = ReplayCell

    def setup(self) -> None:
        root = Path(self.config.getoption("--book-root") or Path.cwd()).resolve()
        name = self.path.resolve().relative_to(root)
        copy = Path(self.config.getoption("--nbval-executed")) / name
        if not copy.exists():
            pytest.fail(
                f"{self.path.name}: there is no executed copy {copy}; run `make run` first",
                pytrace=False,
            )
        self.executed = nbformat.read(copy, as_version=4)
        accepted = Path(self.config.getoption("--nbval-accepted") or "-") / name
        if accepted.exists():
            for index in self.positions:
                self.nb.cells[index]["outputs"] = []
            pair.take_outputs(self.nb, nbformat.read(accepted, as_version=4))

    def teardown(self) -> None:
        pass


@pytest.hookimpl(tryfirst=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> File | None:
    option = parent.config.option
    if not option.nbval or file_path.suffix != ".ipynb":
        return None
    kind = ReplayFile if option.nbval_executed else File
    return kind.from_parent(parent, path=file_path)  # type: ignore[no-any-return]


def pytest_configure(config: pytest.Config) -> None:
    """nbval's own collector would list every notebook a second time."""
    nbval = config.pluginmanager.get_plugin("nbval")
    if nbval is not None and config.option.nbval:
        config.pluginmanager.unregister(nbval)
