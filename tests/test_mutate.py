"""Mutants: which changes are made, which statements are left alone, and what notices a change."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap

import pytest
from conftest import ROOT

from bookbuild import mutants, mutate
from bookbuild.book import Book


def changes(operator: str, source: str, *before: str, names: str = "") -> list[str]:
    """The texts that an operator makes of a cell; `before` are the cells above it."""
    regions = mutants.Regions()
    for cell in before:
        regions.pieces(mutants.Code(cell))
    context = mutants.Context(frozenset(names.split()))
    found = mutants.cell_candidates(textwrap.dedent(source), regions, context)
    return [text for _, name, _, make in found if name == operator and (text := make())]


def touched(source: str, *before: str) -> set[str]:
    """Lines of a cell that some operator changes."""
    regions = mutants.Regions()
    for cell in before:
        regions.pieces(mutants.Code(textwrap.dedent(cell)))
    source = textwrap.dedent(source)
    made = mutants.cell_candidates(source, regions, mutants.Context())
    lines = source.splitlines()
    found: set[str] = set()
    for _, _, _, make in made:
        text = make()
        if text is not None:
            first, old, _ = mutants.changed_lines(source, text)
            found |= {lines[first].strip()} | set(old.splitlines())
    return found


@pytest.mark.parametrize(
    ("operator", "before", "after"),
    [
        ("axis", "y = X.sum(dim=0)", "y = X.sum(dim=1)"),
        ("axis", "y = torch.cat((A, B), 1)", "y = torch.cat((A, B), 0)"),
        ("axis", "y = X.softmax(-1)", "y = X.softmax(0)"),
        ("reduction", "y = (X @ w).mean()", "y = (X @ w).sum()"),
        ("extreme", "y = X.argmax(dim=1)", "y = X.argmin(dim=1)"),
        ("similar function", "y = X.std()", "y = X.var()"),
        ("keyword dropped", "y = f(X, keepdim=True)", "y = f(X)"),
        ("keyword dropped", "y = f(antialias=True, size=3)", "y = f(size=3)"),
        ("generator dropped", "y = torch.randn(3, generator=g)", "y = torch.randn(3)"),
        ("keyword flipped", "y = f(X, reduction='mean')", 'y = f(X, reduction="sum")'),
        ("keyword flipped", "y = X.var()", "y = X.var(correction=0)"),
        ("keyword flipped", "y = X.var(dim=0, correction=0)", "y = X.var(dim=0, correction=1)"),
        ("mode dropped", "y = net.eval()(X)", "y = net(X)"),
        ("state call dropped", "y = (a + b).detach()", "y = (a + b)"),
        ("state call dropped", "w = copy.deepcopy(v)", "w = (v)"),
        ("function dropped", "y = (a == b).float().mean()", "y = (a == b).mean()"),
        ("function dropped", "y = torch.relu(X)", "y = (X)"),
        ("arguments swapped", "y = kl(p, q)", "y = kl(q, p)"),
        ("operands swapped", "y = (a + b) / n", "y = n / (a + b)"),
        ("operands swapped", "y = a - (b - c)", "y = (b - c) - a"),
        ("operands swapped", "y = (a - b) ** 3", "y = (b - a) ** 3"),
        ("transpose dropped", "y = (A @ B).T @ x", "y = (A @ B) @ x"),
        ("factor", "loss = a * b", "loss = 0.5 * (a * b)"),
        ("off by one", "y = x[:n]", "y = x[:n - 1]"),
        ("off by one", "y = x[n:]", "y = x[n + 1:]"),
        ("off by one", "y = list(range(1, n))", "y = list(range(1, n - 1))"),
        ("element lost", "y = [f(i) for i in (1, 2, 3)]", "y = [f(i) for i in (1, 2, 3)[1:]]"),
        ("element lost", "y = [f(i) for i in items]", "y = [f(i) for i in list(items)[:-1]]"),
        ("statement dropped", "optimizer.step()", "pass"),
        ("statement dropped", "model.lr = 3", "pass"),
        ("noise or seed fixed", "y = x + torch.randn(3)", "y = x + (0 * torch.randn(3))"),
        ("noise or seed fixed", "torch.manual_seed(seed)", "torch.manual_seed(0)"),
        ("noise or seed fixed", "i = torch.randperm(n)", "i = torch.arange(n)"),
        ("mask shared", "m = torch.rand_like(X) > p", "m = torch.rand_like(X[:1]) > p"),
        ("NumberReplacer", "y = x * 3", "y = x * 4"),
        ("ReplaceBinaryOperator_Mul_Div", "y = x * 3", "y = x / 3"),
        ("ReplaceComparisonOperator_Lt_LtE", "y = a < b", "y = a <= b"),
        ("ReplaceTrueWithFalse", "y = loader(shuffle=True)", "y = loader(shuffle=False)"),
    ],
)
def test_each_operator_makes_its_change(operator, before, after):
    assert after in changes(operator, before)


def test_operators_of_blocks():
    with_block = "with torch.no_grad():\n    y = f(x)"
    assert changes("context dropped", with_block) == ["if True:\n    y = f(x)"]
    guard = "def f(x):\n    if x < 0:\n        raise ValueError(x)\n    return x"
    assert "def f(x):\n    pass\n\n    return x" in changes("statement dropped", guard)
    function = 'def f(x, y):\n    """Doc."""\n    z = x + y\n    return z'
    returned = changes("function returns its input", function)
    assert [text.splitlines()[2] for text in returned] == ["    return x", "    return True"]
    loop = "for p in (1, 2, 3):\n    s.append(f(p))"
    assert "for p in (1, 2, 3)[1:]:\n    s.append(f(p))" in changes("element lost", loop)


def test_statements_are_moved_only_where_the_order_may_matter():
    moved = "loss.backward()\noptimizer.step()"
    assert changes("statement moved", moved) == ["optimizer.step()\nloss.backward()"]
    assert changes("statement moved", "a = f(x)\nb = g(x)") == []
    assert changes("statement moved", "a = f(x)\nb = g(a)") == []  # a name would be missing
    assert changes("statement moved", "a = f(x)\nx = g(y)") == ["x = g(y)\na = f(x)"]
    assert changes("statement moved", "x = f(x)\nassert x") == []


def test_validation_data_become_training_data_where_there_are_any():
    source = "y = net(data.X_val)"
    assert changes("training data", source, names="X_val") == []
    assert changes("training data", source, names="X_val X_train") == ["y = net(data.X_train)"]


def test_a_change_keeps_the_line_numbers_and_letters_of_any_alphabet_in_their_place():
    source = "α = f(β, 'é', keepdim=True)  # ü\ny = g(\n    x.\n    abs(\n    ), 1)\nz = 1"
    assert "α = f(β, 'é')  # ü" in changes("keyword dropped", source)[0]
    for _, _, _, make in mutants.cell_candidates(source, mutants.Regions(), mutants.Context()):
        text = make()
        assert text is None or text.count("\n") == source.count("\n")


def test_checks_and_drawings_are_left_alone():
    source = """
        import torch
        x = 3 * a
        assert x.sum() == 3
        torch.testing.assert_close(x, 2 * y)
        for k in (1, 2):
            assert f(k) == 1
        if x > 2:
            z = 1 + x
            assert z > 2
        try:
            f(-1)
            raise AssertionError("accepted")
        except ValueError as error:
            print(error)
        fig, axes = plt.subplots(1, 2, figsize=(3, 2))
        for ax, v in zip(axes, (1, 2)):
            ax.plot(v * 2)
            w = v + 1
            ax.set(xlim=(0, 3))
        axes[0].axhline(3 * x)
        d2l.describe(axes, "two" * 2)
        d2l.use_style()
        lines = [ax.plot(i + 1) for ax in axes]
    """
    assert touched(source) == {
        "x = 3 * a", "z = 1 + x", "w = v + 1", "for ax, v in zip(axes, (1, 2)):"
    }  # fmt: skip


def test_axes_and_drawing_functions_are_known_in_later_cells():
    first = """
        left, right = fig.subplots(1, 2)
        def draw_net(ax, n):
            m = n + 1
            ax.plot(m)
        def check_all(x):
            y = x + 1
            assert y == 2
    """
    assert touched(first) == set()
    alias = "close = torch.testing.assert_close"
    assert touched("for k in (1, 2):\n    close(k, 2 * k)\nclose(1, 1)", alias) == set()
    assert touched("left.plot(1 + 2)\ndraw_net(left, 3)\ncheck_all(4)\ny = 5", first) == {"y = 5"}


def test_seeds_repetitions_and_words_in_strings_are_left_alone():
    assert changes("operands swapped", "y = (a - b).square() + (c - d) ** 2") == []
    assert changes("NumberReplacer", "x = torch.linspace(0.5, 100, 1_000)") == [
        "x = torch.linspace( 1.5, 100, 1_000)", "x = torch.linspace( -0.5, 100, 1_000)"
    ]  # fmt: skip
    assert touched("g = torch.Generator().manual_seed(3)") == set()
    assert touched("f(seed=3, size=s)") == {"f(seed=3, size=s)"}  # the keywords, not the seed
    assert changes("NumberReplacer", "for _ in range(100):\n    f(x)") == []
    assert changes("NumberReplacer", "s = f'{x:.2f} of 3'") == []
    assert changes("NumberReplacer", "x = 1e9") == []
    assert changes("NumberReplacer", "x = 1e-9") != []


SECTION = """
def scale(X, factor=2):
    \"\"\"Twice as much.\"\"\"
    total = X.sum(dim=0)
    return X * factor
"""


def test_a_sample_is_the_same_for_a_seed_and_has_no_change_twice(mini):
    mini.add("a", "import torch", f"tags=['export']\n{SECTION.strip()}", "y = scale(torch.ones(2))")
    section = mini.book.notebooks[0]
    one, two = mutants.sample(section, 7, 12), mutants.sample(section, 7, 12)
    assert [m.id for m in one] == [m.id for m in two] and len(one) == 12
    assert [m.id for m in one] != [m.id for m in mutants.sample(section, 8, 12)]
    assert len({(m.cell, m.source) for m in one}) == 12
    assert all(m.source != m.before and m.section == "1.1" for m in one)
    lines = section.text.splitlines()
    for m in one:
        assert m.old.splitlines()[0] in lines[m.line - 1]
        assert ("scale",) == m.exports if m.cell == 2 else m.exports == ()


def test_a_sample_does_not_depend_on_the_hashes_of_the_process(mini):
    mini.add("a", "y = f(x, reduction='none')\nz = g(y)[1:].mean(dim=0, keepdim=True)")
    code = (
        "import sys; from bookbuild.book import Book; from bookbuild.mutants import sample;"
        "print([m.new for m in sample(Book(sys.argv[1]).notebooks[0], 7, 9)])"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code, str(mini.root)],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        ).stdout
        for seed in "1234"
    }
    assert len(seen) == 1


def test_half_of_a_sample_at_most_is_arithmetic_and_a_fifth_in_solutions(mini):
    cell = "y = 1 + 2 * 3 - 4\nz = [f(k) for k in (1, 2, 3)][y:]"
    solution = "markdown\n### Solution 1.1-1"
    mini.add("a", cell, "markdown\n## Exercises", solution, *[f"{cell} * {i}" for i in range(5)])
    sampled = mutants.sample(mini.book.notebooks[0], 1, 10)
    plain = [m for m in sampled if m.operator.startswith(("Number", "ReplaceBinary"))]
    assert len(plain) <= 5
    assert 0 < sum(m.solution for m in sampled) <= 2


def test_cells_of_parameters_checks_and_magics_are_left_out(mini):
    mini.add(
        "a", "tags=['parameters']\nn = 3", "# check 1.1-C1\nx = n + 1\nassert x == 4", "%time y = 4",
        "# check: seven\nv = 7\nassert v == 7",
        "tags=['hide-input']\nplt.plot(3)\nz = 4", "w = 5",
    )  # fmt: skip
    found = {m.old for m in mutants.sample(mini.book.notebooks[0], 0, 100)}
    assert found == {"w = 5"}


# Runs

OPEN = "y = scale(torch.ones(3))"
CHECKED = f"# check 1.1-C1\n{OPEN}\nassert y.tolist() == [2, 2, 2]"
TARGET = ("return X * factor", "return X / factor")


def files(root):
    """Digest of every file below a folder but for build results."""
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in root.rglob("*")
        if p.is_file() and not {"build", "store", "__pycache__"} & set(p.relative_to(root).parts)
    }


@pytest.fixture
def one(monkeypatch):
    """Fixes the sample: one change of a line, in each section that has it."""

    def fix(old, new):
        def sample(section, seed, count):
            for index, cell in section.code_cells():
                if old in cell.source:
                    text = cell.source.replace(old, new)
                    exports = ("scale",) if "export" in cell.metadata.get("tags", []) else ()
                    line = section.cell_lines[index] + cell.source[: cell.source.index(old)].count(
                        "\n"
                    )
                    return [
                        mutants.Mutant(
                            section.id,
                            index,
                            line,
                            "test",
                            old,
                            new,
                            text,
                            cell.source,
                            False,
                            exports,
                        )
                    ]
            return []

        monkeypatch.setattr(mutate, "sample", sample)

    monkeypatch.setenv("BOOK_WORKERS", "1")
    return fix


def make(mini, cli, last):
    """A book whose section 1.1 exports `scale` and ends with a cell; with stored outputs."""
    mini.add("a", "import torch", f"tags=['export']\n{SECTION.strip()}", last)
    status, text = cli("accept")
    assert status == 0, text


@pytest.mark.parametrize(("last", "by"), [
    (CHECKED, "check 1.1-C1"), (f"{OPEN}\nassert y.tolist() == [2, 2, 2]", "AssertionError"),
    (f"{OPEN}\nprint(y.tolist())", "output"), (f"{OPEN}\nimport warnings\nif y[0] < 1:\n    warnings.warn('small')", "warning"),
])  # fmt: skip
def test_a_change_is_noticed(mini, cli, one, last, by):
    make(mini, cli, last)
    one(*TARGET)
    status, text = cli("mutate", "1.1")
    assert status == 0 and "1.00" in text and "survived:" not in text, text
    report = json.loads((mini.root / "build/mutants/1.1.json").read_text())
    assert [v["by"] for v in report["mutants"][0]["killers"]] == [by]


def test_a_change_that_nothing_notices_is_shown_marked_and_recorded(mini, cli, one):
    make(mini, cli, OPEN)
    one(*TARGET)
    before = files(mini.root)
    status, text = cli("mutate", "1.1", "--seed", "3", "--floor", "0.8")
    assert status == 1
    line = next(
        i for i, row in enumerate(mini.book.notebooks[0].text.splitlines(), 1) if TARGET[0] in row
    )
    assert (
        f"survived: book/01-start/01-a.py:{line} [test]\n    - {TARGET[0]}\n    + {TARGET[1]}"
        in text
    )
    assert files(mini.root) == before

    (mini.root / "tests").mkdir()
    entry = f'[[equivalent]]\nsection = "1.1"\nold = "{TARGET[0]}"\nnew = "{TARGET[1]}"\nreason = "{{}}"\n'
    (mini.root / "tests/equivalent.toml").write_text(
        entry.format("nothing is ever scaled here at all")
    )
    status, text = cli("mutate", "1.1", "--seed", "3", "--floor", "0.8", "--record")
    assert status == 0 and "survived:" not in text
    recorded = json.loads((mini.root / "tests/mutation.json").read_text())["1.1"]
    assert recorded.pop("date") and recorded == {
        "seed": 3,
        "tried": 1,
        "killed": 0,
        "equivalent": 1,
        "survived": 0,
    }


def test_what_has_a_verdict_does_not_run_again_until_the_section_changes(mini, cli, one):
    make(mini, cli, CHECKED)
    one(*TARGET)
    assert "[1/1] 1.1, 1 mutants" in cli("mutate")[1]
    log = mini.root / "build/mutants/1.1.jsonl"
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    assert "[1/1]" not in cli("mutate")[1]
    log.write_text(lines[0] + "\n" + lines[1][:20])  # as a killed run leaves it
    assert "[1/1] 1.1, 1 mutants" in cli("mutate")[1]
    path = mini.root / "book/01-start/01-a.py"
    path.write_text(path.read_text().replace("ones(3)", "ones(4)").replace("[2, 2, 2]", "[2] * 4"))
    assert "[1/1] 1.1, 1 mutants" in cli("mutate")[1]


def test_a_book_that_is_red_without_a_change_gets_no_score(mini, cli, one):
    make(mini, cli, f"{OPEN}\nprint(y.tolist())")
    path = mini.root / "book/01-start/01-a.py"
    path.write_text(path.read_text().replace("factor=2", "factor=3"))
    one(*TARGET)
    status, text = cli("mutate")
    assert (
        status == 1
        and "1.1: no score, as it is red without a change: book/01-start/01-a.py:" in text
    )
    assert "survived:" not in text


def test_exported_code_is_tried_on_the_notebooks_that_use_it(mini, cli, one):
    mini.add("a", "import torch", f"tags=['export']\n{SECTION.strip()}", OPEN)
    mini.add(
        "b",
        "import torch\nfrom d2l_helpers.chapters.start import scale",
        "assert scale(torch.ones(1)) == 2",
    )
    mini.add("c", "x = 1")
    status, text = cli("accept")
    assert status == 0, text
    before = files(mini.root)
    one(*TARGET)
    status, text = cli("mutate", "1.1")
    assert status == 0 and "1.1:" in text and "in 1.2: done" in text and "in 1.3" not in text, text
    assert "survived:" not in text
    assert files(mini.root) == before


def test_an_endless_loop_is_noticed(mini, cli, one, monkeypatch):
    monkeypatch.setattr(mutate, "LEAST", 2.0)
    monkeypatch.setattr(mutate, "TIMES", 0.0)
    make(mini, cli, "n = 3\nwhile n:\n    n -= 1")
    one("n -= 1", "n -= 0")
    status, text = cli("mutate")
    assert status == 0, text
    report = json.loads((mini.root / "build/mutants/1.1.json").read_text())
    assert [v["by"] for v in report["mutants"][0]["killers"]] == ["limit"]


RICH = """
import sys
from IPython.display import clear_output, display
import matplotlib.pyplot as plt
import d2l_helpers as d2l
d2l.use_style()
print("before"); display("shown"); print("after")
h = display("old", display_id="d")
h.update("new")
fig, ax = plt.subplots()
ax.plot([1, 2, 3])
d2l.describe(fig, "a line")
print("end", file=sys.stdout)
"""


def test_a_snapshot_records_outputs_as_a_kernel_does(mini, cli, one):
    make(mini, cli, RICH)
    path = mini.root / "book/01-start/01-a.py"
    path.write_text(
        path.read_text()
        + "\n# %%\nprint('gone'); clear_output(wait=True); print('there')\n"
        + "\n# %%\n7;\n\n# %%\n{'a': 7}\n\n# %% tags=['warns']\nprint('red', file=sys.stderr)\n"
    )
    assert cli("accept")[0] == 0
    one(*TARGET)
    status, text = cli("mutate")
    assert status == 0 and "survived: book" in text, text


def test_entries_of_equivalent_changes_are_true_for_the_book():
    assert mutate.idle(Book(ROOT), mutate.equivalents(ROOT)) == []


def test_entries_that_say_nothing_are_found(mini):
    mini.add("a", "x = 1")
    (mini.root / "tests").mkdir()
    row = '[[equivalent]]\nsection = "{}"\nold = "{}"\nnew = "y"\nreason = "{}"\n'
    good = "the value of x is never used again"
    (mini.root / "tests/equivalent.toml").write_text(
        row.format("1.1", "x = 1", good) + row.format("1.1", "x = 2", good)
        + row.format("1.1", "x = 1", "because") + row.format("1.9", "x = 1", good)
    )  # fmt: skip
    found = mutate.idle(mini.book, mutate.equivalents(mini.root))
    assert [("no line" in f, "sentence" in f, "no notebook" in f) for f in found] == [
        (True, False, False), (False, True, False), (False, False, True)
    ]  # fmt: skip
