"""Sphinx settings of the site; what depends on the book comes from site.json."""

import json
import os
from pathlib import Path

_site = Path(os.environ["BOOK_SITE_SOURCE"])
_book = json.loads((_site / "site.json").read_text(encoding="utf-8"))

project = _book["title"]
author = _book["author"]
language = "en"
root_doc = "index"
extensions = ["myst_nb", "sphinx_copybutton", "bookbuild.sphinx_ext"]
extensions += ["bookbuild.sphinx_text", "bookbuild.sphinx_index"]
templates_path = ["templates"]

# text and notebooks
nb_execution_mode = "off"
nb_ipywidgets_js = {}
nb_merge_streams = True
nb_render_markdown_format = "myst"
nb_code_prompt_show = "Show the {type}"
nb_code_prompt_hide = "Hide the {type}"
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 6
myst_update_mathjax = False
suppress_warnings = ["config.cache"]

# maths
html_math_renderer = "book"
book_node = _book["node"]
book_render = str(Path(__file__).parent / "render.js")
book_unwritten = _book["unwritten"]
book_tool = _book["tool"]
book_names = _book["names"]

# pages
html_theme = "sphinx_book_theme"
html_title = _book["title"]
html_baseurl = f"{_book['site']}/" if _book["site"] else ""
html_static_path = [str(_site / "static"), str(Path(__file__).parent / "static")]
html_extra_path = [str(_site / "extra")]
html_css_files = ["fonts/fonts.css", "katex/katex.min.css", "book.css"]
html_js_files = [(name, {"priority": 400}) for name in ("book.js", "reading.js", "lookup.js")]
html_favicon = str(Path(__file__).parent / "static" / "icon.svg")
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_use_index = False
html_domain_indices = False
html_permalinks_icon = "#"
html_sidebars = {"**": ["book-brand.html", "book-search.html", "book-nav.html"]}
html_context = {
    "default_mode": "auto",
    "book_pages": _book["pages"],
    "book_parts": _book["parts"],
    "book_sections": [
        s["doc"] for part in _book["parts"] for c in part["chapters"] for s in c["sections"]
    ],
    "book_footer": _book["footer"],
    "author_line": _book["author"],
}
html_theme_options = {
    "navbar_persistent": [],
    "article_header_start": ["toggle-primary-sidebar.html", "book-crumb.html"],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "toc_title": "On this page",
    "article_footer_items": ["book-read.html"],
    "footer_content_items": ["book-footer.html"],
    "back_to_top_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
copybutton_selector = "div.cell_input div.highlight > pre, div:not(.output) > div.highlight > pre"
copybutton_exclude = ".linenos, .gp, .go"
