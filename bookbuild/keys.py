"""What the outputs of a notebook depend on, as one hash: equal key, no run.

The key covers the code cells with their tags (not the prose, nor the tags of slides), the values of
the profile, every definition of `d2l_helpers` that the notebook reaches through imports and names,
the versions of the packages that it imports, and the data sets with their source. It has neither
times nor paths in it. A docstring of the package counts only for a notebook that shows such texts
(`help`, `getsource`).
"""

import ast
import copy
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

from .book import BookError, Cell, Section, read_text
from .grammar import SLIDE_TAGS

#: Packages whose versions count for every notebook: name in an import -> name of the distribution.
BASIC = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "sklearn": "scikit-learn",
    "ipykernel": "ipykernel",
    "IPython": "ipython",
}
PACKAGE = "d2l_helpers"
CHAPTERS = "chapters"
#: Not followed: the stand-ins count through their version, and only where a notebook uses one; what
#: sources bring counts through its SHA-256.
OUTSIDE = {"standins", "standin_pictures", "standin_text", "sources"}
#: Code that shows docstrings or sources.
_SHOWS = re.compile(
    r"\b(?:help|getdoc|getsource|getsourcelines|getcomments|__doc__|doctest)\b|^\s*\??[\w.]+\?+\s*$",
    re.M,
)
#: Where a name leads: (module of the package, definition). ("", "") is the package, (m, "*") a
#: whole module, (m, "") what a module does when it is imported.
Target = tuple[str, str]


@cache
def _version(distribution: str) -> str:
    """Installed version; the part after `+` (a CPU or CUDA build) does not count."""
    try:
        return version(distribution).split("+")[0]
    except PackageNotFoundError:
        return "none"


@cache
def distributions(name: str) -> tuple[str, ...]:
    """Distributions that a top-level import brings; none for the standard library.

    >>> distributions("sklearn")
    ('scikit-learn',)
    """
    if name in BASIC:
        return (BASIC[name],)
    if name in sys.stdlib_module_names or name == PACKAGE:
        return ()
    if _version(name) != "none":
        return (name,)
    return tuple(sorted(set(packages_distributions().get(name, [name]))))


@cache
def versions() -> dict[str, str]:
    """Python and the packages that count for every notebook -> version."""
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        **{name: _version(name) for name in BASIC.values()},
    }


def versions_of(section: Section, sources: "Sources | None" = None) -> dict[str, str]:
    """`versions()`, and those of what the section imports, itself or through exported chapters.

    Parameters
    ----------
    section
        A notebook.
    sources
        The helper package; None: only the imports in the section itself count.
    """
    cells = [cell for _, cell in section.code]
    return _versions(cells, sources, sources.reached(cells) if sources else ())


def _versions(
    cells: list[Cell], sources: "Sources | None", reached: Iterable[str]
) -> dict[str, str]:
    names = {n for cell in cells if "import" in cell.source for n in _roots(cell.tree)}
    if sources is not None:
        for module in {label.split(":")[0] for label in reached} & set(sources.modules):
            if module.startswith(f"{CHAPTERS}."):
                names |= sources.modules[module].roots
    found = {each for name in names for each in distributions(name)}
    return {**versions(), **{name: _version(name) for name in sorted(found)}}


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
                f"{section.name}: its header names the data set {name!r}; "
                f"the manifest has: {', '.join(sorted(data.manifest()))}."
            )
        state[name] = (
            data.identity(name) if source == "real" else f"standin {standins.version(name)}"
        )
    return state


def key(section: Section, profile: str, source: str, sources: "Sources") -> str:
    """The key of a section's outputs.

    Parameters
    ----------
    section
        A notebook.
    profile
        Name of a profile, see `record.PROFILES`.
    source
        `real` or `standin`, for its data sets.
    sources
        The definitions of the helper package.
    """
    cells = [cell for _, cell in section.code]
    reached = sources.reached(cells)
    return digest(
        {
            "code": [(cell.source, _tags(cell)) for cell in cells],
            "profile": [profile, section.profile(profile)],
            "reach": reached,
            "versions": _versions(cells, sources, reached),
            "data": data_state(section, source),
        }
    )


def _tags(cell: Cell) -> list[str]:
    """Tags of a cell that its outputs may depend on."""
    return sorted(tag for tag in cell.tags if tag not in SLIDE_TAGS)


def imports(tree: ast.AST | None) -> Iterator[tuple[str, ast.stmt]]:
    """(module, statement) of every import in a piece of code, those within the package dotted."""
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), node


def _roots(tree: ast.AST | None) -> set[str]:
    """Top-level names of the packages that a piece of code imports."""
    return {name.split(".")[0] for name, _ in imports(tree)} - {""}


class Definition:
    """The statements that define a name of a module; for the name "", those of its import."""

    def __init__(self, nodes: list[ast.stmt], text: str):
        self.nodes, self._text = nodes, text
        self.uses: list[Target] | None = None  # filled by `Sources`

    @cached_property
    def bare(self) -> str:
        """Digest of the code without docstrings, comments and layout."""
        return digest([ast.unparse(_without_strings(node)) for node in self.nodes])

    @cached_property
    def full(self) -> str:
        """Digest of the source as it stands."""
        lines = self._text.split("\n")
        return digest([lines[_first_line(n) - 1 : n.end_lineno] for n in self.nodes])


def _first_line(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(d.lineno for d in decorators)])


def _without_strings(node: ast.stmt) -> ast.stmt:
    """A copy without docstrings and other strings that stand as a statement."""
    node = copy.deepcopy(node)
    for each in ast.walk(node):
        body = getattr(each, "body", None)
        if isinstance(body, list):
            kept = [
                n
                for n in body
                if not (
                    isinstance(n, ast.Expr)
                    and isinstance(n.value, ast.Constant)
                    and isinstance(n.value.value, str)
                )
            ]
            each.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return node


class Module:
    """Top-level definitions of one module of the package."""

    def __init__(self, path: Path):
        text = read_text(path)
        tree = ast.parse(text)
        self.imports: list[ast.stmt] = []
        found: dict[str, list[ast.stmt]] = {"": []}
        own = {
            node.name
            for node in tree.body
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        }
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self.imports.append(node)
                continue
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # the docstring
            names = _names(node)
            # A method added to a class of another module counts always.
            if not names or not own.issuperset(_owners(node)):
                found[""].append(node)
            for name in names:
                found.setdefault(name, []).append(node)
        self.definitions = {name: Definition(nodes, text) for name, nodes in found.items()}
        self.roots = _roots(tree)
        self.names: dict[str, Target] = {}  # imported from the package; filled by `Sources`

    @property
    def public(self) -> list[str]:
        """What `from module import *` brings."""
        return [n for n in (*self.definitions, *self.names) if n and not n.startswith("_")]


def _owners(node: ast.stmt) -> list[str]:
    """Classes that a decorated definition is added to: `X` in `@add_to_class(X)`."""
    calls = [d for d in getattr(node, "decorator_list", []) if isinstance(d, ast.Call)]
    return [arg.id for call in calls for arg in call.args if isinstance(arg, ast.Name)]


def _names(node: ast.stmt) -> list[str]:
    """Names that a top-level statement defines; a method added to a class belongs to the class."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return _owners(node) or [node.name]
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return []


class Sources:
    """The helper package as definitions; tells which of them a piece of code reaches.

    Made once for a run: every module is read, and every definition followed, once.
    """

    def __init__(self, root: Path):
        folder = root / PACKAGE
        self.modules: dict[str, Module] = {}
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(folder).with_suffix("").as_posix().replace("/", ".")
            if name.split(".")[-1] != "__init__" and name not in OUTSIDE:
                self.modules[name] = Module(path)
        self.home = _home(folder / "__init__.py")
        for name, module in self.modules.items():
            for statement in module.imports:
                module.names |= self._imported(statement, name)

    def reached(self, cells: Iterable[Cell]) -> dict[str, str]:
        """`module:name` -> digest of every definition of the package reached from these cells."""
        cells = list(cells)
        names: dict[str, Target] = {}
        todo: list[Target] = []
        for cell in cells:
            if "import" in cell.source and PACKAGE in cell.source and cell.tree:
                names |= self._imported(cell.tree, "")
                # An import runs the module, whether or not anything of it is used.
                todo += [(n[len(PACKAGE) + 1 :], "") for n, _ in imports(cell.tree) if "." in n]
        # A cell in which none of these words stands reaches nothing and need not be parsed.
        words = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b") if names else None
        for cell in cells:
            if words is not None and words.search(cell.source) and cell.tree:
                todo += self._used(cell.tree, names, "")
        shown = any(_SHOWS.search(cell.source) for cell in cells)
        found: dict[str, str] = {}
        while todo:
            module, name = todo.pop()
            label = f"{module}:{name}"
            if label in found or module not in self.modules:
                continue
            source = self.modules[module]
            if name == "*":
                found[label] = ""
                todo += [(module, each) for each in source.definitions]
            elif name in source.definitions:
                definition = source.definitions[name]
                found[label] = definition.full if shown else definition.bare
                todo += [(module, ""), *self._uses(definition, module)]
            elif name in source.names:  # imported there
                todo += [(module, ""), source.names[name]]
        return found

    def _uses(self, definition: Definition, module: str) -> list[Target]:
        """Where the names in a definition lead."""
        if definition.uses is None:
            definition.uses = []
            for node in definition.nodes:
                local = self.modules[module].names | self._imported(node, module)
                definition.uses += self._used(node, local, module)
        return definition.uses

    def has(self, name: str) -> bool:
        """Whether a dotted name below the package leads to something that is followed."""
        module, _, last = name.rpartition(".")
        if (
            not name
            or name in self.home
            or any(f"{m}.".startswith(f"{name}.") for m in self.modules)
        ):
            return True
        inside = self.modules.get(module)
        return inside is not None and (last in inside.definitions or last in inside.names)

    def _imported(self, tree: ast.AST, module: str) -> dict[str, Target]:
        """Local name -> target, for the imports from the package in a piece of code."""
        names: dict[str, Target] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name.split(".")[0] == PACKAGE:
                        inner = alias.name[len(PACKAGE) + 1 :]
                        whole = (inner, "*") if inner and alias.asname else ("", "")
                        names[alias.asname or PACKAGE] = whole
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node, module)
                for alias in node.names if origin is not None else []:
                    if alias.name == "*":
                        names |= self._everything(origin or "")
                    else:
                        names[alias.asname or alias.name] = self._member(origin or "", alias.name)
        return names

    def _everything(self, origin: str) -> dict[str, Target]:
        """What `from origin import *` binds."""
        if not origin:
            return {name: (home, name) for name, home in self.home.items()}
        public = self.modules[origin].public if origin in self.modules else []
        return {name: (origin, name) for name in public}

    def _member(self, origin: str, name: str) -> Target:
        """Where a name of the package, or of a module of it, leads."""
        inner = f"{origin}.{name}".strip(".")
        if inner in self.modules:
            return (inner, "*")
        if not origin:
            return (self.home[name], name) if name in self.home else (inner, "*")
        return (origin, name) if origin in self.modules else (inner, "*")

    @staticmethod
    def _origin(node: ast.ImportFrom, module: str) -> str | None:
        """Module of the package that an import names; "" is the package, None another one."""
        if node.level:
            base = module.split(".")[: -node.level] if module else []
            return ".".join([*base, *(node.module.split(".") if node.module else [])])
        if node.module == PACKAGE:
            return ""
        if node.module and node.module.startswith(PACKAGE + "."):
            return node.module[len(PACKAGE) + 1 :]
        return None

    def _used(self, tree: ast.AST, names: dict[str, Target], module: str) -> list[Target]:
        """Where the names that a piece of code mentions lead."""
        used: list[Target] = []
        own = self.modules[module].definitions if module else {}
        for name, attributes in _chains(tree):
            if name in names:
                used += self._resolve(names[name], attributes)
            elif name in own:
                used.append((module, name))
        return used

    def _resolve(self, target: Target, attributes: Sequence[str]) -> list[Target]:
        """Where `name.a.b` leads when `name` leads to `target`."""
        module, name = target
        if name not in ("", "*"):
            return [target]
        if module in self.modules:
            source = self.modules[module]
            known = attributes and attributes[0] in {**source.definitions, **source.names}
            return [(module, attributes[0] if known else "*")]
        if attributes and not module and attributes[0] in self.home:
            return [(self.home[attributes[0]], attributes[0])]
        inner = f"{module}.{attributes[0]}".strip(".") if attributes else module
        if attributes and any(m == inner or m.startswith(f"{inner}.") for m in self.modules):
            return self._resolve((inner, "*"), attributes[1:])
        if attributes:  # an attribute of the package itself, such as its version
            return []
        # The package, or a package in it, as a value: whatever it holds may be taken out of it.
        return [(m, "*") for m in self.modules if not inner or m.startswith(f"{inner}.")]


def _chains(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """(name, attributes) of every `name`, `name.a`, `name.a.b` in a piece of code, whole."""
    inner: set[int] = set()
    for node in ast.walk(tree):  # outer nodes come first
        if id(node) in inner or not isinstance(node, (ast.Attribute, ast.Name)):
            continue
        attributes: list[str] = []
        each: ast.expr = node
        while isinstance(each, ast.Attribute):
            attributes.append(each.attr)
            each = each.value
            inner.add(id(each))
        if isinstance(each, ast.Name):
            yield each.id, attributes[::-1]


def _home(path: Path) -> dict[str, str]:
    """The table of `d2l_helpers/__init__.py`: public name -> module."""
    if not path.exists():
        return {}
    for node in ast.parse(read_text(path)).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "_HOME" for t in node.targets
        ):
            return dict(ast.literal_eval(node.value))
    return {}
