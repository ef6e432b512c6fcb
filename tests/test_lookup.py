"""Glossary, index, bibliography, list of figures, reference and search: on the small book in a browser, and on the real book's files."""

import html
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from conftest import ROOT, MiniBook
from small_site import AXE, Built, full_book, tab_in

from bookbuild import lint, site
from bookbuild.book import Book, BookError
from bookbuild.grammar import LINK
from bookbuild.site import bibliography, check, figures, glossary
from bookbuild.site.bibliography import Work, bullets, entries, identity, works
from bookbuild.site.places import doc
from bookbuild.site.reference import Reference, blocks
from bookbuild.sphinx_text import plain_tex
from bookbuild.terms import Terms

WORDS = r"""# 1.3 words

See [the sliders](02-sliders.ipynb) and Figure 1.1.2.
Long code `lines.in_one_very_long_name_of_code_that_no_narrow_screen_holds` wraps.
A *threshold* of 2 is *not* much.
All lines together have the *sum of squared errors*
$x^2$, and more (Exercise 1).

## Penalties

The weight $\lambda$ is small, as [a line](01-lines.ipynb) shows.
It is called a *penalty*, and the loss with it is

$$
L+\lambda\|\mathbf{w}\|^2, \tag{1.3.1}
$$

where $\mathbf{w}$ holds the *slopes*.
Several lines have several slopes, and each has its penalty.

## Exercises

### Exercise 1.3-1

What is a *kink*?

#### Solution 1.3-1

A *bend*, quartzite in the text.

## Sources

- Anybody documentation: [lines.in_one_very_long_name_of_a_page_that_no_narrow_screen_holds](https://example.org/lines).
- A. Author and B. Writer, Slopes of lines, 2019, [arXiv:1901.00001](https://arxiv.org/abs/1901.00001): slopes; C. Third, *Old book*, 1850: lines.
"""
TERMS = """
[terms]
"penalty" = ["1.3"]
"slope" = ["1.3", "1.9"]
"threshold (of words)" = ["1.3"]
"kink" = ["1.3"]
"sum of squared errors" = ["1.3"]
[short]
"sum of squared errors" = ["SSE"]
[emphasis]
words = ["not"]
"""
TRAINER = '''tags=["export"]
class Fitter:
    """Fits `lines` to <data>.

    Parameters
    ----------
    rate
        How fast, a number above 0.

    Examples
    --------
    >>> Fitter(0.1)
    """

    def __init__(self, rate, steps=3):
        pass

    def fit(self, data):
        """Fit once."""'''


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The small book of test_site with terms, sources and a class that a later section imports."""
    root = tmp_path_factory.mktemp("lookup") / "root"
    _, executed, runs = full_book(root)
    chapter = root / "book" / "01-start"
    (chapter / "03-words.md").write_text(WORDS)
    (root / "book" / "terms.toml").write_text(TERMS)
    lines = (chapter / "01-lines.py").read_text()
    lines += "".join(
        f"{line}\n" for line in ("", f"# %% {TRAINER.splitlines()[0]}", *TRAINER.splitlines()[1:])
    )
    lines += "\n# %% [markdown]\n# - A. Author, B. Writer (2019). Slopes of lines. [arXiv:1901.00001](https://arxiv.org/pdf/1901.00001): again.\n"
    (chapter / "01-lines.py").write_text(lines)
    slides = (chapter / "02-sliders.py").read_text()
    (chapter / "02-sliders.py").write_text(
        slides
        + "\n# %% [markdown]\n# ## A slope\n#\n# Slope.\n\n# %%\nfrom d2l_helpers.chapters.start import Fitter\nd2l.plot(1, 2)\n"
    )
    book = Book(root)
    del executed["1.1"], executed["1.2"]  # their sources are others now
    problems = site.build(book, executed, runs, root / "html")
    return Built(book, executed, runs, root / "html", problems)


@cache
def real() -> Book:
    return Book(ROOT)


@cache
def real_terms() -> Terms:
    return Terms(real())


def plain(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def article(page: str) -> str:
    return page.split("<article", 1)[1].split("</article>", 1)[0]


def test_builds_and_every_link_leads_somewhere(looked: Built) -> None:
    assert looked.problems == []
    assert check.check(looked.out, looked.out.parent / "again.json") == []


# -- glossary and index ---------------------------------------------------------------------------------------------


def test_the_glossary_says_what_the_section_says(looked: Built) -> None:
    """With the sentence before one that begins with "It", the formula behind it, and a link to the very phrase."""
    page = looked.page("glossary.html")
    entry = dict(
        re.findall(
            r'<div class="entry" id="term-([\w-]+)">(.*?)</div>\s*(?=<div class="entry"|<h2|</section)',
            page,
            re.S,
        )
    )
    assert list(entry) == [
        "kink", "penalty", "slope", "sum-of-squared-errors", "threshold-of-words",
    ]  # fmt: skip
    ids = re.findall(r' id="([^"]+)"', page)
    assert [i for i, count in Counter(ids).items() if count > 1] == []
    assert plain(entry["sum-of-squared-errors"]).startswith(
        "sum of squared errors (SSE) 1.3 All lines"
    )
    assert "and more ( Exercise 1.3-1 )." in plain(entry["sum-of-squared-errors"])
    assert plain(entry["penalty"]).startswith(
        "penalty 1.3 The weight"
    ) and "as a line shows. It is called a penalty" in plain(entry["penalty"])
    assert (
        'class="math block"' in entry["penalty"]
        and "katex" in entry["penalty"]
        and "holds the slopes" in plain(entry["penalty"])
    )
    assert 'href="01-start/01-lines.html"' in entry["penalty"], (
        "links lead on from where the glossary lies"
    )
    assert 'href="01-start/03-words.html#term-slopes"' in entry["slope"]
    words = looked.page("01-start/03-words.html")
    assert '<em id="term-penalty">' in words and '<em id="term-slopes">' in words
    assert 'href="01-start/03-words.html#term-threshold"' in entry["threshold-of-words"]
    assert 'id="equation-1-3-1"' in words and "equation-1-3-1" not in page, (
        "the formula has one number, in its section"
    )


def test_the_index_has_all_places(looked: Built) -> None:
    items = re.findall(r"<li>(.*?)</li>", article(looked.page("term-index.html")), re.S)
    names = {
        plain(item).split(" 1.")[0]: item
        for item in items
        if "reference.html#d2l_helpers.plot" not in item
    }
    assert list(names) == sorted(names, key=str.lower) and {
        "Fitter",
        "kink",
        "line",
        "penalty",
        "slope",
        "threshold (of words)",
    } <= set(names)
    assert 'class="defined" href="01-start/03-words.html#term-penalty"' in names["penalty"]
    assert 'href="reference.html#d2l_helpers.chapters.start.Fitter"' in names["Fitter"]


def test_the_index_names_sections_that_use_a_term(mini: MiniBook) -> None:
    mini.add("one", "markdown\nA *slope* is a rise.")
    mini.add("two", "markdown\nSlopes differ from other slopes.")
    mini.add(
        "three",
        "markdown\nOne slope, `slope`, $slope$, [x](slope.md).\n\n## Exercises\n\n### Exercise 1.3-1\n\nSlope.",
    )
    (mini.root / "book" / "terms.toml").write_text('[terms]\nslope = ["1.1"]\n')
    assert {n: [s.id for s in used] for n, used in Terms(mini.book).uses().items()} == {
        "slope": ["1.2"]
    }


def test_a_book_without_a_file_of_terms(mini: MiniBook) -> None:
    mini.add("one", "markdown\nA *slope* is a rise.")
    terms = Terms(mini.book)
    assert terms.defined == [] and terms.uses() == {} and lint.problems(mini.book) == []
    assert "0 terms" in glossary.glossary_page(mini.book, terms)
    assert "# Index" in glossary.index_page(mini.book, terms, [])


def test_every_term_of_the_book_is_defined_and_every_italic_is_known() -> None:
    terms = real_terms()
    assert [(term.name, number) for term, number in terms.missing()] == []
    assert [(s.id, italic) for s in real().sections for _, italic in terms.unlisted(s)] == []
    assert len(terms.defined) > 600


def test_definitions_of_the_book_are_sentences() -> None:
    """None begins in the middle of a sentence, and none is a pronoun without what it stands for."""
    odd = []
    for term in real_terms().defined:
        text = next(term.found[s][1] for s in term.sections if s in term.found)
        if (
            re.match(r"(?:where|with|and|which|for any|It|They|This is|These are|Such)\b", text)
            or len(text) < 30
            or text[0].islower()
            and not text.startswith("pass@k")
            or not re.search(r"(?:[.!?…][)\"'”*]*|\$\$|\\dots\$)$", text)
            or re.search(r",\s*\$\$$", text)
            or re.search(r"\bExercise \d+\b(?!\.)", text)
        ):
            odd.append(term.name)
    assert odd == ["stop word", "vision Transformer"], (
        "these begin so, and nothing stands before them"
    )


def test_the_linter_asks_about_words_in_italics(mini: MiniBook) -> None:
    path = mini.add("one", "markdown\nA *slope* is a *rise*.\n\n## Sources\n\n- *A title*, 1999.")
    (mini.root / "book" / "terms.toml").write_text('[terms]\nslope = ["1.1"]\nkink = ["1.1"]\n')
    found = [p for p in lint.problems(mini.book) if "terms.toml" in p]
    line = path.read_text().splitlines().index("# A *slope* is a *rise*.") + 1
    assert len(found) == 2 and found[0].startswith(
        f"book/01-start/01-one.py:{line}: is *rise* a term"
    ), found
    assert "section 1.1 should say what 'kink' is" in found[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[terms", r"book/terms\.toml: Expected"),
        ("[words]\na = []", "there is no table 'words'"),
        ('[terms]\na = "1.1"', r"'a' in \[terms\] should be a list of strings"),
        ('[written]\nb = ["c"]', r"'b' stands in \[written\] and is no term"),
        ('[short]\nb = ["c"]', r"'b' stands in \[short\] and is no term"),
    ],
)
def test_a_bad_file_of_terms_is_named(mini: MiniBook, text: str, message: str) -> None:
    (mini.root / "book" / "terms.toml").write_text(text)
    with pytest.raises(BookError, match=message):
        Terms(mini.book)


# -- bibliography -----------------------------------------------------------------------------------------------------


def test_a_work_stands_once_with_the_sections_that_cite_it(looked: Built) -> None:
    text = article(looked.page("bibliography.html"))
    (item,) = re.findall(r"<li>(?:(?!</li>).)*Slopes of lines(?:(?!</li>).)*</li>", text, re.S)
    assert (
        plain(item)
        == "A. Author and B. Writer (2019). Slopes of lines. arXiv:1901.00001 . 1.1 , 1.3"
    )
    assert (
        'href="01-start/03-words.html#sources"' in item
        and 'href="01-start/01-lines.html#sources"' in item
    )
    assert "C. Third (1850). Old book." in plain(text)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("A. Vaswani et al., Attention is all you need, 2017, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762): all.", [("A. Vaswani et al.", "Attention is all you need", "2017")]),
        ("S. Brin, L. Page (1998). The anatomy. A journal. [doi:10.1016/S0169-7552(98)00110-X](https://doi.org/10.1016/S0169-7552(98)00110-X): PageRank.", [("S. Brin, L. Page", "The anatomy", "1998")]),
        ("L. van der Maaten and A.-M. Legendre, *A title*, *A journal* 3, 2001, [doi:10.1000/x](https://doi.org/10.1000/x).", [("L. van der Maaten and A.-M. Legendre", "A title", "2001")]),
        ("Gemma Team, Gemma 3, 2025, [arXiv:2503.19786](https://arxiv.org/abs/2503.19786); OpenAI (2025). Weights. [arXiv:2508.10925](https://arxiv.org/abs/2508.10925).", [("Gemma Team", "Gemma 3", "2025"), ("OpenAI", "Weights", "2025")]),
        ("PyTorch documentation, [Module](https://docs.pytorch.org/a.html): names; [amp](https://docs.pytorch.org/b.html) and [Conv](https://docs.pytorch.org/c.html).", [("PyTorch documentation", "Module", ""), ("PyTorch documentation", "amp", ""), ("PyTorch documentation", "Conv", "")]),
        ("C. F. Gauss, *Theoria motus*, 1809: derivation; J. Doe, Later, 1810, [arXiv:1810.00001](https://arxiv.org/abs/1810.00001).", [("C. F. Gauss", "Theoria motus", "1809"), ("J. Doe", "Later", "1810")]),
    ],
)  # fmt: skip
def test_the_forms_of_a_source(source: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(w.authors, w.title, w.year) for w in works(source)] == expected


def test_one_work_whatever_its_address() -> None:
    same = (
        "https://arxiv.org/abs/1706.03762",
        "http://arxiv.org/pdf/1706.03762v5",
        "https://doi.org/10.48550/arXiv.1706.03762",
    )
    assert {identity(target) for target in same} == {"arXiv:1706.03762"}
    assert identity("https://doi.org/10.1016/0304-3975%2883%2990110-X") == identity(
        "https://doi.org/10.1016/0304-3975(83)90110-x"
    )
    assert identity("https://www.x.org/a/index.html") == identity("http://x.org/a/")


def test_every_source_of_the_book_is_in_the_bibliography_once() -> None:
    """Each arXiv id and DOI belongs to one entry, and an entry has one arXiv id; sections that give sources are cited."""
    found = entries(real())
    owners = Counter(key for entry in found for key in {identity(t) for _, t in entry.best.links})
    assert [key for key, count in owners.items() if count > 1] == []
    linked: dict[str, set[str]] = {}
    for section in real().sections:
        for bullet in bullets(section):
            for match in LINK.finditer(bullet):
                if "://" in match["target"]:
                    linked.setdefault(identity(match["target"]), set()).add(section.id)
    listed = {
        identity(t): {s.id for s in entry.sections} for entry in found for _, t in entry.best.links
    }
    assert set(linked) == set(listed)
    assert [key for key in linked if not linked[key] <= listed[key]] == []
    for entry in found:
        keys = [identity(t) for _, t in entry.best.links]
        assert sum(key.startswith("arXiv:") for key in keys) <= 1, keys
    assert [e.best for e in found if not e.best.title or len(e.best.title) > 200] == []


def test_addresses_of_papers_have_their_form() -> None:
    """An address of arXiv or of a DOI is one, and the text of its link says the same."""
    wrong = []
    for section in real().sections:
        for match in LINK.finditer("\n".join(bullets(section))):
            text, target = match["text"], unquote(match["target"])
            if "arxiv.org" in target or text.startswith("arXiv:"):
                good = re.fullmatch(
                    r"https://arxiv\.org/abs/(\d{4}\.\d{4,5}|[a-z-]+/\d{7})", target
                )
                if not good or text not in (f"arXiv:{good[1]}",):
                    wrong.append((section.id, match[0]))
            elif "doi.org" in target or text.startswith("doi:"):
                good = re.fullmatch(r"https://doi\.org/(10\.\d{4,9}/[^\s\"<>]+)", target)
                if not good or text != f"doi:{good[1]}":
                    wrong.append((section.id, match[0]))
    assert wrong == []


def test_joined_entries_become_one() -> None:
    known: dict[str, bibliography.Entry] = {}
    one, two, *_ = real().sections
    for work, section in (
        (
            Work(
                "A. B",
                "Title one",
                "1999",
                [("arXiv:1901.00001", "https://arxiv.org/abs/1901.00001")],
            ),
            one,
        ),
        (Work("A. B", "Other", "2000", [("doi:10.1000/x", "https://doi.org/10.1000/x")]), two),
        (Work("A. B", "Title one", "1999", [("doi:10.1000/x", "https://doi.org/10.1000/x")]), one),
    ):
        bibliography._add(known, work, section)
    assert len({id(entry) for entry in known.values()}) == 1
    (entry,) = {id(e): e for e in known.values()}.values()
    assert (
        [s.id for s in entry.sections] == [one.id, two.id]
        and len(entry.best.links) == 2
        and len(entry.works) == 3
    )


# -- figures and reference --------------------------------------------------------------------------------------------


def test_the_list_of_figures(looked: Built) -> None:
    items = re.findall(r"<li>(.*?)</li>", article(looked.page("figures.html")), re.S)
    assert [plain(item) for item in items] == ["1.1.1 A line.", "1.1.2 A matrix.", "1.1.3 A net."]
    assert 'href="01-start/01-lines.html#figure-1-1-2"' in items[1]


def test_all_figures_of_the_book_are_listed() -> None:
    wanted = {
        n
        for s in real().sections
        for n in re.findall(r"^(?:# )?\*\*Figure (\d+\.\d+\.\d+)\.\*\*", s.text, re.M)
    }
    listed = re.findall(r'href="[^"]*#figure-[\d-]+">([\d.]+)</a>', figures.figures_page(real()))
    assert set(listed) == wanted and len(listed) == len(wanted) > 300


def test_the_reference_says_what_the_docstring_says(looked: Built) -> None:
    page = looked.page("reference.html")
    (entry,) = re.findall(
        r'<dt id="d2l_helpers\.chapters\.start\.Fitter">(.*?)</dd>(?=<dt|</dl>\s*</section)',
        page,
        re.S,
    )
    text = plain(entry)
    assert text.startswith(
        "class Fitter(rate, steps=3) Taught in Section 1.1, lines ; used in 1.2 ."
    )
    assert (
        "<code>lines</code> to &lt;data&gt;." in entry
        and "Parameters rate How fast, a number above 0." in text
    )
    assert "fit(data) Fit once." in text and "&gt;&gt;&gt; Fitter(0.1)" in entry
    assert (
        'href="01-start/01-lines.html#code-Fitter"' in entry
        and 'id="code-Fitter"' in looked.page("01-start/01-lines.html")
    )
    assert 'id="d2l_helpers.plot"' in page and re.search(
        r'id="d2l_helpers\.plot">.*?Used in <a href="01-start/02-sliders\.html"', page, re.S
    )
    assert "plot(x: Any, ys: Any, labels: Sequence[str]=(), *," in plain(page)


def test_the_reference_has_all_that_is_offered() -> None:
    import d2l_helpers

    reference = Reference(real())
    assert set(d2l_helpers.__all__) <= {n.name for n in reference.helpers}
    exported = {
        f"d2l_helpers.chapters.{path.stem}.{name}"
        for path in (ROOT / "d2l_helpers" / "chapters").glob("*.py")
        for name in re.findall(
            r"^(?:class|def) ([A-Za-z]\w*)", path.read_text(encoding="utf-8"), re.M
        )
    }
    assert {
        f"{n.module}.{n.name}" for names in reference.chapters.values() for n in names
    } == exported
    trainer = next(n for n in reference.chapters["linear_regression"] if n.name == "Trainer")
    assert trainer.section and trainer.section.id == "3.2" and len(trainer.users) > 5


def test_parts_of_a_docstring() -> None:
    found = list(
        blocks(
            "One line.\n\n    x = 1\n\nReturns\n-------\nA number.\n\nRaises\n------\nValueError\n    If not.\nKeyError\n    Else."
        )
    )
    assert found == [
        {"kind": "text", "text": "One line."}, {"kind": "code", "text": "x = 1"}, {"kind": "text", "text": "Returns: A number."},
        {"kind": "table", "title": "Raises", "rows": [("ValueError", "If not."), ("KeyError", "Else.")]},
    ]  # fmt: skip


# -- search -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\lambda\|\mathbf{w}\|^2 \tag{3.7.1}", "λ‖w‖²"),
        (r"\frac{1}{n}\sum_{i=1}^n x_i", "1/n∑i=1ⁿ x_i"),
        (r"\log\sigma", "log σ"),
        (r"0.97^{96}\approx a_{ij}^2", "0.97⁹⁶≈ aij²"),
    ],
)
def test_formulas_in_plain_signs(latex: str, text: str) -> None:
    assert plain_tex(latex) == text


def ask(built: Built, browser: Any, query: str) -> Any:
    tab = tab_in(browser)
    page = tab.open(built.out / "search.html", f"?q={quote(query)}")
    page.wait_for_selector("#search-results .search-summary", state="attached")
    assert tab.errors == [] and tab.outside == []
    return page


def found(page: Any) -> list[tuple[str, str, str]]:
    return [
        (
            item.locator("a").inner_text(),
            item.locator("a").get_attribute("href"),
            " ".join(item.locator("p").all_inner_texts()),
        )
        for item in page.locator("ul.search > li").all()
    ]


def test_results_show_the_part_and_the_words_around(looked: Built, browser: Any) -> None:
    """From disk: the heading that fits best, with its anchor, prose alone, formulas as signs."""
    text, url, excerpt = found(ask(looked, browser, "several slopes"))[0]
    assert (text, url) == ("1.3 words › Penalties", "01-start/03-words.html#penalties")
    assert "with it is L+λ‖w‖²" in excerpt and "\\" not in excerpt and "Light" not in excerpt
    marked = ask(looked, browser, "several slopes").locator("mark").all_inner_texts()
    assert {"Several", "slopes"} <= set(marked)


def test_what_defines_a_term_comes_first(looked: Built, browser: Any) -> None:
    page = ask(looked, browser, "Slope")
    first = page.locator("ul.lookup a").first
    assert (first.inner_text(), first.get_attribute("href")) == (
        "slope, defined in 1.3 words",
        "01-start/03-words.html#term-slopes",
    )
    assert found(page)[0][1] == "01-start/03-words.html#penalties", (
        "before 1.2, which has the word in a heading"
    )
    assert (
        ask(looked, browser, "Fitter").locator("ul.lookup a").first.get_attribute("href")
        == "reference.html#d2l_helpers.chapters.start.Fitter"
    )


def test_typing_errors_word_forms_and_solutions(looked: Built, browser: Any) -> None:
    assert found(ask(looked, browser, "perpendicluars"))[0][1] == "01-start/01-lines.html"
    assert found(ask(looked, browser, "penatly"))[0][1].startswith("01-start/03-words.html")
    assert found(ask(looked, browser, "quartzite"))[0][1] == "01-start/03-words.html#solution-1-3-1"
    assert found(ask(looked, browser, "1.1.1")) == [], "a number leads to its place alone"
    summary = ask(looked, browser, "1.1.99").locator(".search-summary").inner_text()
    assert summary.startswith("Nothing in the book has the number 1.1.99.")


@pytest.mark.parametrize(
    ("query", "text", "url"),
    [
        ("SSE", "sum of squared errors (SSE), defined in", "01-start/03-words.html#term-"),
        ("sum-of-squared error", "sum of squared errors (SSE), defined", "01-start/03-words.html#"),
        ("d2l.Fitter()", "Fitter, taught in", "reference.html#d2l_helpers.chapters.start.Fitter"),
        ("lambda", "λ in 1.3 words", "01-start/03-words.html#penalties"),
        ("\\lambda", "λ in 1.3 words", "01-start/03-words.html#penalties"),
    ],
)
def test_other_forms_of_a_name_lead_to_it(
    looked: Built, browser: Any, query: str, text: str, url: str
) -> None:
    """Short forms, hyphens, names as they stand in code, the English names of Greek letters."""
    first = ask(looked, browser, query).locator("ul.lookup a").first
    assert first.inner_text().startswith(text) and first.get_attribute("href").startswith(url)


def test_results_over_http_are_the_same(looked: Built, browser: Any) -> None:
    import functools
    import threading
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=str(looked.out))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = browser.new_context().new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/search.html?q=several+slopes")
        page.wait_for_selector("ul.search a")
        assert found(page) == found(ask(looked, browser, "several slopes"))
    finally:
        server.shutdown()
        server.server_close()


def open_field(
    built: Built, browser: Any, path: str, mode: str = "light", width: int = 1280
) -> tuple[Any, Any, Any]:
    tab = tab_in(browser, mode, width)
    page = tab.open(built.out / path)
    page.keyboard.press("Control+k")
    field = page.locator("input[name=q]:focus")
    field.wait_for()
    return tab, page, field


@pytest.mark.parametrize(
    ("typed", "first", "url"),
    [
        ("slop", "slope", "01-start/03-words.html#term-slopes"),
        ("fitt", "Fitter", "reference.html#d2l_helpers.chapters.start.Fitter"),
        ("1.2 sl", "1.2 sliders", "01-start/02-sliders.html"),
        ("1.1.2", "Go to Figure 1.1.2", "01-start/01-lines.html#figure-1-1-2"),
        ("λ", "λ in 1.3 words", "01-start/03-words.html#penalties"),
    ],
)
def test_suggestions_while_typing(
    looked: Built, browser: Any, typed: str, first: str, url: str
) -> None:
    """In the dialog of a page in a folder, by keyboard alone, from disk."""
    tab, page, field = open_field(looked, browser, "01-start/02-sliders.html")
    page.keyboard.type(typed)
    option = page.locator("#pst-search-dialog [role=option]").first
    option.wait_for()
    assert (
        option.locator("span, code").first.inner_text() == first
        and field.get_attribute("aria-expanded") == "true"
    )
    page.keyboard.press("ArrowDown")
    assert option.get_attribute("aria-selected") == "true" and field.get_attribute(
        "aria-activedescendant"
    ) == option.get_attribute("id")
    page.keyboard.press("Enter")
    page.wait_for_url((looked.out / url.split("#")[0]).as_uri() + url[len(url.split("#")[0]) :])
    assert tab.errors == [] and tab.outside == []


def test_escape_closes_the_list_then_the_dialog(looked: Built, browser: Any) -> None:
    _, page, field = open_field(looked, browser, "index.html")
    page.keyboard.type("slop")
    page.locator("#pst-search-dialog [role=option]").first.wait_for()
    page.keyboard.press("Escape")
    assert (
        field.get_attribute("aria-expanded") == "false"
        and page.locator("#pst-search-dialog").is_visible()
    )
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=slop")


def test_no_page_loads_an_index_of_words(looked: Built) -> None:
    for path in looked.out.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if path.name != "search.html" and "_static" not in path.parts:
            assert not re.search(
                r'<script[^>]*src="[^"]*(?:searchindex|searchtools|texts|minisearch)', text
            ), path
            assert 'name="viewport"' in text, path
    assert not (looked.out / "searchindex.js").exists()


def test_axe_finds_nothing(looked: Built, browser: Any) -> None:
    """On the new pages, and on the field with its suggestions open."""
    faults = []
    for mode in ("light", "dark"):
        pages = [
            looked.out / f"{n}.html"
            for n in (
                "look-up",
                "glossary",
                "term-index",
                "bibliography",
                "figures",
                "reference",
                "search",
            )
        ]
        for path in pages:
            page = tab_in(browser, mode, 390 if mode == "dark" else 1280).open(
                path, "?q=slope" if path.stem == "search" else ""
            )
            if path.stem == "search":
                page.wait_for_selector("ul.search a")
                page.locator(".bd-search-container input").fill("slop")
                page.locator(".bd-search-container [role=option]").first.wait_for()
            page.evaluate(AXE.read_text(encoding="utf-8"))
            result = page.evaluate(
                "axe.run({rules: {'duplicate-id': {enabled: true}}, resultTypes: ['violations']})"
            )
            faults += [
                f"{path.name} {mode}: {v['id']}: {v['nodes'][0]['html'][:150]}"
                for v in result["violations"]
            ]
            wide, room = page.evaluate(
                "[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]"
            )
            if wide > room:
                faults.append(f"{path.name} {mode}: it scrolls sideways")
    assert faults == []


def test_the_lists_fit_a_narrow_screen(looked: Built, browser: Any) -> None:
    """Long addresses and names of code are broken, the page does not scroll sideways."""
    tab, wide = tab_in(browser, width=320), []
    for name in ("bibliography", "glossary", "term-index", "reference", "figures", "01-start/03-words"):  # fmt: skip
        size = tab.open(looked.out / f"{name}.html").evaluate(
            "document.documentElement.scrollWidth"
        )
        wide += [(name, size)] if size > 320 else []
    assert wide == []


def test_without_a_script_the_lists_are_there(looked: Built, browser: Any) -> None:
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto((looked.out / "look-up.html").as_uri())
    page.get_by_role("main").get_by_role("link", name="Glossary", exact=True).click()
    assert page.get_by_text("It is called a").first.is_visible()
    page.goto((looked.out / "search.html").as_uri())
    assert page.get_by_role("link", name="The index").is_visible()


def test_letters_of_accented_names(looked: Built) -> None:
    rows = [{"name": name} for name in ("Pólya's urn", "Über", "0-1 loss", "pooling")]
    assert {k: [r["name"] for r in v] for k, v in glossary.by_letter(rows).items()} == {
        "#": ["0-1 loss"], "P": ["Pólya's urn", "pooling"], "U": ["Über"],
    }  # fmt: skip
    assert doc(looked.book.sections[0]) == "01-start/01-lines"


def test_a_changed_term_builds_the_site_anew(looked: Built) -> None:
    from bookbuild.site.inputs import Inputs

    before = Inputs(Book(looked.book.root), looked.executed, looked.runs).total
    path = looked.book.root / "book" / "terms.toml"
    path.write_text(TERMS + "\n")
    assert Inputs(Book(looked.book.root), looked.executed, looked.runs).total != before
    path.write_text(TERMS)
    helper = looked.book.root / "d2l_helpers" / "device.py"
    helper.write_text(Path(helper).read_text() + "\n")
    assert Inputs(Book(looked.book.root), looked.executed, looked.runs).total != before
