"""The files that say what to install agree; what they install works."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
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


def test_workflows_are_valid():
    files = [str(f) for f in (ROOT / ".github" / "workflows").glob("*.yml")]
    assert files
    scripts = Path(sys.executable).parent
    subprocess.run(
        [scripts / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files],
        check=True,
        capture_output=True,
    )
    result = subprocess.run(
        [scripts / "zizmor", "--offline", "-q", *files], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


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


def test_make_help_lists_every_verb():
    if sys.platform == "win32":
        pytest.skip("no make")
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert phony and all(f"make {verb} " in listed for verb in phony[1].split() if verb != "help")
