"""The linter: tags, merges, imports that the key cannot follow, links among the sources, headers."""

import re

import pytest

from bookbuild import grammar, lint
from bookbuild.book import BookError
from d2l_helpers import plotting


def line_of(path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("tag", "fault"),
    [
        ("timming", "do you mean 'timing'"),
        ("nbval-skip", "is no tag; there are: export,"),
        ("nbval-ignore-output", "is no tag; there are: export,"),
        ("exports", "do you mean 'export'"),
        ("rtol=0", "write a positive number"),
        ("rtol=ten", "write a positive number"),
        ("rtol=0.25", None),
        ("chaotic", None),
        ("warns", None),
    ],
)
def test_tags_are_known_or_named(mini, tag, fault):
    path = mini.add("only", f'tags=["{tag}"]\nx = 1')
    found = lint.problems(mini.book)
    if fault is None:
        assert found == []
    else:
        assert len(found) == 1 and fault in found[0], found
        assert found[0].startswith(f"book/01-start/01-only.py:{line_of(path, 'x = 1')} (cell 2): ")


def test_every_tag_of_the_table_is_known_and_the_injected_ones_are_not():
    assert all(grammar.unknown_tag(tag) is None for tag in grammar.TAGS)
    assert all(grammar.unknown_tag(tag) for tag in grammar.INJECTED)


@pytest.mark.parametrize("mark", ["<<<<<<< HEAD", "=======", ">>>>>>> branch", "||||||| base"])
@pytest.mark.parametrize("prefix", ["", "# "])
def test_conflict_markers(mini, mark, prefix):
    path = mini.add("only", "x = 1", "markdown\nSome words.")
    text = path.read_text()
    path.write_text(text.replace("# Some words.", f"# Some words.\n{prefix}{mark}\n# Others."))
    found = lint.problems(mini.book)
    assert any(
        p.startswith(f"book/01-start/01-only.py:{line_of(path, mark)}: conflict marker")
        for p in found
    ), found


def test_rules_of_equal_signs_are_no_conflict(mini):
    mini.add("only", "# ======= part =======\nx = 1  # =======\nx == 1", "markdown\n========")
    assert lint.problems(mini.book) == []


@pytest.mark.parametrize(
    ("cell", "named"),
    [
        ("import importlib\nm = importlib.import_module('d2l_helpers.device')", "import_module("),
        ("m = __import__('d2l_helpers')", "__import__("),
        ("import sys\nsys.path.append('..')", "sys.path.append("),
        ("# %run other.py", "%run other.py"),
        ("from d2l_helpers import standins", "d2l_helpers.standins"),
        ("import d2l_helpers.standins as s", "d2l_helpers.standins"),
        ("from d2l_helpers.chapters.nowhere import f", "d2l_helpers.chapters.nowhere.f"),
        ("from d2l_helpers.device import nothing", "d2l_helpers.device.nothing"),
        ("import d2l_helpers as d2l\nimport d2l_helpers.plotting", None),
        ("from d2l_helpers import plotting, try_device", None),
        ("from d2l_helpers.device import *", None),
        ("# import_module is a word here, and __import__ too", None),
    ],
)
def test_imports_that_the_key_cannot_follow(mini, cell, named):
    path = mini.add("only", "x = 1", cell)
    found = lint.problems(mini.book)
    if named is None:
        assert found == []
    else:
        line = line_of(path, cell.splitlines()[-1])
        assert len(found) == 1 and named in found[0], found
        assert found[0].startswith(f"book/01-start/01-only.py:{line} (cell 3): ")


SOURCES = """markdown
## Sources

- A. Author (2009). A book, [Section 1.1](01-only.ipynb). [doi:10.1/2](https://doi.org/10.1/2)
- With `[code](01-only.ipynb)`.

## After

A link to [this section](01-only.ipynb)."""


def test_sources_do_not_lead_into_the_book(mini):
    path = mini.add("only", "markdown\nSee [here](01-only.ipynb).", "x = 1", SOURCES)
    found = [p for p in lint.problems(mini.book) if "among the sources" in p]
    line = line_of(path, "A. Author")
    assert found[0].startswith(f"book/01-start/01-only.py:{line}: the link [Section 1.1](")
    assert "write 'Section 1.1' without a link" in found[0]
    assert all(p.split(":")[1] in (str(line), str(line + 1)) for p in found)


def test_mentions_of_exercises(mini):
    mini.add("only", "markdown\nSee Exercise 1.1-2 and Exercise 2.1-1 and Figure\xa01.1.1.")
    found = lint.problems(mini.book)
    assert [re.sub(r".*: ", "", p) for p in found] == [
        "there is no exercise 1.1-2. Correct the number, or add it.",
        "there is no figure 1.1.1. Correct the number, or add it.",
    ]


def test_an_image_with_a_title_is_a_link(mini):
    mini.add("only", 'markdown\n![](01-only.py "A title")')
    assert "the image 01-only.py has no alternative text" in lint.problems(mini.book)[0]


def test_a_cell_head_that_says_something_else(mini):
    path = mini.add("only", "x = 1")
    path.write_text(path.read_text() + "\n# %% [markdwon]\n# Words.\n")
    assert (
        f"01-only.py:{line_of(path, 'markdwon')}: '# %% [markdwon]' does not begin a cell"
        in (lint.problems(mini.book)[0])
    )


def test_one_unreadable_section_does_not_hide_the_others(mini):
    first = mini.add("first", "x = 1")
    mini.add("second", "x = '" + "a" * 90 + "'")
    first.write_bytes(first.read_bytes() + b"# \xe9\n")
    found = lint.problems(mini.book)
    assert len(found) == 2 and "0xe9 is not UTF-8" in found[0] and "96 columns" in found[1]


def test_headers_are_checked_without_a_run(mini):
    mini.add("only", 'tags=["parameters"]\nsteps = 7', smoke="{stepz: 2}")
    found = lint.problems(mini.book)
    assert len(found) == 1 and "profile 'smoke' sets stepz" in found[0]


def test_the_mime_type_is_that_of_the_helper():
    assert grammar.FIGURE_MIME == plotting.FIGURE_MIME


def test_errors_are_of_one_kind(mini):
    """A broken table of notation stops the linter with its place, as other faults of a source do."""
    mini.add("tables", 'tags=["notation"]\nrows = [("a",)]')
    with pytest.raises(BookError, match=r"01-tables.py:\d+ \(cell 2\)"):
        lint.problems(mini.book)
