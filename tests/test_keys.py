"""The key follows every way to import, every package that is imported, and nothing that shows nowhere."""

import sys

import pytest

from bookbuild import keys
from bookbuild.book import Cell

START = '''"""Chapter 1."""
import torch


def f(x):
    """One."""
    return helper(x)


def helper(x):
    return x + 1


def other(x):
    return x
'''


@pytest.fixture
def key_of(mini):
    """Function: (cells of a section, file, old text, new text) -> keys before and after the change."""

    def keys_of(*cells: str, file: str = "d2l_helpers/chapters/start.py", old: str, new: str):
        (mini.root / "d2l_helpers" / "chapters" / "start.py").write_text(START)
        mini.add("one", *cells)
        path = mini.root / file
        text = path.read_text()
        assert text.count(old) == 1
        found = []
        for now in (text, text.replace(old, new)):
            path.write_text(now)
            section = mini.book.notebooks[0]
            found.append(keys.key(section, "cpu", "real", keys.Sources(mini.root)))
        return found

    return keys_of


WAYS = [
    "from d2l_helpers.chapters.start import f\nprint(f(1))",
    "import d2l_helpers.chapters.start\nprint(d2l_helpers.chapters.start.f(1))",
    "import d2l_helpers.chapters.start as s\nprint(s.f(1))",
    "from d2l_helpers.chapters import start\nprint(start.f(1))",
    "from d2l_helpers.chapters.start import *\nprint(f(1))",
    "import d2l_helpers as d2l\nprint(d2l.chapters.start.f(1))",
    "# %time from d2l_helpers.chapters.start import f\nprint(f(1))",
    "from d2l_helpers.chapters.start import f\n# %timeit -n 2 f(1)",
    "import d2l_helpers as d2l\nprint(getattr(d2l, 'chapters').start.f(1))",
    "def g():\n    from d2l_helpers.chapters.start import f as h\n    return h(1)\n\n\ng()",
]


@pytest.mark.parametrize("cell", WAYS)
def test_every_way_to_import_is_followed(key_of, cell):
    before, after = key_of(cell, old="return x + 1", new="return x + 2")
    assert before != after


@pytest.mark.parametrize("cell", WAYS[:2] + WAYS[3:6])
def test_what_is_not_reached_does_not_count(key_of, cell):
    before, after = key_of(
        cell, old="def other(x):\n    return x", new="def other(x):\n    return 2"
    )
    assert before == after


def test_a_module_of_the_package_by_attribute(key_of):
    before, after = key_of(
        "import d2l_helpers as d2l\nprint(d2l.device.try_device())",
        file="d2l_helpers/device.py",
        old="count = torch",
        new="count = 0 + torch",
    )
    assert before != after


def test_a_name_that_a_module_only_passes_on(key_of, mini):
    (mini.root / "d2l_helpers" / "chapters" / "end.py").write_text(
        "from d2l_helpers.chapters.start import f\n"
    )
    before, after = key_of(
        "from d2l_helpers.chapters.end import f\nprint(f(1))", old="x + 1", new="x + 2"
    )
    assert before != after


@pytest.mark.parametrize(("old", "new"), [("One.", "Uno."), ("Chapter 1.", "Chapter one.")])
def test_docstrings_do_not_count(key_of, old, new):
    before, after = key_of(WAYS[0], old=old, new=new)
    assert before == after


@pytest.mark.parametrize("show", ["help(f)", "print(f.__doc__)", "# f?"])
def test_docstrings_count_where_they_are_shown(key_of, show):
    before, after = key_of(WAYS[0], show, old="One.", new="Uno.")
    assert before != after


def test_text_that_is_no_docstring_counts(key_of):
    before, after = key_of(WAYS[0], old="return helper(x)", new="return helper('x')")
    assert before != after


def test_versions_of_what_is_imported(mini, monkeypatch):
    mini.add("one", "import numpy as np\nprint(np.ones(2))")
    mini.add("two", "import os\n\nimport sympy as sp\nfrom PIL import Image\nimport scipy.stats")
    one, two = mini.book.notebooks
    assert keys.versions_of(one) == keys.versions()
    more = set(keys.versions_of(two)) - set(keys.versions())
    assert more == {"sympy", "pillow", "scipy"}
    assert all("+" not in version for version in keys.versions_of(two).values())
    sources = keys.Sources(mini.root)
    before = [keys.key(s, "cpu", "real", sources) for s in (one, two)]
    real = keys._version
    monkeypatch.setattr(keys, "_version", lambda name: "0.1" if name == "sympy" else real(name))
    after = [keys.key(s, "cpu", "real", sources) for s in (one, two)]
    assert before[0] == after[0] and before[1] != after[1]


def test_versions_of_what_an_exported_chapter_imports(mini):
    chapter = mini.root / "d2l_helpers" / "chapters" / "start.py"
    chapter.write_text("from scipy import stats\n\n\ndef f():\n    return stats\n")
    mini.add("one", "from d2l_helpers.chapters.start import f\nprint(f())")
    mini.add("two", "print(1)")
    sources = keys.Sources(mini.root)
    assert ["scipy" in keys.versions_of(s, sources) for s in mini.book.notebooks] == [True, False]


def test_the_standard_library_has_no_distribution():
    assert keys.distributions("os") == keys.distributions("d2l_helpers") == ()
    assert keys.distributions("sklearn") == ("scikit-learn",)
    assert keys.distributions("no_such_module_1") == ("no_such_module_1",)
    assert keys._version("no_such_module_1") == "none"


def test_a_definition_is_followed_once(mini, monkeypatch):
    """The cost of a key does not grow with what other sections have asked for already."""
    mini.add("one", "import d2l_helpers as d2l\nprint(d2l.try_device())")
    sources = keys.Sources(mini.root)
    cells = [cell for _, cell in mini.book.notebooks[0].code]
    seen: list[object] = []
    monkeypatch.setattr(keys.ast, "unparse", lambda node: seen.append(node) or "")
    first = sources.reached(cells)
    count = len(seen)
    assert sources.reached(cells) == first and len(seen) == count > 0


def test_cells_that_name_nothing_of_the_package_are_not_parsed(mini):
    cells = [
        Cell("code", "from d2l_helpers import try_device", (), 1),
        Cell("code", "x = 1", (), 2),
        Cell("code", "try_device()", (), 3),
    ]
    assert "device:try_device" in keys.Sources(mini.root).reached(cells)
    assert ["tree" in vars(cell) for cell in cells] == [True, False, True]


def test_python_is_a_version():
    assert keys.versions()["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
