"""What a reader takes along runs without the book's folder, and every address outside names a file that is there."""

import base64
import email
import html
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import urllib.parse
import venv
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from conftest import ROOT, MiniBook, end
from jupyter_server.services.contents.largefilemanager import LargeFileManager
from jupytext.sync_contentsmanager import build_sync_jupytext_contents_manager_class
from packaging.requirements import Requirement
from small_site import (
    AXE,
    Built,
    full_book,
    tab_in,
)

from bookbuild import site
from bookbuild.book import Book, BookError, Section
from bookbuild.site import archive, pages, places
from bookbuild.site.addresses import Addresses
from bookbuild.site.downloads import CELL, CELL_ID, Downloads
from bookbuild.site.inputs import Inputs, State
from bookbuild.site.moved import moved
from bookbuild.site.places import doc
from bookbuild.site.policy import protected
from bookbuild.site.wheel import JUPYTER, Wheel

REPOSITORY, SITE = "https://github.com/somebody/a-book", "https://somebody.example/learn"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def real() -> Book:
    return Book(ROOT)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The small book with both settings."""
    root = tmp_path_factory.mktemp("published") / "root"
    _, executed, runs = full_book(root)
    with (root / "pyproject.toml").open("a") as file:
        file.write(f'repository_url = "{REPOSITORY}.git"\nsite_url = "{SITE}/"\n')
    book = Book(root)
    return Built(
        book, executed, runs, root / "html", site.build(book, executed, runs, root / "html")
    )


# -- the wheel ----------------------------------------------------------------------------------------------------------


def test_the_wheel_holds_the_helper_and_what_notebooks_import(real: Book) -> None:
    wheel = Wheel(real)
    content = wheel.build()
    assert content == Wheel(Book(ROOT)).build(), "equal files, equal bytes"
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        names = [name for name in file.namelist() if ".dist-info/" not in name]
        (about,) = [n for n in file.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(file.read(about))
        assert {i.date_time for i in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    package = ROOT / "d2l_helpers"
    files = [p for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc"]
    assert sorted(names) == sorted(p.relative_to(ROOT).as_posix() for p in files)
    assert "d2l_helpers/chapters/linear_regression.py" in names
    assert "d2l_helpers/manifest.toml" in names, "which says where data come from"
    assert metadata["Version"] == wheel.version and metadata["Name"] == PROJECT["name"]
    assert wheel.name.startswith(f"d2l_helpers-{PROJECT['version']}+b")
    reader = (ROOT / "binder" / "reader.txt").read_text().splitlines()
    wanted = {str(Requirement(r)) for r in PROJECT["dependencies"]}
    wanted |= {str(Requirement(r)) for r in reader if not r.startswith(("#", *JUPYTER))}
    assert {str(Requirement(r)) for r in metadata.get_all("Requires-Dist")} == wanted
    assert "torch" in str(wanted) and "pandas" in str(wanted) and "jupyter" not in str(wanted)


def test_another_helper_is_another_version(mini: MiniBook) -> None:
    """Whatever a notebook may notice changes the version; what is not packed does not."""
    first = Wheel(mini.book).version
    (mini.root / "book" / "index.md").write_text("# Home\n")
    (mini.root / "d2l_helpers" / "__pycache__").mkdir(exist_ok=True)
    (mini.root / "d2l_helpers" / "__pycache__" / "device.pyc").write_bytes(b"x")
    assert Wheel(mini.book).version == first
    module = mini.root / "d2l_helpers" / "device.py"
    module.write_bytes(module.read_bytes().replace(b"\n", b"\r\n"))
    assert Wheel(mini.book).version == first, "another system's ends of lines"
    (mini.root / "binder").mkdir()
    versions = [first]
    for path, text in (
        (module, "# more\n"),
        (mini.root / "d2l_helpers" / "manifest.toml", "# more\n"),
        (mini.root / "d2l_helpers" / "chapters" / "start.py", "x = 1\n"),
        (mini.root / "binder" / "reader.txt", "pandas>=2\n"),
    ):
        with path.open("a") as file:
            file.write(text)
        versions.append(Wheel(mini.book).version)
    assert len(set(versions)) == 5


def test_a_book_without_name_or_version_is_told(mini: MiniBook) -> None:
    (mini.root / "pyproject.toml").write_text('[project]\nname = "x"\n')
    with pytest.raises(BookError, match=r"\[project\] has no version; the helper that readers"):
        Wheel(mini.book)


def test_setuptools_says_what_it_does_not_like(mini: MiniBook) -> None:
    path = mini.root / "pyproject.toml"
    path.write_text(path.read_text().replace("[tool", 'requires-python = "nonsense"\n[tool'))
    with pytest.raises(BookError, match=r"(?s)could not build d2l_helpers-0.*nonsense"):
        Wheel(mini.book).build()


# -- the whole book -----------------------------------------------------------------------------------------------------


def test_the_zip_file_is_what_git_knows_and_works_without_git(tmp_path: Path) -> None:
    """Unpacked, it is a book again that gives the same zip file."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a checkout")
    content = archive.archive(Book(ROOT))
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        names = {name.removeprefix(f"{archive.FOLDER}/") for name in file.namelist()}
        assert names == {n for n in listed.stdout.splitlines() if (ROOT / n).exists()}
        assert {i.date_time for i in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        modes = {
            n: file.getinfo(f"{archive.FOLDER}/{n}").external_attr >> 16 & 0o111 for n in names
        }
        assert modes["binder/postBuild"] and not modes["Makefile"], "what runs can be run"
        file.extractall(tmp_path)
    root = tmp_path / archive.FOLDER
    (root / "binder" / "postBuild").chmod(0o755), (root / ".ci" / "run").chmod(0o755)
    for name in (
        "book/x/data/a.csv",
        "bookbuild/web/node_modules/a.js",
        "build/a",
        ".venv/a",
        "token.txt",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("not of the book")
    assert archive.archive(Book(root)) == content
    assert len(content) < 60e6, "a download that does not hurt"
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "bookbuild", "pair", "3.3"],
        cwd=root, env=kept, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr + done.stdout
    if shutil.which("make"):
        lab = subprocess.run(["make", "-n", "lab"], cwd=root, capture_output=True, text=True)
        assert lab.returncode == 0 and "-m bookbuild lab" in lab.stdout, lab.stderr


def test_a_file_that_git_does_not_know_stays_out_of_the_zip_file(mini: MiniBook) -> None:
    """And one that was deleted is not missed."""
    mini.add("a", "y = 1"), mini.add("b", "y = 1")
    if subprocess.run(["git", "init", "-q"], cwd=mini.root).returncode:
        pytest.skip("no git")
    subprocess.run(["git", "add", "book"], cwd=mini.root, check=True)
    (mini.root / "book" / "private-notes.md").write_text("not yet")
    (mini.root / "book" / "01-start" / "02-b.py").unlink()
    names = [path.relative_to(mini.root).as_posix() for path in archive.files(mini.book)]
    assert names == ["book/01-start/01-a.py", "book/contents.toml"]


# -- notebooks ----------------------------------------------------------------------------------------------------------


def settled(book: Book, **settings: str) -> Book:
    """The book with other settings."""
    other = Book(book.root)
    other.settings |= settings
    return other


def links(notebook: Any) -> list[str]:
    """Where the links and pictures of a notebook lead, outside of code."""
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    text = re.sub(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|(?<!\\)\$[^$\n]+\$", "", text, flags=re.S)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def leads(address: str, places: dict[str, Path]) -> Path | None:
    """The file that an address names, by the first beginning that fits."""
    for start, folder in places.items():
        if address.startswith(start):
            return folder / urllib.parse.unquote(address.removeprefix(start).split("#")[0])
    return None


@pytest.mark.parametrize(
    "settings", [{}, {"repository_url": REPOSITORY}, {"site_url": SITE}], ids=["no", "repository", "site"]
)  # fmt: skip
def test_no_link_of_a_notebook_is_dead_wherever_it_lies(
    real: Book, settings: dict[str, str]
) -> None:
    """Every notebook of the book: pictures within, links to a page or file that exists, else plain words."""
    book = settled(real, **settings)
    made = Downloads(book)
    pages_there = {f"{SITE}/{doc(s)}.html" for s in book.sections}
    kinds: dict[str, int] = {}
    for section in book.notebooks:
        notebook = made.notebook(section, section.notebook)
        for address in links(notebook):
            kind, _, data = address.partition(",")
            kinds[kind[:24]] = kinds.get(kind[:24], 0) + 1
            if kind.startswith("data:image/"):
                assert kind == "data:image/svg+xml;base64", (section.id, kind)
                assert b"</svg>" in base64.b64decode(data), section.id
            elif address.startswith(SITE):
                assert address.split("#")[0] in pages_there, (section.id, address)
            elif address.startswith(REPOSITORY):
                path = leads(address, {f"{REPOSITORY}/blob/main/": ROOT})
                assert path and path.is_file(), (section.id, address)
            else:
                assert re.match("https?://", address), (section.id, address)
    assert kinds["data:image/svg+xml;base6"] > 100
    inner = {
        k: n for k, n in kinds.items() if k and (SITE.startswith(k) or REPOSITORY.startswith(k))
    }
    assert bool(inner) == bool(settings) and all(n > 100 for n in inner.values())


def test_only_links_change(mini: MiniBook) -> None:
    """Code, formulas, outside links and text stay; a title stays above; a file of the book is named or plain."""
    text = "A `[x](02-b.ipynb)`, $f[x](y)$, [out](https://x.org), [up](#here), [two `b`](02-b.ipynb#part), [page](03-c.md), [data](a.csv), [b.py](02-b.py), ![gone](img/no.svg).\n\n```\n[x](02-b.ipynb)\n```"
    mini.add("a", f"markdown\n{text}", "print(1)  # [x](02-b.ipynb)")
    mini.add("b", "y = 1")
    mini.names["1.3"] = "c"
    mini._plan()
    folder = mini.root / "book" / "01-start"
    (folder / "03-c.md").write_text("# 1.3 c\n")
    (folder / "a.csv").write_text("1")
    code = (
        "`[x](02-b.ipynb)`, $f[x](y)$, [out](https://x.org), [up](#here)",
        "```\n[x](02-b.ipynb)\n```",
    )

    def told(**settings: str) -> str:
        book = settled(mini.book, **settings)
        notebook = Downloads(book).notebook(book.sections[0], book.sections[0].notebook)
        assert [c.cell_type for c in notebook.cells] == ["markdown", "code", "markdown", "code"]
        assert notebook.cells[0].source == "# 1.1 a" and notebook.cells[1].id == CELL_ID
        assert notebook.cells[3].source == "print(1)  # [x](02-b.ipynb)"
        assert all(part in notebook.cells[2].source for part in code)
        nbformat.validate(notebook)
        return notebook.cells[2].source.split("(#here), ")[1].split("\n")[0]

    assert told() == "two `b`, page, data, b.py, gone."
    here = f"{SITE}/01-start"
    assert told(site_url=SITE) == (
        f"[two `b`]({here}/02-b.html#part), [page]({here}/03-c.html), data, [b.py]({here}/02-b.html), gone."
    )
    there = f"{REPOSITORY}/blob/main/book/01-start"
    assert told(repository_url=REPOSITORY).startswith(
        f"[two `b`]({there}/02-b.ipynb#part), [page]({there}/03-c.md), [data]({there}/a.csv), "
    )


def test_the_site_gives_these_notebooks(published: Built) -> None:
    """The cell stands below the title, the diagram is within, outputs are kept, and the page has no such cell."""
    assert published.problems == []
    path = published.out / "downloads" / "01-start" / "01-lines.ipynb"
    notebook = nbformat.read(path, 4)
    first = notebook.cells[1]
    assert first.id == CELL_ID and notebook.cells[0].source == "# 1.1 lines"
    assert first.metadata.jupyter.source_hidden and first.metadata.cellView == "form"
    assert any(a.startswith("data:image/svg+xml;base64,") for a in links(notebook))
    assert any(o.get("text") == "forty-two\n" for c in notebook.cells for o in c.get("outputs", []))
    wheel = Wheel(published.book)
    assert wheel.version in notebook.cells[1].source
    assert f"{SITE}/downloads/{urllib.parse.quote(wheel.name)}" in notebook.cells[1].source
    assert (published.out / "downloads" / wheel.name).read_bytes() == wheel.build()
    assert "look_for_helper" not in published.page("01-start/01-lines.html")
    assert max(map(len, CELL.read_text().splitlines())) < 80, "as in the book"


def test_notebook_and_python_file_in_one_folder_stay_apart(built: Built, tmp_path: Path) -> None:
    """With Jupytext, which else takes the cells of one from the other, and writes over it."""
    names = [tmp_path / f"01-lines{ending}" for ending in (".ipynb", ".py")]
    for path in names:
        shutil.copy(built.out / "downloads" / "01-start" / path.name, path)
    os.utime(names[1], (2e9, 2e9))
    manager = build_sync_jupytext_contents_manager_class(LargeFileManager)(root_dir=str(tmp_path))
    for path, other in (names, names[::-1]):
        model = manager.get(path.name, type="notebook")
        found = [cell.id == CELL_ID for cell in model["content"].cells]
        assert any(found) == (path.suffix == ".ipynb")
        content = other.read_bytes()
        model["content"].cells[0].source = f"# Mine in {path.name}"
        manager.save(model, path.name)
        assert other.read_bytes() == content and "# Mine in" in path.read_text("utf-8")


# -- in other environments ----------------------------------------------------------------------------------------------


class Elsewhere:
    """An environment with the packages of this one, but without the helper, in an empty folder."""

    def __init__(self, folder: Path):
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        venv.create(folder / "env", symlinks=sys.platform != "win32")
        inside = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"
        self.python = folder / "env" / inside
        packages = next((folder / "env").glob("[Ll]ib/**/site-packages"))
        shared = [p for p in sys.path if p.endswith(("site-packages", "dist-packages"))]
        (packages / "shared.pth").write_text("\n".join(shared))

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        unset = ("PYTHON", "JUPYTER", "D2L_", "IPYTHON", "COLAB_", "KAGGLE_", "PIP_", "COV")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(unset)}
        kept |= {"HOME": str(self.home), "D2L_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        kept |= {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        return subprocess.run(
            [str(self.python), *command],
            cwd=self.home, env=kept | settings, capture_output=True, text=True,
        )  # fmt: skip

    def first_cell(self, made: Downloads, then: str = "", **settings: str) -> tuple[int, str]:
        """Exit status of the cell and some code after it, and what both said."""
        done = self.run("-W", "error", "-c", f"{made.first_cell().source}\n{then}", **settings)
        return done.returncode, done.stdout + done.stderr


@pytest.fixture
def bare(tmp_path: Path) -> Elsewhere:
    made = Elsewhere(tmp_path / "bare")
    for name in ("d2l_helpers", "bookbuild"):
        assert "ModuleNotFoundError" in made.run("-c", f"import {name}").stderr
    return made


def test_without_the_helper_the_first_cell_says_what_to_do(real: Book, bare: Elsewhere) -> None:
    """From its address; from its file beside the notebook or one folder up; else where to get the file."""
    name = Wheel(real).name
    plain, site_given = Downloads(settled(real)), Downloads(settled(real, site_url=SITE))
    address = f"{SITE}/downloads/{urllib.parse.quote(name)}"
    status, said = bare.first_cell(site_given, "print('went on')")
    assert status == 1 and f"\n    %pip install {address}\n" in said and "went on" not in said
    assert f"it is no longer there, {SITE}/download.html names the newest" in said
    assert said.count("ModuleNotFoundError") == 1 and "needs the helper of the book" in said
    raw = "https://raw.githubusercontent.com/somebody/a-book/gh-pages/downloads/"
    only_repository = Downloads(settled(real, repository_url=REPOSITORY))
    assert (
        f"    %pip install {raw}{urllib.parse.quote(name)}\n" in bare.first_cell(only_repository)[1]
    )
    status, said = bare.first_cell(plain)
    assert status == 1 and f"put {name} beside it" in said and f"    %pip install {name}\n" in said
    for path, source in ((bare.home.parent / name, f"../{name}"), (bare.home / name, name)):
        path.write_bytes(b"")
        for made in (plain, site_given):
            status, said = bare.first_cell(made)
            assert (
                status == 1 and f"    %pip install {source}\n" in said and "beside it" not in said
            )


def test_jupyter_shows_what_to_do_without_the_lines_of_the_cell(
    real: Book, bare: Elsewhere
) -> None:
    source = Downloads(settled(real)).first_cell().source
    shell = "from IPython.core.interactiveshell import InteractiveShell as S\n"
    done = bare.run("-c", f"{shell}S.instance().run_cell({source!r})")
    lines = [line for line in done.stdout.splitlines() if line]
    assert lines[0].startswith("This notebook needs the helper of the book: ") and len(lines) == 2
    assert lines[1].startswith("    %pip install ")


def test_on_a_machine_that_is_thrown_away_the_first_cell_installs(
    real: Book, bare: Elsewhere, server: Any
) -> None:
    """Colab and Kaggle, from the site's address; if pip cannot, the message says so."""
    made = Downloads(settled(real, site_url=server.url))
    status, said = bare.first_cell(made, KAGGLE_KERNEL_RUN_TYPE="Interactive")
    assert status == 1 and "%pip install" in said and "access to the internet" in said
    server.give(urllib.parse.quote(made.wheel.name), made.wheel.build())
    then = "import d2l_helpers; print(d2l_helpers.__file__)"
    status, said = bare.first_cell(made, then, COLAB_RELEASE_TAG="release")
    assert status == 0 and Path(said.strip()).is_relative_to(bare.python.parents[1]), said


RUN = """
import sys, nbformat, nbclient
for name in sys.argv[1:]:
    notebook = nbformat.read(name, 4)
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    nbformat.write(notebook, name)
"""
LOOK = "import sys; print(d2l.__file__, 'bookbuild' in sys.modules, 'look_for_helper' in globals())"


def shortened(section: Section) -> Any:
    """The notebook with the values of the profile `smoke`, and a last cell that says what it used."""
    notebook = section.notebook
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += "".join(f"\n{k} = {v!r}" for k, v in section.profile("smoke").items())
    notebook.cells.append(nbformat.v4.new_code_cell(LOOK, id="look"))
    return notebook


def test_three_notebooks_run_in_an_empty_folder_with_the_wheel(real: Book, bare: Elsewhere) -> None:
    """Diagrams, an exported class, a data set: with the wheel alone, and each first cell silent."""
    made = Downloads(settled(real))
    wheel = bare.home / made.wheel.name
    wheel.write_bytes(made.wheel.build())
    done = bare.run("-m", "pip", "install", "-q", wheel.name)
    assert done.returncode == 0, done.stderr
    wheel.unlink()
    names = []
    for section in Book(ROOT).select(["0.3", "3.3", "9.4"]):
        names.append(f"{section.id}.ipynb")
        text = nbformat.v4.writes(made.notebook(section, shortened(section)))
        (bare.home / names[-1]).write_text(text, encoding="utf-8")
    done = bare.run("-c", RUN, *names)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in names:
        notebook = nbformat.read(bare.home / name, 4)
        assert notebook.cells[1].id == CELL_ID and notebook.cells[1].outputs == []
        path, *rest = notebook.cells[-1].outputs[0].text.split()
        assert Path(path).is_relative_to(bare.python.parents[1]) and rest == ["False", "False"]
    assert "stand-in data" in (bare.home / "9.4.ipynb").read_text(), "which the notebook tells"

    # Another state of the book: one sentence, and it goes on. A checkout is not to be overwritten.
    other = Downloads(settled(real))
    other.wheel.__dict__["version"] = "0.1.0+b00000000"
    assert bare.first_cell(made, "print('went on')") == (0, "went on\n")
    (about,) = bare.python.parents[1].glob("**/d2l_helpers-*.dist-info/METADATA")
    checkout = about.read_text().replace(f"Version: {made.wheel.version}", "Version: 0.1.0")
    for found, advice in ((made.wheel.version, True), ("0.1.0", False)):
        status, said = bare.first_cell(other, "print('went on')")
        sentence, went_on = said.splitlines()
        assert status == 0 and went_on == "went on" and f" is {found}, not 0.1.0+b0" in sentence
        command = f"%pip install {other.wheel.name}"
        assert (f"fails: {command}, then restart the kernel." in sentence) == advice
        about.write_text(checkout)


def test_jupyterlab_shows_the_diagram(built: Built, browser: Any, tmp_path: Path) -> None:  # noqa: F811
    """In a folder with the one notebook, as JupyterLab shows it by itself."""
    shutil.copy(built.out / "downloads" / "01-start" / "01-lines.ipynb", tmp_path / "a.ipynb")
    runtime = tmp_path / "runtime"
    options = ["--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    options += [f"--ServerApp.root_dir={tmp_path}", "--IdentityProvider.token=t"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env=os.environ | {"JUPYTER_RUNTIME_DIR": str(runtime), "JUPYTER_CONFIG_DIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(1200):
            ready = [p for p in runtime.glob("jpserver-*.json") if p.read_text().endswith("}")]
            if ready:
                break
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        page = browser.new_page()
        address = json.loads(ready[0].read_text())["url"]
        for _ in range(600):
            try:
                page.goto(f"{address}lab/tree/a.ipynb?token=t")
                break
            except Exception:  # it does not listen yet
                time.sleep(0.1)
        picture = page.locator('.jp-MarkdownCell img[alt="A net."]')
        picture.wait_for(timeout=120_000)
        assert picture.evaluate("image => [image.complete, image.naturalWidth]") == [True, 200]
        page.close()
    finally:
        end(process)


# -- addresses ----------------------------------------------------------------------------------------------------------


def facts_of(page: str) -> dict[str, str]:
    """Words below a title -> where they lead."""
    (line,) = re.findall(r'<p class="page-links">(.*?)</p>', page) or [""]
    found = re.findall(r'<a href="([^"]*)"[^>]*>([^<]*)</a>', line)
    return {text: html.unescape(url) for url, text in found}


def test_every_address_names_a_file_that_is_there(published: Built) -> None:
    """Launch, source and report of each section, against the site (branch gh-pages) and the book (branch main)."""
    blob = "github.com/somebody/a-book/blob"
    places = {
        f"https://colab.research.google.com/github/somebody/a-book/{'blob'}/gh-pages/": published.out,
        f"https://kaggle.com/kernels/welcome?src=https://{blob}/gh-pages/": published.out,
        "https://mybinder.org/v2/gh/somebody/a-book/main?urlpath=lab/tree/": published.book.root,
        f"https://{blob}/main/": published.book.root,
    }
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "text.yml").read_text())
    asked = {part["id"] for part in form["body"]}
    for section in published.book.sections:
        given = facts_of(published.page(f"{doc(section)}.html"))
        ending = ".md" if section.is_page else ".ipynb"
        for service in () if section.is_page else ("Colab", "Kaggle", "Binder"):
            path = leads(given.pop(service), places)
            assert path and path.name == f"{Path(doc(section)).name}{ending}", (service, path)
            if service == "Binder":
                path = path.with_suffix(".py")  # this book is not paired
            assert path.is_file(), (service, path)
        assert leads(given.pop("Source"), places) == section.path
        report = urllib.parse.urlsplit(given.pop("Report an error"))
        assert f"https://{report.netloc}{report.path}" == f"{REPOSITORY}/issues/new"
        filled = dict(urllib.parse.parse_qsl(report.query))
        assert (ROOT / ".github" / "ISSUE_TEMPLATE" / filled.pop("template")).is_file()
        assert filled.pop("title") == f"{section.id}: " and set(filled) <= asked
        assert filled == {"section": section.id, "version": pages.version(published.book, section)}
        assert list(given) == (
            [] if section.is_page else ["Notebook", "Python file", "How to run it"]
        )


def test_the_version_of_a_report_is_what_git_calls_the_file(real: Book) -> None:
    section = real.sections[-1]
    done = subprocess.run(["git", "hash-object", str(section.path)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no git")
    assert pages.version(real, section) == f"{PROJECT['version']}, file {done.stdout[:12]}"


def test_canonical_links_and_the_sitemap_name_every_page(published: Built) -> None:
    found = {}
    for path in published.out.rglob("*.html"):
        if "_static" not in path.parts:
            name = path.relative_to(published.out).as_posix()
            found[name] = re.findall(
                r'<link rel="canonical" href="([^"]*)"', path.read_text("utf-8")
            )
    assert found == {name: [f"{SITE}/{name}"] for name in found}
    locations = re.findall("<loc>(.*?)</loc>", published.page("sitemap.xml"))
    listed = [leads(address, {f"{SITE}/": published.out}) for address in locations]
    assert {p.relative_to(published.out).as_posix() for p in listed if p} == {*found} - {
        "search.html"
    }


def test_without_the_settings_there_is_none_of_it(built: Built) -> None:  # noqa: F811
    for path in built.out.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"rel=.canonical|colab|kaggle\.com/kernels|mybinder|Report an error", text
        ), path
    assert not (built.out / "sitemap.xml").exists()
    text = built.page("01-start/01-lines.html")
    assert list(facts_of(text)) == ["Notebook", "Python file", "How to run it"]


def test_other_hosts_as_far_as_they_are_known() -> None:
    def of(url: str, **more: str) -> Addresses:
        return Addresses.of({"repository_url": url, **more})

    lab, forge, other = of("https://gitlab.com/a/b.git"), of("https://codeberg.org/a/b/"), of("https://git.example.org/a/b")  # fmt: skip
    assert lab.source("book/x y.py") == "https://gitlab.com/a/b/-/blob/main/book/x%20y.py"
    assert lab.report("3.4", "0.1.0").startswith(
        "https://gitlab.com/a/b/-/issues/new?issue%5Btitle%5D=3.4%3A%20&issue%5Bdescription%5D=Section%203.4%2C%20version%200.1.0"
    )
    assert forge.source("x.py") == "https://codeberg.org/a/b/src/branch/main/x.py"
    assert forge.report("3.4", "1").startswith(
        "https://codeberg.org/a/b/issues/new?title=3.4%3A%20&body="
    )
    assert other.source("x.py") == "https://git.example.org/a/b" and other.report("3.4", "1") == ""
    for place in (lab, forge, other):
        (service,) = place.launches("c/d").items()
        assert service[0] == "Binder" and place.download("w.whl") == ""
        assert service[1].endswith("/main?urlpath=lab/tree/book/c/d.ipynb")
    assert other.launches("c/d")["Binder"].startswith("https://mybinder.org/v2/git/https%3A%2F%2Fgit.example.org%2Fa%2Fb/main")  # fmt: skip
    moved = of(REPOSITORY, repository_branch="next", site_branch="pages")
    assert "/blob/pages/downloads/" in moved.launches("x")["Colab"] and "/next/" in moved.source(
        "x"
    )
    assert Addresses.of({}).launches("x") == {} and Addresses.of({}).source("x") == ""


@pytest.mark.parametrize(
    "value",
    ["somebody/book", "git@github.com:a/b.git", "https://", "https://x y", "x.org?a=1",
     "https://name:secret@x.org/a", 'https://x.org/"a'],
)  # fmt: skip
@pytest.mark.parametrize("key", ["repository_url", "site_url"])
def test_what_is_no_address_is_named(key: str, value: str) -> None:
    with pytest.raises(BookError) as error:
        Addresses.of({key: value})
    assert f"{key} is {value!r}; write the whole address, such as https://" in str(error.value)


@pytest.mark.parametrize(
    "value",
    ["https://github.com", "https://GitHub.com/somebody", f"{REPOSITORY}/tree/main",
     "https://github.com/.git"],
)  # fmt: skip
def test_a_page_of_github_that_is_no_repository_is_named(value: str) -> None:
    with pytest.raises(BookError) as error:
        Addresses.of({"repository_url": value})
    assert f"{value!r}; write that of a repository, such as https://gith" in str(error.value)


def test_a_place_that_is_misnamed_is_named() -> None:
    """A setting that nothing reads would switch on nothing; a page is no folder of pages."""
    with pytest.raises(BookError, match="knows no repo_url; places are named by repository_url, "):
        Addresses.of({"repo_url": REPOSITORY})
    with pytest.raises(BookError, match="index.html'; write the folder of the pages"):
        Addresses.of({"site_url": f"{SITE}/index.html"})
    assert Addresses.of({"limits": {"seconds": 1}, "site_url": SITE}).site == SITE


def test_a_line_of_a_page_is_counted_without_the_links(mini: MiniBook) -> None:
    mini.add("a", "y = 1")
    mini.names["1.2"] = "words"
    mini._plan()
    text = "# 1.2 words\n\nSome.\n\nSee Figure 9.9.9.\n"
    (mini.root / "book" / "01-start" / "02-words.md").write_text(text)
    for setting in ("", f'repository_url = "{REPOSITORY}"\n'):
        with (mini.root / "pyproject.toml").open("a") as file:
            file.write(setting)
        source = site.Source(Inputs(mini.book, {}, {}), State(mini.root / "state.json"))
        source.write()
        page = source.folder / "book" / "01-start" / "02-words.md"
        for words, line in (("See Figure", 5), ("# 1.2 words", 1)):
            shown = 1 + next(i for i, t in enumerate(page.read_text().split("\n")) if words in t)
            assert (shown == line) == (not setting or line == 1)
            assert (
                places.place_of(mini.book, source.folder, page, shown)
                == f"book/01-start/02-words.md:{line}"
            )


def test_a_page_that_moved_leads_on(mini: MiniBook, browser: Any) -> None:  # noqa: F811
    """Its old address opens the section, from a folder too; a mistake in the table is named."""
    mini.add("a", "y = 1")
    plan = mini.root / "book" / "contents.toml"
    text = plan.read_text()
    plan.write_text(f'{text}[moved]\n"00-old/07-name" = "1.1"\n')
    ((name, content),) = moved(mini.book)
    source = site.Source(Inputs(mini.book, {}, {}), State(mini.root / "state.json"))
    source.write()
    assert (source.folder / "extra" / name).read_text() == content and name == "00-old/07-name.html"
    for path, page in ((name, protected(content)), ("01-start/01-a.html", "<title>there</title>")):
        (mini.root / "html" / path).parent.mkdir(parents=True)
        (mini.root / "html" / path).write_text(page)
    tab = tab_in(browser)
    tab.open(mini.root / "html" / name).wait_for_url("**/01-start/01-a.html")
    assert tab.page.title() == "there" and tab.outside + tab.errors == []
    for row in (
        '"00-old/x" = "9.9"',
        '"01-start/01-a" = "1.1"',
        '"x.html" = "1.1"',
        '"/x" = "1.1"',
    ):
        plan.write_text(f"{text}[moved]\n{row}\n")
        with pytest.raises(BookError, match=re.escape(row.split(" ")[0].strip('"'))):
            list(moved(mini.book))


# -- the page -----------------------------------------------------------------------------------------------------------


def test_the_page_names_what_lies_there(built: Built, published: Built) -> None:  # noqa: F811
    for made in (built, published):
        text = made.page("download.html")
        found = re.findall(r'<li><a href="([^"]*)" download>([^<]*)</a> \((\d+) (kB|MB)\)', text)
        assert [name for _, name, _, _ in found] == [archive.NAME, Wheel(made.book).name]
        for url, name, count, unit in found:
            path = made.out / urllib.parse.unquote(url)
            assert path.name == name
            assert round(path.stat().st_size / {"kB": 1e3, "MB": 1e6}[unit]) == int(count)
        assert 'href="download.html"' in made.page("index.html"), "in the menu"
        plain = html.unescape(re.sub("<[^>]+>", "", text))
        assert f"cd {archive.FOLDER}\n" in plain and "make lab" in plain
        name = Wheel(made.book).name
        known = made is published
        source = f"{SITE}/downloads/{urllib.parse.quote(name)}" if known else name
        assert f"pip install {source}\n" in plain
        assert (f"git clone {REPOSITORY}, from" in plain) == known
        assert (f'href="{REPOSITORY}"' in text) == known
        assert ("has to lie in the folder" in plain) == (not known)
        assert ("“Colab” and “Kaggle”" in plain) == ("“Binder” starts" in plain) == known
        assert ("Upload the notebook and, beside it, the wheel" in plain) == (not known)
        with zipfile.ZipFile(made.out / "downloads" / archive.NAME) as file:
            assert f"{archive.FOLDER}/book/01-start/01-lines.py" in file.namelist()
            assert not [n for n in file.namelist() if "/build/" in n or "/html/" in n]


def test_the_book_leads_to_the_page(real: Book) -> None:
    assert "(download.md)" in (ROOT / "book" / "index.md").read_text(encoding="utf-8")
    setup = next(s for s in real.sections if s.id == "0.3")
    assert "the page Download of the site" in setup.text and "one-notebook" in pages.facts(
        real, setup, None, True
    )


def test_the_page_is_legible_and_operable(published: Built, browser: Any) -> None:  # noqa: F811
    """axe-core finds nothing at all, in light and dark; nothing is asked of another host; no sideways scroll."""
    faults = []
    names = ("download.html", "01-start/01-lines.html", "01-start/03-words.html")
    for mode, width in itertools.product(("light", "dark"), (1280, 390)):
        tab = tab_in(browser, mode, width)
        for name in names:
            page = tab.open(published.out / name)
            page.evaluate(AXE.read_text(encoding="utf-8"))
            inside = "#main-content .page-links" if name != names[0] else "article"
            result = page.evaluate(
                f"axe.run('{inside}', {{resultTypes: ['violations'], preload: false}})"
            )
            faults += [
                f"{name} {mode} {width}: {v['id']} {v['nodes'][0]['html']}"
                for v in result["violations"]
            ]
            if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
                faults.append(f"{name} {width}: scrolls sideways")
        faults += tab.outside + tab.errors
        tab.page.context.close()
    assert faults == []
