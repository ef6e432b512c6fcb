"""`make lab`: a section is one notebook, a save changes what the reader changed; and the way back."""

import contextlib
import copy
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import nbformat
import pytest
from conftest import end
from tornado.web import HTTPError

from bookbuild import check, lab, lab_contents, pair
from bookbuild.lab_contents import BookContents
from bookbuild.outputs import clean_outputs
from bookbuild.record import Run


@pytest.fixture
def server(mini, tmp_path):
    """A server of `make lab`; gives a function that asks it."""
    mini.add("only", "markdown\nSome text.", "print(1)")
    options = ["--no-browser", "--ServerApp.ip=127.0.0.1", "--allow-root"]
    process = subprocess.Popen(
        lab.command(mini.root, *options, "--IdentityProvider.token=t"),
        env=lab.environment() | {"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")},
        cwd=mini.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def address() -> str:
        """Where it listens: it takes a port that is free, and writes down which."""
        for _ in range(600):
            for file in (tmp_path / "runtime").glob("jpserver-*.json"):
                with contextlib.suppress(ValueError, KeyError):  # not written to its end yet
                    return str(json.loads(file.read_text())["url"]).rstrip("/")
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        raise AssertionError("the server did not say where it listens")

    def get(path: str):
        mark = "&" if "?" in path else "?"
        with urllib.request.urlopen(f"{base}{path}{mark}token=t", timeout=30) as reply:
            return json.load(reply)

    try:
        base = address()
        for _ in range(600):
            try:
                get("/api")
                break
            except (urllib.error.URLError, ConnectionError):
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
        yield get
    finally:
        end(process)


def test_a_server_that_does_not_end_is_killed():
    """No test leaves one behind, and none fails because a server takes its time to end."""
    ignores = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", ignores], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        end(process, 0.2)
        assert process.returncode == -signal.SIGKILL


def test_lab_opens_sources_as_notebooks(server):
    content = server("/api/contents/book/01-start/01-only.py?type=notebook&content=1")
    assert content["type"] == "notebook"
    assert [c["cell_type"] for c in content["content"]["cells"]] == ["markdown", "markdown", "code"]
    viewers = server("/lab/api/settings/@jupyterlab/docmanager-extension:plugin")["schema"][
        "properties"
    ]["defaultViewers"]["default"]
    assert viewers == {
        "python": "Jupytext Notebook",
        "notebook": "Notebook",
        "markdown": "Markdown Preview",
    }
    news = server("/lab/api/settings/@jupyterlab/apputils-extension:notification")["schema"][
        "properties"
    ]
    assert news["fetchNews"]["default"] == "false"
    page = server(f"/api/contents/{lab.WELCOME}?type=file&content=1")
    assert "[1.1 only](book/01-start/01-only.py)" in page["content"]


CELLS = (
    "def f(x):\n    return x\n",
    "print(f(1.5))",
    "markdown\nSome text.\nMore of it.",
    "print('text')",
)


def store(mini, *printed: str, when: str = "2026-01-01"):
    """Accept a run of the first section whose code cells printed these words."""
    section = mini.book.select(["1.1"])[0]
    executed = copy.deepcopy(section.notebook)
    cells = [c for c in executed.cells if c.cell_type == "code"]
    for cell, words in zip(cells, printed, strict=True):
        number = nbformat.v4.new_output("display_data", {"application/json": {"x": [-3.0, 0.5]}})
        stream = nbformat.v4.new_output("stream", text=words, name="stdout")
        cell["outputs"] = clean_outputs([stream, number]) if words else []
    run = Run("1.1", "cpu", "ok", key="k1", when=when)
    section.ipynb.write_text(pair.text_of(pair.reference(section, executed, run)))
    return section


@pytest.fixture
def contents(mini):
    """The contents of JupyterLab for a book with one accepted section."""
    path = mini.add("only", *CELLS)
    text = path.read_text()  # entries in an order that no program writes; two empty lines after `f`
    text = text.replace(
        "#       gpu: {}\n#       smoke: {}\n", "#       smoke: {}\n#       gpu: {}\n"
    )
    path.write_text(text)
    store(mini, "", "1.5\n", "text\n")
    return BookContents(root_dir=str(mini.root))


PY, IPYNB = "book/01-start/01-only.py", "book/01-start/01-only.ipynb"


def files(mini) -> dict[str, bytes]:
    """The files of the book and what Lab keeps, with their bytes."""
    found = [*(mini.root / "book").rglob("*"), *(mini.root / "build").rglob("*")]
    return {p.relative_to(mini.root).as_posix(): p.read_bytes() for p in found if p.is_file()}


def opened(contents, path: str = PY):
    """A notebook as the browser has it: without -3.0, with what Lab and its kernel note down."""
    model = contents.get(path, content=True, type="notebook")
    plain = pair.canonical(json.loads(json.dumps(model["content"])))
    for cell in plain["cells"]:
        cell["metadata"]["trusted"] = True
    return plain


def save(contents, notebook, path: str = PY):
    return contents.save({"type": "notebook", "format": "json", "content": notebook}, path)


def code(notebook, number: int):
    return [c for c in notebook["cells"] if c["cell_type"] == "code"][number]


def texts(notebook) -> list[str]:
    return [c["outputs"][0]["text"] for c in notebook["cells"] if c.get("outputs")]


@pytest.mark.parametrize("path", [PY, IPYNB])
def test_opening_and_saving_changes_nothing(mini, contents, path):
    before = files(mini)
    notebook = opened(contents, path)
    assert texts(notebook) == ["1.5\n", "text\n"]
    assert "pygments_lexer" in notebook["metadata"]["language_info"], "or a kernel would change it"
    save(contents, notebook, path)
    assert files(mini) == before


@pytest.mark.parametrize("path", [PY, IPYNB])
def test_a_word_is_a_change_of_its_line(mini, contents, path):
    before = files(mini)
    notebook = opened(contents, path)
    cell = next(c for c in notebook["cells"] if "Some text" in c["source"])
    cell["source"] = cell["source"].replace("Some", "Other")
    save(contents, notebook, path)
    expected = before[PY].replace(b"Some text", b"Other text")
    assert files(mini) == before | {PY: expected}
    assert expected.count(b"Other") == 1


def test_outputs_of_a_run_stay_beside_the_accepted_ones(mini, contents):
    before = files(mini)
    notebook = opened(contents)
    code(notebook, 1)["outputs"][0]["text"] = "mine\n"
    code(notebook, 1)["metadata"]["slideshow"] = {"slide_type": "slide"}
    save(contents, notebook)
    after = files(mini)
    kept = "build/lab/01-start/01-only.ipynb"
    assert {n: after[n] for n in before} == before and set(after) - set(before) == {kept}
    again = opened(contents)
    assert texts(again) == ["mine\n", "text\n"]
    assert code(again, 1)["metadata"]["slideshow"] == {"slide_type": "slide"}
    store(mini, "", "1.6\n", "text\n", when="2026-02-02")
    assert texts(opened(contents)) == ["1.6\n", "text\n"], "newly accepted ones are shown"


def test_what_the_source_cannot_hold_is_kept(mini, contents):
    before = files(mini)
    notebook = opened(contents)
    notebook["cells"][0]["source"] += "\n%%%"  # no line of a cell in the source
    code(notebook, 1)["source"] = "x = 1\n# %%\ny = 2"
    refused(contents, notebook, "would be another one", "a line begin with `# %%`?")
    notebook = opened(contents)
    code(notebook, 0)["outputs"] = []
    code(notebook, 1)["outputs"][0]["text"] = "other\n"
    save(contents, notebook)
    after = files(mini)
    assert after[PY] == before[PY] and after[IPYNB] == before[IPYNB]
    kept = mini.root / "kept" / "not-saved" / "01-start" / "01-only.ipynb"
    assert "y = 2" in kept.read_text(), "a later save does not touch it"


def refused(contents, notebook, *words: str) -> None:
    """A save fails with words, in the place where Lab looks for them."""
    with pytest.raises(HTTPError) as caught:
        save(contents, notebook)
    said = caught.value.log_message
    assert all(word in said for word in (*words, "kept/not-saved/01-start/01-only.ipynb")), said


def test_a_picture_that_the_book_cannot_show_is_refused_in_words(mini, contents):
    before = files(mini)
    notebook = opened(contents)
    notebook["cells"][0]["attachments"] = {"a.bmp": {"image/bmp": "QUJD"}}
    refused(contents, notebook, "'a.bmp' is of kind image/bmp")
    assert files(mini) == before


def test_a_source_that_cannot_be_written_loses_nothing(mini, contents, monkeypatch):
    notebook = opened(contents)
    code(notebook, 1)["source"] = "print(f(2.5))"
    write = lab_contents.write_text

    def full(path, text):
        if path.suffix == ".py":
            raise OSError(28, "No space left on device", str(path))
        write(path, text)

    monkeypatch.setattr(lab_contents, "write_text", full)
    refused(contents, notebook, "No space left on device")


@pytest.mark.parametrize("path", [PY, IPYNB, "book/01-start"])
def test_what_the_plan_names_keeps_its_name(mini, contents, path):
    before = files(mini)
    with pytest.raises(HTTPError) as caught:
        contents.rename(path, "book/mine")
    assert "Duplicate" in caught.value.log_message and files(mini) == before
    contents.new_untitled("book", type="file", ext=".txt")
    contents.rename("book/untitled.txt", "book/notes.txt")
    assert "book/notes.txt" in files(mini)


def test_a_new_cell_and_a_deleted_one(mini, contents):
    notebook = opened(contents)
    fresh = nbformat.v4.new_code_cell("z = 3")
    notebook["cells"] = [*notebook["cells"][:3], fresh, *notebook["cells"][4:]]
    save(contents, notebook)
    text = (mini.root / PY).read_text()
    assert "z = 3" in text and "Some text" not in text
    assert "return x\n\n\n# %%\nprint(f(1.5))\n\n# %%\nz = 3\n\n# %%\nprint('text')\n" in text


def test_a_solution_is_folded_until_it_is_opened(mini, contents):
    with (mini.root / PY).open("a") as file:
        file.write("\n# %% [markdown]\n# #### Solution 1.1-1\n\n# %% [markdown]\n# Because.\n")
    notebook = opened(contents)
    heading, answer = notebook["cells"][-2:]
    assert heading["source"] == "#### Solution 1.1-1" and answer["source"] == "Because."
    assert heading["metadata"].pop("jp-MarkdownHeadingCollapsed") is True
    save(contents, notebook)
    assert "jp-MarkdownHeadingCollapsed" not in opened(contents)["cells"][-2]["metadata"]


def test_a_section_has_one_entry(mini, contents):
    (mini.root / "book" / "01-start" / "mine.ipynb").write_text(
        pair.text_of(nbformat.v4.new_notebook())
    )
    names = {m["name"] for m in contents.get("book/01-start")["content"]}
    assert {"01-only.py", "mine.ipynb"} <= names and "01-only.ipynb" not in names
    assert lab.WELCOME in {m["name"] for m in contents.get("")["content"]}
    with pytest.raises(HTTPError):
        contents.save({"type": "file", "format": "text", "content": ""}, lab.WELCOME)


def test_a_duplicate_is_no_fault_of_its_section(mini, contents):
    contents.copy(PY)
    section = mini.book.select(["1.1"])
    assert not any("Copy1" in problem for problem in check.static_problems(mini.book, section))
    assert any("Copy1" in problem for problem in check.static_problems(mini.book))


def test_checkpoints_are_of_the_source(mini, contents):
    before = files(mini)[PY]
    point = contents.create_checkpoint(IPYNB)
    notebook = opened(contents, IPYNB)
    code(notebook, 1)["source"] = "print(f(2.5))"
    save(contents, notebook, IPYNB)
    assert b"2.5" in files(mini)[PY]
    contents.restore_checkpoint(point["id"], IPYNB)
    assert files(mini)[PY] == before


def git(root, *words: str) -> None:
    name = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *name, *words], cwd=root, check=True, capture_output=True)


@pytest.fixture
def committed(mini, contents):
    """The same book under git, and its files."""
    git(mini.root, "init", "-q")
    git(mini.root, "add", "book")
    git(mini.root, "commit", "-qm", "all")
    return files(mini)


def test_reset_brings_back_and_keeps(mini, contents, committed, cli):
    assert "1.1 is as it was accepted" in cli("reset", "1.1")[1]
    notebook = opened(contents)
    code(notebook, 1)["source"] = "print(f(2.5))"
    code(notebook, 1)["outputs"][0]["text"] = "2.5\n"
    save(contents, notebook)
    assert cli("pair")[0] == 0
    mine = files(mini)
    status, text = cli("reset", "1.1")
    assert status == 0 and "1.1 is back as it was accepted" in text and "your version is in" in text
    assert files(mini) == committed
    (kept,) = (mini.root / "kept").iterdir()
    assert f"kept/{kept.name}/" in text
    for name in (PY, IPYNB):
        assert (kept / name.removeprefix("book/")).read_bytes() == mine[name]
    working = "lab/01-start/01-only.ipynb"
    assert (kept / working).read_bytes() == mine[f"build/{working}"]


def test_reset_without_git(mini, contents, cli, tmp_path):
    original = files(mini)
    (mini.root / PY).write_text(original[PY].decode().replace("Some", "My"))
    changed = files(mini)
    status, text = cli("reset", "1.1")
    assert status == 1 and "make reset S=1.1 FROM=book.zip" in text and files(mini) == changed
    status, text = cli("reset", "1.1", "--from", str(mini.root / PY))
    assert status == 1 and "name the .zip" in text and files(mini) == changed
    (tmp_path / "zip" / "the-book" / "book").mkdir(parents=True)
    for name in (PY, IPYNB):
        place = tmp_path / "zip" / "the-book" / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(original[name])
    archive = shutil.make_archive(str(tmp_path / "book"), "zip", tmp_path / "zip")
    assert cli("reset", "1.1", "--from", archive)[0] == 0
    assert files(mini) == original
    (mini.root / PY).write_bytes(changed[PY])
    shutil.move(archive, mini.root.parent / "book.zip")
    try:
        status, text = cli("reset", "1.1")
    finally:
        (mini.root.parent / "book.zip").unlink()
    assert status == 0 and "as it is in" in text and "book.zip" in text
    assert files(mini) == original


def test_reset_brings_back_what_is_gone_and_pages(mini, contents, cli):
    page = mini.root / "book" / "01-start" / "00-overview.md"
    plan = mini.root / "book" / "contents.toml"
    rows = """
  { id = "1.0", title = "Overview", file = "00-overview", checks = 0, exercises = 0 },
  { id = "1.7", title = "Planned", file = "07-planned", checks = 0, exercises = 0 },
"""
    plan.write_text(plan.read_text().replace("sections = [\n", "sections = [" + rows))
    page.write_text("# 1.0 Overview\n")
    git(mini.root, "init", "-q")
    git(mini.root, "add", "book")
    git(mini.root, "commit", "-qm", "all")
    before = files(mini)
    page.write_text("# Mine\n")
    (mini.root / PY).unlink()
    status, text = cli("reset", "1")
    assert status == 0 and "1.0 is back" in text and "1.1 is back" in text and "1.7" not in text
    assert files(mini) == before
    page.unlink()
    assert cli("reset", "1.0")[0] == 0 and files(mini) == before
    status, text = cli("reset", "1.7")
    assert status == 1 and "make reset S=1.7 FROM=" in text


def test_outputs_that_nobody_accepted_are_never_compared_with(mini, cli):
    """An editor saves the outputs of a changed cell into the `.ipynb`, and even marks them as run."""
    path = mini.add("only", "x = 1", "print(x)")
    assert cli("accept")[0] == 0
    one = mini.book.select(["1.1"])[0]
    accepted, source = one.ipynb.read_bytes(), path.read_text()
    notebook = pair.committed(one)
    notebook.cells[2].outputs[0]["text"] = "2\n"
    path.write_text(source.replace("x = 1", "x = 2"))
    notebook.cells[1]["source"] = "x = 2"
    one.ipynb.write_text(pair.text_of(notebook))
    status, text = cli("check")
    assert status == 1 and "its outputs are not those that `make accept` stored" in text
    assert "make reset S=1.1" in text and "the accepted ones are not known here" in text
    mine = {p: p.read_bytes() for p in (path, one.ipynb)}
    path.write_text(source)
    one.ipynb.write_bytes(accepted)
    git(mini.root, "init", "-q")
    git(mini.root, "add", "book")
    git(mini.root, "commit", "-qm", "all")
    for file, data in mine.items():
        file.write_bytes(data)
    status, text = cli("check")
    assert "note: " in text and "compared with those of the last commit" in text
    assert status == 1 and "expected '1', got '2'" in text
    assert cli("reset", "1.1")[0] == 0 and cli("check")[0] == 0
