"""`make new`: the skeleton of a planned section, in the form that the linter holds a section to.

What is to be written is marked `TODO: …`, which `lint` lists until it is gone.
"""

from pathlib import Path

from .book import Book, BookError, Section
from .grammar import TODO
from .store import write_text

FILTER = "kernelspec,jupytext,d2l,-jupytext.text_representation.jupytext_version"
#: The header of a source, as Jupytext writes it.
HEADER = f"""# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {{}}
#       smoke: {{}}
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: {FILTER}
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---
"""


def write(book: Book, number: str) -> Path:
    """Write the skeleton of a section of the plan; returns its path.

    Raises
    ------
    BookError
        If the plan does not have the section, or it is there already: nothing is overwritten.
    """
    section = next((s for s in book.planned if s.id == number), None)
    if section is None:
        chapter = [s.id for s in book.planned if s.id.split(".")[0] == number.split(".")[0]]
        there = f"its chapter has {', '.join(chapter)}" if chapter else "there is no such chapter"
        raise BookError(
            f"book/contents.toml plans no section {number!r}; {there}. Give it an entry first."
        )
    if section.exists:
        raise BookError(f"{section.name} is there already; it stays as it is. Edit it: make lab")
    page = section.id.endswith(".0")
    path = section.path.with_suffix(".md") if page else section.path
    write_text(path, _page(section) if page else HEADER + "\n" + _cells(section))
    return path


def next_steps(book: Book, number: str, path: Path) -> str:
    """What an author does now."""
    name = path.relative_to(book.root).as_posix()
    if path.suffix == ".md":
        return f"wrote {name}\nWrite it where it says TODO, and add {number} to README.md."
    return (
        f"wrote {name}\n"
        "Write it where it says TODO, then\n"
        f"  make section S={number}   runs it, checks it, lists what is still to write\n"
        f"  make accept S={number}    stores its outputs\n"
        f"and add {number} to the table in README.md. CONTRIBUTING.md has the form of a section."
    )


def _page(section: Section) -> str:
    return (
        f"# {section.id} {section.title}\n\n{TODO} what the chapter is about.\n\n"
        f"## The sections\n\n| Section | What it adds |\n| --- | --- |\n"
        f"| {TODO} a row for each section | |\n"
    )


def _cells(section: Section) -> str:
    """The cells of a notebook: as many checks and exercises as are planned."""
    cells = [
        _text(
            f"# {section.id} {section.title}",
            "", f"{TODO} the question, in two or three sentences.",
            "", "**You will**", "", *[f"- {TODO} something that a reader can do then;"] * 3,
            "", f"**Cost**: {TODO} time and memory on a CPU, downloads, use of a GPU.",
        ),
        "# %%\nimport d2l_helpers as d2l\n\nd2l.use_style()\n",
        f'# %% tags=["parameters"]\nseed = 0  # {TODO} what a profile may set\n',
        _text(f"## {TODO} heading", "", f"{TODO} the text, with its code, figures and checks."),
    ]  # fmt: skip
    for number in range(1, section.checks + 1):
        cells.append(
            f"# %%\n# check {section.id}-C{number}: {TODO} what it says\n"
            f"assert True  # {TODO} what must hold\n"
        )
    if section.exercises:
        cells.append(_text("## Summary", "", f"{TODO} what to remember."))
        cells.append(_text("## Exercises"))
    for number in range(1, section.exercises + 1):
        name = f"{section.id}-{number}"
        cells += [
            _text(f"### Exercise {name}", "", f"{TODO} the task."),
            _text(f"#### Solution {name}"),
            _text(f"{TODO} the answer."),
            f"# %%\nassert True  # {TODO} what makes sure of it\n",
        ]
    if section.exercises:
        cells.append(_text("## Sources", "", f"- {TODO} authors (year). Title. Link: what for."))
    return "\n".join(cells)


def _text(*lines: str) -> str:
    return "# %% [markdown]\n" + "".join(f"# {line}".rstrip() + "\n" for line in lines)
