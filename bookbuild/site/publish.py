"""From the stage to the folder that a reader opens, and whether what lies there is still that."""

import filecmp
import os
import shutil
from pathlib import Path

Stamps = dict[str, list[int]]


def publish(stage: Path, out: Path) -> None:
    """Make `out` equal to the stage: changed files are replaced one by one, others removed."""
    wanted = {
        p.relative_to(stage) for p in stage.rglob("*") if p.is_file() and p.name != ".buildinfo"
    }
    for name in sorted(wanted):
        old, new = out / name, stage / name
        if not old.is_file() or not (filecmp.cmp(old, new) or filecmp.cmp(old, new, shallow=False)):
            old.parent.mkdir(parents=True, exist_ok=True)
            part = old.with_name(f".{old.name}.part")
            shutil.copy2(new, part)
            os.replace(part, old)
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(out) not in wanted:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def stamps(folder: Path) -> Stamps:
    """Size in bytes and time of change in nanoseconds of every file, by its path in the folder."""
    found: Stamps = {}
    for base, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(base, name)
            known = os.stat(path)
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            found[relative] = [known.st_size, known.st_mtime_ns]
    return found


def remove(path: Path) -> None:
    """Remove a folder or file, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
