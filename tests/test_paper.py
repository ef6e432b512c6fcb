"""The book on paper: what a PDF holds and where its links lead, and what a page printed from a browser shows."""

import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2
import pytest
from bs4 import BeautifulSoup
from conftest import MiniBook
from lxml import etree
from small_site import Built, tab_in

from bookbuild import paper
from bookbuild.book import Book, BookError
from bookbuild.paper import binding, chromium, document, epub
from bookbuild.paper.document import Documents, place

IMAGE = pypdfium2.raw.FPDF_PAGEOBJ_IMAGE
MARGIN = 25 / 25.4 * 72  # left and right, in points


@pytest.fixture(scope="module")
def two(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Book:  # noqa: F811
    """The pages of the small book under a plan with two chapters; from the second, links lead into the first."""
    root = tmp_path_factory.mktemp("paper") / "root"
    shutil.copytree(built.book.root / "book", root / "book")
    shutil.copy(built.book.root / "pyproject.toml", root)
    plan = (root / "book" / "contents.toml").read_text()
    first, rest = plan.split('  { id = "1.3"')
    second = '[[chapter]]\nnumber = 2\ntitle = "\\"More\\" & <better>"\nfolder = "01-start"\npart = "Basics"\nsections = [\n'
    (root / "book" / "contents.toml").write_text(f'{first}]\n{second}  {{ id = "1.3"{rest}')
    shutil.copytree(built.out, root / "build" / "html")
    (root / "build" / "site-src").mkdir()
    shutil.copy(built.book.build / "site-src" / "site.json", root / "build" / "site-src")
    return Book(root)


@pytest.fixture(scope="module")
def printed(two: Book, browser: Any) -> paper.Printed:  # noqa: F811
    return paper.make_pdf(two, two.sections, "book")


def texts(path: Path) -> list[str]:
    """The text of each page."""
    with pypdfium2.PdfDocument(path) as pdf:
        return [" ".join(page.get_textpage().get_text_range().split()) for page in pdf]


def strip_of(path: Path, low: float, high: float) -> list[str]:
    """The text of each page between two heights, as parts of the page's height."""
    found = []
    with pypdfium2.PdfDocument(path) as pdf:
        for page in pdf:
            width, height = page.get_size()
            text = page.get_textpage().get_text_bounded(0, low * height, width, high * height)
            found.append(" ".join(text.split()))
    return found


def feet_of(path: Path) -> list[str]:
    return strip_of(path, 0, 0.07)


def heads_of(path: Path) -> list[str]:
    return strip_of(path, 0.94, 1)


def soup(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "lxml")


def document_of(book: Book, number: int, first: int = 1) -> BeautifulSoup:
    chapter = next(c for c in book.chapters if c.number == number)
    own = [s for s in chapter.sections if s.exists]
    return soup(
        Documents(book, book.build / "html", book.sections, "A4").chapter(chapter, own, first)
    )


# -- the document that is printed ------------------------------------------------------------------------------------


def test_a_chapter_is_its_sections_and_then_their_solutions(two: Book) -> None:
    page = document_of(two, 1)
    assert [h.get_text() for h in page.select("h1")] == [
        "Chapter 1Start", "1.1 lines", "1.2 sliders", "Solutions of Chapter 1",
    ]  # fmt: skip
    solution = page.select_one("section.solutions #s1\\.1\\.solution-1-1-1")
    assert solution is not None and "hidden wisdom" in solution.get_text()
    assert "forty-two" in solution.get_text(), "its cells come with it"
    assert "hidden wisdom" not in page.select_one("#s1\\.1").get_text()
    link = page.select_one("p.to-solution a")
    assert link["href"] == "#s1.1.solution-1-1-1" and link.get_text() == "Solution 1.1-1"
    assert "Solutions" not in document_of(two, 2).get_text(), "where none is, none is announced"


def test_names_are_unique_and_links_find_them(two: Book) -> None:
    pages = {number: document_of(two, number) for number in (1, 2)}
    names = [e["id"] for page in pages.values() for e in page.find_all(id=True)]
    assert len(names) == len(set(names))
    links = [a["href"] for page in pages.values() for a in page.select("article a[href]")]
    inner = {link.removeprefix("#").removeprefix("book:") for link in links if "//" not in link}
    assert inner and inner <= set(names)
    assert "book:s1.1.figure-1-1-2" in links, "from the second chapter into the first"
    assert "#s1.1.equation-1-1-1" in links and "https://pytorch.org" in links
    seen = {a["href"] for a in pages[1].select("div[hidden] a")}
    assert {f"#{e['id']}" for e in pages[1].select("article [id]")} == seen


def test_links_out_of_the_pdf_lead_to_the_web_or_nowhere(two: Book) -> None:
    chapter, only = two.chapters[1], [s for s in two.sections if s.id == "1.3"]
    documents = Documents(two, two.build / "html", only, "A4")
    page = soup(documents.chapter(chapter, only, 1))
    assert "the sliders" in page.get_text() and not page.select("article a[href]")
    two.settings["site_url"] = "https://book.example/"
    try:
        documents = Documents(two, two.build / "html", only, "A4")
    finally:
        del two.settings["site_url"]
    links = [a["href"] for a in soup(documents.chapter(chapter, only, 1)).select("article a[href]")]
    assert "https://book.example/01-start/02-sliders.html" in links
    assert "https://book.example/01-start/01-lines.html#figure-1-1-2" in links


def test_what_only_a_screen_can_do_is_still(two: Book) -> None:
    page = document_of(two, 1)
    assert not page.select("article :is(script, input, audio, button, .page-facts, .headerlink)")
    figure = page.select_one(".d2l-sliders")
    assert figure.img["src"].startswith("data:image/png") and "data-frames" not in figure.attrs
    assert figure.select_one(".on-paper").get_text() == (
        "Drawn for slope = 2; on the page there are sliders."
    )
    html = '<section><details class="admonition hide above-input"><pre>plot()</pre></details><audio></audio><details><p>more</p></details></section>'
    article = soup(html).section
    document._still(article)
    assert "plot()" not in article.get_text() and not article.find("audio")
    assert "in the notebook" in article.get_text() and "to be heard" in article.get_text()
    assert article.find("details").has_attr("open")


def test_places_have_names_that_pdf_and_address_bear() -> None:
    assert place("0.4", "%CE%BB") == place("0.4", "λ") == "s0.4._3bb"
    assert re.fullmatch(r"[A-Za-z0-9._-]+", place("1.1", "a b/c#d%"))


def test_a_page_that_is_not_there_is_named(two: Book, tmp_path: Path) -> None:
    chapter = two.chapters[0]
    with pytest.raises(BookError, match=r"01-lines\.html is not there: `make book`"):
        Documents(two, tmp_path, two.sections, "A4").chapter(chapter, list(chapter.sections), 1)


# -- the PDF ---------------------------------------------------------------------------------------------------------


def test_pages_are_numbered_and_in_order(two: Book, printed: paper.Printed) -> None:
    pages, feet, heads = texts(printed.path), feet_of(printed.path), heads_of(printed.path)
    assert printed.pages == len(pages) and printed.megabytes < 2
    assert "Small book" in pages[0] and "CC BY-SA 4.0" in pages[0]
    assert feet == ["", "ii", *map(str, range(1, len(pages) - 1))]
    order = ["Chapter 1", "1.2 sliders", "Solutions of Chapter 1", "Chapter 2"]
    found = [next(i for i, text in enumerate(pages) if i > 1 and words in text) for words in order]
    assert found == sorted(found) and found[-1] > found[-2], "a chapter begins a page"
    assert heads[:3] == ["", "", ""] and heads[3:] == ["1 Start"] * (found[-1] - 3) + [""]
    for words in ("1 Start", "1.2 sliders", "Solutions", "1.3 words"):
        shown = int(re.search(rf"{re.escape(words)} (\d+)", pages[1])[1])
        assert words.removeprefix("1 ") in pages[1 + shown], f"{words} is not on page {shown}"
    with pikepdf.open(printed.path) as pdf:
        labels = [page.label for page in pdf.pages]
    assert labels[:4] == ["i", "ii", "1", "2"]


def test_bookmarks_and_links_lead_to_their_words(printed: paper.Printed) -> None:
    pages = texts(printed.path)
    with pikepdf.open(printed.path) as pdf:
        number = {page.objgen: i for i, page in enumerate(pdf.pages)}

        def leads(item: Any) -> int:
            return number[item.destination[0].objgen]

        with pdf.open_outline() as outline:
            top = {item.title: item for item in outline.root}
            assert list(top) == ["Contents", "1 Start", '2 "More" & <better>']
            below = {item.title: leads(item) for item in top["1 Start"].children}
        assert list(below) == ["1.1 lines", "1.2 sliders", "Solutions"]
        for words, page in below.items():
            assert words in pages[page]
        targets = []
        for i, page in enumerate(pdf.pages):
            for note in page.obj.get("/Annots", []):
                if "/Dest" in note:
                    targets.append((i, number[note.Dest[0].objgen]))
                else:
                    assert str(note.A.URI).startswith("https://")
        assert str(pdf.docinfo["/Title"]) == "Small book" and pdf.Root.PageMode == "/UseOutlines"
    solutions = next(i for i, text in enumerate(pages) if "hidden wisdom" in text)
    exercise = next(i for i, text in enumerate(pages) if "stands at the end" in text)
    last = next(i for i, text in enumerate(pages) if "See the sliders" in text)
    assert (exercise, solutions) in targets, "from an exercise to its solution"
    assert any(a == last and b < last for a, b in targets), "from one chapter to another"
    assert {a for a, _ in targets if a == 1}, "from the contents"


def test_a_screen_reader_finds_headings_formulas_and_alternative_texts(
    printed: paper.Printed,
) -> None:
    """One tree of tags for all documents: each page and link finds its own entries."""
    with pikepdf.open(printed.path) as pdf:
        assert pdf.Root.MarkInfo.Marked and str(pdf.Root.Lang) == "en"
        tree = pdf.Root.StructTreeRoot
        nums = list(tree.ParentTree.Nums)
        keys = [int(key) for key in nums[::2]]
        assert keys == sorted(set(keys)), "a number tree is sorted and has no key twice"
        entries = dict(zip(keys, nums[1::2], strict=True))
        for page in pdf.pages:
            own = entries[int(page.obj.StructParents)]
            of = {e.Pg.objgen for e in own if e is not None and "/Pg" in e}
            assert of == {page.objgen}, "the tags of a page are those of another"
            for note in page.obj.get("/Annots", []):
                assert str(entries[int(note.StructParent)].S) == "/Link"
        kinds, said = set(), set()

        def walk(element: Any) -> None:
            kids = element.get("/K", [])
            for kid in kids if isinstance(kids, pikepdf.Array) else [kids]:
                if isinstance(kid, pikepdf.Dictionary) and "/S" in kid:
                    kinds.add(str(kid.S))
                    said.add(str(kid.get("/Alt", "")))
                    walk(kid)

        walk(tree)
    assert {"/H1", "/H2", "/H3", "/Figure", "/Table", "/Link"} <= kinds
    assert {"A rising line.", "Four squares.", "A net.", "A line through the origin."} <= said
    assert "f(x) = w x + b \\tag{1.1.1}" in said, "a formula is heard as its TeX"


def test_nothing_runs_over_the_edge(printed: paper.Printed) -> None:
    """Neither a line of code, a wide output nor a formula of 120 symbols."""
    seen = ""
    with pypdfium2.PdfDocument(printed.path) as pdf:
        for i, page in enumerate(pdf):
            text, width = page.get_textpage(), page.get_width()
            for k in range(text.count_rects()):
                left, bottom, right, top = text.get_rect(k)
                words = text.get_text_bounded(left, bottom, right, top)
                assert left > MARGIN - 3 and right < width - MARGIN + 3, f"page {i}: {words}"
            seen += text.get_text_range()
    assert seen.count("wide") >= 60 and seen.count("long comment") >= 4 and "(1.2.1)" in seen


def test_figures_are_light_and_whole(printed: paper.Printed) -> None:
    """Paper is white, so is the ground of figures, and none runs into a margin."""
    count = 0
    with pypdfium2.PdfDocument(printed.path) as pdf:
        for page in pdf:
            grey, height = (
                page.render(scale=1, grayscale=True).to_numpy(),
                page.get_height(),
            )
            assert (grey > 240).mean() > 0.7 and (grey[:, 0] == 255).all()
            for figure in page.get_objects(filter=[IMAGE]):
                left, bottom, right, top = figure.get_bounds()
                assert bottom > 60 and top < height - 50 and right < page.get_width() - MARGIN + 3
                shown = grey[
                    int(height - top) + 2 : int(height - bottom) - 2, int(left) + 2 : int(right) - 2
                ]
                assert (shown[:, 0] > 240).mean() > 0.8, "a dark figure"
                count += 1
    assert count >= 3


def test_letter_is_another_size(two: Book, browser: Any) -> None:  # noqa: F811
    only = [s for s in two.sections if s.id == "1.3"]
    path = paper.make_pdf(two, only, "letter", "letter").path
    assert "Section 1.3 words" in texts(path)[0] and "Chapter" not in texts(path)[0]
    with pikepdf.open(path) as made:
        assert str(made.docinfo["/Title"]) == "Small book: Section 1.3, words"
    with pypdfium2.PdfDocument(path) as pdf:
        assert {tuple(round(x) for x in page.get_size()) for page in pdf} == {(612, 792)}
    with pytest.raises(BookError, match="PAPER=B5: there is no such size; take A4 or letter"):
        paper.make_pdf(two, only, "b5", "B5")


def test_a_lost_place_is_named(tmp_path: Path) -> None:
    with pikepdf.new() as pdf:
        pdf.add_blank_page()
        link = pikepdf.Dictionary(Subtype=pikepdf.Name.Link, A=pikepdf.Dictionary(URI="book:s9.9"))
        pdf.pages[0].obj.Annots = pikepdf.Array([link])
        pdf.save(tmp_path / "part.pdf")
    out = tmp_path / "out.pdf"
    with pytest.raises(BookError, match=r"places that are not in it: s9\.9"):
        binding.bind([tmp_path / "part.pdf"], 0, [], out, "t", "a")
    assert not out.exists()


def test_without_chromium_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli: Any, mini: MiniBook
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "PLACES", ())
    monkeypatch.delenv("CHROMIUM", raising=False)
    mini.add("words", "a = 1")
    status, text = cli("pdf", "1.1")
    assert status == 1 and "Install Chromium" in text and "CHROMIUM=/path/to/chrome" in text
    monkeypatch.setenv("CHROMIUM", "/no/where")
    assert "CHROMIUM=/no/where: there is no such program" in cli("pdf", "1")[1]
    assert "No section matches '7'" in cli("pdf", "7")[1]


def test_a_browser_that_fails_is_quoted(tmp_path: Path) -> None:
    fails = tmp_path / "chrome"
    fails.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    fails.chmod(0o755)
    old = tmp_path / "a.pdf"
    old.write_bytes(b"%PDF-old")
    with pytest.raises(BookError, match=r"(?s)printed nothing .*exit status 3.*no display"):
        chromium.print_pdf(str(fails), tmp_path / "a.html", old)
    assert not old.exists(), "an old print would pass for the new one"


# -- the EPUB --------------------------------------------------------------------------------------------------------


def test_an_epub_is_whole(two: Book) -> None:
    """Each file is XML, listed, and in order; each link has its place; formulas are MathML alone."""
    made = paper.make_epub(two, two.sections, "book")
    with zipfile.ZipFile(made.path) as file:
        first = file.infolist()[0]
        assert first.filename == "mimetype" and first.compress_type == zipfile.ZIP_STORED
        assert file.read("mimetype") == b"application/epub+zip"
        files = {name: file.read(name) for name in file.namelist()}
    trees = {n: etree.fromstring(t) for n, t in files.items() if n.endswith((".xhtml", ".opf"))}
    listed = [e.get("href") for e in trees["book.opf"].iter("{*}item")]
    assert sorted(listed) == sorted(set(files) - {"mimetype", "META-INF/container.xml", "book.opf"})
    by_id = {e.get("id"): e.get("href") for e in trees["book.opf"].iter("{*}item")}
    spine = [by_id[e.get("idref")] for e in trees["book.opf"].iter("{*}itemref")]
    assert spine == ["nav.xhtml", "s1.1.xhtml", "s1.2.xhtml", "c1-solutions.xhtml", "s1.3.xhtml"]
    names = {f"{n}#{e.get('id')}" for n, t in trees.items() for e in t.iter() if e.get("id")}
    for name, tree in trees.items():
        for link in tree.iter("{*}a"):
            to = link.get("href")
            assert to.startswith("https://") or to in files or to in names, f"{name}: {to}"
        for picture in tree.iter("{*}img"):
            assert picture.get("src") in files and picture.get("alt")
    words = {n: "".join(t.itertext()) for n, t in trees.items()}
    assert "hidden wisdom" in words["c1-solutions.xhtml"]
    assert "hidden wisdom" not in words["s1.1.xhtml"]
    text = files["s1.1.xhtml"].decode()
    assert "<math" in text and "katex" not in text and "style=" not in text
    assert made.pages is None and str(made).endswith(" s")


def test_epubs_of_parts_differ_in_title_and_say_their_edition(two: Book) -> None:
    titles = {}
    for name, count in (("whole", 3), ("chapter", 2), ("section", 1)):
        made = paper.make_epub(two, two.sections[:count], name)
        with zipfile.ZipFile(made.path) as file:
            opf, nav = (etree.fromstring(file.read(n)) for n in ("book.opf", "nav.xhtml"))
        titles[name] = next(opf.iter("{*}title")).text
        words = " ".join(nav.itertext())
        assert "outputs of 2 Jan 2026." in words and "CC BY-SA 4.0" in words
    assert titles == {
        "whole": "Small book",
        "chapter": "Small book: Chapter 1, Start",
        "section": "Small book: Section 1.1, lines",
    }


def test_pages_without_a_notebook_are_printed_too(
    mini: MiniBook, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make pdf S=1.2` builds the section before it prints it, and this one is a page."""
    mini.add("sums", "a = 1")
    (mini.root / "book" / "01-start" / "02-words.md").write_text("# 1.2 words\n\nHello.\n")
    mini.names["1.2"] = "words"
    mini._plan()
    built: list[set[str]] = []

    def build(book: Book, executed: Any, *_: Any) -> list[str]:
        built.append(set(executed))
        return []

    monkeypatch.setattr("bookbuild.site.build", build)
    assert cli("build", "1.2")[0] == 0 and cli("build", "1")[0] == 0
    assert built[1] == {"1.1"}
    status, text = cli("build", "7")
    assert status == 1 and "No section matches '7'" in text and "1.1, 1.2" in text


def test_mathml_of_katex_is_made_valid() -> None:
    """As EPUBCheck says of what KaTeX writes for `\\lambda_{\\max}`, `\\tag` and a hat upon a sign."""
    html = '<math><msub><mi>λ</mi><mi>max</mi><mo>\u2061</mo></msub><mo><mover><mo>=</mo><mi>d</mi></mover></mo><mtable width="100%"></mtable><mi mathvariant="bold">w</mi><mi mathvariant="double-struck">R</mi><mi mathvariant="normal">d</mi></math>'
    math = soup(html).math
    epub._valid(math)
    assert math.decode() == (
        '<math><msub><mi>λ</mi><mi>max</mi></msub><mrow><mover><mo>=</mo><mi>d</mi></mover></mrow><mtable></mtable><mi>𝐰</mi><mi>ℝ</mi><mi mathvariant="normal">d</mi></math>'
    )


# -- printing a page from the browser ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sheets(built: Built, browser: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:  # noqa: F811
    """A page printed in light and in dark mode, and with an open solution; the page of sliders."""
    folder, found = tmp_path_factory.mktemp("sheets"), {}
    for name, page, mode in (
        ("light", "01-lines", "light"), ("dark", "01-lines", "dark"),
        ("open", "01-lines", "dark"), ("sliders", "02-sliders", "dark"),
    ):  # fmt: skip
        tab = tab_in(browser, mode).open(built.out / "01-start" / f"{page}.html")
        if name == "open":
            tab.locator("details.solution > summary").click()
        found[name] = folder / f"{name}.pdf"
        tab.pdf(path=found[name], prefer_css_page_size=True, print_background=True)
        tab.context.close()
    return found


def test_a_print_in_dark_mode_is_that_of_light_mode(sheets: dict[str, Path]) -> None:
    """Pixel by pixel: paper, ink, code and figures."""
    with (
        pypdfium2.PdfDocument(sheets["light"]) as light,
        pypdfium2.PdfDocument(sheets["dark"]) as dark,
    ):
        assert len(light) == len(dark)
        for one, other in zip(light, dark, strict=True):
            pixels = one.render(scale=1).to_numpy()
            assert (pixels == other.render(scale=1).to_numpy()).all()
            assert (pixels > 240).mean() > 0.7


def test_a_print_has_the_open_solutions_and_no_closed_one(sheets: dict[str, Path]) -> None:
    closed, opened = (" ".join(texts(sheets[name])) for name in ("dark", "open"))
    assert "hidden wisdom" not in closed and "forty-two" not in closed
    assert "hidden wisdom" in opened and "forty-two" in opened
    assert "Solution 1.1-1" in closed, "that there is one is said"


def test_a_print_is_the_text_and_page_numbers(sheets: dict[str, Path]) -> None:
    pages = texts(sheets["dark"])
    assert feet_of(sheets["dark"]) == [str(i) for i in range(1, len(pages) + 1)]
    assert pages[0].startswith("1.1 lines") or "1 1.1 lines" in pages[0]
    for words in ("On this page", "Search", "Contents", "Notebook"):
        assert not any(words in text for text in pages), words
    assert " ".join(pages).count("1.1 lines") == 1, "the title stands once"
    assert not any("Small book, version" in text for text in pages[:-1])
    assert "Small book, version" in pages[-1] and "CC BY-SA 4.0" in pages[-1], "whose it is"
    with pypdfium2.PdfDocument(sheets["dark"]) as pdf:
        low = [min(b for _, b, _, _ in boxes(page)) / page.get_height() for page in pdf]
        right = max(r for page in pdf for _, _, r, _ in boxes(page))
        assert right < pdf[0].get_width() - 15 / 25.4 * 72 + 3, "something is cut at the right"
    assert all(part < 0.5 for part in low[:-1]), "a page is half empty"
    assert boxes_count(sheets["dark"]), "the last sheet is empty"


def boxes(page: Any) -> list[tuple[float, float, float, float]]:
    """Boxes of the words and pictures of a page above its number."""
    text, height = page.get_textpage(), page.get_height()
    found = [text.get_rect(k) for k in range(text.count_rects())]
    found += [o.get_bounds() for o in page.get_objects(filter=[IMAGE])]
    return [box for box in found if box[1] > 0.07 * height]


def boxes_count(path: Path) -> int:
    with pypdfium2.PdfDocument(path) as pdf:
        return len(boxes(pdf[len(pdf) - 1]))
