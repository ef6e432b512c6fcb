"""Where in the files that a person edits a fault of the built site stands."""

import re
from pathlib import Path

from ..book import Book, Section

WARNING = re.compile(
    r"^(?P<file>/[^:\n]+|[A-Za-z]:[^:\n]+)(?::(?P<line>\d+))?: "
    r"(?:WARNING|ERROR|CRITICAL|SEVERE): (?P<text>.*)$"
)
CELL = 10_000  # myst-nb counts lines as (cell + 1) * 10000 + line
FACT_LINES = 4  # lines that `with_facts` puts below a title


def doc(section: Section) -> str:
    """Sphinx's name of a section, e.g. `03-linear-regression/03-synthetic-regression-data`."""
    return section.path.relative_to(section.root / "book").with_suffix("").as_posix()


def with_facts(text: str, facts: str) -> str:
    """Facts below the title line, always `FACT_LINES` lines, so that lines can be counted back."""
    first, _, rest = text.partition("\n")
    return f"{first}\n\n{facts}\n\n\n{rest}" if facts else text


def warnings(book: Book, source: Path, text: str) -> list[str]:
    """Sphinx's warnings, with places in the files that a person edits."""
    problems: list[str] = []
    for line in filter(None, text.splitlines()):
        match = WARNING.match(line)
        if match:
            message = match["text"]
            if message.endswith("]"):  # the kind of warning, such as [myst.header]
                message = message.removesuffix("]").rsplit(" [", 1)[0]
            place = place_of(book, source, Path(match["file"]), int(match["line"] or 0))
            problems.append(f"{place}: {message}")
        elif line.startswith(("WARNING", "ERROR", "CRITICAL")):
            problems.append(line)
        elif problems:
            problems[-1] += f"\n    {line}"
    return list(dict.fromkeys(problems))


def named_files(text: str) -> list[Path | None]:
    """The files that Sphinx's warnings name; None for a warning that names none."""
    found: list[Path | None] = []
    for line in filter(None, text.splitlines()):
        match = WARNING.match(line)
        if match:
            found.append(Path(match["file"]))
        elif re.match(r"WARNING|ERROR|CRITICAL", line):
            found.append(None)
    return found


def place_of(book: Book, source: Path, path: Path, line: int) -> str:
    """File and line of the book for a file and line of the source tree."""
    page = path.with_suffix("")
    section = next((s for s in book.sections if source / "book" / doc(s) == page), None)
    if section is None:
        name = path.relative_to(source).as_posix() if path.is_relative_to(source) else str(path)
        return f"{name}:{line}" if line else name
    if section.is_page and line > 1:  # the facts below the title move the other lines
        line -= path.read_text(encoding="utf-8").count("\n") - section.text.count("\n")
    if section.is_page or line < CELL:
        return f"{section.name}:{max(1, line)}"
    cell, inside = line // CELL - 1, line % CELL
    if cell == 0 and inside > 1:
        inside -= FACT_LINES
    return section.where(cell, max(1, inside))


def located(book: Book, page: str, fault: str, link: str) -> str:
    """A fault of a built page, with the place in the section where its link stands."""
    section = next((s for s in book.sections if f"{doc(s)}.html" == page), None)
    if section is None:
        return f"{page}: {fault}"
    stem = Path(link.split("#")[0]).stem or link.lstrip("#")
    lines = [
        i
        for i, text in enumerate(section.text.splitlines(), 1)
        if stem and stem in text and "](" in text
    ]
    return f"{section.name}{f':{lines[0]}' if lines else ''}: {fault}"
