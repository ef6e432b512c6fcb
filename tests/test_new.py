"""`make new`: the skeleton of a planned section."""

import re

import pytest

from bookbuild import lint, new
from bookbuild.book import BookError


@pytest.fixture
def planned(mini):
    """A plan with an overview and a section that are not there yet."""
    plan = mini.root / "book" / "contents.toml"
    rows = """
  { id = "1.0", title = "Overview", file = "00-overview", checks = 0, exercises = 0 },
  { id = "1.1", title = "A new one", file = "01-new-one", checks = 3, exercises = 2 },
"""
    plan.write_text(plan.read_text().replace("sections = [\n", "sections = [" + rows))
    return mini


def test_a_skeleton_lacks_nothing_but_what_is_to_be_written(planned, cli):
    status, text = cli("new", "1.1")
    assert status == 0 and "make section S=1.1" in text and "make accept S=1.1" in text
    section = planned.book.select(["1.1"])[0]
    assert section.marked_checks == ["C1", "C2", "C3"]
    assert lint.exercises(section) == ["1.1-1", "1.1-2"]
    found = lint.problems(planned.book)
    assert found and all(": still to write: " in problem for problem in found), found
    assert any(re.search(r"01-new-one\.py:\d+: still to write: the task\.", p) for p in found)
    section.path.write_text(section.text.replace("TODO: ", ""))
    assert lint.problems(planned.book) == []


def test_a_skeleton_runs_and_is_stored(planned, cli):
    new.write(planned.book, "1.1")
    status, text = cli("accept", "1.1")
    assert status == 0 and "stored book/01-start/01-new-one.ipynb" in text


def test_an_overview_is_a_page(planned, cli):
    assert cli("new", "1.0")[0] == 0
    found = lint.problems(planned.book)
    assert found and all("00-overview.md" in p and "still to write" in p for p in found)


def test_nothing_is_overwritten_and_nothing_unplanned_is_made(planned, cli):
    path = new.write(planned.book, "1.1")
    path.write_text("mine")
    status, text = cli("new", "1.1")
    assert status == 1 and "is there already" in text and path.read_text() == "mine"
    with pytest.raises(BookError, match=r"no section '1.7'; its chapter has 1.0, 1.1"):
        new.write(planned.book, "1.7")
    with pytest.raises(BookError, match="there is no such chapter"):
        new.write(planned.book, "7.1")


def test_a_heading_of_a_solution_stands_alone(planned):
    path = new.write(planned.book, "1.1")
    text = path.read_text().replace("TODO: ", "")
    path.write_text(text.replace("Solution 1.1-2\n", "Solution 1.1-2\n#\n# Because.\n"))
    (problem,) = lint.problems(planned.book)
    line = path.read_text().splitlines().index("# #### Solution 1.1-2") + 1
    assert f"01-new-one.py:{line} " in problem and "give it a cell of its own" in problem
    path.write_text(text.replace("# #### Solution 1.1-2", "# Before.\n#\n# #### Solution 1.1-2"))
    assert len(lint.problems(planned.book)) == 1
