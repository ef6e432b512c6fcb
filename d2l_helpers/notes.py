"""What the helper tells: to the reader once a process, to the book's runner in a file."""

import json
import os


class Once:
    """Prints each line once a process.

    Examples
    --------
    >>> once = Once()
    >>> once.say("device: cpu"), once.say("device: cpu")
    device: cpu
    (None, None)
    """

    def __init__(self) -> None:
        self._said: set[str] = set()

    def say(self, line: str) -> None:
        """Print a line, unless it was printed before."""
        if line not in self._said:
            self._said.add(line)
            print(line)

    def forget(self) -> None:
        """Begin anew, as a new process does."""
        self._said.clear()


once = Once()


def record(entry: dict[str, str]) -> None:
    """Append to the file named by D2L_RECORD, from which the book's runner learns what was used.

    Each line is a JSON object: ``{"name": ..., "source": ...}`` for a data set,
    ``{"device": "cuda:0"}`` for a device.
    """
    if os.environ.get("D2L_RECORD"):
        with open(os.environ["D2L_RECORD"], "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
