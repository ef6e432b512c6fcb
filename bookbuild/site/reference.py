"""The reference: public names of `d2l_helpers`, and what sections define for later ones.

All is read from the source; nothing is imported, so that PyTorch need not be there.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..book import Book, Section
from ..export import CHAPTERS
from ..keys import PACKAGE, imports
from .pieces import page, piece
from .places import doc

Definition = ast.FunctionDef | ast.ClassDef
PART = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)
TABLES = ("Parameters", "Attributes", "Raises", "Yields")


@dataclass
class Name:
    """A name with what its definition says."""

    module: str
    name: str
    node: Definition
    owner: str = ""  # the class that it is added to
    section: Section | None = None  # that teaches it
    users: list[Section] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        return (
            f"{self.module}.{self.owner}.{self.name}"
            if self.owner
            else f"{self.module}.{self.name}"
        )

    @property
    def url(self) -> str:
        return f"reference.html#{self.anchor}"

    @property
    def shown(self) -> str:
        return f"{self.owner}.{self.name}" if self.owner else self.name


def signature(node: Definition, name: str) -> str:
    """A definition's first line without its keyword: `plot(x, ys, *, xlabel='') -> Axes`."""
    if isinstance(node, ast.FunctionDef):
        given = f"{name}({ast.unparse(node.args)})"
        return given + (f" -> {ast.unparse(node.returns)}" if node.returns else "")
    init = next(
        (n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
    )
    if init is not None:
        return f"class {name}({_without_self(init)})"
    fields = [ast.unparse(n) for n in node.body if isinstance(n, ast.AnnAssign)]
    return f"class {name}({', '.join(fields)})" if fields else f"class {name}"


def _without_self(node: ast.FunctionDef) -> str:
    return re.sub(r"^self(?:, )?", "", ast.unparse(node.args))


def blocks(docstring: str) -> Iterator[dict[str, Any]]:
    """The parts of a docstring in numpydoc's form: text, code, and tables of names."""
    pieces = PART.split(inspect.cleandoc(docstring))
    yield from _paragraphs(pieces[0])
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        if title in TABLES:
            yield {"kind": "table", "title": title, "rows": list(_rows(body.strip("\n")))}
        elif title in ("Returns", "Notes", "See Also", "Source", "Sources", "References"):
            text = list(_paragraphs(body))
            if text and text[0]["kind"] == "text":
                text[0]["text"] = f"{title}: {text[0]['text']}"
            yield from text
        else:
            yield {"kind": "table", "title": title, "rows": []}
            yield {"kind": "code", "text": body.strip("\n")}


def _paragraphs(text: str) -> Iterator[dict[str, Any]]:
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        if part.strip():
            code = part.startswith(("    ", ">>>"))
            yield (
                {"kind": "code", "text": inspect.cleandoc(part)}
                if code
                else {"kind": "text", "text": " ".join(part.split())}
            )


def _rows(body: str) -> Iterator[tuple[str, str]]:
    for entry in re.split(r"\n(?=\S)", body):
        name, _, text = entry.partition("\n")
        if name.strip():
            yield name.strip(), " ".join(text.split())


class Reference:
    """The names, found once.

    Attributes
    ----------
    helpers
        Public names of the package, module by module.
    chapters
        Module of a chapter -> the names that its sections define in cells tagged `export`.
    """

    def __init__(self, book: Book):
        self.book = book
        self.used = _Uses(book)
        self.helpers = [n for n in self._helpers() if not n.name.startswith("_")]
        self.chapters: dict[str, list[Name]] = {}
        for chapter in book.chapters:
            module = f"{CHAPTERS}.{chapter.module}"
            names = [n for s in chapter.sections for n in self._taught(s, module)]
            if names:
                self.chapters[chapter.module] = names

    @property
    def names(self) -> list[Name]:
        return [*self.helpers, *(n for names in self.chapters.values() for n in names)]

    def _helpers(self) -> Iterator[Name]:
        """The names that the package offers, and those that sections take from its modules."""
        offered = self._offered
        for module in sorted((self.book.root / PACKAGE).glob("*.py")):
            own = f"{PACKAGE}.{module.stem}"
            taken = {name for m, name in self.used.imported if m == own}
            for node in _parsed(module).body:
                if isinstance(node, Definition) and node.name in offered | taken:
                    users = self.used.of(own, node.name)
                    if node.name in offered:
                        users = sorted(
                            {*users, *self.used.attribute.get(node.name, [])},
                            key=self.book.sections.index,
                        )
                    where = PACKAGE if node.name in offered else own
                    yield Name(where, node.name, node, users=users)

    @property
    def _offered(self) -> set[str]:
        """Names that `d2l_helpers` itself offers, by its table `_HOME`."""
        path = self.book.root / PACKAGE / "__init__.py"
        for node in _parsed(path).body if path.exists() else []:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOME":
                return set(ast.literal_eval(node.value))
        return set()

    def _taught(self, section: Section, module: str) -> Iterator[Name]:
        if not section.exists or section.is_page:
            return
        for _, cell in section.code:
            if "export" not in cell.tags or cell.tree is None:
                continue
            for node in cell.tree.body:
                if isinstance(node, Definition) and not node.name.startswith("_"):
                    users = self.used.of(module, node.name)
                    yield Name(module, node.name, node, _added_to(node), section, users)


def _added_to(node: Definition) -> str:
    for each in node.decorator_list:
        if isinstance(each, ast.Call) and ast.unparse(each.func).endswith("add_to_class"):
            return ast.unparse(each.args[0])
    return ""


def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


class _Uses:
    """Which section imports what from the package, and which names it takes from `d2l`."""

    def __init__(self, book: Book):
        self.imported: dict[tuple[str, str], list[Section]] = {}
        self.attribute: dict[str, list[Section]] = {}
        for section in book.notebooks:
            found: set[tuple[str, str]] = set()
            names: set[str] = set()
            for _, cell in section.code:
                if PACKAGE in cell.source:
                    for module, node in imports(cell.tree):
                        if isinstance(node, ast.ImportFrom) and module.startswith(PACKAGE):
                            found |= {(module, alias.name) for alias in node.names}
                names |= set(re.findall(r"\bd2l\.([A-Za-z_]\w*)", cell.source))
            for key in found:
                self.imported.setdefault(key, []).append(section)
            for name in names:
                self.attribute.setdefault(name, []).append(section)

    def of(self, module: str, name: str) -> list[Section]:
        return self.imported.get((module, name), [])


def reference_page(book: Book, reference: Reference) -> str:
    """The page in Markdown: the package first, then chapter by chapter."""
    groups = []
    if reference.helpers:
        groups.append(_group("d2l_helpers", "", reference.helpers))
    for chapter in book.chapters:
        if names := reference.chapters.get(chapter.module):
            title = f"Chapter {chapter.number}, {chapter.title}"
            groups.append(_group(title, f"{CHAPTERS}.{chapter.module}", names))
    return page("reference", groups=groups)


def _group(title: str, module: str, names: list[Name]) -> dict[str, str]:
    rows = [_entry(name) for name in names]
    return {"title": title, "module": module, "html": piece("reference", entries=rows)}


def _entry(name: Name) -> dict[str, Any]:
    methods = []
    if isinstance(name.node, ast.ClassDef):
        for node in name.node.body:
            text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            if text and isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                first = " ".join(re.split(r"\n\s*\n", text)[0].split())
                shown = f"{node.name}({_without_self(node)})"
                methods.append({"signature": shown, "text": first})
    return {
        "anchor": name.anchor,
        "signature": signature(name.node, name.shown),
        "taught": name.section and _place(name.section, f"#code-{name.name}"),
        "users": [_place(s) for s in name.users],
        "blocks": list(blocks(ast.get_docstring(name.node) or "")),
        "methods": methods,
    }


def _place(section: Section, anchor: str = "") -> dict[str, str]:
    return {"id": section.id, "title": section.title, "url": f"{doc(section)}.html{anchor}"}
