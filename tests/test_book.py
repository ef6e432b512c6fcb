"""The real book: its plan, its form, its links, its checks."""

import ast
import graphlib
import itertools
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import jupytext
import nbformat
import pytest
import torch
from torch import nn

from benchmarks import texts
from bookbuild import export, keys, lint, outputs, pair
from bookbuild.book import Book, BookError
from bookbuild.record import PROFILES
from d2l_helpers.chapters import nlp_pretraining, optimization

BOOK = Book()


def test_form_and_links():
    """check 3.0-C1 and every other page: links and references lead somewhere, numbers are in order."""
    assert lint.problems(BOOK) == []


def test_the_readme_lists_every_section():
    listed = re.findall(r"\]\((book/\d\d-[^)]+)\)", (BOOK.root / "README.md").read_text())
    pages = [
        s.path if s.path.suffix == ".md" else s.path.with_suffix(".ipynb") for s in BOOK.sections
    ]
    assert listed == [page.relative_to(BOOK.root).as_posix() for page in pages]


def test_nothing_is_stale():
    assert export.stale(BOOK) == [] and pair.stale(BOOK) == []


@pytest.mark.parametrize("section", BOOK.notebooks, ids=lambda s: s.id)
def test_every_planned_check_is_marked(section):
    assert section.marked_checks and set(section.marked_checks) == {
        f"C{i}" for i in range(1, section.checks + 1)
    }


@pytest.mark.parametrize("section", BOOK.notebooks, ids=lambda s: s.id)
def test_stored_outputs_vouch_for_themselves(section):
    """The outputs are those of a recorded run; pictures have words, nothing shows a path or is too large."""
    notebook = pair.committed(section)
    run = pair.stored_run(notebook)
    assert run is not None and run.ok and run.key == run.key_after
    assert run.when and run.seconds > 0 and run.compared > 0 and run.versions
    assert outputs.problems(section, notebook, BOOK.root) == []


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


# What the abstracts (or, where marked, the results) of the sources of section 1.8 state, looked up when the page was
# written: the figures, and words without which the sentence would say something else.
STATED = {
    "10.1109/5.726791": ("", "several million cheques"),
    "1610.05256": ("5.8 5.9", "transcribers"),
    "1409.0575": ("28", "error"),
    "1709.01507": ("2.25", "error"),
    "1902.10811": ("11 14", "dropped"),
    "2005.09619": ("3.6 11.7", "remained"),
    "10.1145/203330.203343": ("", "close to"),
    "10.1016/S0004-3702(01)00129-1": ("", "search and special hardware"),
    "10.1038/nature16961": ("5 0", "European champion"),
    "10.1126/science.aao1733": ("120000", "four professionals"),
    "2505.01515": ("56.7", "without a driver"),
    "2005.14165": ("175", "billion parameters"),
    "2203.02155": ("1.3 175", "preferred the answers of a model with [1.3"),
    "2109.07958": ("58 94", "best model; people in 94; largest models were generally the least"),
    "2501.12948": ("15.6 71.0 71.5 49.2", ""),  # figures 1 and 2
    "2311.12022": ("65 34 39", "experts of the field reached [65; other skilled people 34"),
    "2303.08774": ("10 67", ""),  # 67: table 2
    "10.1007/s10506-024-09396-9": ("62 42", "first-time; 42nd on essays"),
    "2107.03374": ("28.8", "one attempt"),
    "2310.06770": ("1.96", "best model"),
    "10.1038/s41586-021-03819-2": ("0.96", "median"),
    "2303.10130": ("80", "at least a tenth"),
    "2001.08361": ("", "power laws"),
    "buolamwini18a": ("34.7 0.8 79.6 86.2", ""),
    "10.1126/science.aax2342": ("17.7 46.5", "Black patients"),
}


def test_every_number_of_the_success_stories_is_one_of_its_source():
    """check 1.8-C1: the figures of a sentence (years and sections apart) are those of the sources that it links to."""
    text = next(s for s in BOOK.sections if s.id == "1.8").text
    body = text[text.index("## Measured") : text.index("## The essence")]
    used = set()
    for sentence in body.splitlines():
        sources = [s for s in STATED if s in sentence]
        assert sentence.count("](https://") <= len(sources), f"a source not looked up: {sentence}"
        words = re.sub(
            r"\]\([^\s]*\)|\b(?:19|20)\d\ds?\b|Sections? [\d. and]+|<!--.*?-->", "", sentence
        )
        figures = re.findall(r"\d[\d. ]*\d|\d", words)
        stated = {n for s in sources for n in STATED[s][0].split()}
        wrong = {n.replace(" ", "") for n in figures} - stated
        assert not wrong, f"{wrong} is not in {sources}: {sentence}"
        for source in sources:
            for phrase in filter(None, STATED[source][1].split("; ")):
                assert phrase in sentence, f"{source} says {phrase!r}: {sentence}"
        used |= set(sources)
    assert used == set(STATED)


def test_the_network_of_the_builders_guide_has_the_numbers_of_its_overview():
    """check 6.0-C2: PyTorch counts what the page predicts for the perceptron 20-256-10."""
    text = next(s for s in BOOK.sections if s.id == "6.0").text
    body = text.split("## One network")[1].split("\n## ")[0].replace("\\,", "")

    def size(tensors):
        return sum(t.numel() * t.element_size() for t in tensors)

    net = nn.Sequential(nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 10))
    lazy = nn.Sequential(nn.LazyLinear(256), nn.ReLU(), nn.LazyLinear(10))
    lazy(torch.ones(1, 30))
    with pytest.raises(RuntimeError):
        lazy(torch.ones(1, 20))
    first, last, whole, wide = (
        sum(p.numel() for p in m.parameters()) for m in (net[0], net[2], net, lazy)
    )
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 20)).sum().backward()
    adam.step()
    averages = (s[k] for s in adam.state.values() for k in ("exp_avg", "exp_avg_sq"))
    held = 2 * size(net.parameters()) + size(averages)
    row = size([net[:2](torch.ones(1, 20))])
    counts = [first, last, whole, last, last, wide, whole, first]
    counts += [whole, size(net.parameters()), whole, held, row]
    assert [int(n) for n in re.findall(r"\d{4,}", re.sub(r"\d*\.\d+", "", body))] == counts
    assert f"From ${held // row + 1}$ examples" in body
    assert r"\frac13\cdot\frac12\cdot\frac13=\frac1{18}" in body
    squares = []
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        for _ in range(1000):
            for layer, bound in ((net[0], 0.224), (net[2], 0.0625)):
                layer.reset_parameters()
                layer.bias.zero_()
                assert 0.98 * bound < layer.weight.abs().max() <= bound
                assert f"\\pm{bound}$" in body
            squares.append(net(torch.randn(20, 20)).square().mean())
    assert abs(18 * torch.stack(squares).mean() - 1) < 0.06


def test_optimizers_keep_what_the_overview_says():
    """check 12.0-C2: ours and PyTorch's keep as many numbers for a matrix as the table says."""
    text = next(s for s in BOOK.sections if s.id == "12.0").text
    m, n, said = 6, 4, dict[str, int]()
    for names, formula, share in re.findall(
        r"^\| ([^|]+) \| (nothing|\$[^|]+\$) \| ([\d.]+) \|$", text, re.M
    ):
        terms = formula.strip("$").replace("nothing", "0").replace("mn", "m*n").replace("^", "**")
        count = compile(re.sub(r"(\d)([m(])", r"\1*\2", terms), formula, "eval")
        said |= {name.strip().lower(): eval(count, {"m": m, "n": n}) for name in names.split(",")}
        assert abs(eval(count, {"m": 1024, "n": 1024}) / 1024**2 - float(share)) < 5e-4
    weight = torch.randn(m, n, generator=torch.Generator().manual_seed(0))

    def numbers(kept):
        tensors = [t for k in kept for t in (k if isinstance(k, list) else [k])]
        return sum(t.numel() for t in tensors if isinstance(t, torch.Tensor) and t.dim())

    ours = {name: getattr(optimization, name) for name in said if hasattr(optimization, name)}
    assert set(ours) >= {"sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"}
    page = next(s for s in BOOK.sections if s.id == "12.10").text
    taught = {"torch": torch}  # what 12.10 defines and does not export
    for name in ("power", "lion", "shampoo", "soap"):
        exec(re.search(rf"^def {name}\(.*?(?=^\S)", page, re.M | re.S).group(), taught)
    for name, step in (ours | {name: taught[name] for name in ("lion", "shampoo", "soap")}).items():
        state = {}
        step([weight.clone()], [weight], state, {"lr": 0.1, "beta": 0.9, "gamma": 0.9})
        kept = [k for v in state.values() for k in (v.values() if isinstance(v, dict) else [v])]
        assert numbers(kept) == said[name], name
    theirs = {o.lower(): getattr(torch.optim, o) for o in dir(torch.optim) if o.lower() in said}
    assert set(theirs) >= {*ours, "adadelta", "muon", "adafactor"} - {"momentum"}
    theirs["momentum"] = partial(torch.optim.SGD, momentum=0.9)
    for name, make in theirs.items():
        p = nn.Parameter(weight.clone())
        optimizer = make([p], lr=0.1)
        p.grad = weight.clone()
        optimizer.step()
        assert numbers(optimizer.state[p].values()) == said[name], name


def test_models_for_texts_have_the_parameters_of_the_overview():
    """check 16.0-C2: all, and those outside the tables, of what `benchmarks.texts` times."""
    text = next(s for s in BOOK.sections if s.id == "16.0").text
    rows = re.findall(r"^\| [^|]+ \| ([\d ]+) \| ([\d ]+) \| [^|]+ \|$", text, re.M)
    said = [tuple(int(n.replace(" ", "")) for n in row) for row in rows]
    assert said == [texts.sizes(make()) for make in texts.MODELS.values()]
    last = nlp_pretraining.bert_param_count(30522, 768, 12, 3072, pooler=False) + 2 * 768 + 2
    assert said[-1][0] == last


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


# Reading: what Jupytext would make of a file, in a fraction of its time; and no traceback for any bytes.


@pytest.mark.parametrize("section", BOOK.notebooks, ids=lambda s: s.id)
def test_cells_are_those_of_jupytext(section):
    cells = jupytext.reads(section.text, fmt="py:percent").cells
    assert [(c.cell_type, c.source, list(c.metadata.get("tags", []))) for c in cells] == [
        (c.kind, c.source, list(c.tags)) for c in section.cells
    ]
    nbformat.validate(section.notebook)


@pytest.mark.parametrize(
    "body",
    [
        "# %% [markdown]\n# a\n#\n# b\n#\n\n\n# %%\nx = 1\n\n\n\ny = 2\n\n\n",
        "# %%\n# %time f()\n# !ls\n# %%\n# cat = 1\ncat = 2\n# %%\n# a comment?\n",
        "# %%\n\n\nx = 1\n# %%\n# %% [markdown]\n# %%\n",
        "# %% [markdown]\nplain text\n# and a comment\n# %% [raw]\n# text\n",
        '# %% [markdown]\n"""\ntext\n"""\n# %%\n"""\ntext\n"""\n',
        '# %% A title\nx = 1\n# %% [markdown] tags=["a", "b"]\n# x\n',
        '# %% tags=["a"] slideshow={"slide_type": "slide"}\nx = 1\n',
        "# %%\ncopy = 1\nls\nx = !ls\n# %%time\nf?\n",
        "# %%\n# + a\n# - b\n# comment\n# %% [markdown]\n#no space\n# # Title\n",
        '# %% tags=["active-ipynb"]\n# x = 1\n',
        "# %%\nif x:\n    # %matplotlib inline\n    pass\n# %%\n'''\n# not a cell\n'''\n",
        "# %% [markdown]\n#  two spaces\n# trailing  \n# \n# x\n",
    ],
)
def test_odd_cells_are_those_of_jupytext(mini, body):
    path = mini.add("only", "x = 1")
    path.write_text(path.read_text() + "\n" + body)
    section = mini.book.notebooks[0]
    cells = jupytext.reads(section.text, fmt="py:percent").cells
    assert [(c.cell_type, c.source, list(c.metadata.get("tags", []))) for c in cells] == [
        (c.kind, c.source, list(c.tags)) for c in section.cells
    ]
    lines = section.text.split("\n")
    assert all(lines[cell.line - 2].startswith("# %%") for cell in section.cells)


def test_a_mark_and_line_ends_of_other_systems_are_read(mini):
    path = mini.add("only", "x = 1\ny = 'ä'")
    plan = mini.root / "book" / "contents.toml"
    wanted = mini.book.notebooks[0].notebook
    text, contents = path.read_text(), plan.read_text()
    where = f":{text.splitlines().index('x = 1') + 1} (cell 2)"
    plan.write_bytes(b"\xef\xbb\xbf" + contents.encode())
    for end in ("\r\n", "\r", "\n"):
        path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", end).encode())
        section = mini.book.notebooks[0]
        assert section.notebook == wanted and section.where(1).endswith(where)
        assert lint.problems(mini.book) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"x = 1", b"x = '\xe9'", "only.py:{}: the byte 0xe9 is not UTF-8; save the file"),
        (b"x = 1", b"x = '\x00'", "only.py:{}: there is the invisible character U+0000; delete"),
        (b"x = 1", "x = '\u2028'".encode(), "only.py:{}: there is the invisible character U+2028"),
        (b"#   d2l:", b"#   d2l: {", "(header): "),
        (b"# ---\n# jupyter", b"#---\n# jupyter", "only.py:1: there is text before the first cell"),
    ],
)
def test_unreadable_sources_are_one_line(mini, cli, old, new, message):
    path = mini.add("only", "x = 1")
    data = path.read_bytes()
    line = data[: data.index(old)].count(b"\n") + 1
    path.write_bytes(data.replace(old, new, 1))
    for verb in ("pair", "run", "check"):
        status, text = cli(verb)
        assert status == 1 and "Traceback" not in text
        assert "error: book/01-start/01-" in text and message.format(line) in text, text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"title = '\xe9'", "book/contents.toml:1: the byte 0xe9 is not UTF-8"),
        (b"title = ", "book/contents.toml: "),
        (b"[[chapter]]\nnumber = 1\n", "book/contents.toml: an entry has no 'sections'"),
    ],
)
def test_an_unreadable_plan_is_one_line(mini, cli, data, message):
    (mini.root / "book" / "contents.toml").write_bytes(data)
    status, text = cli("status")
    assert status == 1 and text.startswith("error: ") and message in text, text


def test_a_folder_without_a_book_is_named(tmp_path):
    with pytest.raises(BookError, match="no root of a book"):
        Book(tmp_path)


def rehearsal(mini, gpu: str, factors: str):
    path = mini.add(
        "knobs", 'tags=["parameters"]\nsteps = 7\nrate = 0.5\nsizes = [1, 2]\nname = ""'
    )
    text = path.read_text().replace("gpu: {}", f"gpu: {gpu}")
    path.write_text(text.replace("#     limits", f"#     rehearsal: {factors}\n#     limits"))
    return mini.book.notebooks[0]


def test_the_rehearsal_is_the_gpu_profile_cut(mini):
    section = rehearsal(
        mini,
        "{steps: 1000, rate: 0.5, sizes: [100, 3, 2.5]}",
        "{steps: 0.01, sizes: 0.1}",
    )
    values = section.profile("rehearsal")
    assert values == {"steps": 10, "rate": 0.5, "sizes": [10, 1, 0.25]}
    assert [type(v) for v in (values["steps"], *values["sizes"])] == [int, int, int, float]
    assert section.profile("gpu")["steps"] == 1000
    assert section.profile("cpu") == section.profile("smoke") == {}


@pytest.mark.parametrize(
    ("gpu", "factors", "message"),
    [
        ("{steps: 10}", "{rate: 0.1}", "rehearsal cuts 'rate', which the profile gpu does not set"),
        ("{steps: 10}", "{stepz: 0.1}", r"does not set \(it sets: steps\)"),
        ("{name: large}", "{name: 0.1}", "rehearsal multiplies 'name', which is 'large', by 0.1"),
        ("{steps: 10}", "{steps: few}", "which is 10, by 'few'"),
    ],
)
def test_a_rehearsal_that_does_not_fit(mini, gpu, factors, message):
    with pytest.raises(BookError, match=message):
        rehearsal(mini, gpu, factors).profile("rehearsal")


def test_unknown_profiles_are_named(mini):
    with pytest.raises(BookError, match="no profile 'gpuu'; use " + ", ".join(PROFILES)):
        rehearsal(mini, "{}", "{}").profile("gpuu")
    path = mini.book.notebooks[0].path
    path.write_text(path.read_text().replace("smoke: {}", "smok: {}"))
    with pytest.raises(BookError, match="no profile 'smok'; use " + ", ".join(PROFILES)):
        mini.book.notebooks[0].profile("cpu")


def test_a_source_is_read_and_parsed_once(mini, monkeypatch):
    """Exports, keys and linter share the cells and their trees."""
    mini.add("one", "import math", 'tags=["export"]\ndef f():\n    return math.pi')
    mini.add("two", "from d2l_helpers.chapters.start import f\nprint(f())")
    book, read, parsed = mini.book, [], []
    real_read, real_parse = Path.read_bytes, ast.parse
    monkeypatch.setattr(Path, "read_bytes", lambda p: read.append(p) or real_read(p))
    monkeypatch.setattr(ast, "parse", lambda s, *a, **k: parsed.append(s) or real_parse(s, *a, **k))
    export.write(book)
    sources = keys.Sources(book.root)
    for section in book.notebooks:
        keys.key(section, "cpu", "real", sources)
    lint.problems(book)
    ours = [p for p in read if p.parent.parent == book.root / "book"]
    assert sorted(ours) == [s.path for s in book.notebooks]
    cells = [c.source for s in book.notebooks for c in s.cells]
    assert all(parsed.count(source) <= 1 for source in cells)


def test_nothing_heavy_is_loaded_to_read_the_book():
    """Reading, exporting and keys need neither Jupytext nor torch."""
    code = (
        "import sys\nfrom bookbuild import export, keys, lint\nfrom bookbuild.book import Book\n"
        "book = Book()\nexport.modules(book)\nsources = keys.Sources(book.root)\n"
        "for s in book.notebooks:\n    sources.reached([c for _, c in s.code]), s.notebook\n"
        "lint.problems(book)\n"
        "print([m for m in ('torch', 'matplotlib', 'lark', 'IPython') if m in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=BOOK.root
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr


@pytest.mark.parametrize("want", [".", "", "y", "/nowhere/01-only.py"])
def test_a_name_that_is_none_selects_nothing(mini, want):
    mini.add("only", "x = 1")
    with pytest.raises(BookError, match="Name a section"):
        mini.book.select([want])
    assert mini.book.select(["01-only.py", "book/01-start/01-only.ipynb"]) == mini.book.notebooks
