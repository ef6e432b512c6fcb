"""The page that says how to cite the book and under which licences it stands."""

from collections.abc import Mapping
from typing import Any

import yaml

from ..book import Book, BookError
from ..record import Run
from .pieces import day, page

#: In one line, where no page with the whole text can be linked.
LINE = (
    "Code: MIT licence. "
    "Text and figures: Creative Commons Attribution-ShareAlike 4.0 (CC BY-SA 4.0)."
)
FILES = CITATION, CODE, TEXT = "CITATION.cff", "LICENSE", "LICENSE-TEXT"


def newest(runs: Mapping[str, Run]) -> str:
    """The time of the newest run, as it is recorded; empty without a record."""
    return max((run.when for run in runs.values() if run.when), default="")


def licence_page(book: Book) -> str:
    """The page in Markdown, from CITATION.cff and the files of the licences."""
    cited = citation(book)
    authors = " and ".join(f"{{{a['name']}}}" for a in cited["authors"])
    fields = {
        "title": f"{{{cited['title']}}}",
        "author": authors,
        "year": cited.get("year"),
        "version": book.version,
    }
    rows = [f"  {name} = {{{value}}}" for name, value in fields.items() if value]
    people = ", ".join(a["name"] for a in cited["authors"])
    year = f" ({cited['year']})" if cited.get("year") else ""
    version = f", version {book.version}" if book.version else ""
    return page(
        "licence",
        reference=f"{people}{year}. {cited['title']}{version}.",
        bibtex="@book{" + ",\n".join(["deep-learning-run-and-checked", *rows]) + "\n}",
        version=book.version,
        code=_file(book, CODE),
        text=_file(book, TEXT),
    )


def citation(book: Book) -> dict[str, Any]:
    """What to cite: the `preferred-citation` of CITATION.cff, else title and author of the plan.

    Raises
    ------
    BookError
        If the file is there and has no such entry with title and named authors.
    """
    path = book.root / CITATION
    if not path.exists():
        return {
            "title": book.plan.get("title", ""),
            "authors": [{"name": book.plan.get("author", "")}],
        }
    try:
        cited = dict(yaml.safe_load(path.read_text(encoding="utf-8"))["preferred-citation"])
        if not (cited["title"] and all(author["name"] for author in cited["authors"])):
            raise KeyError("title")
        return cited
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise BookError(
            f"{CITATION}: preferred-citation should have a title, a year and authors with a name "
            f"({error!r})."
        ) from None


def _file(book: Book, name: str) -> str:
    path = book.root / name
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def footer(book: Book, runs: Mapping[str, Run]) -> dict[str, str]:
    """What the foot of every page, and the title page on paper, says of the book."""
    return {"version": book.version, "date": day(newest(runs)), "licences": LINE}
