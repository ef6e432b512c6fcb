"""`d2l_helpers/chapters/*.py` from the cells tagged `export`: what a section teaches, later ones import."""

import ast
import builtins
from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from .book import Book, BookError, Chapter, Section
from .store import write_text

PACKAGE = Path("d2l_helpers") / "chapters"
HEAD = '''"""Chapter {number}, {title}: what its sections teach and later ones use.

Generated from {folder}/*.py by `python -m bookbuild export`; edit the notebooks.
"""
'''


def _bound(tree: ast.AST) -> set[str]:
    """Every name that a piece of code binds somewhere: assignments, arguments, definitions, imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
    return names


def _loaded(tree: ast.AST) -> dict[str, int]:
    """Names that a piece of code reads -> line of the first use."""
    used: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            used.setdefault(node.id, node.lineno)
    return used


def _parse(section: Section, index: int, source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError as error:
        raise BookError(
            f"{section.where(index, error.lineno or 1)}: {error.msg}; an export cell must be plain Python."
        ) from error


def _imports(section: Section, own_module: str) -> dict[str, str]:
    """Name -> import statement, from all cells of a section but for imports of its own chapter."""
    found: dict[str, str] = {}
    for _index, cell in section.code_cells():
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module != own_module:
                for alias in node.names:
                    one = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
                    found[alias.asname or alias.name] = (
                        f"from {'.' * node.level}{node.module or ''} import {one}"
                    )
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    one = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
                    found[(alias.asname or alias.name).split(".")[0]] = f"import {one}"
    return found


def _export_cells(chapter: Chapter) -> Iterator[tuple[Section, int, NotebookNode]]:
    for section in chapter.sections:
        if section.exists and not section.is_page:
            for index, cell in section.code_cells():
                if "export" in cell.metadata.get("tags", []):
                    yield section, index, cell


def module_text(chapter: Chapter) -> str | None:
    """Source of a chapter's module, or None where no section exports anything."""
    own = f"d2l_helpers.chapters.{chapter.module}"
    defined: set[str] = set(dir(builtins)) | {"__name__", "__file__", "__class__"}
    imports: dict[str, str] = {}
    parts: list[str] = []
    for section, index, cell in _export_cells(chapter):
        for node in _parse(section, index, cell.source).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                raise BookError(
                    f"{section.where(index, node.lineno)}: import in a cell of its own, not in an export cell."
                )
            defined |= _top_names(node)
    available: dict[str, dict[str, str]] = {}
    for section, index, cell in _export_cells(chapter):
        known = available.setdefault(section.id, _imports(section, own))
        tree = _parse(section, index, cell.source)
        bound = _bound(tree)
        for name, line in _loaded(tree).items():
            if name in bound or name in defined:
                continue
            if name not in known:
                raise BookError(
                    f"{section.where(index, line)}: the exported code uses {name!r}, which no exported cell defines and no cell of the section imports; export its definition or import it."
                )
            if imports.setdefault(name, known[name]) != known[name]:
                raise BookError(
                    f"{section.where(index, line)}: {name!r} is imported as `{known[name]}` here and as `{imports[name]}` earlier in the chapter; use one of them."
                )
        parts.append(f"# {section.id} {section.title}\n{cell.source.rstrip()}\n")
    if not parts:
        return None
    # Plain imports first, each group sorted.
    lines = sorted(set(imports.values()), key=lambda s: (s.startswith("from"), s))
    head = HEAD.format(number=chapter.number, title=chapter.title, folder=f"book/{chapter.folder}")
    return head + "\n" + "\n".join(lines) + "\n\n\n" + "\n\n".join(parts)


def _top_names(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    return _bound(node) if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) else set()


def modules(book: Book) -> dict[Path, str]:
    """Path -> text of every generated module."""
    result = {
        book.root
        / PACKAGE
        / "__init__.py": '"""Generated: what the sections of each chapter teach and later ones import."""\n'
    }
    for chapter in book.chapters:
        text = module_text(chapter)
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
        if not p.exists() or p.read_text(encoding="utf-8") != text
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
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
            changed.append(path)
    for path in set((book.root / PACKAGE).glob("*.py")) - set(wanted):
        path.unlink()
        changed.append(path)
    return changed
