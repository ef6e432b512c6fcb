"""The page for teachers: hours, three courses, what needs what, assignments and slides."""

import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..book import Book, BookError, Section
from ..record import Run
from .hours import CELL, CHOSEN, EXERCISE, WORDS, Hours, hours
from .needs import Needs
from .pieces import page, piece
from .places import doc

COURSES = Path("book", "courses.toml")
#: Of the picture: height of a row, place of the names, distance of an arc for each row it spans.
ROW, NAMES, SPREAD = 46, 138, 14


@dataclass(frozen=True)
class Course:
    """A course: for each week a topic and sections; what is read before, what is only imported."""

    title: str
    goal: str
    weeks: list[tuple[str, list[Section]]]
    self_study: list[Section]
    imported: list[Section]


def courses(book: Book) -> list[Course]:
    """The courses of book/courses.toml; none where there is no such file.

    Raises
    ------
    BookError
        For a section that the plan does not have, and for an entry that lacks something.
    """
    path = book.root / COURSES
    if not path.exists():
        return []
    known = {s.id: s for s in book.planned}

    def sections(numbers: list[str]) -> list[Section]:
        for number in numbers:
            if number not in known:
                raise BookError(
                    f"{COURSES.as_posix()}: the plan has no section {number!r}; "
                    "see book/contents.toml."
                )
        return [known[number] for number in numbers]

    try:
        return [
            Course(
                entry["title"],
                entry["goal"],
                [(week["topic"], sections(week["sections"])) for week in entry["weeks"]],
                sections(entry["self_study"]),
                sections(entry["imported"]),
            )
            for entry in tomllib.loads(path.read_text(encoding="utf-8"))["course"]
        ]
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise BookError(f"{COURSES.as_posix()}: {error!r}; compare it with its head.") from None


def teaching_page(book: Book, runs: Mapping[str, Run]) -> str:
    """The page in Markdown."""
    times = {s.id: hours(s, runs.get(s.id)) for s in book.sections}
    needs = Needs(book)
    total = sum(times.values(), Hours())
    return page(
        "teaching",
        words=WORDS,
        cell=f"{60 * CELL:.0f}",
        exercise=EXERCISE,
        chosen=CHOSEN,
        reading=round(total.reading / 60),
        exercises=round(total.exercises / 60),
        chapters=piece("teaching-chapters", rows=_chapters(book, times, needs)),
        graph=_graph(book, needs),
        courses=[_course(course, times) for course in courses(book)],
    )


def _chapters(book: Book, times: dict[str, Hours], needs: Needs) -> list[dict[str, Any]]:
    used, mentioned = needs.chapters(), needs.mentioned()
    rows = []
    for chapter in book.chapters:
        there = [s for s in chapter.sections if s.exists]
        rows.append(
            {
                "number": chapter.number,
                "title": chapter.title,
                "planned": len(chapter.sections),
                "sections": [_section(s, times[s.id], needs) for s in there],
                "times": sum((times[s.id] for s in there), Hours()),
                "needs": used[chapter.number],
                "mentions": [n for n in mentioned[chapter.number] if n not in used[chapter.number]],
            }
        )
    return rows


def _section(section: Section, times: Hours, needs: Needs) -> dict[str, Any]:
    return _link(section) | {
        "times": times,
        "needs": [_link(s) for s in needs.needs.get(section.id, [])],
    }


def _link(section: Section) -> dict[str, Any]:
    url = f"{doc(section)}.html" if section.exists else ""
    return {"id": section.id, "title": section.title, "url": url}


def _course(course: Course, times: dict[str, Hours]) -> dict[str, Any]:
    rows = [
        {
            "topic": topic,
            "sections": [_link(s) for s in sections],
            "hours": week_hours(sections, times),
        }
        for topic, sections in course.weeks
    ]
    return {
        "title": course.title,
        "goal": course.goal,
        "table": piece("teaching-course", title=course.title, rows=rows),
        "before": piece("teaching-list", sections=[_link(s) for s in course.self_study]),
        "imported": piece("teaching-list", sections=[_link(s) for s in course.imported]),
    }


def week_hours(sections: list[Section], times: Mapping[str, Hours]) -> float:
    """Hours of a week; a section that is to come counts as the mean of those that are there."""
    known = [t.week for t in times.values() if t.exercises]
    mean = sum(known) / len(known) if known else 0
    return sum(times[s.id].week if s.id in times else mean for s in sections)


def _graph(book: Book, needs: Needs) -> str:
    """Chapters one below the other, and an arc from each to those that import from it."""
    pairs: dict[tuple[int, int], int] = {}
    for section in book.notebooks:
        for other in needs.needs[section.id]:
            if other.chapter != section.chapter:
                key = (other.chapter, section.chapter)
                pairs[key] = pairs.get(key, 0) + 1
    numbers = [c.number for c in book.chapters if any(s.exists for s in c.sections) and c.number]
    places = {number: ROW * row + ROW / 2 for row, number in enumerate(numbers)}
    rows = [
        {"number": c.number, "y": places[c.number], "lines": textwrap.wrap(c.title, 27)}
        for c in book.chapters
        if c.number in places
    ]
    arcs = [
        {
            "from": places[begin],
            "to": places[end],
            "x": NAMES - 40 - SPREAD * (numbers.index(end) - numbers.index(begin)),
            "width": 1 + min(count, 24) / 8,
            "strong": count > 2,
        }
        for (begin, end), count in sorted(pairs.items(), key=lambda item: item[1])
        if begin in places and end in places
    ]
    words = "; ".join(
        f"Chapter {end} uses {', '.join(map(str, begins))}"
        for end, begins in needs.chapters().items()
        if begins and end in places
    )
    return piece(
        "teaching-graph",
        rows=rows,
        arcs=arcs,
        names=NAMES,
        height=ROW * len(numbers),
        words=f"{words}." if words else "No chapter uses another.",
    )
