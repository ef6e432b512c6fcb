"""Data sets: fetched, verified and cached, or an offline stand-in.

``fetch(name)`` gives the folder of a data set of the manifest (``manifest.toml``). It looks in the
cache, then in the mirrors named by ``D2L_MIRRORS`` (folders or URLs, separated by ``;``), then
where the packages of an operating system put it, then at the URLs of the manifest and in the
registry of packages (neither with ``D2L_OFFLINE=1``), and checks SHA-256 before a file is used.
Without the real data it makes a *stand-in* of the same shape and types and says so. ``D2L_DATA``
decides: ``auto`` (default), ``real`` or ``standin``; ``D2L_CACHE`` names the cache folder.
"""

import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from . import sources
from .notes import once, record
from .sources import DataError as DataError

MANIFEST = Path(__file__).with_name("manifest.toml")
MODES = ("auto", "real", "standin")


@dataclass(frozen=True)
class Dataset:
    """Where a data set lies.

    Attributes
    ----------
    name
        As in the manifest.
    source
        ``"real"`` or ``"standin"``.
    folder
        Holds the files.
    files
        File name -> path, in the order of the manifest; for a set of many files their paths in the
        folder, sorted.
    reason
        Why these are a stand-in, in a few words; empty for real data.
    """

    name: str
    source: str
    folder: Path
    files: dict[str, Path]
    reason: str = ""

    @property
    def is_real(self) -> bool:
        """Whether these are the real data, so that a check of their numbers holds."""
        return self.source == "real"


@cache
def _manifest(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def manifest() -> dict[str, Any]:
    """The known data sets: name -> its files, their sources, licence, origin, citation.

    Examples
    --------
    >>> manifest()["fashion-mnist"]["license"]
    'MIT'
    """
    return _manifest(MANIFEST)


def cache_folder() -> Path:
    """Folder for data sets: ``D2L_CACHE``, else the user's cache folder."""
    if os.environ.get("D2L_CACHE"):
        return Path(os.environ["D2L_CACHE"]).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("d2l_helpers")


def mode() -> str:
    """The value of ``D2L_DATA``; raises `DataError` for an unknown one."""
    value = os.environ.get("D2L_DATA") or "auto"
    if value not in MODES:
        raise DataError(f"D2L_DATA is {value!r}; use one of {', '.join(MODES)}.")
    return value


def fetch(name: str) -> Dataset:
    """Return a data set of the manifest, fetching or making it if it is not in the cache.

    Parameters
    ----------
    name
        For example ``"fashion-mnist"``.

    Returns
    -------
    Dataset
        With ``source`` ``"real"`` or ``"standin"``. A stand-in says in one line what it is and why,
        once a process; a download announces its size before it begins (not with
        ``D2L_HEADLESS=1``).

    Raises
    ------
    DataError
        If the name is unknown; if ``D2L_DATA=real`` and no source has the files; if the cache or a
        source has them with a wrong checksum and no other source has the right ones; if the cache
        cannot be read or written. Nothing is deleted: when a damaged file in the cache is replaced,
        it stays beside the new one as ``<file>.damaged``.

    Examples
    --------
    >>> data = fetch("fashion-mnist")  # doctest: +SKIP
    >>> data.source, sorted(data.files)[0]  # doctest: +SKIP
    ('real', 't10k-images-idx3-ubyte')
    """
    if name not in manifest():
        raise DataError(
            f"There is no data set {name!r}; the manifest has: {', '.join(sorted(manifest()))}."
        )
    data = _readable(name, mode())
    if not data.is_real:
        once.say(
            f"{name}: stand-in data: {data.reason}; numbers differ from those of the real set."
        )
    record({"name": data.name, "source": data.source})
    return data


def _readable(name: str, wanted: str) -> Dataset:
    """A data set that we may read; a cache that somebody else filled may be closed to us."""
    try:
        data = _real_or_standin(name, wanted)
        for path in data.files.values():
            open(path, "rb").close()
    except PermissionError as error:
        raise DataError(
            f"The cache of data sets {cache_folder()} is closed to you ({error}). Name a folder of "
            f"your own in D2L_CACHE, or let its owner open it: chmod -R a+rX {cache_folder()}"
        ) from error
    return data


def _real_or_standin(name: str, wanted: str) -> Dataset:
    if wanted == "standin":
        return _standin(name, "D2L_DATA=standin")
    try:
        return _real(name)
    except sources.Missing as error:
        if wanted == "real":
            raise
        return _standin(name, error.reason)


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """Hold the lock of a folder; gives an empty scratch folder on the same disk, to be renamed."""
    from filelock import FileLock

    scratch = folder.with_name(f".part-{folder.name}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.with_name(f"{folder.name}.lock"))
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"{folder.parent} cannot be written ({error}); "
            "name another folder (for data sets in D2L_CACHE)."
        ) from error
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed process left
        scratch.mkdir()
        yield scratch
    except OSError as error:
        if error.errno not in sources.FULL:
            raise
        raise DataError(
            f"{folder.parent} cannot be written ({error}); make room, "
            "or name another folder (for data sets in D2L_CACHE)."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        lock.release()


def _once(folder: Path, make: Callable[[Path], None]) -> None:
    """Fill a new folder by `make`; it appears only when it is complete."""
    if folder.is_dir():
        return
    with _alone(folder) as scratch:
        if not folder.is_dir():
            make(scratch)
            os.replace(scratch, folder)


def _standin(name: str, reason: str) -> Dataset:
    from . import standins

    folder = cache_folder() / f"{name}-standin-{standins.version(name)}"
    _once(folder, standins.MAKERS[name])
    names = manifest()[name].get("files") or sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return Dataset(name, "standin", folder, {file: folder / file for file in names}, reason)


def identity(name: str) -> dict[str, str]:
    """What the content of a data set is known by: file -> SHA-256, or that of the list of members.

    Examples
    --------
    >>> sorted(identity("kaggle-house"))
    ['kaggle_house_pred_test.csv', 'kaggle_house_pred_train.csv']
    """
    entry = manifest()[name]
    specs = entry.get("files") or {"members": entry["members"]}
    return {file: spec["sha256"] for file, spec in specs.items()}


def lacking(name: str) -> tuple[list[str], list[Path], int]:
    """What the cache lacks of a data set, what of that is there but damaged, and its bytes.

    Reads, and writes nothing.
    """
    entry, folder = manifest()[name], cache_folder() / name
    if "members" in entry:
        sums = sources.listed(folder, entry["members"])
        lost = sources.lacking(folder, sums, remember=False) if sums else [sources.LIST]
        size = entry["members"]["bytes"] if lost else 0
    else:
        specs = entry["files"]
        lost = [file for file, spec in specs.items() if not sources.matches(folder / file, spec)]
        size = sum(specs[file]["bytes"] for file in lost)
    return lost, [folder / file for file in lost if (folder / file).exists()], size


def _real(name: str) -> Dataset:
    entry, folder = manifest()[name], cache_folder() / name
    if "members" in entry:
        return _real_members(name, entry["members"], folder)
    specs = entry["files"]
    paths = {file: folder / file for file in specs}
    if not all(sources.matches(paths[file], spec) for file, spec in specs.items()):
        with _alone(folder) as scratch:
            folder.mkdir(exist_ok=True)
            lost, _, size = lacking(name)
            with sources.Search(name, entry, scratch, size) as search:
                for file in lost:
                    search.file(file, paths[file])
    return Dataset(name, "real", folder, paths)


def _real_members(name: str, spec: dict[str, Any], folder: Path) -> Dataset:
    sums = sources.listed(folder, spec)
    if not sums or sources.lacking(folder, sums):
        with _alone(folder) as scratch:
            folder.mkdir(exist_ok=True)
            sums = sources.listed(folder, spec)  # another process may have been here
            if not sums or sources.lacking(folder, sums):
                with sources.Search(name, manifest()[name], scratch, spec["bytes"]) as search:
                    search.members(folder)
                sums = sources.listed(folder, spec)
                sources.lacking(folder, sums)  # remembers how they look
    return Dataset(name, "real", folder, {path: folder / path for path in sums})
