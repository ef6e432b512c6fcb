"""What the outputs of a notebook depend on, as one hash: equal key, no run.

The key covers the code cells with their tags (not the prose), the values of the profile, every definition of
`d2l_helpers` that the notebook reaches through imports and names, the versions of the packages whose numbers or
pictures appear, and the data sets with their source. It has neither times nor paths in it.
"""

import ast
import hashlib
import json
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .book import BookError, Section

VERSIONS = (
    "torch",
    "torchvision",
    "numpy",
    "matplotlib",
    "pandas",
    "scikit-learn",
    "ipykernel",
    "ipython",
)
PACKAGE = "d2l_helpers"
#: Not followed: the stand-ins count through their version, and only where a notebook uses one.
OUTSIDE = {"standins"}


@cache
def versions() -> dict[str, str]:
    """Versions that matter; the part after `+` (a CPU or CUDA build) does not."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name in VERSIONS:
        try:
            found[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            found[name] = "none"
    return found


def digest(value: Any) -> str:
    """SHA-256 of a JSON value, independent of the order of keys."""
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
    ).hexdigest()


def data_state(section: Section, source: str) -> dict[str, Any]:
    """Data sets declared in the header -> what identifies their content."""
    state: dict[str, Any] = {}
    for name in section.settings.get("data") or []:
        from d2l_helpers import data, standins

        if name not in data.manifest():
            raise BookError(
                f"{section.name}: its header names the data set {name!r}; the manifest has: {', '.join(sorted(data.manifest()))}."
            )
        files = data.manifest()[name]["files"]
        state[name] = (
            {f: spec["sha256"] for f, spec in files.items()}
            if source == "real"
            else f"standin {standins.version(name)}"
        )
    return state


def key(section: Section, profile: str, source: str, sources: "Sources") -> str:
    """The key of a section's outputs.

    Parameters
    ----------
    profile
        `cpu`, `gpu` or `smoke`.
    source
        `real` or `standin`, for its data sets.
    sources
        The definitions of the helper package.
    """
    code = [
        (cell.source, sorted(cell.metadata.get("tags", []))) for _, cell in section.code_cells()
    ]
    return digest(
        {
            "code": code,
            "profile": [profile, section.profile(profile)],
            "reach": sources.reached([cell.source for _, cell in section.code_cells()]),
            "versions": versions(),
            "data": data_state(section, source),
        }
    )


class Module:
    """Top-level definitions of one module and what each refers to."""

    def __init__(self, path: Path):
        self.definitions: dict[str, list[str]] = {}
        self.nodes: dict[str, list[ast.AST]] = {}
        self.imports: list[ast.stmt] = []
        self.loose: list[ast.stmt] = []
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own = {
            node.name
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        }
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self.imports.append(node)
                continue
            names = _names(node)
            if not names or not own.issuperset(
                _owners(node)
            ):  # a method added to a class of another module counts always
                self.loose.append(node)
            for name in names:
                self.definitions.setdefault(name, []).append(ast.unparse(node))
                self.nodes.setdefault(name, []).append(node)


def _owners(node: ast.stmt) -> list[str]:
    """Classes that a decorated definition is added to: `X` in `@add_to_class(X)`."""
    calls = [d for d in getattr(node, "decorator_list", []) if isinstance(d, ast.Call)]
    return [arg.id for call in calls for arg in call.args if isinstance(arg, ast.Name)]


def _names(node: ast.stmt) -> list[str]:
    """Names that a top-level statement defines; a method added by a decorator belongs to its class."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return _owners(node) or [node.name]
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return []


class Sources:
    """The helper package as definitions; tells which of them a piece of code reaches."""

    def __init__(self, root: Path):
        folder = root / PACKAGE
        self.modules: dict[str, Module] = {}
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder).with_suffix("").as_posix().replace("/", ".")
            if name.split(".")[-1] != "__init__" and name not in OUTSIDE:
                self.modules[name] = Module(path)
        self.home = _home(folder / "__init__.py")

    def reached(self, cells: list[str]) -> dict[str, list[str]]:
        """`module:name` -> source of every definition reached from these cells."""
        found: dict[str, list[str]] = {}
        names: dict[str, tuple[str, str]] = {}
        trees = [tree for cell in cells if (tree := _tolerant(cell))]
        for tree in trees:
            names |= self._imported(tree, "")
        todo = [item for tree in trees for item in self._used(tree, names, "")]
        while todo:
            module, name = todo.pop()
            label = f"{module}:{name}"
            if label in found or module not in self.modules:
                continue
            source = self.modules[module]
            wanted = list(source.definitions) if name == "*" else [name]
            if name == "*":
                todo += [(module, each) for each in wanted]
                found[label] = []
                continue
            if name not in source.definitions:
                continue
            found[label] = source.definitions[name]
            found.setdefault(f"{module}:", [ast.unparse(node) for node in source.loose])
            here: dict[str, tuple[str, str]] = {}
            for statement in source.imports:
                here |= self._imported(statement, module)
            for node in source.nodes[name]:
                local = here | self._imported(node, module)
                todo += self._used(node, local, module)
        return found

    def _imported(self, tree: ast.AST, module: str) -> dict[str, tuple[str, str]]:
        """Local name -> (module, name) for imports from the package; ('', '') is the package itself."""
        names: dict[str, tuple[str, str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name == PACKAGE:
                        names[alias.asname or alias.name] = ("", "")
                    elif alias.name.startswith(PACKAGE + "."):
                        inner = alias.name[len(PACKAGE) + 1 :]
                        names[alias.asname or PACKAGE] = (inner, "*") if alias.asname else ("", "")
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node, module)
                if origin is None:
                    continue
                for alias in node.names:
                    inner = f"{origin}.{alias.name}".strip(".")
                    if inner in self.modules:
                        names[alias.asname or alias.name] = (inner, "*")
                    elif origin:
                        names[alias.asname or alias.name] = (origin, alias.name)
                    elif alias.name in self.home:
                        names[alias.asname or alias.name] = (self.home[alias.name], alias.name)
        return names

    @staticmethod
    def _origin(node: ast.ImportFrom, module: str) -> str | None:
        """Module inside the package that an import names ('' is the package), None for another package."""
        if node.level:
            base = module.split(".")[: -node.level] if module else []
            return ".".join([*base, *(node.module.split(".") if node.module else [])])
        if node.module == PACKAGE:
            return ""
        if node.module and node.module.startswith(PACKAGE + "."):
            return node.module[len(PACKAGE) + 1 :]
        return None

    def _used(
        self, tree: ast.AST, names: dict[str, tuple[str, str]], module: str
    ) -> list[tuple[str, str]]:
        """(module, name) pairs that the code mentions."""
        used = []
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and names.get(node.value.id) == ("", "")
            ):
                if node.attr in self.home:
                    used.append((self.home[node.attr], node.attr))
            elif isinstance(node, ast.Name):
                if node.id in names and names[node.id] != ("", ""):
                    used.append(names[node.id])
                elif module and node.id in self.modules[module].definitions:
                    used.append((module, node.id))
        return used


def _tolerant(cell: str) -> ast.AST | None:
    """Syntax tree of a cell, without its magics; None where it is no Python."""
    lines = [
        line if not line.lstrip().startswith(("%", "!")) else "pass" for line in cell.splitlines()
    ]
    try:
        return ast.parse("\n".join(lines))
    except SyntaxError:
        return None


def _home(path: Path) -> dict[str, str]:
    """The table of `d2l_helpers/__init__.py`: public name -> module."""
    if not path.exists():
        return {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "_HOME" for t in node.targets
        ):
            return dict(ast.literal_eval(node.value))
    return {}
