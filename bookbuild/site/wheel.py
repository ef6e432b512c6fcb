"""The helper as a package to install, with what the notebooks import and without the builder."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import Any

from ..book import Book, BookError

#: What reads a notebook, not what a notebook imports: a reader who has opened one has it.
JUPYTER = ("jupyterlab", "ipykernel", "ipython", "jupytext")
KEPT = ("name", "requires-python", "license", "license-files")
BUILD = "from setuptools import build_meta; build_meta.build_wheel('dist')"
EPOCH = "315532800"  # 1980, the first year that a zip file can name


class Wheel:
    """The wheel of a book's helper; a function of its files and requirements.

    Parameters
    ----------
    book
        Its `d2l_helpers` is packed, with the metadata of its pyproject.toml and the requirements
        of `binder/reader.txt`.

    Raises
    ------
    BookError
        If pyproject.toml does not name the project and its version.
    """

    def __init__(self, book: Book):
        self.root, self.project = book.root, book.project
        lacking = [key for key in ("name", "version") if not self.project.get(key)]
        if lacking:
            raise BookError(
                f"pyproject.toml: [project] has no {' and no '.join(lacking)}; the helper that "
                "readers install is named after them."
            )

    @cached_property
    def files(self) -> dict[str, bytes]:
        """Path from the root -> content of every file that is packed."""
        package = self.root / "d2l_helpers"
        paths = [p for p in package.rglob("*") if p.is_file() and p.suffix in (".py", ".toml")]
        paths += [package / "py.typed"]
        for pattern in self.project.get("license-files", []):
            paths += self.root.glob(pattern)
        return {
            p.relative_to(self.root).as_posix(): p.read_bytes().replace(b"\r\n", b"\n")
            for p in sorted(paths)
            if p.exists()
        }

    @cached_property
    def requirements(self) -> list[str]:
        """What the helper and the notebooks import."""
        path = self.root / "binder" / "reader.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        wanted = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        wanted = [line for line in wanted if re.split(r"[^\w-]", line)[0] not in JUPYTER]
        return [*self.project.get("dependencies", []), *wanted]

    @cached_property
    def version(self) -> str:
        """Version of the project and digest of the content, e.g. `0.1.0+b0c8e21d4`."""
        about = {k: v for k, v in self.project.items() if k in (*KEPT, "version")}
        found = hashlib.blake2b(digest_size=4)
        for part in (json.dumps([about, self.requirements], sort_keys=True).encode(), *(
            part for name, content in self.files.items() for part in (name.encode(), content)
        )):  # fmt: skip
            found.update(f"{len(part)}:".encode() + part)
        return f"{self.project['version']}+b{found.hexdigest()}"

    @property
    def name(self) -> str:
        """Name of the file."""
        name = re.sub(r"[-_.]+", "_", self.project["name"]).lower()
        return f"{name}-{self.version}-py3-none-any.whl"

    def build(self) -> bytes:
        """The wheel, made by setuptools in a folder of its own.

        Raises
        ------
        BookError
            If setuptools fails, with what it said.
        """
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name, content in self.files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                path.chmod(0o644)
            (root / "pyproject.toml").write_text(self._pyproject(), encoding="utf-8")
            apart = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
            done = subprocess.run(
                [sys.executable, "-c", BUILD],
                cwd=root,
                env=apart | {"SOURCE_DATE_EPOCH": EPOCH},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            made = root / "dist" / self.name
            if done.returncode or not made.exists():
                raise BookError(f"setuptools could not build {self.name}:\n{done.stdout.strip()}")
            return made.read_bytes()

    def _pyproject(self) -> str:
        about: dict[str, Any] = {k: self.project[k] for k in KEPT if k in self.project}
        about |= {"version": self.version, "dependencies": self.requirements}
        about["description"] = "What the notebooks of the book import"
        folders = {Path(name).parent for name in self.files if "/" in name}
        packages = sorted(".".join(folder.parts) for folder in folders)
        data = {"d2l_helpers": ["py.typed", "*.toml"]}
        lines = ["[build-system]", 'requires = ["setuptools>=77"]']
        lines += ['build-backend = "setuptools.build_meta"', "[project]"]
        # A string and a list of strings are written in JSON as in TOML.
        lines += [f"{key} = {json.dumps(value)}" for key, value in about.items()]
        lines += ["[tool.setuptools]", f"packages = {json.dumps(packages)}"]
        lines += ["[tool.setuptools.package-data]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in data.items()]
        return "\n".join(lines) + "\n"
