"""What the book needs from Sphinx beyond its parts: numbered targets, folded solutions, alt texts, checked maths.

The numbers stand in the text (`\\tag{3.4.1}`, `**Figure 3.4.1.**`, `### Exercise 3.4-1`). Here they get
anchors, and plain mentions of them in prose become links. A mention of a number that does not exist is a warning,
and the build treats warnings as errors.
"""

import json
import re
import subprocess
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, ClassVar

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.builders import Builder
from sphinx.domains import Domain
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.search.en import SearchEnglish
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)

TAG = re.compile(r"\\tag\{(\d+\.\d+\.\d+)\}")
CAPTION = re.compile(r"Figure (\d+\.\d+\.\d+)\.?$")
HEADING = re.compile(r"(Exercise|Solution) (\d+\.\d+-\d+)\b")
MENTION = re.compile(
    r"(?<![\w.])\((\d+\.\d+\.\d+)\)|\bFigure[ \xa0](\d+\.\d+\.\d+)(?![\w.]*\d)|\bExercise[ \xa0](\d+\.\d+-\d+)(?!\d)"
)
KINDS = ("equation", "figure", "exercise")
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
            for number in TAG.findall(block.astext()):
                self.add(block, "equation", number)
        for paragraph in self.document.findall(nodes.paragraph):
            first = next((child for child in paragraph.children if child.astext()), None)
            match = CAPTION.match(first.astext()) if isinstance(first, nodes.strong) else None
            if match:
                paragraph["classes"].append("figure-caption")
                self.add(paragraph, "figure", match[1])
        for section in self.document.findall(nodes.section):
            match = HEADING.match(section.children[0].astext()) if section.children else None
            if match and match[1] == "Exercise":
                section["classes"].append("exercise")
                self.add(section, "exercise", match[2])

    def add(self, node: nodes.Element, kind: str, number: str) -> None:
        domain = self.env.get_domain("book")
        assert isinstance(domain, BookDomain)
        anchor = _anchor(kind, number)
        if anchor not in node["ids"]:
            node["ids"].append(anchor)
        domain.note(kind, number, anchor, node)


class FoldSolutions(SphinxTransform):
    """Each section `Solution n.m-k` becomes a folded block; it so leaves the page's table of contents too."""

    default_priority = 510

    def apply(self, **_: Any) -> None:
        for section in list(self.document.findall(nodes.section)):
            title = section.children[0] if section.children else None
            match = HEADING.match(title.astext()) if isinstance(title, nodes.title) else None
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
            if isinstance(node, nodes.strong) and CAPTION.match(node.astext()):
                return True
            node = node.parent
        return False

    def pieces(self, text: nodes.Text) -> list[nodes.Node]:
        content, found, end = str(text), [], 0
        for match in MENTION.finditer(content):
            kind, number = next((k, n) for k, n in zip(KINDS, match.groups(), strict=True) if n)
            found.append(nodes.Text(content[end : match.start()]))
            xref = pending_xref(
                "", nodes.inline("", match[0], classes=["mention"]), refdomain="book", reftype=kind, reftarget=number,
                refexplicit=True, refwarn=True, refdoc=self.env.docname)  # fmt: skip
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
    """Alt texts and classes of output pictures, from the cell metadata `pictures`; diagrams get their class."""

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
                    "the picture has no alternative text",
                    location=image if image.line else image.parent,
                )


class English(SearchEnglish):
    """Sphinx's English search with a memory for stems: a word is reduced once, not once for each page."""

    @lru_cache(maxsize=200_000)  # noqa: B019  (one instance lives as long as the build)
    def stem(self, word: str) -> str:
        return super().stem(word)


class Renderer:
    """TeX to HTML by KaTeX in node: one process for a build, asked line by line. It ends when this one does."""

    process: ClassVar[subprocess.Popen[str] | None] = None
    command: ClassVar[list[str]] = []

    @classmethod
    @lru_cache(maxsize=20_000)
    def render(cls, latex: str, display: bool) -> dict[str, str]:
        """`{"html": ...}`, or `{"error": ...}` if KaTeX does not understand it."""
        if cls.process is None:
            cls.process = subprocess.Popen(
                cls.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        assert cls.process.stdin is not None and cls.process.stdout is not None
        cls.process.stdin.write(json.dumps({"latex": latex, "display": display}) + "\n")
        cls.process.stdin.flush()
        answer = cls.process.stdout.readline()
        if not answer:
            raise ExtensionError(
                f"node ended with status {cls.process.wait()} instead of rendering {latex!r}; it was started as: {' '.join(cls.command)}"
            )
        return dict(json.loads(answer))

    @classmethod
    def stop(cls, *_: Any) -> None:
        if cls.process is not None and cls.process.stdin is not None:
            cls.process.stdin.close()
            cls.process.wait()
            cls.process = None


def _maths(translator: Any, node: nodes.Element, display: bool) -> None:
    latex = node.astext()
    answer = Renderer.render(latex, display)
    html = answer.get("html", f'<code class="bad-tex">{translator.encode(latex)}</code>')
    if "error" in answer:
        logger.warning(
            "bad TeX: %s",
            answer["error"].replace("KaTeX parse error: ", ""),
            location=node if node.line else node.parent,
        )
    tag = "div" if display else "span"
    translator.body.append(
        translator.starttag(node, tag, "", CLASS="math block" if display else "math")
        + html
        + f"</{tag}>"
    )
    raise nodes.SkipNode


def visit_math(translator: Any, node: nodes.Element) -> None:
    _maths(translator, node, False)


def visit_math_block(translator: Any, node: nodes.Element) -> None:
    _maths(translator, node, True)


def visit_solution(translator: Any, node: nodes.Element) -> None:
    translator.body.append(translator.starttag(node, "details"))


def depart_solution(translator: Any, node: nodes.Element) -> None:
    translator.body.append("</div></details>\n")


def visit_summary(translator: Any, node: nodes.Element) -> None:
    translator.body.append("<summary>")


def depart_summary(translator: Any, node: nodes.Element) -> None:
    translator.body.append('</summary>\n<div class="solution-body">\n')


def _prepare(app: Sphinx) -> None:
    Renderer.command = [
        app.config.book_node,
        app.config.book_render,
        str(app.doctreedir),
    ]  # the folder only says whose process it is


def _page(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """What templates want to know of a page: its chapter."""
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
    app.add_search_language(English)
    app.add_domain(BookDomain)
    for transform in (NumberTargets, FoldSolutions, LinkMentions, DescribeImages):
        app.add_transform(transform)
    app.add_node(Solution, html=(visit_solution, depart_solution))
    app.add_node(Summary, html=(visit_summary, depart_summary))
    app.add_html_math_renderer(
        "book", inline_renderers=(visit_math, None), block_renderers=(visit_math_block, None)
    )
    app.connect("builder-inited", _prepare)
    app.connect("build-finished", Renderer.stop)
    app.connect("html-page-context", _page)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": False,
    }
