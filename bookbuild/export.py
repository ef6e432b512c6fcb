"""`d2l_helpers/chapters/*.py` from cells tagged `export`: taught in one section, used in others.

A module must mean what its sections say, whatever else was imported and in whichever order. So a
name has one definition in a chapter and is defined before it is used at import, imports point to
earlier chapters, and no class of another module is changed.
"""

import ast
import builtins
import re
import symtable
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from .book import Book, BookError, Cell, Chapter, Section
from .keys import imports
from .store import write_text

PACKAGE = Path("d2l_helpers") / "chapters"
CHAPTERS = "d2l_helpers.chapters"
INIT = '"""Generated: what the sections of each chapter teach and later ones import."""\n'
HEAD = '''"""Chapter {number}, {title}: what its sections teach and later ones use.

Generated from {folder}/*.py by `python -m bookbuild export`; edit the notebooks.
"""
'''
#: Names that a module has without a definition.
GIVEN = {*dir(builtins), "__name__", "__file__", "__class__", "__doc__"}


def _globals(source: str, tree: ast.Module) -> dict[str, int]:
    """Names that a piece of code takes from its module, by Python's rules of scope -> line."""
    found: set[str] = set()
    todo = [symtable.symtable(source, "<cell>", "exec")]
    while todo:
        table = todo.pop()
        top = table.get_type() == "module"
        found |= {
            s.get_name()
            for s in table.get_symbols()
            if s.is_referenced() and (top or s.is_global())
        }
        todo += table.get_children()
    lines: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in found:
            lines.setdefault(node.id, node.lineno)
    return lines


def _at_import(node: ast.AST) -> Iterator[ast.Name]:
    """Names that a statement reads when the module is imported: none in bodies of functions."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield node
    parts = list(ast.iter_child_nodes(node))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        inside = node.body if isinstance(node.body, list) else [node.body]
        parts = [part for part in parts if part not in inside]
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        own = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        yield from (n for part in parts for n in _at_import(part) if n.id not in own)
        return
    for part in parts:
        yield from _at_import(part)


def _parse(section: Section, index: int, cell: Cell) -> ast.Module:
    """Tree of an export cell, which has no magics."""
    if cell.tree is not None and not cell.has_magic:
        return cell.tree
    try:
        return ast.parse(cell.source)
    except SyntaxError as error:
        raise BookError(
            f"{section.where(index, error.lineno or 1)}: {error.msg}; "
            "an export cell must be plain Python."
        ) from error


class _Import(NamedTuple):
    statement: str
    module: str
    where: str


def _imports(section: Section, own: str) -> dict[str, _Import]:
    """Name -> its import, from all cells of a section but for imports of its own chapter."""
    found: dict[str, _Import] = {}
    for index, cell in section.code:
        if "import" not in cell.source or cell.tree is None:
            continue
        for node in ast.walk(cell.tree):
            if not isinstance(node, (ast.Import, ast.ImportFrom)):
                continue
            where = section.where(index, node.lineno)
            for alias in node.names:
                one = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
                name = alias.asname or alias.name.split(".")[0]
                if isinstance(node, ast.Import):
                    found[name] = _Import(f"import {one}", alias.name, where)
                elif node.module != own:
                    origin = "." * node.level + (node.module or "")
                    module = f"{origin}.{alias.name}" if origin == CHAPTERS else origin
                    found[alias.asname or alias.name] = _Import(
                        f"from {origin} import {one}", module, where
                    )
    return found


def _export_cells(chapter: Chapter) -> Iterator[tuple[Section, int, Cell]]:
    for section in chapter.sections:
        if section.exists and not section.is_page:
            yield from ((section, i, cell) for i, cell in section.code if "export" in cell.tags)


def module_text(chapter: Chapter, later: Mapping[str, Chapter] | None = None) -> str | None:
    """Source of a chapter's module, or None where no section exports anything.

    Parameters
    ----------
    chapter
        The chapter.
    later
        Chapters behind it, by the name of their module.

    Raises
    ------
    BookError
        For a cell that cannot be exported, with file, line and remedy.
    """
    own = f"{CHAPTERS}.{chapter.module}"
    cells = [(s, i, c, _parse(s, i, c)) for s, i, c in _export_cells(chapter)]
    defined = _definitions(cells)
    _check_own_imports(chapter, defined)
    imported: dict[str, str] = {}
    available: dict[str, dict[str, _Import]] = {}
    parts: list[str] = []
    done: set[str] = set()
    for section, index, cell, tree in cells:
        known = available.setdefault(section.id, _imports(section, own))
        for name, line in _globals(cell.source, tree).items():
            if name in defined or name in GIVEN:
                continue
            if name not in known:
                raise BookError(
                    f"{section.where(index, line)}: the exported code uses {name!r}, which no "
                    "exported cell defines and no cell of the section imports; export its "
                    "definition or import it."
                )
            statement, module, where = known[name]
            ahead = (later or {}).get(module.removeprefix(f"{CHAPTERS}."))
            if ahead is not None:
                raise BookError(
                    f"{where}: the exported code takes {name!r} from chapter {ahead.number}, "
                    f"{ahead.title}, which comes later; use what earlier chapters export."
                )
            if imported.setdefault(name, statement) != statement:
                raise BookError(
                    f"{section.where(index, line)}: {name!r} is imported as `{statement}` here "
                    f"and as `{imported[name]}` earlier in the chapter; use one of them."
                )
        for node in tree.body:
            _in_order(section, index, node, done, defined)
            _no_patch(section, index, node, defined)
            done |= _top_names(node)
        parts.append(f"# {section.id} {section.title}\n{cell.source.rstrip()}\n")
    if not parts:
        return None
    # Plain imports first, each group sorted.
    lines = sorted(set(imported.values()), key=lambda s: (s.startswith("from"), s))
    head = HEAD.format(number=chapter.number, title=chapter.title, folder=f"book/{chapter.folder}")
    return head + "\n" + "\n".join(lines) + "\n\n\n" + "\n\n".join(parts)


#: Name -> section and `file:line` of its first definition.
Defined = dict[str, tuple[Section, str]]


def _definitions(cells: list[tuple[Section, int, Cell, ast.Module]]) -> Defined:
    """Every name that the export cells of a chapter define; refuses one of two sections."""
    found: Defined = {}
    methods: dict[str, tuple[Section, str]] = {}
    for section, index, _, tree in cells:
        for node in tree.body:
            where = section.where(index, node.lineno)
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                raise BookError(f"{where}: import in a cell of its own, not in an export cell.")
            owner = _patched(node)
            names = {f"{owner}.{n}" for n in _top_names(node)} if owner else _top_names(node)
            for name in names:
                before = (methods if owner else found).setdefault(name, (section, where))
                if before[0] is not section:
                    raise BookError(
                        f"{where}: {name!r} is exported a second time, first in {before[1]}; a "
                        "chapter's module holds one. Name this one otherwise, or do not export it."
                    )
            if owner:
                for name in _top_names(node):
                    found.setdefault(name, (section, where))
    return found


def _check_own_imports(chapter: Chapter, defined: Defined) -> None:
    """Refuse a section that imports from the module what it exports to it."""
    own = f"{CHAPTERS}.{chapter.module}"
    for section in chapter.sections:
        if not section.exists or section.is_page:
            continue
        for index, cell in section.code:
            if own not in cell.source:
                continue
            for module, node in imports(cell.tree):
                names = [alias.name for alias in getattr(node, "names", [])]
                for name in names if module == own else []:
                    if name in defined and defined[name][0] is section:
                        raise BookError(
                            f"{section.where(index, node.lineno)}: it imports {name!r}, which this "
                            f"section exports itself ({defined[name][1]}); remove the import."
                        )


def _in_order(
    section: Section, index: int, node: ast.stmt, done: set[str], defined: Defined
) -> None:
    """Refuse what needs a later definition at import, such as a class before its base."""
    inside = _top_names(node) if isinstance(node, ast.ClassDef) else set()
    local = {
        n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    for name in _at_import(node):
        if name.id in defined and name.id not in done | inside | local:
            raise BookError(
                f"{section.where(index, name.lineno)}: {name.id!r} is needed here when the module "
                f"is imported, and defined later, in {defined[name.id][1]}; export it before."
            )


def _patched(node: ast.stmt) -> str | None:
    """The class that a decorated function is added to: `X` in `@add_to_class(X)`."""
    for each in getattr(node, "decorator_list", []):
        if isinstance(each, ast.Call) and ast.unparse(each.func).endswith("add_to_class"):
            return ast.unparse(each.args[0]) if each.args else None
    return None


def _no_patch(section: Section, index: int, node: ast.stmt, defined: Defined) -> None:
    """Refuse a change of a class that another module defines."""
    changed = [owner] if (owner := _patched(node)) else []
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
        targets = [node.target]
    changed += [
        ast.unparse(each.value)
        for target in targets
        for each in ast.walk(target)
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store)
    ]
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and ast.unparse(call.func) == "setattr" and call.args:
        changed.append(ast.unparse(call.args[0]))
    for name in changed:
        if re.split(r"\W", name)[0] not in defined:
            raise BookError(
                f"{section.where(index, node.lineno)}: the exported code changes {name!r}, which "
                "another module defines, so that what it does would depend on who imported this "
                "chapter; write a subclass, a mixin or a plain function."
            )


def _top_names(node: ast.stmt) -> set[str]:
    """Names that a statement at the top of a cell defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    return {
        each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
    }


def modules(book: Book) -> dict[Path, str]:
    """Path -> text of every generated module."""
    result = {book.root / PACKAGE / "__init__.py": INIT}
    later = {chapter.module: chapter for chapter in book.chapters}
    for chapter in book.chapters:
        del later[chapter.module]
        text = module_text(chapter, later)
        if text is not None:
            result[book.root / PACKAGE / f"{chapter.module}.py"] = text
    return result


def stale(book: Book) -> list[str]:
    """Messages for each generated module that differs from what the source gives."""
    wanted = modules(book)
    there = set((book.root / PACKAGE).glob("*.py"))
    problems = [
        f"{p.relative_to(book.root).as_posix()}: not what the export cells give; run `make pair`."
        for p, text in wanted.items()
        if _differs(p, text)
    ]
    problems += [
        f"{p.relative_to(book.root).as_posix()}: no section exports it; run `make pair`."
        for p in sorted(there - set(wanted))
    ]
    return problems


def write(book: Book) -> list[Path]:
    """Write the modules that changed; returns them."""
    changed = []
    wanted = modules(book)
    for path, text in wanted.items():
        if _differs(path, text):
            write_text(path, text)
            changed.append(path)
    for path in set((book.root / PACKAGE).glob("*.py")) - set(wanted):
        path.unlink()
        changed.append(path)
    return changed


def _differs(path: Path, text: str) -> bool:
    return not path.exists() or path.read_bytes() != text.encode()
