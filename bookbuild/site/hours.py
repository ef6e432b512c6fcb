"""How long a section takes: reading, exercises, running."""

import re
from dataclasses import dataclass

from ..book import Section
from ..grammar import MATHS, PART
from ..record import Run
from .needs import main_text

#: Words a minute of a text with formulas, minutes for a cell of code, minutes for an exercise.
WORDS, CELL, EXERCISE = 100, 0.5, 20
#: Exercises of a section that the courses count.
CHOSEN = 2


@dataclass(frozen=True)
class Hours:
    """Minutes of reading and of all exercises, seconds of the recorded run."""

    reading: float = 0
    exercises: float = 0
    run: float = 0

    def __add__(self, other: "Hours") -> "Hours":
        return Hours(
            self.reading + other.reading, self.exercises + other.exercises, self.run + other.run
        )

    @property
    def week(self) -> float:
        """Hours that a course counts: reading, and `CHOSEN` exercises."""
        return (self.reading + min(self.exercises, CHOSEN * EXERCISE)) / 60


def hours(section: Section, run: Run | None) -> Hours:
    """The times of a section that exists; of the run only if there is a record."""
    text = MATHS.sub(" formula ", " ".join(main_text(section)))
    reading = len(re.findall(r"\w+", text)) / WORDS + _cells(section) * CELL
    return Hours(reading, section.exercises * EXERCISE, run.seconds if run is not None else 0)


def _cells(section: Section) -> int:
    """Cells of code before the exercises."""
    count = 0
    for cell in () if section.is_page else section.cells:
        if cell.kind == "code":
            count += 1
        elif any(m[2] == "Exercises" for m in PART.finditer(cell.source)):
            break
    return count
