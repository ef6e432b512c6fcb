"""What the search field leads to at once: numbers (`3.4.1`), symbols (`λ`, `.mT`) and names.

It is written into `lookup.js`, which `static/lookup.js` suggests from on every page; the text of
the sections, for the search page, into `texts.js`.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from .sphinx_ext import BookDomain, Solution
from .sphinx_text import COMMAND, TEX, texts

PLACES = 6  # that a symbol leads to
STRING = re.compile(r"#.*|(?:'''|\"\"\")[\s\S]*?(?:'''|\"\"\")|'[^'\n]*'|\"[^\"\n]*\"")
DECORATOR = re.compile(r"^\s*@.*", re.MULTILINE)
OPERATOR = re.compile(r"\*\*=?|//=?|@=?|:=|->|%=?|<<|>>|[&|^~]|\.\.\.")
ATTRIBUTE = re.compile(r"(?<=[\w)\]])\.([A-Za-z_]\w*)")
SIGN = re.compile("[Ͱ-Ͽ∀-⋿←-⇿‖§×±√ℓ]")  # Greek letters, arrows, signs of mathematics

#: Symbol -> how often a page has it, anchor of its first place, whether in prose or a formula.
Places = dict[str, tuple[int, str, bool]]


def symbols(document: nodes.document) -> Places:
    """Symbols of a page: in formulas, in code, in prose; solutions and sources are left out."""
    found: Places = {}
    for node in document.findall():
        names, in_prose = _names(node)
        anchor = _anchor_of(node) if names else None
        if anchor is None:
            continue
        for name in names:
            count, first, explained = found.get(name, (0, anchor, in_prose))
            if in_prose and not explained:
                first = anchor
            found[name] = (count + 1, first, explained or in_prose)
    return found


def _names(node: nodes.Node) -> tuple[list[str], bool]:
    """Symbols of a node, and whether it is prose or a formula."""
    if isinstance(node, (nodes.math, nodes.math_block)):
        return list(in_maths(node.astext())), True
    if isinstance(node, nodes.literal):
        return list(in_code(node.astext())), True
    if isinstance(node, nodes.literal_block):
        of_cell = node.parent is not None and "cell_input" in node.parent.get("classes", [])
        return (list(in_code(node.astext())) if of_cell else []), False
    if isinstance(node, nodes.Text) and isinstance(node.parent, nodes.paragraph):
        return SIGN.findall(str(node)), True
    return [], False


def in_maths(latex: str) -> Iterator[str]:
    """Symbols of a formula: those of its commands, and what stands in it as itself.

    Examples
    --------
    >>> list(in_maths(r"\\\\lambda \\\\mathbf{w}"))
    ['λ']
    """
    yield from (TEX[name] for name in COMMAND.findall(latex) if name in TEX)
    yield from SIGN.findall(latex)


def in_code(text: str) -> Iterator[str]:
    """Operators and attributes of Python code, without strings, comments and decorators.

    Examples
    --------
    >>> list(in_code("y = X.mT @ w  # a @ b"))
    ['@', '.mT']
    """
    bare = DECORATOR.sub("", STRING.sub("", text))
    yield from OPERATOR.findall(bare)
    yield from (f".{name}" for name in ATTRIBUTE.findall(bare))


def _anchor_of(node: nodes.Node) -> str | None:
    """Anchor of the heading above a node, empty for the page's; None in a solution or sources."""
    inner, parent = "", node.parent
    while parent is not None:
        if isinstance(parent, Solution):
            return None
        if isinstance(parent, nodes.section) and isinstance(parent.parent, nodes.section):
            inner = inner or str(parent["ids"][0])
        parent = parent.parent
    return None if inner == "sources" else inner


def _read(app: Sphinx, doctree: nodes.document) -> None:
    _known(app.env)[app.env.docname] = symbols(doctree)


def _known(env: BuildEnvironment) -> dict[str, Places]:
    """Page -> its symbols; kept with Sphinx's environment."""
    if not hasattr(env, "book_symbols"):
        env.book_symbols = {}  # type: ignore[attr-defined]
    return env.book_symbols  # type: ignore[attr-defined, no-any-return]


def _purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    _known(env).pop(docname, None)


def lookup(app: Sphinx) -> dict[str, Any]:
    """What lookup.js holds.

    Returns
    -------
    `pages`: title and address of each section; `numbers`: number -> [text, page, anchor] of
    everything that has it; `symbols`: symbol -> [page, anchor], the best place first; `tex`;
    `names`: [name, kind, address, where it is defined] of terms and of code.
    """
    chapters = [c for part in app.config.html_context["book_parts"] for c in part["chapters"]]
    sections = [s for chapter in chapters for s in chapter["sections"]]
    index = {s["doc"]: i for i, s in enumerate(sections)}
    numbers: dict[str, list[list[Any]]] = {}
    for chapter in chapters:
        for first in chapter["sections"][:1]:
            text = f"Chapter {chapter['number']}, {chapter['title']}"
            numbers[str(chapter["number"])] = [[text, index[first["doc"]], ""]]
    for section in sections:
        text = f"Section {section['id']}, {section['title']}"
        numbers[section["id"]] = [[text, index[section["doc"]], ""]]
    domain = app.env.get_domain("book")
    assert isinstance(domain, BookDomain)
    for (kind, number), (doc, anchor) in sorted(domain.targets.items()):
        text = f"{kind.capitalize()} " + (f"({number})" if kind == "equation" else number)
        if doc in index:
            numbers.setdefault(number, []).append([text, index[doc], anchor])
    return {
        "pages": [[f"{s['id']} {s['title']}", f"{s['doc']}.html"] for s in sections],
        "numbers": numbers,
        "symbols": _symbol_places([_known(app.env).get(s["doc"], {}) for s in sections]),
        "tex": TEX,
        "names": app.config.book_names,
    }


def _symbol_places(pages: list[Places]) -> dict[str, list[list[Any]]]:
    """The page that explains a symbol, then those that have it most often.

    The first page where it stands in prose or in a formula is taken to explain it.
    """
    places: dict[str, list[tuple[bool, int, int, str]]] = {}
    for page, found in enumerate(pages):
        for name, (count, anchor, explained) in found.items():
            others = places.setdefault(name, [])
            first = explained and not any(place[0] for place in others)
            others.append((first, count, page, anchor))
    return {
        name: [
            [page, anchor]
            for _, _, page, anchor in sorted(found, key=lambda f: (not f[0], -f[1], f[2]))[:PLACES]
        ]
        for name, found in sorted(places.items())
    }


def _search_page(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page that `static/search.js` fills."""
    yield "search", {}, "search.html"


def _no_index(app: Sphinx) -> None:
    """Sphinx makes no index of words and no search page: `texts.js` is looked in instead."""
    app.builder.search = False  # type: ignore[attr-defined]


def _write(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    found = lookup(app)
    pages = [address.removesuffix(".html") for _, address in found["pages"]]
    for name, value in (("lookup", found), ("texts", list(texts(app, pages)))):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        _put(Path(app.outdir, f"{name}.js"), f"const book{name.capitalize()} = {text};\n")


def _put(path: Path, content: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        path.write_text(content, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("book_names", [], "")
    app.connect("builder-inited", _no_index)
    app.connect("html-collect-pages", _search_page)
    app.connect("doctree-read", _read)
    app.connect("env-purge-doc", _purge)
    app.connect("build-finished", _write)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": False,
        "parallel_write_safe": False,
    }
