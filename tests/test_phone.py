"""On a phone nothing is cut without a sign; a reader's marks stay in the browser; long verbs say what they do."""

import io
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, MiniBook
from playwright.sync_api import expect
from small_site import AXE, fill, tab_in, text_output, until

from bookbuild import progress, site
from bookbuild.site.sphinx_run import _follow

expect.set_options(timeout=30_000)  # a busy machine takes its time

SECTIONS = 3
MATRIX = r"\begin{bmatrix}" + "&".join(f"a_{{{i}}}" for i in range(30)) + r"\end{bmatrix}"
FORMULAS = {
    "1.1.1": r"y = w x + b",
    "1.1.2": r"L(w, b) = \frac1n\sum_{i=1}^n l_i(w, b) = \frac1n\sum_{i=1}^n\left(y_i - b\right)^2 + r + s",
    "1.1.3": r"u = a + b + c + d + e + f + g,\qquad\text{so}\qquad v = a - b - c - d - e - f - g",
    "1.1.4": " + ".join(f"a_{{{i}}}" for i in range(40)),
    "1.1.5": MATRIX,
    "1.1.7": r"p(x) = a + b + c + d + e + f + g + h + i + j + k + l + m + n + o + p + qrst",
}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with formulas of every width, wide code, a wide table, a folded cell and a solution."""
    root = tmp_path_factory.mktemp("phone") / "root"
    mini = MiniBook(root)
    shown = "\n\n".join(f"$$\n{tex} \\tag{{{n}}}\n$$" for n, tex in FORMULAS.items())
    row = " | ".join(f"column {i}" for i in range(12))
    mini.add(
        "wide",
        f"markdown\nFormulas.\n\n{shown}\n\n| {row} |\n|{'---|' * 12}\n| {row} |",
        "print_wide = 1  # " + "wide " * 12,
        'tags=["hide-input"]\nhidden = 1',
        "markdown\n## Exercises",
        "markdown\n### Exercise 1.1-1\n\nWhat?",
        f"markdown\n#### Solution 1.1-1\n\n$$\n{FORMULAS['1.1.4']} \\tag{{1.1.6}}\n$$",
    )
    mini.add("second", "x = 1")
    mini.add("third", "markdown\nWords.")
    book = mini.book
    executed = {"1.1": fill(book.sections[0], {"print_wide": [text_output("wide " * 60 + "\n")]})}
    assert site.build(book, executed, {}, root / "html") == []
    return root / "html"


# -- formulas and other wide things -----------------------------------------------------------------------------------

LOOK = """() => Object.fromEntries([...document.querySelectorAll('div.math.block')].map((block) => {
  const box = block.querySelector('.katex-display'), number = box.querySelector('.katex-tag').getBoundingClientRect();
  const pieces = [...box.querySelectorAll('.katex-base')].map((piece) => piece.getBoundingClientRect());
  const edge = box.getBoundingClientRect();
  return [block.id, {
    size: parseFloat(getComputedStyle(box.querySelector('.katex')).fontSize),
    lines: new Set(pieces.map((piece) => Math.round(piece.bottom / 12))).size,
    scrolls: box.scrollWidth > box.clientWidth + 1, focus: box.tabIndex === 0,
    shadow: getComputedStyle(box).backgroundAttachment,
    below: number.top >= Math.max(...pieces.map((piece) => piece.bottom)) - 4,
    meets: pieces.some((p) => p.right > number.left + 1 && p.left < number.right - 1 && p.bottom > number.top + 2 && p.top < number.bottom - 2),
    close: box.dataset.number === 'close',
    whole: number.left >= edge.left - 1 && number.right <= edge.right + 1,
  }];
}))"""


def formulas(browser: Any, out: Path, width: int, script: bool = True) -> dict[str, dict[str, Any]]:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=script
    )
    page = context.new_page()
    page.goto((out / "01-start/01-wide.html").as_uri())
    if script:
        page.evaluate("document.querySelector('details.solution').open = true")
        page.evaluate("document.fonts.ready")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
    return {name.removeprefix("equation-"): look for name, look in page.evaluate(LOOK).items()}


@pytest.mark.parametrize("width", [320, 390, 1000, 1280])
def test_formulas_fit_or_show_that_they_scroll(out: Path, browser: Any, width: int) -> None:
    found = formulas(browser, out, width)
    assert len(found) == len(FORMULAS) + 1
    if width == 1280:
        assert found["1-1-7"]["close"], "there is just room for the number"
    for number, look in found.items():
        assert not look["meets"], f"{number} runs into its number"
        assert look["whole"], f"the number of {number} is out of sight"
        assert look["scrolls"] == (number == "1-1-5"), number
        assert look["focus"] == look["scrolls"], f"{number} can be scrolled by keyboard"
    assert found["1-1-5"]["shadow"] == "local, local, scroll, scroll"
    size = found["1-1-1"]["size"]
    assert found["1-1-1"]["lines"] == 1 and not found["1-1-1"]["below"], "a short one is as ever"
    if width == 390:
        assert 0.78 * size - 0.1 < found["1-1-2"]["size"] < size and found["1-1-2"]["below"]
        assert found["1-1-3"]["size"] == size and found["1-1-4"]["size"] == size
        assert found["1-1-4"]["lines"] > 3 and found["1-1-6"]["lines"] > 3
        assert found["1-1-5"]["size"] == pytest.approx(0.78 * size, abs=0.1)
    if width == 1280:
        assert found["1-1-2"]["size"] == size and not found["1-1-2"]["below"]


def test_formulas_are_broken_between_statements(out: Path, browser: Any) -> None:
    """Where a line has to end, it ends at a wide space before it ends at a relation."""
    page = tab_in(browser, width=390).open(out / "01-start/01-wide.html")
    clauses = page.locator("[id='equation-1-1-3'] .katex-clause")
    assert clauses.all_inner_texts()[1] == "so" and clauses.count() == 3
    tops = [clause.bounding_box() for clause in clauses.all()]
    assert tops[0]["y"] < tops[2]["y"], "the second statement begins a line"
    assert all(box["height"] < 40 for box in tops), "and neither is broken itself"
    assert "allowbreak" not in page.locator("[id='equation-1-1-3'] annotation").text_content()


def test_formulas_are_in_reach_without_javascript(out: Path, browser: Any) -> None:
    for number, look in formulas(browser, out, 390, script=False).items():
        if number != "1-1-6":  # folded
            assert not look["meets"] and look["whole"], number
            assert not look["scrolls"] or look["shadow"] == "local, local, scroll, scroll"


def test_formulas_fit_again_when_the_window_changes(out: Path, browser: Any) -> None:
    page = tab_in(browser, width=390).open(out / "01-start/01-wide.html")
    smaller = "document.querySelector('[id=\"equation-1-1-2\"] .katex-display').style.getPropertyValue('--fit')"
    until(page, f"!!{smaller}")
    page.set_viewport_size({"width": 1280, "height": 900})
    until(page, f"{smaller} === ''")


def test_paper_has_formulas_as_before(out: Path, browser: Any) -> None:
    """What a screen needed does not show in print: full size, one line, the number beside."""
    page = tab_in(browser, width=390).open(out / "01-start/01-wide.html")
    until(page, "!!document.querySelector('[data-fit=broken]')")
    page.emulate_media(media="print")
    sizes = page.evaluate(
        "[...document.querySelectorAll('.katex-display > .katex')].map((e) => getComputedStyle(e).fontSize)"
    )
    assert len(set(sizes)) == 1
    tag = "getComputedStyle(document.querySelector('.katex-tag')).position"
    assert page.evaluate(tag) == "absolute"


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_wide_code_and_tables_show_that_they_scroll(out: Path, browser: Any, mode: str) -> None:
    """The edge behind which there is more is darker; scrolled to the end, the other edge is."""
    page = tab_in(browser, mode, 390).open(out / "01-start/01-wide.html")
    for selector in (
        "div.cell_input pre",
        ".cell_output pre",
        ".pst-scrollable-table-container, .table-wrap",
    ):
        box = page.locator(selector).first
        assert box.evaluate("e => e.scrollWidth > e.clientWidth"), selector
        for place, left, right in ((0, False, True), (10_000, True, False)):
            box.evaluate(f"e => {{ e.scrollLeft = {place}; e.style.color = 'transparent'; }}")
            box.evaluate(
                "e => e.querySelectorAll('*').forEach((i) => i.style.color = 'transparent')"
            )
            assert edges(box) == (left, right), (selector, place)


def edges(box: Any) -> tuple[bool, bool]:
    """Whether the left and the right edge of a box have a shadow."""
    import io

    from PIL import Image

    box.scroll_into_view_if_needed()
    picture = Image.open(io.BytesIO(box.screenshot())).convert("L")
    y = picture.height - 3
    inside = picture.getpixel((picture.width // 2, y))
    left, right = picture.getpixel((5, y)), picture.getpixel((picture.width - 3, y))
    return inside - left > 5, inside - right > 5


# -- order and landmarks ----------------------------------------------------------------------------------------------


def test_the_skip_link_leads_to_the_text(out: Path, browser: Any) -> None:
    """After it, Tab goes to the first link of the article, not to the buttons above it."""
    page = tab_in(browser).open(out / "01-start/01-wide.html")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("Boolean(document.activeElement.closest('article'))")


@pytest.mark.parametrize(("mode", "width"), [("light", 390), ("dark", 1280)])
def test_axe_finds_nothing_at_all(out: Path, browser: Any, mode: str, width: int) -> None:
    """All rules, those of best practice too; with a section read, as that adds to every page."""
    faults = []
    tab = tab_in(browser, mode, width)
    tab.open(out / "01-start/02-second.html").get_by_role("button", name="Mark as read").click()
    for name in ("01-start/01-wide.html", "01-start/02-second.html", "index.html", "contents.html", "search.html"):  # fmt: skip
        page = tab.open(out / name)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        result = page.evaluate("axe.run({resultTypes: ['violations']})")
        faults += [f"{name}: {v['id']}: {v['nodes'][0]['html']}" for v in result["violations"]]
    assert faults == []


# -- what a reader has read -------------------------------------------------------------------------------------------


def kept(page: Any, path: Path) -> None:
    """Wait until other pages know a mark: another process of the browser reads it a little later."""
    for _ in range(100):
        other = page.context.new_page()
        other.goto(path.as_uri())
        known = other.locator(".book-read button").inner_text() == "Mark as unread"
        other.close()
        if known:
            page.wait_for_timeout(1000)  # and so do the processes that had looked before
            return
        page.wait_for_timeout(100)
    pytest.fail(f"the mark of {path.name} was not kept")


def mark(tab: Any, path: Path) -> None:
    page = tab.open(path)
    page.locator(".book-read button").click()
    kept(page, path)


def test_a_mark_is_kept_and_shown(out: Path, browser: Any) -> None:
    tab = tab_in(browser)
    page = tab.open(out / "01-start/01-wide.html")
    assert page.evaluate("Object.keys(localStorage).filter((k) => k.startsWith('read'))") == []
    button = page.get_by_role("button", name="Mark as read")
    button.focus()
    page.keyboard.press("Enter")
    status = page.locator(".book-read [role=status]")
    assert re.fullmatch(r"Read on \d+ \w+ \d{4}\. 1 of 3 sections read\.", status.inner_text())
    assert page.evaluate("Object.keys(localStorage).filter((k) => k.startsWith('read'))") == [
        "read: Small book"
    ]
    kept(page, out / "01-start/01-wide.html")
    page.reload()
    expect(page.get_by_role("button", name="Mark as unread")).to_be_visible()
    menu = page.get_by_role("navigation", name="Book")
    here = menu.locator("a[aria-current]").text_content()
    expect(menu.locator("a.read")).to_have_text([here or ""])
    page = tab.open(out / "01-start/02-second.html")
    expect(page.get_by_role("link", name="1.1 wide (read)")).to_be_visible()
    expect(page.get_by_role("button", name="Mark as read")).to_be_visible()
    page = tab.open(out / "contents.html")
    expect(page.locator("article li.read")).to_have_text(["1.1 wide (read)"])
    expect(page.get_by_role("main").get_by_text("1 of 3 sections read.")).to_be_visible()
    page = tab.open(out / "index.html")
    expect(page.locator(".start .read-count")).to_have_text("1 of 3 sections read")
    page.get_by_role("link", name="Continue with 1.2 second").click()
    page.wait_for_url((out / "01-start/02-second.html").as_uri())
    page = tab.open(out / "01-start/01-wide.html")
    page.get_by_role("button", name="Mark as unread").click()
    expect(page.locator("a.read")).to_have_count(0)
    page = tab.open(out / "index.html")
    expect(page.locator(".start .button")).to_have_text("Start with Chapter 1, start")
    assert tab.outside == [] and tab.errors == []


def test_the_next_section_follows_the_last_mark(out: Path, browser: Any) -> None:
    tab = tab_in(browser)
    order = [("03-third", "1.1 wide"), ("01-wide", "1.2 second"), ("02-second", None)]
    for name, then in order:
        mark(tab, out / f"01-start/{name}.html")
        button = tab.open(out / "index.html").locator(".start .button")
        words = f"Continue with {then}" if then else "Start with Chapter 1, start"
        expect(button).to_have_text(words)


def test_marks_can_be_forgotten(out: Path, browser: Any) -> None:
    tab = tab_in(browser)
    page = tab.open(out / "contents.html")
    forget = page.get_by_role("button", name="Forget my progress")
    assert not forget.is_visible(), "nothing to forget"
    mark(tab, out / "01-start/01-wide.html")
    page = tab.open(out / "contents.html")
    page.once("dialog", lambda dialog: dialog.dismiss())
    forget.click()
    expect(page.locator("article li.read")).to_have_count(1)  # asked, and not meant
    page.once("dialog", lambda dialog: dialog.accept())
    forget.click()
    assert page.locator(".read").count() == 0 and not forget.is_visible()
    assert page.evaluate("Object.keys(localStorage).filter((k) => k.startsWith('read'))") == []


@pytest.mark.parametrize(
    "refusal",
    [
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }",
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } })",
        "localStorage.setItem('read: Small book', '{\"01-start/')",
        "localStorage.setItem('read: Small book', '[3, null]')",
        "localStorage.setItem('read: Small book', JSON.stringify({'01-start/02-second': 5, '09-gone': '2026-01-01'}))",
    ],
)
def test_a_refused_or_spoilt_storage_breaks_nothing(out: Path, browser: Any, refusal: str) -> None:
    tab = tab_in(browser)
    tab.page.add_init_script(refusal)
    page = tab.open(out / "01-start/01-wide.html")
    page.get_by_role("button", name="Mark as read").click()
    text = page.locator(".book-read [role=status]").inner_text()
    kept = "localStorage.setItem" in refusal
    assert text.endswith("1 of 3 sections read." if kept else "until you leave it."), text
    assert page.locator(".book-nav a.read").count() == 1
    page.get_by_role("button", name="Mark as unread").click()
    assert page.locator(".book-nav a.read").count() == 0
    assert not [error for error in tab.errors if "reading.js" in error]


@pytest.mark.parametrize("width", [390, 1280])
def test_marks_move_nothing(out: Path, browser: Any, width: int) -> None:
    """Neither a page that opens with marks nor a click shifts what stands on it."""
    tab = tab_in(browser, width=width)
    mark(tab, out / "01-start/01-wide.html")
    tab.page.add_init_script(
        "window.shifts = []; new PerformanceObserver((l) => l.getEntries().forEach((e) => shifts.push(e.value)))"
        ".observe({type: 'layout-shift', buffered: true});"
    )
    for name in ("index.html", "contents.html", "01-start/02-second.html"):
        moved = []
        for _ in range(3):  # a font that comes late moves things too, but not each time
            page = tab.open(out / name)
            page.wait_for_timeout(200)
            moved.append(sum(page.evaluate("shifts")))
        assert min(moved) < 0.01, (name, moved)
    before = page.locator(".prev-next-area").bounding_box()
    page.locator(".book-read button").click()
    assert page.locator(".prev-next-area").bounding_box() == before


def test_without_javascript_there_is_nothing_to_mark(out: Path, browser: Any) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((out / "01-start/01-wide.html").as_uri())
    assert not page.locator(".book-read").is_visible()
    page.goto((out / "contents.html").as_uri())
    assert not page.locator(".read-contents").is_visible()


# -- the progress of long verbs ---------------------------------------------------------------------------------------

VERB = [sys.executable, "-m", "bookbuild"]


@pytest.fixture
def slow(mini: MiniBook) -> MiniBook:
    """Two notebooks: one fails, and the other ends some time after that."""
    wait = (
        "end = time.time() + 60\n"
        "while not Path('../../build/failed/1.2.ipynb').exists() and time.time() < end:\n"
        "    time.sleep(0.1)\n"
        "time.sleep(2)"
    )
    check = "print(1)\n# check 1.1-C1\nassert 1 < 2"
    mini.add("good", "import time\nfrom pathlib import Path", wait, check)
    mini.add("bad", "print(0)", "raise ValueError('no such thing')")
    return mini


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "BOOK_WORKERS": "2", "TERM": "xterm"}


def logged(mini: MiniBook, *words: str) -> str:
    """What a verb prints into a log."""
    command = [*VERB, "--root", str(mini.root), *words]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    return done.stdout + done.stderr


def on_terminal(mini: MiniBook, *words: str) -> str:
    """What a verb shows on a terminal, with the signs that move its cursor."""
    pty = pytest.importorskip("pty", reason="no terminals of this kind on this system")
    control, end = pty.openpty()
    process = subprocess.Popen(
        [*VERB, "--root", str(mini.root), *words],
        env=environment() | {"COLUMNS": "120"}, stdin=end, stdout=end, stderr=end,
    )  # fmt: skip
    os.close(end)
    shown, limit = b"", time.monotonic() + 300
    while time.monotonic() < limit:
        ready, _, _ = select.select([control], [], [], 1)
        try:
            shown += os.read(control, 65536) if ready else b""
        except OSError:  # the other end is closed
            break
    assert process.wait(60) in (0, 1)
    os.close(control)
    return shown.decode()


def test_a_log_has_a_line_for_each_phase_and_notebook(slow: MiniBook) -> None:
    text = logged(slow, "check")
    assert "\x1b" not in text and "\r" not in text
    lines = text.splitlines()
    assert lines[0] == "check: form and what is stale"
    assert lines[1] == "run: looking for what is out of date in 2 notebooks"
    assert sum(line.startswith(("[1/2]", "[2/2]")) for line in lines) == 2
    assert any(re.match(r"\[\d/2\] FAILED 1\.2 bad", line) for line in lines)
    assert "no such thing" in text and "failed: 1.2" in text
    slow.root.joinpath("book/01-start/02-bad.py").unlink()
    slow.names.pop("1.2")
    slow._plan()
    text = logged(slow, "accept")
    assert "accept: storing the outputs of 1 notebooks" in text and text.count("stored book") == 1
    assert "check: comparing 1 notebooks with their stored outputs" in logged(slow, "check")
    lines = logged(slow, "build").splitlines()
    assert lines[0] == "pair: bringing notebooks up to their sources"
    phases = [
        line for line in lines if re.fullmatch("site: [a-z0-9 ]+", line)
    ]  # not how long they last
    assert phases[:4] == [
        "site: preparing 1 sections",
        "site: making the pages",
        "site: checking links",
        "site: publishing",
    ]


def test_a_terminal_shows_what_runs_what_is_left_and_what_failed(slow: MiniBook) -> None:
    shown = on_terminal(slow, "run")
    assert "\x1b" in shown, "a live block"
    assert re.search(r"1\.1 good, \d+ s", shown) and "0 of 2 done, running" in shown
    assert "failed last: 1.2, " in shown and "no such thing" in shown
    assert "1 of 2 done, 1 failed, running 1.1" in shown
    shown = on_terminal(slow, "build")
    assert "site: making the pages, " in shown and "site: publishing, " in shown, shown


def test_the_steps_of_sphinx_are_told_and_the_rest_is_logged() -> None:
    printed = (
        "loading translations [en]... done\n"
        "reading sources... [ 50%] 01-start/01-good\n"
        "reading sources... [100%] index\n"
        "pickling environment... done\n"
        "writing output... [ 33%] index \n"
    )
    told, log = list[str](), io.StringIO()

    class Told(progress.Phase):
        def step(self, where: str) -> None:
            super().step(where)
            told.append(self.line())

    _follow(io.StringIO(printed), log, Told("site: making the pages"))
    assert told == [
        "site: making the pages, reading sources, 50 % (01-start/01-good), 0 s",
        "site: making the pages, reading sources, 100 % (index), 0 s",
        "site: making the pages, writing output, 33 % (index), 0 s",
    ]
    assert log.getvalue() == "loading translations [en]... done\npickling environment... done\n"


def test_the_rest_is_estimated_from_the_last_records(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    titles = {name: f"section {name}" for name in ("1.1", "1.2", "1.3", "1.4")}
    shown = progress.Notebooks(titles, {"1.1": 100.0, "1.2": 40.0, "1.3": 20.0}, 2)
    assert shown.remaining() == (100 + 40 + 20 + 40) / 2  # one without a record is a middling one
    shown.started("1.1"), shown.started("1.2")
    now[0] += 30
    assert shown.remaining() == (70 + 10 + 20 + 40) / 2
    assert shown.lines() == [
        "1.1 section 1.1, 30 s of about 2 min",
        "1.2 section 1.2, 30 s of about 40 s",
        "0 of 4 done, running 1.1, 1.2, 2 to go, 30 s elapsed, about 70 s left",
    ]
    shown.finished("1.2", "FAILED 1.2", "NameError: x\nmore")
    assert shown.lines()[1:] == [
        "failed last: 1.2, NameError: x",
        "1 of 4 done, 1 failed, running 1.1, 2 to go, 30 s elapsed, about 70 s left",
    ]
    assert progress.Notebooks(titles, {}, 2).remaining() is None


def test_a_log_is_never_silent_for_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A phase that says nothing is told of at each beat, with how far it is."""
    monkeypatch.setattr(progress, "BEAT", 0.2)
    assert progress.BEAT < 60
    with progress.phase("site: making the pages") as phase:
        phase.step("reading sources, 7 %")
        limit = time.monotonic() + 30
        text = ""
        while "7 %" not in text and time.monotonic() < limit:
            time.sleep(0.05)
            text += capsys.readouterr().out
    assert text.splitlines()[:2] == [
        "site: making the pages",
        "site: making the pages, reading sources, 7 %, 0 s",
    ]
