"""The pieces of a section that slides are made of: text as HTML, formulas, pictures, code."""

import base64
import mimetypes
import re
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from ..book import BookError
from ..grammar import CAPTION
from ..site import npm, outputs
from ..sphinx_ext import Renderer

#: Characters of text and of code in a line of a slide, and the height of other things in lines.
COLUMNS = 80
FORMULA, FRACTION, PICTURE, CODE_LINE, GAP = 1.6, 0.9, 11.5, 0.65, 0.4
#: Lines of code on a slide of its own: in letters of the usual size, and in smaller ones.
USUAL, MOST = 24, 29
KINDS = {"bullet_list_open": "list", "ordered_list_open": "list", "table_open": "table"}


@dataclass(frozen=True)
class Block:
    """One thing that can stand on a slide.

    Attributes
    ----------
    kind
        heading, text, formula, list, table, caption, picture, code or output.
    source
        Its Markdown.
    lines
        Its height, in lines of text.
    level
        Of a heading.
    """

    kind: str
    source: str
    html: str
    lines: float
    level: int = 0


class Reader:
    """Reads Markdown as blocks; formulas by the renderer of the pages, which ends with it."""

    def __init__(self) -> None:
        self.maths = Renderer()
        self.maths.command = [npm.node(), str(npm.WEB / "render.js"), "slides"]
        self.folder = Path()
        self.markdown = MarkdownIt("commonmark").enable("table")
        self.markdown.use(dollarmath_plugin, double_inline=False, renderer=self._formula)
        rules = {"image": self._image, "link_open": _no_tag, "link_close": _no_tag}
        self.markdown.renderer.rules |= rules  # type: ignore[attr-defined]

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self.maths.stop()

    def line(self, text: str) -> str:
        """A sentence as HTML, without a paragraph around it."""
        return str(self.markdown.renderInline(text))

    def read(self, text: str, folder: Path) -> list[Block]:
        """The blocks of a Markdown text, whose pictures lie in a folder."""
        self.folder = folder
        lines, tokens = text.split("\n"), self.markdown.parse(text)
        found: list[Block] = []
        begin = 0
        for end, token in enumerate(tokens, 1):
            if token.level == 0 and token.nesting < 1:
                part = tokens[begin:end]
                first, last = part[0].map or (0, 0)
                source = "\n".join(lines[first:last]).strip()
                found.append(self._block(part, source))
                begin = end
        return [block for block in found if block.html]

    def _block(self, tokens: list[Token], source: str) -> Block:
        kind = tokens[0].type
        if kind == "heading_open":
            inline = tokens[1].content
            return Block("heading", inline, self.line(inline), 0, int(tokens[0].tag[1]))
        html = str(self.markdown.renderer.render(tokens, self.markdown.options, {}))
        if kind.startswith("math_block"):
            high = FRACTION * any(w in source for w in ("frac", "sum", "prod", "int_"))
            rows = source.count("\\\\") + 1
            return Block("formula", source, html, rows * FORMULA + high)
        if kind in KINDS:
            return Block(KINDS[kind], source, html, _height(source))
        if kind == "fence":
            return code_blocks(tokens[0].content.rstrip())[0]
        if kind == "paragraph_open":
            inner = [t for t in tokens[1].children or [] if t.content.strip() or t.type == "image"]
            if [t.type for t in inner] == ["image"]:
                return Block("picture", source, html, PICTURE)
            if CAPTION.match(source):
                return Block("caption", source, html, 1)
            return Block("text", source, html, _height(source))
        return Block("text", source, "" if kind == "html_block" else html, _height(source))

    def _formula(self, latex: str, options: dict[str, Any]) -> str:
        answer = self.maths.render(latex.strip(), options["display_mode"])
        if "error" in answer:
            raise BookError(f"bad TeX in {latex.strip()!r}: {answer['error']}")
        return answer["html"]

    def _image(self, tokens: list[Token], index: int, *_: Any) -> str:
        path = self.folder / urllib.parse.unquote(str(tokens[index].attrs["src"]))
        mime = mimetypes.guess_type(path.name)[0] or "image/png"
        return _picture(path.read_bytes(), mime, tokens[index].content)


def _no_tag(*_: Any) -> str:
    """Links lead to pages that do not lie beside the slides: their words are enough."""
    return ""


def _height(source: str) -> float:
    return sum(1 + len(line) // COLUMNS for line in source.split("\n")) + GAP


def _picture(content: bytes, mime: str, alt: str) -> str:
    data = base64.b64encode(content).decode()
    words = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return f'<img src="data:{mime};base64,{data}" alt="{words}">'


def text_block(html: str) -> Block:
    """A sentence."""
    words = re.sub(r"<math.*?</math>|<annotation.*?</annotation>|<[^>]*>", "", html)
    return Block("text", "", f"<p>{html}</p>", 1 + len(words) // COLUMNS + GAP)


def code_blocks(text: str, *, output: bool = False) -> list[Block]:
    """Code in colours, or what it printed; as several blocks where it is too long for a slide."""
    lines = text.split("\n")
    if len(lines) > MOST:
        cut = next((i for i in range(USUAL, USUAL // 2, -1) if not lines[i].strip()), USUAL)
        rest = "\n".join(lines[cut:]).lstrip("\n")
        return [
            *code_blocks("\n".join(lines[:cut]), output=output),
            *code_blocks(rest, output=output),
        ]
    size = ' style="font-size: 15px"' if len(lines) > USUAL else ""
    height = min(len(lines), USUAL) * CODE_LINE + GAP
    if output:
        plain = text.replace("&", "&amp;").replace("<", "&lt;")
        return [Block("output", text, f'<pre class="output"{size}>{plain}</pre>', height)]
    colours = highlight(text, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).rstrip("\n")
    return [Block("code", text, f'<pre class="code"{size}>{colours}</pre>', height)]


def picture_block(output: NotebookNode) -> Block | None:
    """The picture of an output, with its alternative text; None where there is none."""
    data = output.get("data", {})
    mime = next((mime for mime in outputs.PICTURES if mime in data), None)
    if mime is None:
        return None
    content = data[mime].encode() if mime.endswith("svg+xml") else base64.b64decode(data[mime])
    html = _picture(content, mime, outputs.picture_of(output)["alt"])
    return Block("picture", "", html, PICTURE)
