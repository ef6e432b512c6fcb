"""The files that say what to install agree; what they install works."""

import re
import subprocess
import sys
import tomllib
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


def test_make_help_lists_every_verb():
    if sys.platform == "win32":
        pytest.skip("no make")
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert phony and all(f"make {verb} " in listed for verb in phony[1].split() if verb != "help")
