"""The bibliography: every work named under Sources, once, with the sections that cite it.

A source is free text: `I. Name and J. Name, Title, 2019, [arXiv:…](…): what it is cited for`, or
`I. Name, J. Name (2019). Title. Venue. [doi:…](…): …`; several may stand behind one another,
parted by semicolons. A work is known by its arXiv id, DOI or address, and by author and title.
"""

import re
import unicodedata
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..book import Book, Section
from ..grammar import LINK
from .pieces import page
from .places import doc

SOURCES = re.compile(r"^## Sources[^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})")
DOI = re.compile(r"doi\.org/(10\.\d{4,9}/\S+)$")
#: One author: initials and a name, `Y. LeCun`, `L. van der Maaten`, `A.-M. Legendre`.
_INITIALS = r"(?:[A-ZÀ-Þ]\w{0,2}\.[ -]?)+"
_WORD = r"(?![a-zà-ÿ])[^\W\d_][\w'’-]*"
_PARTICLES = r"(?:(?:van|der|den|de|De|di|la|le|Le|El|von|Ya\.) )*"
_NAME = rf"{_INITIALS}{_PARTICLES}{_WORD}(?: {_WORD})?"
_MORE = r"(?:,? et al\.|,? and others|,? and (?:the )?[A-Z][\w ]+(?=[.,] | \())"
AUTHORS = re.compile(rf"{_NAME}(?:(?:,| and|, and) {_NAME})*{_MORE}?")
#: Where one source ends and the next begins: a semicolon before a name, or before a link.
BREAK = re.compile(rf"; (?={_NAME}|(?:[^;()\[]|\(\d{{4}}\))*\[[^\]]*\]\()")
YEAR = re.compile(r"(?:, |\(|[A-Z]\w+ |ed\. )((?:1[6-9]|20)\d\d)(?![\d-])")
#: Behind a title: its edition stays, the journal, the conference, the chapter go.
VENUE = re.compile(
    r"(?:, |(?<=\?) )(?:\*|(?:[Ss]ection|lecture|technical report|diploma|AAAI|ACL|AISTATS|EMNLP|"
    r"ICASSP|ICLR|ICML|ICSLP|IJCNN|Interspeech|NAACL|NeurIPS|NIPS|Bell System|Journal of|"
    r"Natural Language|Perception|Carnegie|Sankhya)\b).*"
)
PAPER = re.compile(r"arXiv:|doi:")
VOLUME = re.compile(r"\. [A-Z][A-Za-z ]+ \d+(?:[,:(].*)?$")  # `. Nature 630`


@dataclass
class Work:
    """A work as one section names it."""

    authors: str
    title: str  # Markdown
    year: str
    links: list[tuple[str, str]]  # text, target

    @property
    def keys(self) -> list[str]:
        """What tells that two sources are the same work."""
        found = [key for _, target in self.links if (key := identity(target))]
        title = plain(self.title)
        if title:
            found.append(f"title {surname(self.authors)} {title}")
        return found


@dataclass
class Entry:
    """A work with the sections that cite it."""

    works: list[Work] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    @property
    def best(self) -> Work:
        """The fullest form: links and authors of all, the longest title, the commonest year."""
        links: dict[str, tuple[str, str]] = {}
        for work in self.works:
            for text, target in work.links:
                links.setdefault(identity(target), (text, target))
        years = Counter(work.year for work in self.works if work.year)
        titles = Counter(work.title for work in self.works)
        return Work(
            max((w.authors for w in self.works), key=_fullness),
            max(titles, key=lambda t: (len(plain(t)), titles[t], t)),
            years.most_common(1)[0][0] if years else "",
            list(links.values()),
        )


def _fullness(authors: str) -> tuple[bool, bool, int]:
    return bool(authors), not re.search(r"et al\.|others", authors), len(authors)


def identity(target: str) -> str:
    """Name of the work behind an address: `arXiv:…`, `doi:…`, or the address without trimmings."""
    address = urllib.parse.unquote(target)
    if match := ARXIV.search(address):
        return f"arXiv:{match[1]}"
    if match := DOI.search(address):
        arxiv = re.match(r"10\.48550/arxiv\.(\S+)", match[1].lower())
        return f"arXiv:{arxiv[1]}" if arxiv else f"doi:{match[1].lower()}"
    bare = re.sub(r"^https?://(www\.)?", "", address).rstrip("/")
    return re.sub(r"(/index)?\.html?$", "", bare)


def plain(text: str) -> str:
    """Letters and digits of a text, in lower case, without accents."""
    bare = unicodedata.normalize("NFKD", LINK.sub(lambda m: m["text"], text)).lower()
    return re.sub(r"[\W_]+", " ", bare.encode("ascii", "ignore").decode()).strip()


def surname(authors: str) -> str:
    """Family name of the first author, in lower case; of a body, its whole name."""
    match = re.match(_NAME, authors)
    name = re.sub(r"^(?:[A-ZÀ-Þ]\w{0,2}\.[ -]?)+", "", match[0]) if match else authors
    return plain(name)


def bullets(section: Section) -> list[str]:
    """The items of a section's list of sources."""
    text = section.text
    if not section.is_page:
        text = "\n\n".join(c.source for c in section.cells if c.kind == "markdown")
    found = SOURCES.search(text)
    return re.findall(r"^- +(.*)$", found[1], re.MULTILINE) if found else []


def works(bullet: str) -> Iterator[Work]:
    """The works that one item of a list of sources names."""
    spans = [match.span() for match in LINK.finditer(bullet)]
    begin, before = 0, ""
    cuts = [c for c in BREAK.finditer(bullet) if not any(a <= c.start() < b for a, b in spans)]
    for end, start in [*((c.start(), c.end()) for c in cuts), (len(bullet), len(bullet))]:
        for work in _of(bullet[begin:end], before):
            before = work.authors if "documentation" in work.authors else ""
            yield work
        begin = start


def _of(text: str, before: str) -> Iterator[Work]:
    """The works of one source; `before` is whose documentation the item names already."""
    links = [m for m in LINK.finditer(text) if "://" in m["target"]]
    pairs = [(m["text"], m["target"]) for m in links]
    people = AUTHORS.match(text)
    head = text[: links[0].start()] if links else text
    if people:
        title, year = _title(head[people.end() :].lstrip(" ,."), bool(links))
        year = year or next((m[1] for m in YEAR.finditer(text)), "")
        title = title or next((name for name, _ in pairs), "")
        yield Work(people[0].rstrip(" ,"), title, year, pairs)
    elif links and (PAPER.match(pairs[0][0]) or ", " in head.strip(" ,")):
        match = re.match(r"(.*?),? \(?((?:1[6-9]|20)\d\d)\)?(?:\. (.*))?[.,]* *$", head)
        body, _, rest = (match[1] if match else head).partition(", ")
        rest = (match and match[3]) or rest
        yield Work(
            body.strip(" ,.") if rest else "", _tidy(rest or body), match[2] if match else "", pairs
        )
    elif links:
        body = head.strip(" ,:") or before
        yield from (Work(body, name, "", [(name, target)]) for name, target in pairs)
    elif YEAR.search(head) or " century " in head:
        yield Work("", head.strip(" ."), "", [])


def _title(rest: str, linked: bool) -> tuple[str, str]:
    """Title and year, from what stands between the authors and the link or the end."""
    if match := re.match(r"\((\d{4})\)[.,:]? *", rest):
        rest = rest[match.end() :] if linked else rest[match.end() :].split(": ")[0]
        return _tidy(re.split(r"(?<=[\w)]{3})\. ", f"{rest} ")[0]), match[1]
    years = list(YEAR.finditer(rest))
    if not years:
        return _tidy(rest), ""
    year = years[-1] if linked else years[0]
    return _tidy(rest[: year.start() if year[0][0] in ",(" else year.start(1)]), year[1]


def _tidy(title: str) -> str:
    """A title without marks around it, journal and conference."""
    title = LINK.sub(lambda m: m["text"], title).strip(" ,.;(")
    if match := re.match(r"\*([^*]+)\*(?=$|, (?!\d+nd)|,? \()", title):
        return match[1].rstrip(",.")
    return VOLUME.sub("", VENUE.sub("", title).replace("*", "").strip(" ,.;("))


def bibliography_page(book: Book) -> str:
    """The page in Markdown: works under the first letter of the name that they stand under."""
    letters: dict[str, list[dict[str, Any]]] = {}
    found = entries(book)
    for entry in found:
        best = entry.best
        same = best.links if [plain(text) for text, _ in best.links] == [plain(best.title)] else []
        row = {
            "authors": _people(best.authors),
            "year": best.year,
            "title": best.title.rstrip("."),
            "address": same[0][1] if same else "",
            "links": [link for link in best.links if link not in same],
            "sections": [{"id": s.id, "url": f"{doc(s)}.html#sources"} for s in entry.sections],
        }
        letters.setdefault(_sort(best)[0][:1].upper() or "#", []).append(row)
    return page("bibliography", letters=letters, count=len(found))


def entries(book: Book) -> list[Entry]:
    """Every work once, in order of the first author, family name first, then of year and title."""
    known: dict[str, Entry] = {}
    for section in book.sections:
        for bullet in bullets(section):
            for work in works(bullet):
                _add(known, work, section)
    unique = {id(entry): entry for entry in known.values()}.values()
    return sorted(unique, key=lambda e: (*_sort(e.best), e.best.year, plain(e.best.title)))


def _sort(work: Work) -> tuple[str, str]:
    """Family name and initials of the first author, else the title."""
    match = re.match(_INITIALS, work.authors)
    return surname(work.authors) or plain(work.title), plain(match[0]) if match else ""


def _people(authors: str) -> str:
    """Authors as `A. One, B. Two and C. Three`, or `A. One et al.`, however a section has it."""
    if not re.fullmatch(
        rf"{_NAME}(?:(?:,| and|, and) {_NAME})*(?:,? et al\.|,? and others)?", authors
    ):
        return authors
    names = re.findall(_NAME, authors)
    if re.search(r"et al\.$|others$", authors):
        return f"{', '.join(names)} et al."
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _add(known: dict[str, Entry], work: Work, section: Section) -> None:
    """Put a work to the entry that shares a key with it; entries that it joins become one."""
    entry = Entry()
    for key in work.keys:
        other = known.get(key)
        if other is not None and other is not entry:
            other.works += entry.works
            other.sections += [s for s in entry.sections if s not in other.sections]
            known.update({k: other for k, v in known.items() if v is entry})
            entry = other
    entry.works.append(work)
    if section not in entry.sections:
        entry.sections.append(section)
    known.update(dict.fromkeys(work.keys, entry))
