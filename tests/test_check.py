"""The check: nbval with our comparator, replayed or run; form; links."""

import json
import subprocess
import sys
from collections.abc import Callable

import nbformat
import pytest

from bookbuild import lint, pair
from bookbuild.book import BookError

Cli = Callable[..., tuple[int, str]]


@pytest.fixture
def accepted(mini, cli: Cli):
    mini.add("only", "x = 1.5", "print(x)", "print('text', 3)")
    assert cli("accept")[0] == 0
    return mini


def section(mini):
    return mini.book.select(["1.1"])[0]


def line_of(mini, text: str) -> int:
    lines = section(mini).path.read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if line.startswith(text))


def test_plain_nbval_runs_and_compares(accepted):
    """Without the store: pytest runs the notebook itself and compares with our tolerance."""
    path = section(accepted).ipynb
    path.write_text(path.read_text().replace("1.5\\n", "1.5001\\n"))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "bookbuild.nbval_plugin",
        "--nbval",
        "--nbval-current-env",
        "--rootdir",
        str(accepted.root),
        "-q",
        "-p",
        "no:cacheprovider",
        str(path),
    ]
    result = subprocess.run(command, cwd=accepted.root, capture_output=True, text=True)
    assert result.returncode == 0 and "4 passed" in result.stdout, result.stdout
    path.write_text(path.read_text().replace("1.5001\\n", "1.9\\n"))
    result = subprocess.run(command, cwd=accepted.root, capture_output=True, text=True)
    assert (
        result.returncode == 1
        and "expected '1.9', got '1.5'" in result.stdout
        and f"01-only.py:{line_of(accepted, 'print(x)')} (cell 3)" in result.stdout
    ), result.stdout


def test_number_beyond_tolerance(accepted, cli: Cli):
    def store(old: str, new: str) -> None:
        path = section(accepted).ipynb
        notebook = nbformat.reads(path.read_text().replace(old, new), as_version=4)
        notebook.metadata["bookbuild"]["outputs"] = pair.outputs_digest(notebook)
        path.write_text(pair.text_of(notebook))

    store("1.5\\n", "1.501\\n")
    assert cli("check")[0] == 0
    store("1.501\\n", "1.51\\n")
    status, text = cli("check")
    assert status == 1 and "expected '1.51', got '1.5'" in text


def test_a_notebook_in_which_nothing_is_compared(mini, cli: Cli):
    mini.add("only", 'tags=["timing"]\nprint(1.5)')
    assert cli("accept")[0] == 0
    status, text = cli("check")
    assert status == 1 and "no cell has an output to compare, 1 tagged timing" in text


def test_stale_copy_is_told(accepted, cli: Cli, tmp_path):
    from bookbuild import check

    one = section(accepted)
    copy = nbformat.read(one.ipynb, as_version=4)
    copy.cells[2].source = "print(x + 0)"
    target = tmp_path / "executed" / one.ipynb.relative_to(accepted.root)
    target.parent.mkdir(parents=True)
    nbformat.write(copy, target)
    assert check.replay(accepted.root, [str(one.ipynb)], tmp_path / "executed") == 1
    target.unlink()
    assert check.replay(accepted.root, [str(one.ipynb)], tmp_path / "executed") == 1


def test_stand_ins_are_never_counted_as_compared(mini, cli: Cli, monkeypatch):
    """Real outputs are stored, the run has a stand-in: the check says so and fails unless that is allowed."""
    mini.add("only", "x = 1", "# check 1.1-C1\nassert x == 1\nprint(x)")
    mini.add("two", "print(2)")
    assert cli("accept")[0] == 0
    before = section(mini).ipynb.read_text()
    monkeypatch.setattr(
        "bookbuild.run.Planner.source", lambda _, s: "standin" if s.id == "1.1" else "real"
    )
    status, text = cli("check", "--fresh")
    assert status == 1 and "1 of 2 notebooks not compared (stand-in data)" in text
    assert "1.1: the stored outputs are of real data, this run had standin data" in text
    status, text = cli("check", "--fresh", "--allow-standin")
    assert status == 0 and "1 of 2 notebooks not compared (stand-in data)" in text
    record = json.loads((mini.root / "build" / "records" / "cpu" / "1.1.json").read_text())
    assert record["uncompared"] == {"stand-in data": 1} and record["compared"] == 0
    # accept refuses to put the stand-in's outputs in the place of the real ones
    status, text = cli("accept", "--fresh")
    assert status == 1 and "the stored outputs are of real data" in text
    assert section(mini).ipynb.read_text() == before


def test_a_stand_in_run_is_held_to_the_stored_checks(mini, cli: Cli, monkeypatch):
    path = mini.add("only", "x = 1", "# check 1.1-C1\nassert x == 1", "print(x)")
    assert cli("accept")[0] == 0
    monkeypatch.setattr("bookbuild.run.Planner.source", lambda *_: "standin")
    path.write_text(path.read_text().replace("# check 1.1-C1\n", ""))
    assert cli("pair")[0] == 0
    status, text = cli("check", "--fresh", "--allow-standin")
    assert status == 1 and "the stored run passed 1.1-C1, this one did not" in text


def test_accept_keeps_what_ran_well(mini, cli: Cli):
    """The second of three fails: the two others are stored, the failure is told, the status is not zero."""
    mini.add("one", "print(1)")
    path = mini.add("two", "print(1 / 0)")
    mini.add("three", "print(3)")
    status, text = cli("accept")
    assert status == 1 and "1.2 did not run; its outputs stay" in text
    assert "stored book/01-start/01-one.ipynb" in text
    assert "stored book/01-start/03-three.ipynb" in text
    path.write_text(path.read_text().replace("1 / 0", "2"))
    assert cli("accept")[0] == 0
    assert cli("check")[0] == 0


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            "markdown\nSee [there](02-nowhere.ipynb).",
            "01-only.py:{}: the link to 02-nowhere.ipynb leads nowhere",
        ),
        ("markdown\n![](01-only.py)", "the image 01-only.py has no alternative text"),
        ("markdown\nBy equation (1.1.4), yes.", "01-only.py:{}: there is no equation 1.1.4"),
        ("markdown\nSee Figure 1.1.3.", "there is no figure 1.1.3"),
        (
            "markdown\nText.\n\n### 1.1.2 A part",
            "01-only.py:{}: the heading '### 1.1.2 A part' has a number",
        ),
        ("markdown\n$$x \\tag{1.1.2}$$", "equation 1.1.2 should be 1.1.1"),
        ("markdown\n### Exercise 1.1-1\nDo it.", "do not fit"),
        ("x = '" + "a" * 90 + "'", "01-only.py:{} (cell 3): 96 columns (79 at most)"),
        ("x = 1\n" * 45, "45 lines; split the cell"),
    ],
)
def test_form(mini, cell, message):
    path = mini.add("only", "x = 1", cell)
    last = len(path.read_text().splitlines())
    assert any(message.format(last) in problem for problem in lint.problems(mini.book)), (
        lint.problems(mini.book)
    )


def test_wrong_title(mini):
    path = mini.add("only", "x = 1")
    path.write_text(path.read_text().replace("# # 1.1 only", "# # 1.1 other"))
    assert "the title should be '# 1.1 only'" in lint.problems(mini.book)[0]


TABLE = 'tags=["notation"]\nrows = [\n    (r"\\mathbf{X}^\\top", "the transpose", "X.T", r"\\mathbf{X}^T"),\n    (r"\\log", r"as in $a\\in\\mathbb{R}$", "1", r"\\ln"),\n]'


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        (r"$\mathbf{W}^\top\alpha$, $\log a\in\mathbb{R}$, `$\bad$`", None),
        (r"$$\mathbf{W}^T \tag{1.2.1}$$", r"write $\mathbf{X}^\top$ rather than $\mathbf{X}^T$"),
        (r"$\ln a$", r"write $\log$ rather than $\ln$"),
        (r"$a\leq b$", r"write $\le$ rather than $\leq$"),
        (r"$\mathbb{Q}$", r"\mathbb{Q} is not in the tables of notation"),
        (r"$a\circledast b$", r"\circledast is not in the tables of notation"),
    ],
)
def test_formulas_use_the_symbols_of_the_tables(mini, formula, message):
    mini.add("tables", TABLE)
    mini.add("text", f"markdown\nIn words,\n{formula}", "x = 1")
    found = lint.problems(mini.book)
    if message is None:
        assert found == []
    else:
        assert len([p for p in found if message in p and "02-text.py" in p]) == 1, found


def test_a_broken_table_of_notation_is_named(mini):
    mini.add("tables", 'tags=["notation"]\nrows = [("a",)]')
    with pytest.raises(BookError, match="01-tables.py:.*not a list of rows"):
        lint.problems(mini.book)


def test_pictures_need_words_and_outputs_no_paths(mini, cli: Cli):
    mini.add(
        "only",
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()",
        "import os\nprint(os.getcwd())",
    )
    status, text = cli("check")
    assert (
        status == 1
        and f"01-only.py:{line_of(mini, 'import matplotlib')} (cell 2): the picture has no alternative text"
        in text
    )
    assert "the output shows a path of this machine" in text


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("print('AKIA' + 'ABCDEFGHIJKLMNOP')", "password or key"),
        ("import os\nprint(os.environ['SOME_API_TOKEN'])", "password or key"),
        (
            "import os\nfrom IPython.display import HTML\nHTML(f'<p>{os.getcwd()}</p>')",
            "path of this machine",
        ),
        ("print('a token is a word; ' + 'ghp' + '_short')", None),
    ],
)
def test_private_things_in_outputs(mini, cli: Cli, monkeypatch, cell, found):
    monkeypatch.setenv("SOME_API_TOKEN", "swordfish-9000")
    mini.add("only", cell)
    for verb in ("accept", "check"):
        status, text = cli(verb)
        assert (status == 0) if found is None else (status == 1 and found in text), text
    stored = section(mini).ipynb
    assert stored.exists() == (found is None)
