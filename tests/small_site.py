"""A small book with one of everything, its site, and a page of the browser: what tests of the site share."""

import copy
import io
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import MiniBook
from nbformat import NotebookNode
from nbformat.v4 import new_output

from bookbuild import site
from bookbuild.book import Book, Section
from bookbuild.record import Run, Used
from d2l_helpers.plotting import FIGURE_MIME, figure_data, heatmap, plot, sliders

AXE = site.WEB / "node_modules" / "axe-core" / "axe.min.js"


def figure_output(ax: Any, alt: str) -> NotebookNode:
    """What Jupyter stores for a figure."""
    import base64

    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=200)
    image = base64.b64encode(buffer.getvalue()).decode()
    return new_output(
        "display_data", data={FIGURE_MIME: figure_data(ax.figure), "image/png": image, "text/plain": "<Figure>"},
        metadata={"image/png": {"width": 500, "height": 300, **({"alt": alt} if alt else {})}})  # fmt: skip


def slider_output() -> NotebookNode:
    data, metadata = sliders(
        lambda fig, slope: fig.subplots().plot([0, 1], [0, slope]),
        "A line through the origin.",
        slope=[1.0, 2.0, 3.0],
    )._repr_mimebundle_()
    return new_output("display_data", data=data, metadata=metadata)


def text_output(text: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=text)


TABLE = '<table border="1" class="dataframe"><thead><tr><th></th><th>rooms</th></tr></thead><tbody><tr><th>0</th><td>3</td></tr></tbody></table>'
DIAGRAM = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 60" width="200" height="60"><rect width="200" height="60" fill="#fff"/><text x="20" y="35">net</text></svg>'


def fill(section: Section, outputs: dict[str, list[NotebookNode]]) -> NotebookNode:
    """The notebook of a section with outputs for the cells that contain a word."""
    notebook = copy.deepcopy(section.notebook)
    for cell in notebook.cells:
        for word, given in outputs.items():
            if cell.cell_type == "code" and word in cell.source:
                cell["outputs"] = given
    return notebook


def full_book(root: Path) -> tuple[Book, dict[str, NotebookNode], dict[str, Run]]:
    mini = MiniBook(root)
    first = mini.add(
        "lines",
        "markdown\nOf perpendiculars and slopes. The model is\n\n$$\nf(x) = w x + b \\tag{1.1.1}\n$$\n\nwith $w$ from (1.1.1); see Figure 1.1.1 and Exercise 1.1-1, `(9.9.9)` is code.",
        'tags=["parameters"]\nepochs = 3',
        'tags=["export"]\ndef line(x):\n    return x  # ' + "long comment " * 5,
        "draw_lines = 1",
        "markdown\n**Figure 1.1.1.** A line.",
        "draw_heat = 1  # a @ b is a comment",
        "markdown\n**Figure 1.1.2.** A matrix.\n\n![A net.](img/net.svg)\n\n**Figure 1.1.3.** A net.",
        "show_table = 1",
        "print_wide = 1",
        "markdown\n## Exercises",
        "markdown\n### Exercise 1.1-1\n\nWhat is $w$?",
        "markdown\n#### Solution 1.1-1\n\nIt is **hidden wisdom**, from (1.1.1).",
        "answer = 42",
        "markdown\n## Sources\n\n- [torch](https://pytorch.org): a library.",
    )
    (first.parent / "img").mkdir()
    (first.parent / "img" / "net.svg").write_text(DIAGRAM)
    mini.add(
        "sliders",
        "markdown\nSee [lines](01-lines.ipynb) and (1.1.1).\n\n$$\n"
        + "a+" * 60
        + "b \\tag{1.2.1}\n$$",
        "slide = 1",
        "y = X.mT @ x",
        data="fashion-mnist",
    )
    (root / "book" / "01-start" / "03-words.md").write_text(
        "# 1.3 words\n\nSee [the sliders](02-sliders.ipynb) and Figure 1.1.2.\n\n## Penalties\n\nThe weight $\\lambda$.\n"
    )
    mini.names["1.3"], mini.names["1.4"] = "words", "later"
    mini._plan()
    book = mini.book
    lines, slide = book.sections[:2]
    executed = {
        "1.1": fill(lines, {
            "draw_lines": [figure_output(plot([0, 1], [0, 1], xlabel="x"), "A rising line.")],
            "draw_heat": [figure_output(heatmap([[1, 2], [3, 4]]), "Four squares.")],
            "show_table": [new_output("execute_result", data={"text/html": TABLE, "text/plain": "rooms"}, metadata={})],
            "print_wide": [text_output("wide " * 60 + "\n")], "answer": [text_output("forty-two\n")],
        }),
        "1.2": fill(slide, {"slide": [slider_output()]}),
    }  # fmt: skip
    runs = {
        "1.1": Run(
            "1.1", "cpu", "ok", seconds=3.2, peak_mb=600, device="mps", checks=("C1",),
            when="2026-01-02T03:04:05+00:00", versions={"torch": "2"}, compared=4,
            uncompared={"timing": 1},
        ),
        "1.2": Run(
            "1.2", "cpu", "ok", seconds=200, data=(Used("fashion-mnist", "standin"),),
            versions={"torch": "3"},
        ),
    }  # fmt: skip
    return book, executed, runs


@dataclass
class Built:
    book: Book
    executed: dict[str, NotebookNode]
    runs: dict[str, Run]
    out: Path
    problems: list[str]

    def page(self, name: str) -> str:
        return (self.out / name).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    root = tmp_path_factory.mktemp("site") / "root"
    book, executed, runs = full_book(root)
    (root / "tests").mkdir()
    (root / "tests" / "mutation.json").write_text(
        '{"1.1": {"date": "2026-11-28", "seed": 7, "tried": 5, "killed": 4, "equivalent": 1, "survived": 0}}'
    )
    problems = site.build(book, executed, runs, root / "html")
    return Built(book, executed, runs, root / "html", problems)


@dataclass
class Tab:
    """A page of the browser that lets no request leave the machine and records what went wrong."""

    page: Any
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def open(self, path: Path, fragment: str = "") -> Any:
        self.page.goto(path.as_uri() + fragment)
        return self.page


def tab_in(browser: Any, mode: str = "light", width: int = 1280) -> Tab:
    page = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=mode
    ).new_page()
    tab = Tab(page)

    def route(handler: Any) -> None:
        if handler.request.url.startswith(("file:", "data:", "blob:")):
            handler.continue_()
        else:
            tab.outside.append(handler.request.url)
            handler.abort()

    page.route("**/*", route)
    page.on(
        "console",
        lambda message: (
            tab.errors.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    page.on("pageerror", lambda error: tab.errors.append(str(error)))
    page.on(
        "requestfailed",
        lambda request: (
            tab.errors.append(f"failed: {request.url}")
            if request.failure != "net::ERR_ABORTED"  # the page was left before its icon came
            else None
        ),
    )
    return tab


def until(page: Any, condition: str, seconds: float = 30) -> None:
    """Wait for a condition in JavaScript; the browser's own wait is refused by the pages' policy (no `eval`)."""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never true: {condition}"
        page.wait_for_timeout(50)
