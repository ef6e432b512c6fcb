"""The terms of the book: where they are defined, in which words, and where they are used.

`book/terms.toml` names the terms, each with the sections that set it in *italics* where they say
what it is. The words of the definition come from there, so the glossary says what the book says.
"""

import posixpath
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .book import Book, BookError, Section
from .grammar import CODE, LINK, MATHS, blank, term_anchor

FILE = "book/terms.toml"
ITALIC = re.compile(r"(?<![*\w\\])\*(?![\s*])([^*\n]+?)(?<!\s)\*(?![*\w])")
HEADING = re.compile(r"^#{1,6} +(.*)$")
TASK = re.compile(r"(Exercise|Solution)s?\b")
#: A sentence that needs the one before it: it begins so, or is short and speaks of "it".
LEANS = re.compile(
    r"(?:It|Its|This|These|That|Those|They|Their|Such|Here|Both|Then|There|So|But|And|Hence|Each|"
    r"Either|One of|Of these|To measure it|The (?:first|second|third|other|variant))\b"
)
SPEAKS_OF = re.compile(
    r"\b(?:it|(?<!of )them|they|this|is that|these|such|so|one|the (?:first|second))\b"
)
LABEL = re.compile(r"^(?:[-*] +|\d+\. +|> +)?(?:\*\*[^*]+\.\*\* +|\([a-z]\) +)?")
COMMA = re.compile(r",\s*(?:\\tag\{[^}]*\}\s*)?\$\$$")  # of a displayed formula
CAPTION = re.compile(r"\*\*(?:Figure|Table) ")
ASIDE = re.compile(r"\(.*\)$")  # a line in brackets
#: An exercise or a check that a section names without its own number.
OWN = re.compile(
    r"\b(?:(?P<task>Exercise) (?P<number>\d+)|(?P<check>check) (?P<name>C\d+))\b(?![.-]\d)"
)
ENDS = re.compile(r"[.!?][)\"'”*]*$")
SHORT = 50  # characters: a definition of fewer takes the next sentence as well
USES = 6  # sections that the index names beside those that define a term


@dataclass(frozen=True)
class Line:
    """A line of a section's prose, one sentence as a rule."""

    text: str
    number: int  # its place in `block`
    block: tuple[str, ...]  # sentences and displayed formulas around it, between headings
    task: str  # "Exercise" or "Solution", where it stands in one


@dataclass
class Term:
    """A term, and the words of each section that defines it."""

    name: str
    sections: tuple[str, ...]
    written: tuple[str, ...] = ()
    short: tuple[str, ...] = ()
    #: Section number -> the form in italics and its definition in Markdown.
    found: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def plain(self) -> str:
        """The name without what tells its meanings apart."""
        return re.sub(r" \([^)]*\)$", "", self.name)

    @property
    def shown(self) -> str:
        """The name with its short forms, e.g. `recurrent neural network (RNN)`."""
        return f"{self.name} ({', '.join(self.short)})" if self.short else self.name

    @property
    def anchor(self) -> str:
        return term_anchor(self.name)

    def rank(self, italic: str) -> int | None:
        """How well an italic phrase fits: 0 the name itself, 1 another form, 2 its beginning."""
        form, name = folded(italic), folded(self.plain)
        if italic.lower() == self.plain.lower():
            return 0
        if form == name or form in map(folded, self.written):
            return 1
        return 2 if name.startswith(f"{form} ") else None


def folded(phrase: str) -> str:
    """A phrase in lower case, plurals as singulars, without a mark at its end."""
    return " ".join(map(_singular, phrase.lower().strip().rstrip(".,:").split()))


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def prose(section: Section) -> Iterator[Line]:
    """The lines of a section's Markdown, without headings, tables and sources."""
    cells = [section.text]
    if not section.is_page:
        cells = [cell.source for cell in section.cells if cell.kind == "markdown"]
    task = ""
    for cell in cells:
        for part in _parts(cell):
            if heading := HEADING.match(part[0]):
                if heading[1].startswith("Sources"):
                    return
                match = TASK.match(heading[1])
                task = match[1] if match else ""
                part = part[1:]
            for i, text in enumerate(part):
                if not text.startswith("$$"):
                    yield Line(text, i, tuple(part), task)


def _parts(cell: str) -> Iterator[list[str]]:
    """A cell cut before its headings, into lines and displayed formulas, without tables."""
    part: list[str] = []
    blocks = CODE.sub(lambda m: "" if m[0].startswith("```") else m[0], cell)
    for piece in re.findall(r"^\$\$[\s\S]+?\$\$|^[^\n]+$", blocks, re.MULTILINE):
        if HEADING.match(piece) and part:
            yield part
            part = []
        if not piece.startswith("|") and piece.strip():
            part.append(piece)
    if part:
        yield part


def italics(line: str) -> list[str]:
    """The phrases of a line that are in italics, without mathematics and code in them."""
    bare = CODE.sub(blank, MATHS.sub(blank, line))
    return [match[1] for match in ITALIC.finditer(bare) if match[1] == match[1].strip()]


class Terms:
    """The terms that `book/terms.toml` names; without the file there are none.

    Raises
    ------
    BookError
        If the file is not as its head says.
    """

    def __init__(self, book: Book):
        self.book = book
        path = book.root / FILE
        plan = _read(path.read_text(encoding="utf-8")) if path.exists() else {}
        written, short = plan.get("written", {}), plan.get("short", {})
        self.emphasis = set(map(folded, plan.get("emphasis", {}).get("words", [])))
        self.terms = {
            name: Term(
                name, tuple(sections), tuple(written.get(name, ())), tuple(short.get(name, ()))
            )
            for name, sections in plan.get("terms", {}).items()
        }
        for table, forms in (("written", written), ("short", short)):
            if unknown := sorted(set(forms) - set(self.terms)):
                raise BookError(f"{FILE}: {unknown[0]!r} stands in [{table}] and is no term.")

    @cached_property
    def _of_section(self) -> dict[str, list[Term]]:
        found: dict[str, list[Term]] = {}
        for term in self.terms.values():
            for section in term.sections:
                found.setdefault(section, []).append(term)
        return found

    @cached_property
    def defined(self) -> list[Term]:
        """The terms with the definitions that the sections give."""
        ranks: dict[tuple[str, str], int] = {}
        for section in self.book.sections:
            terms = self._of_section.get(section.id, [])
            for line in prose(section) if terms else ():
                if line.task == "Solution":
                    continue
                for italic in italics(line.text):
                    for term in terms:
                        rank = term.rank(italic)
                        if rank is not None and rank < ranks.get((term.name, section.id), 3):
                            ranks[term.name, section.id] = rank
                            term.found[section.id] = italic, definition(line, section)
        return list(self.terms.values())

    def missing(self) -> Iterator[tuple[Term, str]]:
        """Terms, and the existing sections that should define them and do not."""
        there = {s.id for s in self.book.sections}
        for term in self.defined:
            yield from ((term, s) for s in term.sections if s in there and s not in term.found)

    def unlisted(self, section: Section) -> Iterator[tuple[int, str]]:
        """Line and phrase of what is in italics and neither a term nor listed as emphasis."""
        if not self.terms:
            return
        known = self.emphasis | {
            folded(form) for t in self.terms.values() for form in (t.plain, *t.written)
        }
        own = self._of_section.get(section.id, [])
        for line in prose(section):
            for italic in italics(line.text) if not line.task else ():
                form = folded(italic)
                if form and form not in known and all(t.rank(italic) is None for t in own):
                    yield _line_of(section, italic), italic

    def uses(self) -> dict[str, list[Section]]:
        """Name of a term -> sections that use it most, beside those that define it."""
        order = {section.id: i for i, section in enumerate(self.book.sections)}
        counts = {section.id: self._count(section) for section in self.book.sections}
        found = {}
        for name, term in self.terms.items():
            others = [s for s in order if counts[s][name] > 1 and s not in term.sections]
            best = sorted(others, key=lambda s: (-counts[s][name], order[s]))[:USES]
            if best:
                found[name] = [self.book.sections[i] for i in sorted(order[s] for s in best)]
        return found

    def _count(self, section: Section) -> Counter[str]:
        """How often the main text of a section uses each term, the longest one at a place."""
        text = "\n".join(line.text for line in prose(section) if not line.task)
        bare = CODE.sub(blank, MATHS.sub(blank, LINK.sub(lambda m: m["text"], text)))
        words = [_singular(word) for word in re.findall(r"[^\W_]+(?:['’]\w+)?", bare.lower())]
        counts: Counter[str] = Counter()
        i = 0
        while i < len(words):
            sizes = range(min(self._longest, len(words) - i), 0, -1)
            size = next((n for n in sizes if tuple(words[i : i + n]) in self._by_words), 0)
            if size:
                counts[self._by_words[tuple(words[i : i + size])]] += 1
            i += size or 1
        return counts

    @cached_property
    def _by_words(self) -> dict[tuple[str, ...], str]:
        """The words of a term -> its name; a term that has several meanings is left out."""
        return {
            tuple(folded(term.name).replace("-", " ").split()): term.name
            for term in self.terms.values()
            if term.plain == term.name
        }

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._by_words), default=0)


def _line_of(section: Section, italic: str) -> int:
    """Line of a section's file on which a phrase stands in italics."""
    position = section.text.find(f"*{italic}*")
    return section.text.count("\n", 0, max(0, position)) + 1


def _read(text: str) -> dict[str, Any]:
    try:
        plan = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BookError(f"{FILE}: {error}.") from None
    for table, entries in plan.items():
        if table not in ("terms", "written", "short", "emphasis") or not isinstance(entries, dict):
            raise BookError(f"{FILE}: there is no table {table!r}; see the head of the file.")
        for name, value in entries.items():
            if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                raise BookError(f"{FILE}: {name!r} in [{table}] should be a list of strings.")
    return plan


def definition(line: Line, section: Section) -> str:
    """The words of a definition: its sentence, and what the sentence needs to be understood.

    That is what stands before it, if it begins in the middle of a sentence or with a word such as
    "This", what stands behind it, if it does not end, and the next sentence, if it is very short.
    Links lead from the root of the site.
    """
    block, first, last = line.block, line.number, line.number
    text = LABEL.sub("", line.text)
    listed = text != line.text
    leans = LEANS.match(text) or (len(text) < 2 * SHORT and SPEAKS_OF.search(text))
    steps = 1 if leans else 0
    while first and not listed and (steps or _goes_on(block, first)) and line.number - first < 5:
        if CAPTION.match(block[first - 1]):
            break
        first -= 1
        if not block[first].startswith("$$") and not ASIDE.match(block[first]):
            steps = 1 if re.match(r"(?:It|This|Such)\b", block[first]) else 0
    if not ENDS.search(text):
        last = _end(block, last)
    elif len(text) < SHORT and not listed and first == line.number and last + 1 < len(block):
        last += not block[last + 1].startswith("$$")
    asides = [i for i in range(first, line.number) if ASIDE.match(block[i])]
    pieces = [LABEL.sub("", block[i].strip()) for i in range(first, last + 1) if i not in asides]
    text = ""
    for piece in pieces:
        maths = piece.startswith("$$")
        piece = re.sub(r"\s*\\tag\{[^}]*\}", "", " ".join(piece.split())) if maths else piece
        text += ("\n\n" if maths or text.endswith("$$") else " ") + piece
    text = re.sub(r",\s*\$\$$", ".$$", re.sub(r"[:;,]$", ".", text.strip()))
    text = re.sub(r"^[a-z](?=[a-z]*[ ,])", lambda match: match[0].upper(), text)
    text = OWN.sub(lambda match: _numbered(match, section.id), text)
    if text.startswith("(") and text.count("(") > text.count(")"):
        text = text[1:]
    elif re.fullmatch(r"\([^()]*\)", text):
        text = text[1:-1]
    folder = section.path.parent.name

    def moved(match: re.Match[str]) -> str:
        target = match["target"]
        if "://" not in target and not target.startswith("#"):
            target = posixpath.normpath(posixpath.join(folder, target))
        return f"[{match['text']}]({target})" if not match["image"] else match["text"]

    return LINK.sub(moved, text)


def _goes_on(block: tuple[str, ...], place: int) -> bool:
    """Whether a piece continues the sentence before it: a formula, or what has a small letter."""
    piece, before = block[place], block[place - 1] if place else ""
    return piece.startswith("$$") or bool(re.match(r"[a-z]", piece) and not ENDS.search(before))


def _end(block: tuple[str, ...], place: int) -> int:
    """Place of the last piece of a sentence that the piece at `place` does not end."""
    last = place
    while last + 1 < len(block) and not ENDS.search(block[last]):
        piece = block[last + 1]
        if block[last].startswith("$$"):  # with a comma behind it, the sentence goes on
            goes_on = COMMA.search(block[last]) or re.match(r"[a-z]", piece)
            return last + bool(goes_on and ENDS.search(piece))
        if not re.match(r"[a-z$]", piece):
            break
        last += 1
    return last


def _numbered(match: re.Match[str], section: str) -> str:
    """`Exercise 4` of section 8.6 as `Exercise 8.6-4`."""
    if match["task"]:
        return f"Exercise {section}-{match['number']}"
    return f"check {section}-{match['name']}"
