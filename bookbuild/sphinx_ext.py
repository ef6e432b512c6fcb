"""What the book needs from Sphinx: numbered targets, folded solutions, alt texts, checked maths.

The numbers stand in the text (`\\tag{3.4.1}`, `**Figure 3.4.1.**`, `### Exercise 3.4-1`). Here they
get anchors, and plain mentions of them in prose become links. A mention of a number that does not
exist is a warning, and the build treats warnings as errors.
"""

import json
import re
import subprocess
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode, depart_HideCellInput, visit_HideCellInput
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.domains import Domain
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

from .grammar import CAPTION_LABEL, EQUATION, KINDS, MENTION, TASK_TITLE

logger = logging.getLogger(__name__)

TWICE_DIGESTED = re.compile(r"(mystnb\.[0-9a-f]+\.css)\?v=[0-9a-f]+")
NO_LINKS = (
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.reference,
    nodes.title,
    nodes.raw,
    pending_xref,
    download_reference,
)


class Solution(nodes.General, nodes.Element):
    """A folded solution: `<details>`, its first child the summary."""


class Summary(nodes.General, nodes.TextElement):
    """The line of a folded solution that is always seen."""


class BookDomain(Domain):
    """Equations, figures and exercises by the number that the text gives them."""

    name = "book"
    label = "Book"
    initial_data: ClassVar[dict[str, Any]] = {"targets": {}}
    dangling_warnings: ClassVar[dict[str, str]] = {
        kind: f"there is no {kind} %(target)s" for kind in KINDS
    }

    @property
    def targets(self) -> dict[tuple[str, str], tuple[str, str]]:
        return self.data["targets"]

    def note(self, kind: str, number: str, anchor: str, location: nodes.Node) -> None:
        known = self.targets.get((kind, number))
        if known is not None:
            logger.warning(
                "%s %s stands twice, here and in %s", kind, number, known[0], location=location
            )
        self.targets[kind, number] = (self.env.docname, anchor)

    def clear_doc(self, docname: str) -> None:
        for key in [key for key, (doc, _) in self.targets.items() if doc == docname]:
            del self.targets[key]

    def merge_domaindata(self, docnames: AbstractSet[str], otherdata: dict[str, Any]) -> None:
        self.targets.update(
            {key: value for key, value in otherdata["targets"].items() if value[0] in docnames}
        )

    def resolve_xref(
        self,
        env: BuildEnvironment,
        fromdocname: str,
        builder: Builder,
        typ: str,
        target: str,
        node: pending_xref,
        contnode: nodes.Element,
    ) -> Any:
        found = self.targets.get((typ, target))
        if found is not None:
            return make_refnode(builder, fromdocname, found[0], found[1], contnode)
        section = re.split(r"[.-]", target)[:2]
        if ".".join(section) in env.config.book_unwritten:
            return contnode  # a section of the plan that is not there yet: plain text
        return None

    def resolve_any_xref(self, *_: Any) -> list[Any]:
        return []


def _anchor(kind: str, number: str) -> str:
    return f"{kind}-{number.replace('.', '-')}"


class NumberTargets(SphinxTransform):
    """Anchors for tagged equations, figure captions and exercises; classes for captions."""

    default_priority = 500

    def apply(self, **_: Any) -> None:
        for block in self.document.findall(nodes.math_block):
            for number in EQUATION.findall(block.astext()):
                self.add(block, "equation", number)
        for paragraph in self.document.findall(nodes.paragraph):
            first = next((child for child in paragraph.children if child.astext()), None)
            match = CAPTION_LABEL.match(first.astext()) if isinstance(first, nodes.strong) else None
            if match:
                paragraph["classes"].append("figure-caption")
                self.add(paragraph, "figure", match[1])
        for section in self.document.findall(nodes.section):
            match = TASK_TITLE.match(section.children[0].astext()) if section.children else None
            if match and match[1] == "Exercise":
                section["classes"].append("exercise")
                self.add(section, "exercise", match[2])

    def add(self, node: nodes.Element, kind: str, number: str) -> None:
        anchor = _anchor(kind, number)
        if anchor not in node["ids"]:
            node["ids"].append(anchor)
        note(self.env, kind, number, anchor, node)


def note(env: BuildEnvironment, kind: str, number: str, anchor: str, node: nodes.Node) -> None:
    """Tell the domain where something with a number stands."""
    domain = env.get_domain("book")
    assert isinstance(domain, BookDomain)
    domain.note(kind, number, anchor, node)


class FoldSolutions(SphinxTransform):
    """Each section `Solution n.m-k` becomes a folded block, and so leaves the page's contents."""

    default_priority = 510

    def apply(self, **_: Any) -> None:
        for section in list(self.document.findall(nodes.section)):
            title = section.children[0] if section.children else None
            match = TASK_TITLE.match(title.astext()) if isinstance(title, nodes.title) else None
            if title is None or match is None or match[1] != "Solution":
                continue
            summary = Summary(title.astext(), "", *[child.deepcopy() for child in title.children])
            folded = Solution(
                "",
                summary,
                *section.children[1:],
                ids=section["ids"],
                names=section["names"],
                classes=["solution"],
            )
            note(self.env, "solution", match[2], section["ids"][0], section)
            folded.source, folded.line = section.source, section.line
            section.replace_self(folded)


class LinkMentions(SphinxTransform):
    """`(3.4.1)`, `Figure 3.4.1` and `Exercise 3.4-1` in prose become references."""

    default_priority = 520

    def apply(self, **_: Any) -> None:
        for text in list(self.document.findall(nodes.Text)):
            if MENTION.search(str(text)) and not self.excluded(text):
                text.parent.replace(text, self.pieces(text))

    def excluded(self, text: nodes.Text) -> bool:
        node = text.parent
        while node is not None:
            if isinstance(node, (*NO_LINKS, Summary)):
                return True
            if isinstance(node, nodes.strong) and CAPTION_LABEL.match(node.astext()):
                return True
            node = node.parent
        return False

    def pieces(self, text: nodes.Text) -> list[nodes.Node]:
        content, found, end = str(text), [], 0
        for match in MENTION.finditer(content):
            kind, number = next((k, n) for k, n in zip(KINDS, match.groups(), strict=True) if n)
            found.append(nodes.Text(content[end : match.start()]))
            xref = pending_xref(
                "",
                nodes.inline("", match[0], classes=["mention"]),
                refdomain="book",
                reftype=kind,
                reftarget=number,
                refexplicit=True,
                refwarn=True,
                refdoc=self.env.docname,
            )
            xref.source, xref.line = self.position(text, content[: match.start()])
            found.append(xref)
            end = match.end()
        found.append(nodes.Text(content[end:]))
        return [piece for piece in found if not isinstance(piece, nodes.Text) or piece]

    @staticmethod
    def position(text: nodes.Text, before: str) -> tuple[str | None, int | None]:
        """Source and line: that of the block, and the line breaks before the mention."""
        node, count = text.parent, before.count("\n")
        child: nodes.Node = text
        while node is not None:
            for sibling in node.children[: node.index(child)]:
                count += sibling.astext().count("\n") if isinstance(node, nodes.TextElement) else 0
            if node.line is not None:
                return node.source, node.line + count
            child, node = node, node.parent
        return None, None


class DescribeImages(SphinxTransform):
    """Alt texts and classes of pictures: of outputs from the cell metadata `pictures`."""

    default_priority = 530

    def apply(self, **_: Any) -> None:
        for cell in self.document.findall(nodes.container):
            if cell.get("nb_element") == "cell_code":
                pictures = cell.get("cell_metadata", {}).get("pictures", [])
                for image, picture in zip(cell.findall(nodes.image), pictures, strict=False):
                    image["alt"] = picture["alt"]
                    image["classes"] = [*image.get("classes", []), picture["class"]]
        for image in self.document.findall(nodes.image):
            if image["uri"].endswith(".svg") and not image.get("classes"):
                image["classes"] = ["diagram"]
            if not str(image.get("alt") or "").strip():
                logger.warning(
                    "the picture has no alternative text: end its cell with "
                    'd2l.describe(ax, "what it shows"), or write ![what it shows](img/name.svg)',
                    location=image if image.line else image.parent,
                )


class Renderer:
    """TeX to HTML by KaTeX in node: one process for a build, asked line by line.

    It starts with the first formula and ends with the build.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.command: list[str] = []
        self.answers: dict[tuple[str, bool], dict[str, str]] = {}

    def prepare(self, app: Sphinx) -> None:
        """Take the command from the settings; the folder in it only says whose process it is."""
        self.command = [app.config.book_node, app.config.book_render, str(app.doctreedir)]

    def render(self, latex: str, display: bool) -> dict[str, str]:
        """`{"html": ...}`, or `{"error": ...}` if KaTeX does not understand it."""
        if (latex, display) not in self.answers:
            self.answers[latex, display] = self._ask(latex, display)
        return self.answers[latex, display]

    def _ask(self, latex: str, display: bool) -> dict[str, str]:
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"latex": latex, "display": display}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            status, command = self.process.wait(), " ".join(self.command)
            raise ExtensionError(
                f"node ended with status {status} instead of rendering {latex!r}; "
                f"it was started as: {command}"
            )
        return dict(json.loads(answer))

    def stop(self, *_: Any) -> None:
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait()
            if self.process.stdout is not None:
                self.process.stdout.close()
            self.process = None

    def inline(self, translator: Any, node: nodes.Element) -> None:
        self._visit(translator, node, False)

    def block(self, translator: Any, node: nodes.Element) -> None:
        self._visit(translator, node, True)

    def _visit(self, translator: Any, node: nodes.Element, display: bool) -> None:
        latex = node.astext()
        answer = self.render(latex, display)
        html = answer.get("html", f'<code class="bad-tex">{translator.encode(latex)}</code>')
        if "error" in answer:
            logger.warning(
                "bad TeX: %s",
                answer["error"].replace("KaTeX parse error: ", ""),
                location=node if node.line else node.parent,
            )
        tag = "div" if display else "span"
        start = translator.starttag(node, tag, "", CLASS="math block" if display else "math")
        translator.body.append(f"{start}{html}</{tag}>")
        raise nodes.SkipNode


def visit_solution(translator: Any, node: nodes.Element) -> None:
    translator.body.append(translator.starttag(node, "details"))


def depart_solution(translator: Any, node: nodes.Element) -> None:
    translator.body.append("</div></details>\n")


def visit_summary(translator: Any, node: nodes.Element) -> None:
    translator.body.append("<summary>")


def depart_summary(translator: Any, node: nodes.Element) -> None:
    translator.body.append('</summary>\n<div class="solution-body">\n')


def visit_folded(translator: Any, node: nodes.Element) -> None:
    """A folded cell is called what its words say; MyST-NB gives it another name besides."""
    begin = len(translator.body)
    visit_HideCellInput(translator, node)
    translator.body[begin:] = [
        text.replace(' aria-label="Toggle hidden content"', "") for text in translator.body[begin:]
    ]


def _page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """What templates want to know of a page: its chapter.

    The style sheet of MyST-NB has its digest in its name. Sphinx would add a second one, but only
    to pages built when the file is there already, so not in a first build.
    """
    tag = context["css_tag"]
    context["css_tag"] = lambda css: TWICE_DIGESTED.sub(r"\1", tag(css))
    context["book_chapter"] = next(
        (
            chapter
            for part in app.config.html_context["book_parts"]
            for chapter in part["chapters"]
            if any(s["doc"] == pagename for s in chapter["sections"])
        ),
        None,
    )


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("book_unwritten", [], "html")
    app.add_config_value(
        "book_tool", "", "env"
    )  # digest of this code: a changed tool builds every page anew
    app.add_config_value("book_node", "node", "")
    app.add_config_value("book_render", "", "")
    app.add_domain(BookDomain)
    for transform in (NumberTargets, FoldSolutions, LinkMentions, DescribeImages):
        app.add_transform(transform)
    app.add_node(Solution, html=(visit_solution, depart_solution))
    app.add_node(Summary, html=(visit_summary, depart_summary))
    app.add_node(HideCodeCellNode, override=True, html=(visit_folded, depart_HideCellInput))
    maths = Renderer()
    app.add_html_math_renderer(
        "book", inline_renderers=(maths.inline, None), block_renderers=(maths.block, None)
    )
    app.connect("builder-inited", maths.prepare)
    app.connect("build-finished", maths.stop)
    app.connect("html-page-context", _page)
    return {
        "version": "1",
        "env_version": 2,
        "parallel_read_safe": True,
        "parallel_write_safe": False,
    }
