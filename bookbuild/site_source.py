"""The Sphinx source tree of the site, made from the executed notebooks; a file is rewritten only when its content changed."""

import base64
import copy
import hashlib
import html
import json
import re
import shutil
import tomllib
import urllib.parse
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from .book import Book, Section

WEB = Path(__file__).resolve().parent / "web"
FIGURE_MIME = "application/vnd.d2l.figure+json"
PICTURES = ("image/svg+xml", "image/png", "image/jpeg")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
CAPTION = re.compile(r"\*\*Figure (\d+\.\d+\.\d+)\.\*\*\s*(.*)")
PLACEHOLDER = re.compile(r"^<!-- (start|figure|progress)(?:: *([^>]*?))? -->$", re.MULTILINE)
FACT_LINES = 4  # lines that `with_facts` puts below a title
LICENCES = "Code: MIT licence. Text and figures: Creative Commons Attribution-ShareAlike 4.0 (CC BY-SA 4.0)."
FONTS = {
    "source-serif-4": ("wght", "wght-italic"),
    "source-sans-3": ("wght", "wght-italic"),
    "source-code-pro": ("wght",),
}

Record = dict[str, Any]


class Source:
    """Writes `build/site-src`: `book/` (pages), `extra/` (downloads), `static/` (fonts), `site.json` (settings)."""

    def __init__(
        self, book: Book, executed: dict[str, NotebookNode], records: dict[str, Record], node: str
    ):
        self.book, self.executed, self.records, self.node = book, executed, records, node
        self.folder = book.root / "build" / "site-src"
        self.plan = tomllib.loads(
            (book.root / "book" / "contents.toml").read_text(encoding="utf-8")
        )
        self.written: set[Path] = set()
        self.problems: list[str] = []

    # -- files ---------------------------------------------------------------------------------------------------

    def put(self, name: str, content: str | bytes) -> None:
        """Write a file of the tree unless it already says this."""
        path = self.folder / name
        self.written.add(path)
        data = content.encode() if isinstance(content, str) else content
        if not path.is_file() or path.read_bytes() != data:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def write(self) -> list[str]:
        """Write everything, remove what no longer belongs; returns problems found on the way."""
        for section in self.book.sections:
            self._section(section)
        self.put("book/contents.md", self.contents())
        self.put("book/status.md", self.status())
        self.put("book/index.md", self.index())
        self.put("site.json", json.dumps(self.settings(), indent=1, ensure_ascii=False))
        self.put("extra/.nojekyll", "")
        self._static()
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path.is_file() and path not in self.written:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        return self.problems

    def settings(self) -> dict[str, Any]:
        unwritten = sorted(s.id for s in self.book.planned if not s.exists)
        return {
            "title": self.title, "author": self.plan.get("author", "The authors of the book"), "licences": LICENCES, "parts": self.parts(),
            "unwritten": unwritten, "tool": tool_digest(), "node": self.node,
        }  # fmt: skip

    @cached_property
    def title(self) -> str:
        return str(self.plan.get("title", "Deep Learning, Run and Checked"))

    def parts(self) -> list[dict[str, Any]]:
        """Parts with their chapters; a chapter lists the sections that exist."""
        parts: dict[str, list[dict[str, Any]]] = {}
        for chapter in self.book.chapters:
            sections = [
                {"id": s.id, "title": s.title, "doc": doc(s)} for s in chapter.sections if s.exists
            ]
            parts.setdefault(chapter.part, []).append(
                {"number": chapter.number, "title": chapter.title, "sections": sections}
            )
        return [{"title": title, "chapters": chapters} for title, chapters in parts.items()]

    def _static(self) -> None:
        katex = WEB / "node_modules" / "katex" / "dist"
        css = (katex / "katex.min.css").read_text(encoding="utf-8")
        css = re.sub(r',url\([^)]*\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)', "", css)
        self.put("static/katex/katex.min.css", css)
        for font in sorted((katex / "fonts").glob("*.woff2")):
            self.put(f"static/katex/fonts/{font.name}", font.read_bytes())
        rules = []
        for family, styles in FONTS.items():
            package = WEB / "node_modules" / "@fontsource-variable" / family
            self.put(f"static/fonts/{family}-LICENSE.txt", (package / "LICENSE").read_bytes())
            for style in styles:
                for name, rule in re.findall(
                    r"/\* (\S+) \*/\s*(@font-face \{.*?\})",
                    (package / f"{style}.css").read_text(encoding="utf-8"),
                    re.DOTALL,
                ):
                    if re.search(r"-(latin|latin-ext|greek)-wght", name):
                        rules.append(rule.replace("./files/", ""))
                        self.put(
                            f"static/fonts/{name}.woff2",
                            (package / "files" / f"{name}.woff2").read_bytes(),
                        )
        self.put("static/fonts/fonts.css", "\n".join(rules) + "\n")

    # -- sections ------------------------------------------------------------------------------------------------

    def _section(self, section: Section) -> None:
        if section.is_page:
            self.put(f"book/{doc(section)}.md", with_facts(section.text, self.facts(section)))
            self._assets(section, section.text)
            return
        notebook = self.executed.get(section.id)
        self.put(f"extra/downloads/{doc(section)}.py", section.text)
        self.put(
            f"extra/downloads/{doc(section)}.ipynb",
            nbformat.v4.writes(clean(notebook or section.notebook)) + "\n",
        )
        page = self.page(section, notebook or section.notebook)
        self.put(f"book/{doc(section)}.ipynb", nbformat.v4.writes(page))
        for cell in page.cells:
            if cell.cell_type == "markdown":
                self._assets(section, cell.source)

    def page(self, section: Section, notebook: NotebookNode) -> NotebookNode:
        """The site's copy of a notebook: facts below the title, outputs as the page shows them. Cells keep their places."""
        magic = any(
            re.search(r"^\s*[%!]", cell.source, re.MULTILINE)
            for cell in notebook.cells
            if cell.cell_type == "code"
        )
        page = nbformat.v4.new_notebook(
            metadata={
                "language_info": {
                    "name": "python",
                    "pygments_lexer": "ipython3" if magic else "python",
                }
            }
        )
        if "kernelspec" in notebook.metadata:
            page.metadata["kernelspec"] = notebook.metadata["kernelspec"]
        for cell in notebook.cells:
            new = copy.copy(cell)
            new.metadata = NotebookNode(
                {"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {}
            )
            if cell.cell_type == "code":
                new.outputs, pictures = shown(cell.get("outputs", []))
                new.execution_count = None
                if pictures:
                    new.metadata["pictures"] = pictures
            page.cells.append(new)
        if page.cells and page.cells[0].cell_type == "markdown":
            page.cells[0] = copy.copy(page.cells[0])
            page.cells[0].source = with_facts(page.cells[0].source, self.facts(section))
        return page

    def _assets(self, section: Section, text: str) -> None:
        """Copy the files that a text links to (pictures, data, code), each to the same place relative to the page."""
        for match in LINK.finditer(text):
            target = urllib.parse.unquote(match[1].split("#")[0])
            if not target or re.match(r"[a-z]+:", target):
                continue
            path = (section.path.parent / target).resolve()
            pages = {p for s in self.book.planned for p in (s.path, s.ipynb)}
            if path.is_file() and path not in pages and path.is_relative_to(self.book.root):
                self.put(path.relative_to(self.book.root).as_posix(), path.read_bytes())

    def made_with_standins(self, section: Section) -> list[str]:
        """Names of the data sets that were stand-ins when the outputs of a page were made."""
        record = self.records.get(section.id, {})
        if "data" in record:
            return [str(d.get("name")) for d in record["data"] if d.get("source") == "standin"]
        notebook = self.executed.get(section.id)
        info = (notebook.metadata.get("bookbuild") or {}) if notebook is not None else {}
        return (
            [str(name) for name in section.settings.get("data") or []]
            if info.get("data") == "standin"
            else []
        )

    def facts(self, section: Section) -> str:
        """HTML below the title: how the page was made, what can be downloaded, and a banner where it is due."""
        facts = [] if section.is_page else self._run_facts(section)
        links = [] if section.is_page else self._links(section)
        spans = "".join(f"<span>{fact}</span>" for fact in facts)
        banners = ""
        standins = self.made_with_standins(section) if not section.is_page else []
        if standins:
            names = " and ".join(f"<code>{html.escape(n)}</code>" for n in standins)
            banners = (
                f'<p class="banner"><strong>Stand-in data.</strong> The outputs on this page were made with a stand-in for {names}, drawn by code from a seed. '
                "Numbers differ with the real data.</p>"
            )
        if not section.is_page and (
            self.records.get(section.id, {}).get("status") == "failed"
            or section.id not in self.executed
        ):
            banners += '<p class="banner failed"><strong>Not run.</strong> This page has text and code, and no outputs or old ones: its last run did not finish.</p>'
        if not (spans or links or banners):
            return ""
        return f'<div class="page-facts"><p>{spans}</p><p class="page-links">{"".join(links)}</p></div>{banners}'

    def _run_facts(self, section: Section) -> list[str]:
        record, up = self.records.get(section.id, {}), "../" * doc(section).count("/")
        facts = []
        if record.get("seconds"):
            device = {"cpu": "a CPU", "cuda": "a GPU"}.get(
                str(record.get("device", "cpu")).split(":")[0],
                html.escape(str(record.get("device"))),
            )
            facts.append(f"Ran in {duration(record['seconds'])} on {device}")
        passed = self.passed(section)
        if passed:
            facts.append(f"{passed} checks passed" if passed > 1 else "1 check passed")
        return [
            f'<a href="{up}status.html#s{section.id.replace(".", "-")}">{fact}</a>'
            for fact in facts
        ]

    def _links(self, section: Section) -> list[str]:
        up, name = "../" * doc(section).count("/"), doc(section)
        links = [
            f'<a href="{up}downloads/{name}.{kind}" download>{text}</a>'
            for kind, text in (("ipynb", "Notebook"), ("py", "Python file"))
        ]
        url = str(self.book.settings.get("repository_url") or "").rstrip("/").removesuffix(".git")
        branch = self.book.settings.get("repository_branch", "main")
        path = f"book/{name}.ipynb"
        if "github.com/" in url:
            repository = url.split("github.com/", 1)[1]
            links.append(
                f'<a href="https://colab.research.google.com/github/{repository}/blob/{branch}/{path}">Open in Colab</a>'
            )
            links.append(
                f'<a href="https://mybinder.org/v2/gh/{repository}/{branch}?urlpath=lab/tree/{urllib.parse.quote(path)}">Open in Binder</a>'
            )
        elif url:
            links.append(
                f'<a href="https://mybinder.org/v2/git/{urllib.parse.quote(url, safe="")}/{branch}?urlpath=lab/tree/{urllib.parse.quote(path)}">Open in Binder</a>'
            )
        return links

    def passed(self, section: Section) -> int:
        """Checks that passed when the outputs were made; stored outputs exist only of runs whose checks all passed."""
        record = self.records.get(section.id, {})
        if "checks" in record:
            return len(record["checks"])
        return len(section.marked_checks) if section.id in self.executed else 0

    # -- pages about the book --------------------------------------------------------------------------------------

    def contents(self) -> str:
        """The whole plan: sections that exist as links, the others marked as to come."""
        lines = ["# Contents", "", self._progress_line(), ""]
        for part in dict.fromkeys(c.part for c in self.book.chapters):
            lines += [f"## {part}", ""]
            for chapter in (c for c in self.book.chapters if c.part == part):
                lines += [f"### {chapter.number} {chapter.title}", ""]
                for s in chapter.sections:
                    name = f"{s.id} {s.title}"
                    lines.append(
                        f"- [{name}]({doc(s)}{'.md' if s.is_page else '.ipynb'})"
                        if s.exists
                        else f'- <span class="to-come">{html.escape(name)}</span> <em class="later">to come</em>'
                    )
                lines.append("")
        return "\n".join(lines)

    def _progress_line(self) -> str:
        there, planned = len(self.book.sections), len(self.book.planned)
        return f"{there} of {planned} planned sections are there and linked; the others are marked as to come."

    def status(self) -> str:
        """When and how each section ran, as a table."""
        head = [
            "Section",
            "Result",
            "Run on",
            "Time",
            "Memory",
            "Device",
            "Data",
            "Checks passed",
            "marked",
            "planned",
        ]
        rows = [self._status_row(s) for s in self.book.sections]
        versions: dict[str, str] = next(
            (r["versions"] for r in self.records.values() if r.get("versions")), {}
        )
        total = sum(float(r.get("seconds") or 0) for r in self.records.values())
        text = [
            "# Status",
            "",
            "How the outputs of each section were made. A section that fails stops the build; a check that is planned and not marked is still to be written.",
            "",
        ]
        text += [
            '<div class="table-wrap" role="region" aria-label="Status of the sections" tabindex="0"><table class="status"><thead><tr>'
            + "".join(f'<th scope="col">{h}</th>' for h in head)
            + "</tr></thead><tbody>"
            + "".join(rows)
            + "</tbody></table></div>",
            "",
        ]
        if total:
            text += [f"All notebooks together took {duration(total)} of run time.", ""]
        if versions:
            text += [
                "Versions: "
                + ", ".join(
                    f"{html.escape(str(k))} {html.escape(str(v))}" for k, v in versions.items()
                )
                + ".",
                "",
            ]
        return "\n".join(text)

    def _status_row(self, s: Section) -> str:
        record, known = self.records.get(s.id, {}), s.id in self.executed
        state = (
            "page"
            if s.is_page
            else "failed"
            if record.get("status") == "failed"
            else "good"
            if known
            else "not run"
        )
        data = ", ".join(
            f"{html.escape(str(d.get('name')))} ({'stand-in' if d.get('source') == 'standin' else html.escape(str(d.get('source')))})"
            for d in record.get("data", [])
        )
        cells = [
            f'<a href="{doc(s)}.html">{s.id} {html.escape(s.title)}</a>', f'<span class="state {state.replace(" ", "-")}">{state}</span>', day(record.get("when")),
            duration(record["seconds"]) if record.get("seconds") else "", f"{record['peak_mb']:.0f} MB" if record.get("peak_mb") else "",
            html.escape(str(record.get("device") or "")), data or ("" if s.is_page else "none"), "" if s.is_page else str(self.passed(s)), str(len(s.marked_checks)), str(s.checks),
        ]  # fmt: skip
        first, *others = cells
        return (
            f'<tr id="s{s.id.replace(".", "-")}"><th scope="row">{first}</th>'
            + "".join(f"<td>{c or '–'}</td>" for c in others)
            + "</tr>"
        )

    def index(self) -> str:
        """The home page: book/index.md with its placeholders filled, and the (hidden) order of all pages."""
        own = self.book.root / "book" / "index.md"
        text = (
            own.read_text(encoding="utf-8")
            if own.exists()
            else f"# {self.title}\n\n<!-- start -->\n\n<!-- progress -->\n"
        )
        fill = {
            "start": lambda _: self._start(),
            "figure": self._home_figure,
            "progress": lambda _: self._progress(),
        }
        text = PLACEHOLDER.sub(lambda m: fill[m[1]](m[2] or ""), text)
        pages = ["contents", *(doc(s) for s in self.book.sections), "status"]
        return f"{text.rstrip()}\n\n```{{toctree}}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"

    def _start(self) -> str:
        first = next((s for s in self.book.sections if s.chapter > 0), None) or next(
            iter(self.book.sections), None
        )
        if first is None:
            return ""
        chapter = next(c for c in self.book.chapters if first in c.sections)
        text = f"Start with Chapter {chapter.number}, {html.escape(chapter.title[0].lower() + chapter.title[1:])}"
        return f'<p class="start"><a class="button" href="{doc(first)}.html">{text}</a> <a href="contents.html">All contents</a></p>'

    def _progress(self) -> str:
        """One line for each part: how many of its sections are there."""
        rows = []
        for part in dict.fromkeys(c.part for c in self.book.chapters):
            sections = [s for c in self.book.chapters if c.part == part for s in c.sections]
            there = sum(s.exists for s in sections)
            rows.append(
                f'<li><span>{html.escape(part)}</span> <span class="bar" aria-hidden="true"><i style="width:{100 * there / len(sections):.0f}%"></i></span> <span>{there} of {len(sections)}</span></li>'
            )
        return f'<ul class="progress-list">{"".join(rows)}</ul>'

    def _home_figure(self, wanted: str) -> str:
        """The first of the wanted figures that exists, else the first figure of the book, with its caption."""
        figures = self.figures
        number = next((n for n in wanted.split() if n in figures), next(iter(figures), None))
        if number is None:
            return ""
        picture, output, caption, section = figures[number]
        caption = f'<div class="home-caption"></div>\n\n{caption} From [Section {section.id}, {section.title}]({doc(section)}.ipynb).\n'
        if "d2l-sliders" in output.data.get("text/html", ""):
            shown_output = shown([output])[0][0]
            return f"{''.join(shown_output.data['text/html'].splitlines())}\n\n{caption}"
        name, width = (
            f"figures/{number.replace('.', '-')}.png",
            output.metadata.get("image/png", {}).get("width"),
        )
        self.put(f"book/{name}", base64.b64decode(output.data["image/png"]))
        options = {
            "alt": picture["alt"],
            "class": picture["class"],
            "width": f"{width}px" if width else "",
        }
        return "\n".join(
            [
                f"```{{image}} {name}",
                *(f":{key}: {value}" for key, value in options.items() if value),
                "```",
                "",
                caption,
            ]
        )

    @cached_property
    def figures(self) -> dict[str, tuple[dict[str, Any], NotebookNode, str, Section]]:
        """Figure number -> (alt and class, output, caption, section), for figures that a code cell draws."""
        found = {}
        for section in self.book.notebooks:
            notebook = self.executed.get(section.id)
            last: NotebookNode | None = None
            for cell in notebook.cells if notebook is not None else []:
                if cell.cell_type == "code":
                    for output in cell.get("outputs", []):
                        if "image/png" in output.get("data", {}):
                            last = output
                elif last is not None:
                    match = CAPTION.match(cell.source)
                    if match:
                        found[match[1]] = (picture_of(last), last, match[2], section)
                    last = None
        return found


def doc(section: Section) -> str:
    """Sphinx's name of a section, e.g. `03-linear-regression/03-synthetic-regression-data`."""
    return section.path.relative_to(section.root / "book").with_suffix("").as_posix()


def with_facts(text: str, facts: str) -> str:
    """Facts below the title line, always `FACT_LINES` lines, so that line numbers can be counted back."""
    first, _, rest = text.partition("\n")
    return f"{first}\n\n{facts}\n\n\n{rest}" if facts else text


def clean(notebook: NotebookNode) -> NotebookNode:
    """The notebook that a reader downloads: no record of the machine that ran it."""
    kept = copy.copy(notebook)
    kept.metadata = NotebookNode(
        {
            k: v
            for k, v in notebook.metadata.items()
            if k in ("kernelspec", "language_info", "jupytext", "d2l")
        }
    )
    return kept


def picture_of(output: NotebookNode) -> dict[str, Any]:
    """Alt text and class: `lines` can be inverted in dark mode, `plate` (photographs, heat maps) cannot."""
    data = output.data.get(FIGURE_MIME) or {}
    alts = [output.metadata.get(mime, {}).get("alt") for mime in PICTURES] + [data.get("alt")]
    axes = data.get("axes") or []
    inverts = bool(axes) and not any(ax.get("images") for ax in axes)
    return {
        "alt": next((str(alt) for alt in alts if alt), ""),
        "class": "lines" if inverts else "plate",
    }


def shown(outputs: list[NotebookNode]) -> tuple[list[NotebookNode], list[dict[str, Any]]]:
    """Outputs with the one form that the page shows, and what to say of each picture among them."""
    kept, pictures = [], []
    for output in outputs:
        new = copy.deepcopy(output)
        if "data" in new:
            picture, data = picture_of(new), new["data"]
            data.pop(FIGURE_MIME, None)
            best = next((mime for mime in ("text/html", *PICTURES) if mime in data), None)
            if best is not None:
                content = data[best]
                if "d2l-sliders" in content:
                    content = content.replace(
                        'class="d2l-sliders"', f'class="d2l-sliders {picture["class"]}"'
                    )
                new["data"] = NotebookNode({best: content})
            if best in PICTURES:
                pictures.append(picture)
        if "execution_count" in new:
            new["execution_count"] = None
        kept.append(new)
    return kept, pictures


def duration(seconds: float) -> str:
    if seconds < 1:
        return "under 1 s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def day(when: Any) -> str:
    try:
        return f"{datetime.fromisoformat(str(when)):%d %b %Y}".lstrip("0")
    except ValueError:
        return ""


def tool_digest() -> str:
    """Digest of the code that makes pages: a change of it builds all of them anew."""
    digest = hashlib.sha256()
    for path in (
        Path(__file__),
        Path(__file__).with_name("sphinx_ext.py"),
        WEB / "conf.py",
        WEB / "render.js",
        WEB / "package-lock.json",
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def remove(path: Path) -> None:
    """A folder or file, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
