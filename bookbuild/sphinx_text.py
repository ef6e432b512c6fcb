"""The text that the search looks in: each part of a section below a heading, for `texts.js`.

What a search page shows of a page comes from here: prose alone, formulas in plain signs, without
menus and outputs. Also the anchors that glossary and reference lead to.
"""

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.transforms import SphinxTransform

from .grammar import term_anchor
from .sphinx_ext import Solution, Summary

GREEK = (
    "alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ iota ι kappa κ "
    "lambda λ mu μ nu ν xi ξ pi π rho ρ sigma σ tau τ upsilon υ phi ϕ varphi φ chi χ psi ψ omega ω "
    "Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Phi Φ Psi Ψ Omega Ω nabla ∇ partial ∂ "
    "sum ∑ prod ∏ int ∫ in ∈ notin ∉ subset ⊂ cup ∪ cap ∩ forall ∀ exists ∃ infty ∞ approx ≈ "
    "neq ≠ ne ≠ leq ≤ le ≤ geq ≥ ge ≥ ll ≪ gg ≫ propto ∝ sim ∼ odot ⊙ otimes ⊗ oplus ⊕ times × "
    "cdot ⋅ circ ∘ pm ± sqrt √ to → mapsto ↦ Rightarrow ⇒ iff ⇔ perp ⊥ top ⊤ ell ℓ | ‖"
)
#: TeX command -> sign.
TEX = dict(zip(*[iter(GREEK.split())] * 2, strict=True))
#: Commands that a reader of plain text does not miss, and those with another sign there.
OTHERS = {"dots": "…", "cdots": "…", "mid": "|", "leftarrow": "←", "quad": " ", "qquad": " "}
COMMAND = re.compile(r"\\([A-Za-z]+|\|)")
FRACTION = re.compile(
    r"\\[td]?frac\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\S))\s*(?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\S))"
)
UPPER = str.maketrans("0123456789+-n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ")
DEFINES = re.compile(r"^(?:class|def) (\w+)", re.MULTILINE)
NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
#: Anchor, heading, prose, phrases in italics, names in code; of each part of a page.
Part = tuple[str, str, str, str, str]


class Anchors(SphinxTransform):
    """Anchors for the first place of each phrase in italics, and for what export cells define."""

    default_priority = 540

    def apply(self, **_: Any) -> None:
        if self.env.docname not in self.config.html_context["book_sections"]:
            return  # the entries of the glossary have such anchors themselves
        seen: set[str] = set()
        for node in self.document.findall(nodes.emphasis):
            anchor = term_anchor(node.astext())
            if anchor != "term-" and anchor not in seen:
                node["ids"].append(anchor)
                seen.add(anchor)
        for cell in self.document.findall(nodes.container):
            if "tag_export" in cell.get("classes", []):
                for name in DEFINES.findall(cell.astext()):
                    if f"code-{name}" not in seen:
                        cell["ids"].append(f"code-{name}")
                        seen.add(f"code-{name}")


def plain_tex(latex: str) -> str:
    """A formula in plain signs, as one would say it in an e-mail.

    Examples
    --------
    >>> plain_tex(r"\\\\lambda\\\\|\\\\mathbf{w}\\\\|^2 \\\\tag{3.7.1}")
    'λ‖w‖²'
    """
    text = re.sub(
        r"\\(?:tag|begin|end|label)\{[^{}]*\}|\\\\(?:\[[^\]]*\])?|\\[,;:! ]|&|~", " ", latex
    )
    for _ in range(3):
        text = FRACTION.sub(lambda m: f"{m[1] or m[2]}/{m[3] or m[4]}", text)
    text = COMMAND.sub(lambda m: TEX.get(m[1], OTHERS.get(m[1], _named(m[1]))), text)
    text = re.sub(
        r"\^(?:\{([0-9+\-n]+)\}|([0-9n]))", lambda m: (m[1] or m[2]).translate(UPPER), text
    )
    return " ".join(re.sub(r"[{}\\]|_(?=\{)", "", text).split())


def _named(command: str) -> str:
    """`\\log` is read, `\\mathbf` is not."""
    words = (
        "log",
        "exp",
        "sin",
        "cos",
        "tan",
        "tanh",
        "max",
        "min",
        "det",
        "dim",
        "Pr",
        "lim",
        "arg",
    )
    return f" {command} " if command in words else ""


def words_of(node: nodes.Node) -> str:
    """The text of a paragraph, formulas in plain signs."""
    if isinstance(node, (nodes.math, nodes.math_block)):
        return plain_tex(node.astext())
    if isinstance(node, nodes.Text):
        return str(node)
    if isinstance(node, (nodes.raw, nodes.image)):
        return ""
    return "".join(map(words_of, node.children))


def parts(document: nodes.document) -> list[Part]:
    """The parts of a page, in order; the one below the title has no anchor and no heading."""
    found: dict[str, tuple[str, list[str], dict[str, None], dict[str, None]]] = {}
    for node in document.findall():
        if not isinstance(node, (nodes.paragraph, nodes.math_block, nodes.literal_block)):
            continue
        place = _place(node)
        if place is None:
            continue
        _, text, italics, names = found.setdefault(place[0], (place[1], [], {}, {}))
        if isinstance(node, nodes.literal_block):
            if "cell_input" in getattr(node.parent, "attributes", {}).get("classes", []):
                names |= dict.fromkeys(NAME.findall(node.astext()))
            continue
        text.append(" ".join(words_of(node).split()))
        italics |= dict.fromkeys(em.astext() for em in node.findall(nodes.emphasis))
    return [
        (anchor, heading, " ".join(filter(None, text)), ", ".join(italics), " ".join(names))
        for anchor, (heading, text, italics, names) in found.items()
    ]


def _place(node: nodes.Node) -> tuple[str, str] | None:
    """Anchor and heading of the part that a node stands in; None within an output of a cell."""
    parent = node.parent
    while parent is not None:
        if "cell_output" in getattr(parent, "attributes", {}).get("classes", []):
            return None
        if isinstance(parent, Solution):
            summary = next(parent.findall(Summary), None)
            return str(parent["ids"][0]), summary.astext() if summary else ""
        if isinstance(parent, nodes.section):
            if isinstance(parent.parent, nodes.section):
                return str(parent["ids"][0]), words_of(parent.children[0])
            return "", ""
        parent = parent.parent
    return "", ""


def _read(app: Sphinx, doctree: nodes.document) -> None:
    known(app.env)[app.env.docname] = parts(doctree)


def known(env: BuildEnvironment) -> dict[str, list[Part]]:
    """Page -> its parts; kept with Sphinx's environment."""
    if not hasattr(env, "book_texts"):
        env.book_texts = {}  # type: ignore[attr-defined]
    return env.book_texts  # type: ignore[attr-defined, no-any-return]


def _purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    known(env).pop(docname, None)


def texts(app: Sphinx, pages: list[str]) -> Iterator[list[Any]]:
    """Rows of texts.js: number of the page, then the part."""
    for number, page in enumerate(pages):
        yield from ([number, *part] for part in known(app.env).get(page, []))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(Anchors)
    app.connect("doctree-read", _read)
    app.connect("env-purge-doc", _purge)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": False,
        "parallel_write_safe": False,
    }
