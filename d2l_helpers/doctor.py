"""What is installed, which device and which data there are, and what to do about what is wrong.

``python -m d2l_helpers.doctor`` prints it, downloads nothing, changes nothing, and exits with 1
where a notebook of the book could not run. A missing data set is no such case, because a stand-in
takes its place.
"""

from __future__ import annotations  # an old Python has to read this far to be told that it is old

import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

MIN_PYTHON = (3, 11)
SETTINGS = ("D2L_DEVICE", "D2L_DATA", "D2L_CACHE", "D2L_MIRRORS", "D2L_OFFLINE", "OMP_NUM_THREADS")
#: Longest path of a folder for temporary files. The sockets of a kernel lie in it, 23 characters
#: deeper, and a path of a socket has at most 103 on macOS and 107 on Linux.
LONGEST = 80
INSTALL = (
    "install it with: python -m pip install -e '.[book]' (in the folder of the book), or: make env"
)


class Finding(NamedTuple):
    """One line: what was looked at, what was found, whether it is bad, and the remedy."""

    topic: str
    text: str
    bad: bool = False
    remedy: str = ""


def examine() -> list[Finding]:
    """Everything that is worth knowing, in the order in which it is printed.

    Examples
    --------
    >>> {"python", "torch", "device", "cache"} <= {finding.topic for finding in examine()}
    True
    """
    findings = [*_python(), *_packages(), *_settings(), *_folders()]
    if all(
        importlib.util.find_spec(name) for name in ("torch", "numpy", "platformdirs")
    ):  # else named among the packages
        findings += [*_device(), *_cache(), *_data()]
    return findings


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, MIN_PYTHON))
    old = sys.version_info < MIN_PYTHON
    yield Finding(
        "python",
        f"{version}, {sys.executable}",
        old,
        f"the book needs Python {wanted} or newer" if old else "",
    )


def _packages() -> Iterator[Finding]:
    """Each package that the notebooks need, against the range that the book was written for."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        yield Finding("packaging", "missing", True, INSTALL)
        return
    try:
        wanted = [Requirement(line) for line in metadata.requires("d2l-helpers") or []]
    except metadata.PackageNotFoundError:
        yield Finding("d2l_helpers", "not installed as a package", True, INSTALL)
        return
    for need in wanted:
        if need.marker and not need.marker.evaluate({"extra": "book"}):
            continue
        try:
            found = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            yield Finding(need.name, f"missing (wanted {need.specifier})", True, INSTALL)
            continue
        good = need.specifier.contains(found, prereleases=True)
        yield Finding(
            need.name,
            found if good else f"{found} (wanted {need.specifier})",
            not good,
            "" if good else INSTALL,
        )


def _device() -> Iterator[Finding]:
    import torch

    from .device import _available, _name, try_device

    try:
        device = try_device(quiet=True)
    except ValueError as error:
        yield Finding("device", f"D2L_DEVICE={os.environ.get('D2L_DEVICE')}", True, str(error))
        return
    built = torch.version.cuda or torch.version.hip
    remedy = ""
    if device.type == "cpu" and shutil.which("nvidia-smi") and not torch.cuda.is_available():
        fault = "cannot use it" if built else "was built without CUDA"
        remedy = (
            f"there is an NVIDIA driver, but this PyTorch ({torch.__version__}) {fault}; "
            "see pytorch.org"
        )
    yield Finding(
        "device", f"{device} ({_name(device)}); available: {', '.join(_available())}", False, remedy
    )


def _settings() -> Iterator[Finding]:
    for name in SETTINGS:
        if os.environ.get(name):
            yield Finding(name, os.environ[name])

    if os.environ.get("MPLBACKEND"):
        yield Finding(
            "MPLBACKEND",
            os.environ["MPLBACKEND"],
            remedy="it holds in JupyterLab and in scripts; the book's runner sets its own",
        )


def _folders() -> Iterator[Finding]:
    """Folders that Jupyter, Matplotlib and kernels write to, where one of them will not do."""
    home = Path.home()
    for name, default in (("IPYTHONDIR", ".ipython"), ("MPLCONFIGDIR", ".config/matplotlib")):
        folder = Path(os.environ.get(name) or home / default).expanduser()
        if not _writable(folder):
            yield Finding(
                name if os.environ.get(name) else "HOME",
                f"{folder} cannot be written",
                remedy=f"warnings in notebooks will follow; set {name} to a folder that can be",
            )
    try:
        temporary = tempfile.gettempdir()
    except OSError as error:
        yield Finding("TMPDIR", str(error), True, "set TMPDIR to a folder that can be written")
        return
    if sys.platform != "win32" and len(os.fsencode(temporary)) > LONGEST:
        yield Finding(
            "TMPDIR",
            f"{temporary} is {len(os.fsencode(temporary))} bytes long",
            True,
            f"a kernel's sockets lie there, and their paths have a limit; set TMPDIR to a folder "
            f"of at most {LONGEST} bytes, such as /tmp",
        )


def _there(path: Path) -> bool:
    """Whether a path exists; one in a folder that is closed to us may."""
    try:
        return path.exists()
    except PermissionError:
        return True
    except OSError:  # such as a name that is too long
        return False


def _writable(folder: Path) -> bool:
    """Whether a folder can be written, or made."""
    there = next(path for path in (folder, *folder.parents) if _there(path))
    return os.access(there, os.R_OK | os.W_OK | os.X_OK) and there.is_dir()


def _cache() -> Iterator[Finding]:
    from .data import cache_folder

    folder = cache_folder()
    if not _writable(folder):
        verb = "used (closed to you)" if _closed(folder) else "written"
        yield Finding("cache", f"{folder} cannot be {verb}", True, _own_folder(folder))
        return
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    low = free < 500_000_000
    yield Finding(
        "cache",
        f"{folder}, {_size(free)} free",
        low,
        "free some space, or name a folder on another disk in D2L_CACHE" if low else "",
    )


def _closed(path: Path) -> bool:
    return _there(path) and not os.access(path, os.R_OK)


def _own_folder(folder: Path) -> str:
    remedy = "name another folder in D2L_CACHE"
    return f"{remedy}, or let its owner: chmod -R a+rX {folder}" if _closed(folder) else remedy


def _data() -> Iterator[Finding]:
    """Each data set: in the cache, in a mirror, to be downloaded, or replaced by its stand-in."""
    from . import data, sources

    try:
        wanted = data.mode()
    except data.DataError as error:
        yield Finding("data", "", True, str(error))
        return
    for name, entry in sorted(data.manifest().items()):
        folder = data.cache_folder() / name
        files = entry.get("files", [sources.LIST])
        closed = [path for path in (folder, *(folder / file for file in files)) if _closed(path)]
        if closed:
            yield Finding(name, f"{closed[0]} is closed to you", True, _own_folder(closed[0]))
            continue
        lacking, damaged, size = data.lacking(name)
        whole = sum(
            spec["bytes"] for spec in entry.get("files", {"": entry.get("members")}).values()
        )
        if damaged:
            yield Finding(
                name,
                f"{_some([path.name for path in damaged])} in the cache: wrong size or checksum",
                False,
                "it will be fetched again and kept beside the new one",
            )
        elif wanted == "standin":
            yield Finding(name, f"stand-in, because D2L_DATA=standin ({_size(whole)})")
        elif not lacking:
            yield Finding(name, f"real, in the cache ({_size(whole)})")
        else:
            yield _source(name, entry, lacking, _size(size), wanted)


def _some(names: list[str]) -> str:
    """Names, the first three of many.

    Examples
    --------
    >>> _some(["a", "b"]), _some(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _source(
    name: str, entry: dict[str, Any], lacking: list[str], size: str, wanted: str
) -> Finding:
    """Where the files that the cache lacks would come from."""
    from . import sources

    if "members" in entry:
        found = [list(sources.of_members(name, entry))]
    else:
        found = [list(sources.of_file(name, entry, file)) for file in lacking]
    if all(any(not s.host and Path(s.place).exists() for s in each) for each in found):
        return Finding(name, f"real, in a local folder; will be copied into the cache ({size})")
    asked = list(dict.fromkeys(s for each in found for s in each if s.host))
    pip = importlib.util.find_spec("pip") is not None
    packages = [s for s in asked if s.kind == "package"]
    hosts = [s.host for s in asked if s.kind != "package"]
    hosts += [f"{s.host} ({s.place})" for s in packages if pip]
    if hosts:
        where = " or ".join(dict.fromkeys(hosts))
        return Finding(name, f"will be downloaded at first use: {size} unpacked, from {where}")
    remedy = "name a folder or URL that has it in D2L_MIRRORS"
    why = "no address has it"
    if sources.offline():
        why, remedy = "D2L_OFFLINE=1", f"unset D2L_OFFLINE, or {remedy}"
    elif packages:
        why, remedy = (
            "this Python has no pip",
            "python -m ensurepip; it downloads, nothing is installed",
        )
    if wanted == "real":
        text = f"not there ({size}; {why}), and D2L_DATA=real allows no stand-in"
        return Finding(name, text, True, remedy)
    return Finding(
        name, f"stand-in, made by code ({why})", False, f"{remedy}, for the real data ({size})"
    )


def _size(count: float) -> str:
    """Bytes for people.

    Examples
    --------
    >>> _size(460_676), _size(54_898_057), _size(2e10)
    ('0.5 MB', '55 MB', '20 GB')
    """
    if count >= 1e9:
        return f"{count / 1e9:.0f} GB"
    return f"{count / 1e6:.1f} MB" if count < 1e7 else f"{count / 1e6:.0f} MB"


def main() -> int:
    """Print the findings; 1 where a notebook could not run."""
    findings = examine()
    width = max(len(finding.topic) for finding in findings) + 2
    for finding in findings:
        print(f"{'!' if finding.bad else ' '} {finding.topic:{width}}{finding.text}")
        if finding.remedy:
            print(f"  {'':{width}}-> {finding.remedy}")
    bad = sum(finding.bad for finding in findings)
    print(
        "All good." if not bad else f"{bad} thing{'s' if bad > 1 else ''} to mend, marked with '!'."
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
