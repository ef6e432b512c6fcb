"""The real book: its plan, its form, its links, its checks."""

import graphlib
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bookbuild import export, lint, pair
from bookbuild.book import Book
from bookbuild.record import PROFILES

BOOK = Book()


def test_form_and_links():
    """check 3.0-C1 and every other page: links and references lead somewhere, numbers are in order."""
    assert lint.problems(BOOK) == []


def test_nothing_is_stale():
    assert export.stale(BOOK) == [] and pair.stale(BOOK) == []


@pytest.mark.parametrize("section", BOOK.notebooks, ids=lambda s: s.id)
def test_every_planned_check_is_marked(section):
    assert section.marked_checks and set(section.marked_checks) == {
        f"C{i}" for i in range(1, section.checks + 1)
    }


@pytest.mark.parametrize("section", BOOK.notebooks, ids=lambda s: s.id)
def test_stored_outputs_vouch_for_themselves(section):
    """The outputs are those of a run that recorded its key; pictures have words, nothing shows a path."""
    notebook = pair.committed(section)
    assert pair.stored_key(notebook) is not None
    assert (
        lint.missing_alt(section, notebook) == []
        and lint.private_outputs(section, notebook, BOOK.root) == []
    )


def test_the_preface_names_the_chapters_of_the_plan():
    """check 0.1-C1: every chapter is named with its number and title; what the plan calls present is there."""
    text = next(s for s in BOOK.sections if s.id == "0.1").text
    named = dict(
        re.findall(
            r"Chapter (\d+), ([A-Z][^,.]*?),? (?=provides|shows|and Chapter|build|adds|takes|cover|treat|compares|makes|applies|learns|puts)",
            text,
        )
    )
    assert named == {str(c.number): c.title for c in BOOK.chapters if c.number > 0}
    for chapter in BOOK.chapters:
        present = [s for s in chapter.sections if s.exists]
        assert not present or (BOOK.root / "book" / chapter.folder).is_dir()
        assert all(s.path.is_file() for s in present)


def test_the_chapters_depend_on_each_other_without_a_cycle():
    """check 0.2-C1: the chains name every chapter from 1, and no chapter leads back to itself."""
    page = next(s for s in BOOK.sections if s.id == "0.2")
    chains = [
        [int(n) for n in line.split(" → ")]
        for line in re.search(r"```text\n(.*?)```", page.text, re.S)[1].splitlines()
    ]
    graph = {n: set() for chain in chains for n in chain}
    for chain in chains:
        for before, after in itertools.pairwise(chain):
            graph[after].add(before)
    assert sorted(graph) == [c.number for c in BOOK.chapters if c.number > 0]
    list(graphlib.TopologicalSorter(graph).static_order())  # raises where there is a cycle
    drawn = (page.path.parent / "img" / "dependencies.svg").read_text()
    assert sorted(int(n) for n in re.findall(r">(\d+)</text>", drawn)) == sorted(graph), (
        "the picture has each chapter once"
    )
    assert drawn.count("marker-end") == sum(len(before) for before in graph.values()), (
        "and as many arrows"
    )


def test_every_number_of_the_success_stories_has_a_source():
    """check 1.8-C1: a sentence with a quantity (years, sections and numbers of list items apart) links to where it was measured."""
    text = next(s for s in BOOK.sections if s.id == "1.8").text
    body = text[text.index("## Measured") : text.index("## The essence")]
    seen = 0
    for sentence in body.splitlines():
        words = re.sub(
            r"\]\([^)\s]*\)+|\b(?:19|20)\d\ds?\b|Sections? [\d. and]+|<!--.*?-->", "", sentence
        )
        if re.search(r"\d", words):
            seen += 1
            assert "](https://" in sentence, sentence
    assert seen >= 12


def test_profiles_name_parameters():
    for section in BOOK.notebooks:
        for name in PROFILES:
            section.profile(name)


def test_exported_modules_import_each_alone():
    names = [p.stem for p in (BOOK.root / export.PACKAGE).glob("*.py") if p.stem != "__init__"]
    assert names
    for name in names:
        subprocess.run(
            [sys.executable, "-W", "error", "-c", f"import d2l_helpers.chapters.{name}"],
            check=True,
            cwd=BOOK.root,
        )


def test_the_book_and_the_helper_never_import_the_builder():
    for path in [*(BOOK.root / "book").glob("*/*.py"), *(BOOK.root / "d2l_helpers").rglob("*.py")]:
        assert "bookbuild" not in "\n".join(
            line for line in path.read_text().splitlines() if "import" in line
        ), path


@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare on this system")
def test_without_a_network(mini):
    """With the network cut off, a notebook that wants data runs on the stand-in and says so."""
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("this system does not allow a process without a network")
    mini.add(
        "data",
        "import d2l_helpers as d2l",
        "data = d2l.fetch('fashion-mnist')\nprint(data.source)",
        data="fashion-mnist",
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("D2L_OFFLINE", "D2L_MIRRORS")}
    command = ["unshare", "-rn", sys.executable, "-m", "bookbuild", "--root", str(mini.root), "run"]
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parent.parent
    )
    assert result.returncode == 0 and "fashion-mnist (standin)" in result.stdout, (
        result.stdout + result.stderr
    )
