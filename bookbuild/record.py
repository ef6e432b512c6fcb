"""A run as one value, and the profiles: everything that is known of how outputs were made.

The runner writes a `Run`; it travels with the outputs (metadata `run` of the executed and of the
committed notebook) and into `build/records`; check, site and status page read it, and nothing else
describes a run.
"""

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any


@dataclass(frozen=True)
class Profile:
    """A kind of run and its limits; a section's header may set other ones for a profile."""

    name: str
    seconds: float  # for a notebook
    cell_seconds: float  # for a cell
    memory_mb: float
    workers: int | None = None  # notebooks side by side; None: as many as BOOK_WORKERS says
    any_device: bool = False  # the best device of the machine; otherwise the CPU
    stored: bool = False  # its outputs are those of the committed notebooks
    text: str = ""


PROFILES = {
    p.name: p
    for p in (
        Profile("cpu", 180, 120, 2048, stored=True, text="a laptop; the values in the notebook"),
        Profile("smoke", 90, 60, 2048, text="seconds, to see that everything runs"),
        Profile("gpu", 1800, 1200, 32768, 1, True, text="the values of the header, on a GPU"),
        Profile("rehearsal", 300, 240, 4096, text="the gpu profile with its sizes cut, on a CPU"),
    )
}
LIMITS = ("seconds", "cell_seconds", "memory_mb")


@dataclass(frozen=True)
class Fault:
    """What stopped a notebook; the cell counted from 0, the line from 1."""

    kind: str
    message: str
    cell: int = 0
    line: int = 1
    traceback: str = ""


@dataclass(frozen=True)
class Used:
    """A data set that a notebook fetched, and whether it was `real` or a `standin`."""

    name: str
    source: str


@dataclass(frozen=True)
class Run:
    """One run of one section.

    Attributes
    ----------
    status
        `planned` (not run yet), `ok` or `failed`.
    key, key_after
        The key when the run was planned and when it ended. Outputs are kept only where both agree.
    source
        `real`, or `standin` if any data set of the section was one.
    checks
        Numbers of the checks that passed, such as `C3`.
    compared
        Cells whose outputs are compared with the stored ones.
    uncompared
        Reason -> number of cells with outputs that are not compared.
    """

    section: str
    profile: str
    status: str = "planned"
    key: str = ""
    key_after: str = ""
    source: str = "real"
    device: str = "cpu"
    data: tuple[Used, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    when: str = ""
    seconds: float = 0.0
    peak_mb: int = 0
    checks: tuple[str, ...] = ()
    compared: int = 0
    uncompared: dict[str, int] = field(default_factory=dict)
    error: Fault | None = None

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def standins(self) -> list[str]:
        """Names of the data sets that were stand-ins."""
        return [used.name for used in self.data if used.source == "standin"]

    def but(self, **changes: Any) -> "Run":
        """The same run with some fields changed."""
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; empty fields are left out."""
        return {
            k: v
            for k, v in json.loads(json.dumps(asdict(self))).items()
            if v not in (None, {}, [], "")
        }

    @classmethod
    def from_json(cls, value: dict[str, Any] | None) -> "Run | None":
        """The run that `to_json` wrote; None for something else, as of another version."""
        if not value or not {"section", "profile"} <= set(value):
            return None
        known = {f.name for f in fields(cls)}
        try:
            kept = {k: v for k, v in value.items() if k in known}
            kept["data"] = tuple(Used(**used) for used in kept.get("data", ()))
            kept["checks"] = tuple(kept.get("checks", ()))
            kept["error"] = Fault(**kept["error"]) if kept.get("error") else None
            return cls(**kept)
        except (TypeError, ValueError):
            return None
