"""The files that say what to install agree; what they install works."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
NEEDED = [
    Requirement(r)
    for r in PROJECT["project"]["dependencies"]
    + PROJECT["project"]["optional-dependencies"]["book"]
    + PROJECT["project"]["optional-dependencies"]["test"]
]


def locked() -> dict[str, list[str]]:
    """Package -> versions in the lock (several where they depend on the platform)."""
    versions: dict[str, list[str]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", line)
        if match:
            versions.setdefault(canonicalize_name(match[1]), []).append(match[2])
    return versions


def test_environment_yml_has_the_same_ranges():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [d["pip"] for d in conda["dependencies"] if isinstance(d, dict)]
    assert sorted(str(Requirement(r)) for r in pip if not r.startswith("-e")) == sorted(
        str(r) for r in NEEDED
    )
    assert "-e ." in pip
    assert f"python{PROJECT['project']['requires-python']}" in conda["dependencies"]


def test_the_lock_lies_within_the_ranges():
    versions = locked()
    for requirement in NEEDED:
        found = versions.get(canonicalize_name(requirement.name))
        assert found, f"{requirement.name} is not in requirements.lock; run `make lock`"
        assert all(requirement.specifier.contains(v) for v in found), (
            f"{requirement} is locked at {found}; run `make lock`"
        )


def test_the_lock_has_the_pins():
    versions = locked()
    for pin in map(Requirement, PROJECT["tool"]["uv"]["constraint-dependencies"]):
        name = canonicalize_name(pin.name)
        assert name in versions and all(pin.specifier.contains(v) for v in versions[name]), (
            f"{pin} is locked at {versions.get(name)}; run `make lock`"
        )


def test_the_lock_names_no_host():
    assert "://" not in (ROOT / "requirements.lock").read_text()


def test_torchvision_operators_work():
    import torch
    import torchvision

    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist() == [0, 2]


def test_import_is_light():
    """`import d2l_helpers` loads nothing heavy."""
    code = "import sys, d2l_helpers; print(sorted({'torch', 'torchvision', 'torch._dynamo', 'matplotlib', 'pandas'} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


# the repository's furniture

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
SCRIPTS = Path(sys.executable).parent


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("github-issue-forms", FORMS),
        ("github-issue-config", [ROOT / ".github/ISSUE_TEMPLATE/config.yml"]),
        ("dependabot", [ROOT / ".github/dependabot.yml"]),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_follow_their_schemas(schema, files):
    assert files
    command = [SCRIPTS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}"]
    result = subprocess.run([*command, *map(str, files)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_workflows_are_safe():
    files = [str(f) for f in (*WORKFLOWS, ROOT / ".github/dependabot.yml")]
    result = subprocess.run(
        [SCRIPTS / "zizmor", "--offline", "-q", *files], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


def test_workflows_that_run_notebooks_insist_on_the_real_data():
    """A run on stand-ins compares nothing, so it must not look like one that did."""
    running = re.compile(r"make (test|check|book|run)|bookbuild (check|run|build)|test_steady")
    found = []
    for file in WORKFLOWS:
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            if any(running.search(step.get("run", "")) for step in job["steps"]):
                found.append(name)
                assert job.get("env", {}).get("D2L_DATA") == "real", f"{file.name}: {name}"
    assert len(found) >= 6


def tracked() -> list[str]:
    result = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        pytest.skip("not a checkout")
    return result.stdout.split("\0")[:-1]


def test_no_file_names_a_host_of_packages():
    """A reader's own settings decide where packages come from."""
    hosts = "|".join(
        ["pypi[.]org", "pythonhosted[.]org", "npmjs[.]org", "download[.]pytorch", "anaconda[.]org"]
    )
    files = [ROOT / f for f in tracked() if not f.endswith((".ipynb", ".png", ".svg"))]
    files = [f for f in files if f.exists() and f != Path(__file__).resolve()]
    found = [str(f) for f in files if re.search(hosts, f.read_text(encoding="utf-8"))]
    assert found == []


def attributes(path: str) -> dict[str, str]:
    tracked()
    command = ["git", "check-attr", "-a", "--", path]
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return dict(line.split(": ")[1:3] for line in text.splitlines())


def test_git_knows_what_is_generated_and_what_is_text():
    notebook = attributes("book/02-preliminaries/01-data-manipulation.ipynb")
    assert (
        notebook["diff"] == notebook["merge"] == "jupyternotebook"
    )  # the names that nbdime sets up
    assert notebook["linguist-generated"] == "set" and notebook["eol"] == "lf"
    assert attributes("d2l_helpers/chapters/preliminaries.py")["linguist-generated"] == "set"
    assert "linguist-generated" not in attributes("d2l_helpers/data.py")
    assert attributes("book/img/page.png")["binary"] == "set"


def test_the_version_is_the_same_everywhere():
    import d2l_helpers

    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == PROJECT["project"]["version"] == d2l_helpers.__version__
    (author,) = cited["authors"]
    assert author["name"] in (ROOT / "LICENSE").read_text()
    assert " AND ".join(cited["license"]) == PROJECT["project"]["license"]


def test_commits_are_looked_at_by_the_tools_of_the_lock():
    hooks = {
        repo["repo"].split("/")[-1]: repo
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    }
    assert hooks["ruff-pre-commit"]["rev"].lstrip("v") in locked()["ruff"]
    names = {hook["id"] for repo in hooks.values() for hook in repo["hooks"]}
    assert {"ruff-check", "ruff-format", "check-added-large-files", "detect-private-key"} <= names
    (pair,) = hooks["local"]["hooks"]
    assert pair["entry"].endswith(" -m bookbuild pair")
    assert re.search(pair["files"], "book/02-preliminaries/01-data-manipulation.py")
    large = next(h for h in hooks["pre-commit-hooks"]["hooks"] if "large" in h["id"])
    limit = int(large["args"][0].split("=")[1]) * 1024
    assert all((ROOT / f).stat().st_size < limit for f in tracked() if (ROOT / f).exists())


def test_a_bug_report_asks_for_what_is_needed():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    asked = {part["id"]: part["attributes"]["label"] for part in form["body"]}
    needed = {part["id"] for part in form["body"] if part["validations"]["required"]}
    assert {"section", "version", "doctor"} <= needed and "make doctor" in asked["doctor"]
    verbs = re.findall(r"make (\w+)", (ROOT / ".github/pull_request_template.md").read_text())
    assert verbs and set(verbs) <= set(phony())


def test_dependabot_looks_where_versions_are():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    files = {"pip": "pyproject.toml", "npm": "package.json", "github-actions": ".github/workflows"}
    assert {u["package-ecosystem"] for u in updates} == set(files)
    for update in updates:
        folder = ROOT / update["directory"].lstrip("/")
        assert (folder / files[update["package-ecosystem"]]).exists(), update
        assert update["schedule"]["interval"] == "weekly" and update["groups"]


def test_the_container_makes_the_environment():
    settings = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    command = settings["postCreateCommand"].split()
    assert command[:2] == ["make", "env"] and "TORCH=cpu" in command
    version = re.match(r"python:([0-9.]+)", settings["image"])[1]
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(version)


def test_binder_has_what_the_notebooks_import_and_no_more():
    lines = (ROOT / "binder/reader.txt").read_text().splitlines()
    wanted = [Requirement(line) for line in lines if not line.startswith("#")]
    book = PROJECT["project"]["optional-dependencies"]["book"]
    assert {str(r) for r in wanted} <= {str(Requirement(r)) for r in book}
    names = {canonicalize_name(r.name) for r in wanted}
    assert not names & {"pytest", "nbval", "papermill", "sphinx", "playwright", "mypy"}
    core = {Requirement(r).name for r in PROJECT["project"]["dependencies"]}
    imported = set()
    for path in (ROOT / "book").glob("*/*.py"):
        found = re.findall(r"^\s*(?:import|from) (\w+)", path.read_text(encoding="utf-8"), re.M)
        imported |= {module for module in found if path.with_name(f"{module}.py") != path}
    installed = packages_distributions()
    foreign = {n for m in imported - sys.stdlib_module_names for n in installed.get(m, [])}
    # Matplotlib brings Pillow.
    assert {canonicalize_name(n) for n in foreign} - {"d2l-helpers", "pillow"} <= names | core

    conda = yaml.safe_load((ROOT / "binder/environment.yml").read_text())
    (pip,) = [d["pip"] for d in conda["dependencies"] if isinstance(d, dict)]
    uv = re.search(r"^UV := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1]
    assert pip == [f"uv=={uv}"]
    script = ROOT / "binder" / "postBuild"
    assert "--torch-backend cpu" in script.read_text()
    if sys.platform != "win32":
        assert os.access(script, os.X_OK)


# make env, without the network: a folder of wheels has a package `uv` that only says what it was asked

make = pytest.mark.skipif(not shutil.which("make"), reason="needs make")


class Checkout:
    """A folder with the Makefile and what its rule for .venv needs."""

    def __init__(self, root: Path):
        self.root, self.python = root, root / ".venv" / "bin" / "python"
        for name in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / name, root)
        (root / "requirements.lock").touch()
        (root / "bookbuild" / "web").mkdir(parents=True)
        (root / "bookbuild" / "web" / "package-lock.json").touch()
        (root / "bookbuild" / "site.py").write_text("def assets(root): print('assets')\n")
        version = re.search(r"^UV := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1]
        (root / "wheels").mkdir()
        with zipfile.ZipFile(root / "wheels" / f"uv-{version}-py3-none-any.whl", "w") as wheel:
            info = f"uv-{version}.dist-info"
            wheel.writestr("uv/__main__.py", "import sys; print('uv', *sys.argv[1:])\n")
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: uv\nVersion: {version}\n"
            )
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(
                f"{info}/RECORD", f"uv/__main__.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n"
            )

    def env(self, *options: str, **settings: str) -> str:
        """What `make env` prints, with its exit status in front."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_", "PYTHON"))}
        kept |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.root / "wheels"), "LC_ALL": "C"}
        result = subprocess.run(
            ["make", "env", *(options or [f"PYTHON={sys.executable}"])],
            cwd=self.root,
            env=kept | settings,
            capture_output=True,
            text=True,
        )
        return f"{result.returncode} {result.stdout}{result.stderr}"

    def pretend(self, name: str, version: str) -> Path:
        """An interpreter that takes itself for another version."""
        folder = self.root / name
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(f"import sys\nsys.version_info = {version}\n")
        script = folder / "python"
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" "$@"\n')
        script.chmod(0o755)
        return script


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@make
def test_make_env_whatever_pip_is_told(checkout, tmp_path):
    """A user's settings of pip neither stop it nor send packages elsewhere."""
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nuser = true\n[install]\nprefix = elsewhere\n")
    text = checkout.env(
        PIP_USER="1",
        PIP_TARGET=str(tmp_path / "target"),
        PIP_REQUIRE_VIRTUALENV="1",
        PIP_CONFIG_FILE=str(config),
    )
    assert text.startswith("0 ") and "uv pip install" in text and "assets" in text, text
    assert list(tmp_path.glob(".venv/lib/*/site-packages/uv/__main__.py"))
    assert not (tmp_path / "target").exists() and not (tmp_path / "elsewhere").exists()
    assert "Nothing to be done" in checkout.env()


@make
def test_make_env_refuses_an_old_python_before_it_makes_anything(checkout):
    old = checkout.pretend("old", "(3, 10, 4)")
    text = checkout.env(f"PYTHON={old}")
    assert text.startswith("2 "), text
    assert f"{sys.executable} is Python 3.10, and the book needs 3.11 or newer, below 3.15" in text
    assert "make env PYTHON=python3.11" in text
    assert not (checkout.root / ".venv").exists()
    assert "there is no python9" in checkout.env("PYTHON=python9")


@make
def test_make_env_makes_a_broken_environment_anew(checkout):
    """Another version, an interpreter that vanished, no pip: each time as if there were none."""
    assert checkout.env().startswith("0 ")
    ready, (packages,) = (
        checkout.root / ".venv/.ready",
        checkout.root.glob(".venv/lib/*/site-packages"),
    )
    (packages / "sitecustomize.py").write_text("import sys\nsys.version_info = (3, 10, 4)\n")
    text = checkout.env()
    assert text.startswith("0 ") and ready.exists(), text
    assert not (packages / "sitecustomize.py").exists(), "made anew"

    checkout.python.unlink()
    checkout.python.symlink_to("/nonexistent/python3")
    text = checkout.env()
    assert text.startswith("0 ") and checkout.python.exists(), text

    mine = packages / "mine.py"
    mine.touch()
    for folder in packages.glob("pip*"):
        shutil.rmtree(folder)
    text = checkout.env()
    assert text.startswith("0 ") and (packages / "pip").exists(), text
    assert mine.exists(), "what only lacks pip is kept"


def test_children_of_the_tests_are_counted(tmp_path):
    """The builder works in pools and commands; without them, coverage would be that of the tests' own process."""
    test = tmp_path / "test_child.py"
    test.write_text(
        "import subprocess, sys\nimport bookbuild\n"
        "def test_child(tmp_path):\n"
        "    code = 'from d2l_helpers import doctor; doctor._size(1)'\n"
        "    subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--cov"]
    subprocess.run(
        [*command, f"--cov-report=json:{tmp_path / 'report.json'}", str(test)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COVERAGE_FILE": str(tmp_path / ".coverage")},
        check=True,
        capture_output=True,
    )
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    assert files["d2l_helpers/doctor.py"]["summary"]["covered_lines"] > 20
    assert "bookbuild/run.py" in files, "what no test reaches counts too"
    assert not [f for f in files if "chapters" in f]


def test_make_help_lists_every_verb():
    if sys.platform == "win32":
        pytest.skip("no make")
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert all(f"make {verb} " in listed for verb in phony() if verb not in ("help", "again"))


def phony() -> list[str]:
    """The verbs of the Makefile."""
    lines = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    verbs = " ".join(lines).split()
    assert verbs
    return verbs
