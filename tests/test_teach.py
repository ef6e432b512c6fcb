"""What teachers take: assignments that nbgrader accepts, slides from the disk, the pages of teaching and licence."""

import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from conftest import ROOT, MiniBook
from small_site import AXE, full_book, tab_in, until

from bookbuild import keys, pair, site
from bookbuild.book import Book, BookError
from bookbuild.grammar import SLIDE_TAGS, TAGS
from bookbuild.record import Run
from bookbuild.site import licence, teaching
from bookbuild.site.hours import Hours, hours
from bookbuild.site.inputs import Inputs
from bookbuild.site.needs import Needs
from bookbuild.teach import assignments, exercises, write_slides
from bookbuild.teach.blocks import Reader, code_blocks
from bookbuild.teach.slides import Deck, Slide

BOOK = Book()


# -- assignments ------------------------------------------------------------------------------------------------------

GRADED = '''def double(x):
    """Twice x."""
    return 2 * x  # the secret

two = double(1)
assert two == 2'''


def exercise(code: str, task: str = "Write it.") -> exercises.Exercise:
    """An exercise whose solution is this code."""
    from bookbuild.book import Cell

    return exercises.Exercise("1.1-1", task, "Words.", [(0, Cell("code", code, (), 1))])


def test_a_machine_grades_what_it_can():
    answer, tests = exercises.graded(exercise(GRADED), ())
    assert answer.split("\n") == [
        "def double(x):", '    """Twice x."""', "    ### BEGIN SOLUTION", "    return 2 * x  # the secret", "    ### END SOLUTION",
    ]  # fmt: skip
    assert tests == "two = double(1)\nassert two == 2"
    methods = 'import math\n\nclass A:\n    """A."""\n    kind = 3\n\n    def f(self):\n        return math.pi\n\n    def g(self):\n        # why\n        return 2\n\ntorch.testing.assert_close(A().f(), 3)'
    answer, tests = exercises.graded(exercise(methods), ())
    assert answer.count("### BEGIN SOLUTION") == answer.count("### END SOLUTION") == 2
    assert answer.startswith("import math\n\nclass A:") and "    kind = 3\n" in answer
    compile(answer, "answer", "exec")
    named = exercise(GRADED.replace('    """Twice x."""\n', ""), "Write `double(x)`.")
    assert exercises.graded(named, ()) is not None


@pytest.mark.parametrize(
    ("code", "earlier"),
    [
        ("two = 2\nassert two == 2", ()),  # nothing to complete: names of the author's choice
        (GRADED.replace('    """Twice x."""\n', ""), ()),  # nobody can know what it should do
        (GRADED.replace("assert two == 2", "print(two)"), ()),  # nothing fails
        (GRADED.replace("double(1)", "1 + 1"), ()),  # the tests say nothing of it
        (GRADED.replace("2 * x", "two * x"), ()),  # it needs the rest of the solution
        (GRADED.replace("double(1)", "double(one)"), ("one",)),  # it needs an earlier solution
        (GRADED.replace("def double", "@cache\ndef double"), ()),
        (GRADED + "\n%time two", ()),
        ('def double(x): "Twice."; return 2 * x\nassert double(1) == 2', ()),
    ],
)
def test_the_rest_is_for_a_person(code, earlier):
    assert exercises.graded(exercise(GRADED), ()) is not None
    assert exercises.graded(exercise(code), earlier) is None


def assigned(number: str) -> Any:
    (section,) = BOOK.select([number])
    return section, assignments.assignment(BOOK, section)


def wrong_marks(notebook: Any) -> list[str]:
    """What version 3 of nbgrader's schema forbids; its own validator finds the same."""
    found, ids = [], set()
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader")
        solution = "BEGIN SOLUTION" in cell.source
        tests = "BEGIN HIDDEN TESTS" in cell.source
        for word in ("SOLUTION", "HIDDEN TESTS"):
            if cell.source.count(f"### BEGIN {word}\n") != cell.source.count(f"### END {word}"):
                found.append(f"unbalanced {word}")
        if marks is None:
            found += ["a mark in a cell without metadata"] * (solution or tests)
            continue
        flags = {"grade", "solution", "locked", "task"}
        if {k for k, v in marks.items() if isinstance(v, bool)} != flags or marks["task"]:
            found.append(f"flags {marks}")
        if marks["schema_version"] != 3 or not re.fullmatch(r"[\w-]+", marks["grade_id"]):
            found.append(f"id {marks}")
        if marks["grade_id"] in ids:
            found.append(f"twice {marks['grade_id']}")
        ids.add(marks["grade_id"])
        if marks["grade"] != ("points" in marks):
            found.append(f"points {marks}")
        if cell.cell_type == "markdown" and not (marks["grade"] and marks["solution"]):
            found.append(f"markdown {marks}")
        if (solution and not marks["solution"]) or (tests and not marks["grade"]):
            found.append(f"a mark in a cell of another kind: {marks}")
    return found


@pytest.mark.parametrize("chapter", [3, 7])
def test_assignments_have_the_marks_of_nbgrader(chapter):
    for section in BOOK.select([str(chapter)]):
        source = assignments.assignment(BOOK, section)
        released = assignments.release(source)
        assert wrong_marks(source) == wrong_marks(released) == []
        nbformat.validate(source)
        nbformat.validate(released)
        marks = [c.metadata.nbgrader for c in source.cells if "nbgrader" in c.metadata]
        words = [m for m in marks if m["grade_id"].endswith("-words")]
        assert len(words) == section.exercises
        code = [c for c in source.cells if c.cell_type == "code"]
        assert all("nbgrader" in c.metadata for c in code), "students cannot change the section"


def test_students_see_no_solution():
    for number in ("3.4", "7.5"):
        section, source = assigned(number)
        text = "\n".join(c.source for c in assignments.release(source).cells)
        parts = [p for p in exercises.split(section) if isinstance(p, exercises.Exercise)]
        assert len(parts) == section.exercises
        for part in parts:
            assert part.words and assignments._unlinked(part.words) in "\n".join(
                c.source for c in source.cells
            )
            for line in part.words.split("\n"):
                assert len(line) < 20 or line not in text
            assert not [cell.source for _, cell in part.code if cell.source in text]
        assert "BEGIN" not in text and "HIDDEN" not in text
        assert text.count("YOUR ANSWER HERE") == len(parts) + 1  # the note at the top says it too
        assert not [o for c in assignments.release(source).cells for o in c.get("outputs", [])]
        assert [o for c in source.cells for o in c.get("outputs", [])], "the key has outputs"
        assert not re.search(r"\]\([^)]*\.ipynb", text), "sections are not handed out"


RUN = """
import json, sys
for number, cells in enumerate(json.load(open(sys.argv[1]))):
    space = {"__name__": "__main__"}
    for mark, code in cells:
        try:
            exec(compile(code, mark, "exec"), space)
        except NotImplementedError:
            print("stub", number, mark)
"""


def stubs(folder: Path, *notebooks: Any) -> list[list[str]]:
    """Run notebooks one after the other in a process of its own; the cells of each that met a stub."""
    cells = [
        [(_mark(c), c.source) for c in notebook.cells if c.cell_type == "code"]
        for notebook in notebooks
    ]
    (folder / "cells.json").write_text(json.dumps(cells))
    (folder / "run.py").write_text(RUN)
    settings = {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "run.py", "cells.json"],
        cwd=folder,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = re.findall(r"^stub (\d+) (\S*)$", done.stdout, re.M)
    return [[mark for n, mark in found if int(n) == i] for i in range(len(notebooks))]


def _mark(cell: Any) -> str:
    return str(cell.metadata.get("nbgrader", {}).get("grade_id", ""))


def test_the_key_passes_and_the_release_runs(tmp_path):
    """In what is handed out only answers are missing; the tests fail for an answer that is missing."""
    _, source = assigned("6.1")
    marks = [_mark(cell) for cell in source.cells]
    tests = [m for m in marks if m.endswith("-tests")]
    manual = [m for m in marks if m.endswith("-code") and m[:-4] + "tests" not in marks]
    assert tests and manual
    released = assignments.release(source)
    empty = copy.deepcopy(released)  # what is graded when nothing was written
    for cell, full in zip(empty.cells, source.cells, strict=True):
        if _mark(full) in tests:
            cell.source = full.source
    assert stubs(tmp_path, source, released, empty) == [
        [], manual, [m for m in marks if m in manual or m in tests],
    ]  # fmt: skip


@pytest.fixture
def asked(mini: MiniBook) -> MiniBook:
    """A section with one exercise that a machine grades, one that a person grades, one without code."""
    first = mini.add(
        "sums",
        "markdown\nSee [later](02-more.ipynb) and ![a net](img/net.svg).",
        "one = 1",
        "markdown\n## Exercises\n\n### Exercise 1.1-1\n\nWrite it.",
        "markdown\n#### Solution 1.1-1\n\nThe **secret** words.",
        GRADED,
        "markdown\n### Exercise 1.1-2\n\nWhy?",
        "markdown\n#### Solution 1.1-2\n\nBecause.",
        "markdown\nAnd so on.",
        "three = 3\nassert three == 3",
        "markdown\n### Exercise 1.1-3\n\nWhen?",
        "markdown\n#### Solution 1.1-3\n\nNow.",
        "markdown\n## Sources\n\n- A book.",
    )
    (first.parent / "img").mkdir()
    (first.parent / "img" / "net.svg").write_text("<svg/>")
    mini.add("more", "x = 1")
    return mini


def test_edits_of_a_teacher_stay(asked, cli):
    status, text = cli("assignments", "1.1")
    assert status == 0 and text.count("wrote ") == 2
    folder = asked.root / "build" / "assignments"
    path = folder / "release" / "01-01-sums" / "01-sums.ipynb"
    assert (path.parent / "img" / "net.svg").exists()
    notebook = nbformat.read(path, as_version=4)
    assert [c.source for c in notebook.cells[-3:]] == [
        "### Exercise 1.1-3\n\nWhen?", "YOUR ANSWER HERE", "## Sources\n\n- A book.",
    ]  # fmt: skip
    assert "See later and ![a net](img/net.svg)" in notebook.cells[1].source
    key = nbformat.read(folder / "source" / "01-01-sums" / "01-sums.ipynb", as_version=4)
    assert "Because.\n\nAnd so on." in [c.source for c in key.cells]

    code = next(c for c in notebook.cells if c.cell_type == "code")
    code["outputs"] = [nbformat.v4.new_output("stream", text="1\n")]
    nbformat.write(notebook, path)
    assert cli("assignments", "1.1")[0] == 0, "a run is no edit"
    notebook.cells[-1].source = "My own words."
    nbformat.write(notebook, path)
    (path.parent / "img" / "net.svg").write_text("<svg>mine</svg>")
    before = path.read_bytes()
    status, text = cli("assignments", "1.1")
    assert status == 1 and "it was edited since it was made" in text and str(path) in text
    assert path.read_bytes() == before and text.count("wrote ") == 1
    assert "mine" in (path.parent / "img" / "net.svg").read_text()
    path.unlink()
    status, text = cli("assignments", "1.1")
    assert status == 1 and "net.svg: it differs from the book's" in text and path.exists()
    path.write_text("{")
    status, text = cli("assignments", "1.1")
    assert status == 1 and "not a notebook" in text and "move it away" in text
    assert "1.2" not in text and not (folder / "release" / "01-02-more").exists()


def test_exercises_of_a_page_are_named(mini, cli):
    """A page has no notebook to hand out; nobody should believe that it has no exercises."""
    mini.add("sums", "markdown\n## Exercises")
    (mini.root / "book" / "01-start" / "02-words.md").write_text("# 1.2 words\n\nHello.\n")
    mini.names["1.2"] = "words"
    mini._plan()
    plan = mini.root / "book" / "contents.toml"
    for count in (0, 3):
        plan.write_text(
            re.sub(r'(id = "1.2".*exercises = )\d+', rf"\g<1>{count}", plan.read_text())
        )
        status, text = cli("assignments", "1.2")
        assert status == 0 and ("left out 1.2: it is a page" in text) == (count > 0)


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
def test_make_clean_spares_what_people_wrote(tmp_path):
    for name in ("assignments/source/a", "lab/a", "html/a"):
        (tmp_path / "build" / name).parent.mkdir(parents=True)
        (tmp_path / "build" / name).write_text("mine")
    subprocess.run(["make", "-f", ROOT / "Makefile", "clean"], cwd=tmp_path, check=True)
    left = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / "build").rglob("a")}
    assert left == {"build/assignments/source/a", "build/lab/a"}


def test_a_solution_in_the_wrong_place_is_named(mini):
    mini.add("odd", "markdown\n## Exercises\n\n#### Solution 1.1-1\n\nWords.")
    with pytest.raises(BookError, match=r"01-odd\.py:\d+ \(cell 2\): Solution 1\.1-1 should"):
        exercises.split(mini.book.sections[0])


# -- slides -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def talk(mini: MiniBook) -> MiniBook:
    mini.add(
        "talk",
        "import math",
        "markdown\n## Means\n\nA mean is *central*.\nMore of it is said.\n\nIt is\n\n$$m = \\frac12(a+b), \\tag{1.1.1}$$\n\nwhere $a$ and $b$ are numbers.\nThat is all.\n\nAnother paragraph, see [lines](02-lines.ipynb).",
        'tags=["export"]\ndef mean(a, b):\n    return (a + b) / 2',
        'tags=["export", "no-slide"]\ndef hidden_helper():\n    pass',
        "figure = 1",
        "markdown\n**Figure 1.1.1.** The first sentence.\nThe second.",
        'tags=["slide"]\nprint(mean(1, 2) < 3)',
        "not_shown = 1",
        "markdown\n### Details\n\nShort.\n\n- one\n- two",
        "markdown\n## Exercises\n\n### Exercise 1.1-1\n\nA task.",
        "markdown\n#### Solution 1.1-1\n\nAn answer.",
    )
    return mini


def deck(book: Book, monkeypatch: pytest.MonkeyPatch, outputs: dict[str, Any]) -> list[Slide]:
    section = book.notebooks[0]
    notebook = copy.deepcopy(section.notebook)
    for cell in notebook.cells:
        for word, given in outputs.items():
            if cell.cell_type == "code" and word in cell.source:
                cell["outputs"] = [given]
    monkeypatch.setattr(pair, "updated", lambda *_: notebook)
    with Reader() as reader:
        return Deck(section, reader).slides()


def test_a_slide_shows_what_form_says(talk, monkeypatch):
    picture = nbformat.v4.new_output(
        "display_data",
        data={"image/png": "aGVsbG8="},
        metadata={"image/png": {"alt": 'A "b" < c.'}},
    )
    text = nbformat.v4.new_output("stream", text="1 < 2\n")
    slides = deck(talk.book, monkeypatch, {"figure": picture, "print(": text})
    assert [s.heading for s in slides if not s.kind] == ["Means", "Means", "Details"]
    means, second, details = slides[-3:]
    assert [b.kind for b in means.blocks] == ["text", "text", "formula", "text", "code"]
    shown = "".join(b.html for b in means.blocks)
    assert "A mean is <em>central</em>." in shown and "More of it" not in shown
    assert "katex" in shown and "bad-tex" not in shown and "That is all" not in shown
    notes = "".join(means.notes)
    assert "More of it is said." in notes and "Another paragraph, see lines." in notes
    assert [b.kind for b in second.blocks] == ["picture", "caption", "code", "output"]
    assert 'alt="A &quot;b&quot; &lt; c."' in second.blocks[0].html
    assert "1 &lt; 2" in second.blocks[3].html
    assert "The first sentence." in second.blocks[1].html and "The second." in second.notes[0]
    assert details.above == "Means" and [b.kind for b in details.blocks] == ["text", "list"]
    everything = "".join(b.html for s in slides for b in s.blocks) + "".join(
        n for s in slides for n in s.notes
    )
    for word in ("hidden_helper", "not_shown", "A task", "An answer", "import"):
        assert word not in everything, word


def test_tags_of_slides_run_nothing(talk):
    """A mark for a slide is no reason to run a notebook again."""
    assert set(SLIDE_TAGS) <= set(TAGS)
    path = talk.book.sections[0].path

    def key() -> str:
        book = talk.book
        return keys.key(book.sections[0], "cpu", "real", keys.Sources(book.root))

    before, text = key(), path.read_text()
    path.write_text(text.replace("# %%\nnot_shown", '# %% tags=["slide"]\nnot_shown'))
    assert path.read_text() != text and key() == before
    path.write_text(text.replace("# %%\nnot_shown", '# %% tags=["timing"]\nnot_shown'))
    assert key() != before


def test_bad_tex_is_named(mini, monkeypatch):
    mini.add("bad", "markdown\n## Part\n\n$$\\fraq{1}{2}$$")
    with pytest.raises(BookError, match=r"bad TeX in '\\\\fraq"):
        deck(mini.book, monkeypatch, {})


def test_long_code_goes_on_on_the_next_slide():
    (short,) = code_blocks("a = 1\n" * 20)
    assert "font-size" not in short.html
    lines = [f"a{i} = {i}" if i != 21 else "" for i in range(38)]
    first, second = code_blocks("\n".join(lines))
    assert first.source.endswith("a20 = 20") and second.source.startswith("a22 = 22")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The slides of the sections that have marks."""
    book = Book()
    book.build = tmp_path_factory.mktemp("slides")
    return write_slides(book, book.select(["3.4", "5.6", "7.2", "11.5"]))


def test_slides_open_from_the_disk(shown, browser):  # noqa: F811
    """Nothing is asked of another host, nothing is cut off, every picture has words."""
    for path in shown:
        tab = tab_in(browser)
        page = tab.page
        page.set_viewport_size({"width": 1280, "height": 720})
        page.goto(path.as_uri())
        page.wait_for_selector(".reveal.ready")
        page.evaluate("document.fonts.ready")
        count = page.evaluate("Reveal.getTotalSlides()")
        assert 12 < count < 40
        for number in range(count):
            page.evaluate(
                f"Reveal.slide({number}); document.fonts.ready.then(() => new Promise(requestAnimationFrame))"
            )
            low, wide, close = page.evaluate(
                """(() => {
                  const slide = Reveal.getCurrentSlide();
                  const shown = [...slide.children].filter(e => e.className != "notes");
                  const tags = [...slide.querySelectorAll(".katex-tag")].map(tag => {
                    const parts = tag.parentElement.querySelectorAll(".katex-base");
                    const end = parts[parts.length - 1].getBoundingClientRect().right;
                    return tag.getBoundingClientRect().left - end;
                  });
                  return [Math.max(...shown.map(e => e.getBoundingClientRect().bottom)), slide.scrollWidth - slide.clientWidth, Math.min(...tags, 99)];
                })()"""
            )
            where = f"{path.name}, slide {number + 1}"
            assert low <= 720, f"{where}: cut at the foot"
            assert wide <= 0 and close > 0, f"{where}: too wide"
        assert page.locator(".slides img:not([alt]), .slides img[alt='']").count() == 0
        assert tab.outside == [] and tab.errors == []
        page.evaluate(AXE.read_text(encoding="utf-8"))
        faults = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        assert [f"{f['id']}: {f['nodes'][0]['html'][:120]}" for f in faults] == []
        page.context.close()


def test_the_speaker_has_notes_in_another_window(shown, browser):  # noqa: F811
    page = tab_in(browser).page
    page.goto(shown[0].as_uri())
    page.wait_for_selector(".reveal.ready")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    with page.context.expect_page() as opened:
        page.keyboard.press("s")
    notes = opened.value
    notes.wait_for_selector(".speaker-notes p")
    assert "Training repeats one small cycle" in notes.locator(".speaker-notes").inner_text()
    page.keyboard.press("ArrowRight")
    until(notes, "Reveal.getIndices().h == 3")
    notes.keyboard.press("ArrowRight")
    until(page, "Reveal.getIndices().h == 4")
    page.context.close()


# -- pages ------------------------------------------------------------------------------------------------------------

COURSE = """
[[course]]
title = "A short course"
goal = "Lines."
self_study = ["1.3"]
imported = []
weeks = [{ topic = "All", sections = ["1.1", "1.2"] }, { topic = "Rest", sections = ["1.4"] }]
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small book with a version, a course, licences, and a section that uses another."""
    root = tmp_path_factory.mktemp("teach") / "root"
    book, executed, runs = full_book(root)
    (root / "pyproject.toml").write_text(
        '[project]\nname = "small"\nversion = "1.2.3"\n[tool.bookbuild]\n'
    )
    (root / "book" / "courses.toml").write_text(COURSE)
    for name in ("CITATION.cff", "LICENSE", "LICENSE-TEXT"):
        shutil.copy(ROOT / name, root)
    assert site.build(Book(root), executed, runs, root / "html") == []
    return root / "html"


def test_every_page_says_who_which_and_when(pages):
    """Authors, version, date, licences, and the way to cite."""
    found = {p.relative_to(pages).as_posix(): p.read_text() for p in pages.rglob("*.html")}
    found = {
        name: re.sub(r"\s+", " ", text) for name, text in found.items() if "_static" not in name
    }
    assert {"index.html", "teaching.html", "01-start/03-words.html"} <= set(found)
    for name, text in found.items():
        foot = re.search(r'<div class="book-footer">(.*?)</div>', text)[1]
        assert "version 1.2.3, by The authors of the book." in foot, name
        own = name == "01-start/01-lines.html"
        assert (" Outputs of 2 Jan 2026." in foot) == own, name
        assert own or "Newest outputs of 2 Jan 2026." in foot, name
        up = "" if name == "licence.html" else "../" * name.count("/") + "licence.html"
        for anchor in ("how-to-cite", "text-figures-and-exercises", "code"):
            assert f'href="{up}#{anchor}"' in foot, name


def test_the_page_of_licences(pages):
    text = re.sub("<[^>]*>", "", (pages / "licence.html").read_text())
    assert "@book{deep-learning-run-and-checked," in text and "version = {1.2.3}" in text
    assert "author = {{The authors of the book}}" in text
    assert "MIT License" in text and "creativecommons.org/licenses/by-sa/4.0" in text


def test_the_page_for_teachers(pages):
    text = (pages / "teaching.html").read_text()
    plain = re.sub("<[^>]*>", "", text)
    assert "A short course" in text and "1.4 (to come)" in text
    assert 'href="01-start/01-lines.html"' in text and "make assignments S=3" in plain
    assert 'href="teaching.html"' in (pages / "index.html").read_text()
    assert re.search(r'<svg class="needs"[^>]*role="img"', text)
    tables = re.findall(r'<div class="table-wrap"[^>]*>', text)
    assert len(tables) == text.count("<table") and all(
        'tabindex="0"' in tag and "aria-label=" in tag for tag in tables
    ), "a table that scrolls is in reach of the keyboard"


def test_the_pages_are_for_everybody(pages, browser):  # noqa: F811
    """No fault of accessibility of any weight, in light and dark; nothing wider than a phone."""
    for mode in ("light", "dark"):
        for name in ("teaching.html", "licence.html"):
            tab = tab_in(browser, mode, 390 if mode == "dark" else 1280)
            page = tab.open(pages / name)
            page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            width = page.evaluate("document.scrollingElement.scrollWidth")
            assert width <= (390 if mode == "dark" else 1280), name
            assert tab.outside == [] and tab.errors == []
            page.evaluate(AXE.read_text(encoding="utf-8"))
            faults = page.evaluate("axe.run('main', {resultTypes: ['violations']})")["violations"]
            assert [f"{f['id']}: {f['nodes'][0]['html'][:120]}" for f in faults] == [], name
            page.context.close()


def test_the_pages_know_what_they_are_made_of(mini):
    mini.add("one", "x = 1")
    (mini.root / "LICENSE").write_text("one")

    def total() -> str:
        return Inputs(mini.book, {}, {}).total

    for name in ("LICENSE", "LICENSE-TEXT", "CITATION.cff", "book/courses.toml"):
        before = total()
        (mini.root / name).write_text("another")
        assert total() != before, name
    before = total()
    (mini.root / "pyproject.toml").write_text('[project]\nname = "small"\nversion = "9"\n')
    assert total() != before


def test_hours_are_counted_by_the_rule(mini):
    words = " ".join(["word"] * 199)
    path = mini.add(
        "one",
        f"markdown\n{words} $a + b + c$",  # 200, and two of the title: the number and the name
        "x = 1",
        "y = 1",
        "markdown\n## Exercises\n\n### Exercise 1.1-1\n\n" + words,
        "z = 1",
    )
    assert path.exists()
    found = hours(mini.book.sections[0], Run("1.1", "cpu", seconds=7))
    assert found == Hours(pytest.approx(3.03, abs=0.011), 0, 7)
    assert Hours(60, 100, 0).week == pytest.approx(1 + 40 / 60)


def test_needs_come_from_imports_and_links(mini):
    """Of a later section only a tool can be taken, so it is none."""
    mini.add("a", 'tags=["export"]\ndef f():\n    pass', "from d2l_helpers.chapters.start import g")
    mini.add(
        "b",
        "markdown\nSee [a](01-a.ipynb), [c](03-c.ipynb).",
        'tags=["export"]\ndef g():\n    pass',
    )
    mini.add(
        "c",
        "from d2l_helpers.chapters.start import (\n    f, g)",
        "markdown\n## Exercises\n\n[b](02-b.ipynb)",
    )
    needs = Needs(mini.book)
    assert {k: [s.id for s in v] for k, v in needs.needs.items()} == {
        "1.1": [],
        "1.2": [],
        "1.3": ["1.1", "1.2"],
    }
    assert {k: [s.id for s in v] for k, v in needs.mentions.items()} == {
        "1.1": [],
        "1.2": ["1.1"],
        "1.3": [],
    }


def test_a_bad_course_is_named(mini):
    mini.add("a", "x = 1")
    assert teaching.courses(mini.book) == []
    path = mini.root / "book" / "courses.toml"
    path.write_text(COURSE)
    with pytest.raises(BookError, match=r"book/courses\.toml: the plan has no section '1\.[23]'"):
        teaching.courses(mini.book)
    path.write_text("[[course]]\ntitle = 'x'\n")
    with pytest.raises(BookError, match=r"book/courses\.toml: KeyError\('goal'\)"):
        teaching.courses(mini.book)


def test_courses_can_be_held():
    """Six, ten and fourteen weeks; no section twice; what is needed came before; no week is too long."""
    needs = Needs(BOOK)
    times = {s.id: hours(s, None) for s in BOOK.sections}
    found = teaching.courses(BOOK)
    assert [len(course.weeks) for course in found] == [6, 10, 14]
    for course in found:
        sections = [s for _, week in course.weeks for s in week]
        others = course.self_study + course.imported
        assert len({s.id for s in sections + others}) == len(sections + others), course.title
        known = {s.id for s in others}
        used = set()
        for topic, week in course.weeks:
            assert 5 <= teaching.week_hours(week, times) <= 9, topic
            for section in week:
                wanted = {s.id for s in needs.needs.get(section.id, [])}
                assert wanted <= known, f"{course.title}: {section.id} needs {wanted - known}"
                used |= wanted
                known.add(section.id)
        assert {s.id for s in course.imported} <= used, course.title
        assert sorted(sections, key=BOOK.planned.index) == sections, "in the order of the book"


def test_the_citation_is_valid_and_agrees():
    """With the schema of the format, the plan of the book, the version, and the year of the outputs."""
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.citation-file-format",
    ]
    done = subprocess.run([*command, str(ROOT / "CITATION.cff")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    best = licence.citation(BOOK)
    for entry in (cited, best):
        assert entry["title"] == BOOK.plan["title"]
        assert entry["authors"] == [{"name": BOOK.plan["author"]}]
        assert entry["version"] == project["version"] == BOOK.version
    runs = {s.id: pair.recorded_run(pair.committed(s)) for s in BOOK.notebooks[::8]}
    assert str(best["year"]) == licence.newest({k: r for k, r in runs.items() if r})[:4]


@pytest.mark.parametrize(
    "text", ["title: x\n", "preferred-citation: {title: '', authors: []}\n", "a: [\n"]
)
def test_a_bad_citation_is_named(mini, text):
    (mini.root / "CITATION.cff").write_text(text)
    with pytest.raises(BookError, match=r"CITATION\.cff: preferred-citation should have"):
        licence.citation(mini.book)
