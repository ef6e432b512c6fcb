"""What a long verb shows: what runs, is left, has failed; on a terminal live, in a log as lines."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

BEAT = 45.0  # seconds after which a log that had no line gets one


def span(seconds: float) -> str:
    """Seconds in words, e.g. `12 s` or `3 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class Shown:
    """Lines that say how far something is: a live block on a terminal, else one line at each beat.

    Parameters
    ----------
    lines
        Called for the lines whenever they are shown; the last one alone goes into a log.
    """

    def __init__(self, lines: Callable[[], list[str]]):
        self.lines, self.last = lines, time.monotonic()
        self.ended = threading.Event()
        self.live: Any = None
        if sys.stdout.isatty():
            from rich.live import Live

            self.live = Live(get_renderable=self._block, refresh_per_second=4, transient=True)
        self.beat = threading.Thread(target=self._beats, daemon=True)

    def _block(self) -> Any:
        from rich.text import Text

        return Text("\n".join(self.lines()), no_wrap=True, overflow="ellipsis")

    def _beats(self) -> None:
        while not self.ended.wait(max(0.05, self.last + BEAT - time.monotonic())):
            if time.monotonic() >= self.last + BEAT:
                self.say(self.lines()[-1])

    def say(self, text: str) -> None:
        """A line that stays."""
        self.last = time.monotonic()
        print(text, flush=True)

    def __enter__(self) -> "Shown":
        (self.live or self.beat).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        if self.live:
            self.live.stop()
        else:
            self.beat.join()


class Phase:
    """One phase of a verb: `step` tells how far it is."""

    def __init__(self, what: str):
        self.what, self.where, self.begin = what, "", time.monotonic()

    def step(self, where: str) -> None:
        """Where it is now, e.g. `reading sources, 12 %`."""
        self.where = where

    def line(self) -> str:
        where = f", {self.where}" if self.where else ""
        return f"{self.what}{where}, {span(time.monotonic() - self.begin)}"


@contextmanager
def phase(what: str) -> Iterator[Phase]:
    """Say that a phase begins; while it lasts, show how far it is.

    On a terminal its line is gone once it has ended; a log keeps the line of its beginning.

    Examples
    --------
    >>> with phase("site: links"):
    ...     pass
    site: links
    """
    current = Phase(what)
    with Shown(lambda: [current.line()]) as shown:
        if not shown.live:
            shown.say(what)
        yield current


class Notebooks:
    """The notebooks of a run: a line for each that has ended; what runs, is left, has failed.

    Parameters
    ----------
    titles
        What to call each notebook, by its number.
    expected
        How long each took last time, in seconds, where that is known.
    workers
        How many run side by side.
    """

    def __init__(self, titles: dict[str, str], expected: dict[str, float], workers: int):
        self.titles, self.expected, self.workers = titles, expected, workers
        self.begin, self.running, self.done = time.monotonic(), dict[str, float](), set[str]()
        self.failed, self.why = list[str](), ""
        self.shown = Shown(self.lines)

    def __enter__(self) -> "Notebooks":
        self.shown.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.shown.__exit__(*error)

    def started(self, name: str) -> None:
        """A notebook begins to run."""
        self.running[name] = time.monotonic()

    def finished(self, name: str, what: str, why: str = "") -> None:
        """A notebook has ended.

        Parameters
        ----------
        what
            The line about it.
        why
            Why it failed; empty if it was good.
        """
        self.running.pop(name, None)
        self.done.add(name)
        if why:
            self.failed.append(name)
            self.why = why.splitlines()[0]
        count = f"[{len(self.done)}/{len(self.titles)}]"
        elapsed = span(time.monotonic() - self.begin)
        self.shown.say(f"{count} {what}, {elapsed} elapsed{self._left()}")

    def remaining(self) -> float | None:
        """Seconds that are left by the last records, spread over the workers; None without any.

        A notebook that has no record is taken for a middling one.
        """
        known = sorted(self.expected[n] for n in self.titles if n in self.expected)
        if not known:
            return None
        now, middle = time.monotonic(), known[len(known) // 2]
        rest = [
            max(0.0, self.expected.get(n, middle) - (now - self.running.get(n, now)))
            for n in self.titles
            if n not in self.done
        ]
        return max(sum(rest) / self.workers, *rest, 0.0)

    def _left(self) -> str:
        left = self.remaining()
        return f", about {span(left)} left" if left and len(self.done) < len(self.titles) else ""

    def lines(self) -> list[str]:
        """What runs, each with its time; what failed last; a line that sums up."""
        now = time.monotonic()
        running = []
        for name, begin in sorted(self.running.items(), key=lambda item: item[1]):
            usual = f" of about {span(self.expected[name])}" if name in self.expected else ""
            running.append(f"{name} {self.titles[name]}, {span(now - begin)}{usual}")
        waiting = len(self.titles) - len(self.done) - len(self.running)
        words = [f"{len(self.done)} of {len(self.titles)} done"]
        words += [f"{len(self.failed)} failed"] if self.failed else []
        words += [f"running {', '.join(self.running)}"] if self.running else []
        words += [f"{waiting} to go"] if waiting else []
        total = f"{', '.join(words)}, {span(now - self.begin)} elapsed{self._left()}"
        last = [f"failed last: {self.failed[-1]}, {self.why}"] if self.failed else []
        return [*running, *last, total]
