"""Data sets: fetched, verified and cached, or an offline stand-in.

``fetch(name)`` gives the folder of a data set of the manifest (``manifest.toml``). It looks in the
cache, then in the mirrors named by ``D2L_MIRRORS`` (folders or URLs, separated by ``;``), then
where the packages of an operating system put it, then at the URLs of the manifest (not with
``D2L_OFFLINE=1``), and checks size and SHA-256 before a file is used. Without the real data it
makes a *stand-in* of the same shape and types and says so. ``D2L_DATA`` decides: ``auto``
(default), ``real`` or ``standin``; ``D2L_CACHE`` names the cache folder.
"""

import errno
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from .notes import once, record

MANIFEST = Path(__file__).with_name("manifest.toml")
MODES = ("auto", "real", "standin")
#: Seconds to wait for a connection, and for the next bytes of a download.
TIMEOUT = (5, 15)
#: Errors of a disk that takes no more.
FULL = (errno.ENOSPC, errno.EDQUOT)


class DataError(RuntimeError):
    """Data that cannot be had or are not what they should be; the message names what was tried."""


class _Missing(DataError):
    """No source has the files, so a stand-in may take their place; `reason` says briefly why."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


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
        File name -> path.
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
    """The known data sets: name -> files (SHA-256, bytes, URLs), folders, licence, citation.

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
    except _Missing as error:
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
        if error.errno not in FULL:
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
    files = {file: folder / file for file in manifest()[name]["files"]}
    return Dataset(name, "standin", folder, files, reason)


def _real(name: str) -> Dataset:
    specs, folder = manifest()[name]["files"], cache_folder() / name
    paths = {file: folder / file for file in specs}
    if not all(_matches(paths[file], spec) for file, spec in specs.items()):
        with _alone(folder) as scratch:
            folder.mkdir(exist_ok=True)
            lacking = [file for file, spec in specs.items() if not _matches(paths[file], spec)]
            search = _Search(name, sum(specs[file]["bytes"] for file in lacking))
            for file in lacking:
                _obtain(file, specs[file], paths[file], scratch, search)
    return Dataset(name, "real", folder, paths)


@dataclass
class _Search:
    """What is known while the files of one data set are looked for.

    Attributes
    ----------
    bytes
        Size of the files that the cache lacks, unpacked.
    silent
        Hosts that did not answer, which are not asked again for the next file.
    """

    name: str
    bytes: int
    silent: set[str] = field(default_factory=set)

    def announce(self, host: str) -> None:
        """Say before the first download how much it is; not to the runner, which stores outputs."""
        if os.environ.get("D2L_HEADLESS") != "1":
            size = f"{self.bytes / 1e6:.1f}" if self.bytes < 1e7 else f"{self.bytes / 1e6:.0f}"
            once.say(f"{self.name}: downloading {size} MB (unpacked) from {host}")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _matches(path: Path, spec: dict[str, Any]) -> bool:
    return (
        path.is_file() and path.stat().st_size == spec["bytes"] and _digest(path) == spec["sha256"]
    )


def _check(path: Path, spec: dict[str, Any]) -> None:
    """Raise `ValueError` with what was found and what was expected, unless the content is right."""
    if not _matches(path, spec):
        found = f"{path.stat().st_size} bytes, sha256 {_digest(path)[:12]}..."
        raise ValueError(
            f"wrong content ({found}; expected {spec['bytes']} bytes, {spec['sha256'][:12]}...)"
        )


def _obtain(file: str, spec: dict[str, Any], target: Path, scratch: Path, search: _Search) -> None:
    """Put one verified file into the cache, or raise an error that names every source tried."""
    tried, reasons, damaged = [], [], target.exists()
    if damaged:
        tried.append(f"{target}: damaged, its size or checksum is wrong")
    for source in _sources(search.name, file, spec):
        host = urlsplit(source).netloc if "://" in source else ""
        if host in search.silent:
            tried.append(f"{source}: {host} did not answer before")
            continue
        try:
            if host:
                search.announce(host)
            _copy(source, scratch / file, spec)
            _check(scratch / file, spec)
        except (ValueError, EOFError, zlib.error, gzip.BadGzipFile, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise  # no fault of the source, and no other one would help
            tried.append(f"{source}: {type(error).__name__}: {error}")
            reasons.append(_why(source, error))
            if not isinstance(error, OSError) or isinstance(error, gzip.BadGzipFile):
                damaged = True
            elif host and getattr(error, "response", None) is None:
                search.silent.add(host)
            continue
        if target.exists():
            os.replace(target, target.with_name(f"{target.name}.damaged"))
        os.replace(scratch / file, target)
        return
    message = (
        f"Data set {search.name!r}: the file {file!r} could not be had.\n  "
        + ("\n  ".join(tried) or "no source is configured")
        + f"\nPut it into {target.parent}, name a folder or URL that has it in D2L_MIRRORS, "
        "or set D2L_DATA=standin."
    )
    if damaged:
        raise DataError(message)
    if os.environ.get("D2L_OFFLINE") == "1":
        reasons.append("D2L_OFFLINE=1")
    reason = ", ".join(dict.fromkeys(filter(None, reasons)))
    raise _Missing(message, reason or "no source is configured")


def _why(source: str, error: Exception) -> str:
    """In a few words, what was wrong with one source; nothing about a folder that nobody named."""
    if "://" in source:
        host, kind = urlsplit(source).netloc or source, type(error).__name__
        answer = getattr(getattr(error, "response", None), "status_code", None)
        if answer is not None:
            return f"{host} answered {answer}"
        silent = kind in ("ConnectionError", "ConnectTimeout", "ReadTimeout")
        return f"{host} did not answer" if silent else f"{host}: {kind}"
    if not isinstance(error, FileNotFoundError):
        return f"{source}: {getattr(error, 'strerror', None) or error}"
    for mirror in _mirrors():
        if "://" not in mirror and Path(source).is_relative_to(Path(mirror).expanduser()):
            there = Path(mirror).expanduser().is_dir()
            return f"not in {mirror}" if there else f"there is no folder {mirror}"
    return ""


def _mirrors() -> list[str]:
    """The folders and URLs of D2L_MIRRORS."""
    parts = os.environ.get("D2L_MIRRORS", "").split(";")
    return [part.strip() for part in parts if part.strip()]


def _is_file(path: Path) -> bool:
    """Whether a file is there; in a folder that is closed to us it may be: opening it tells why."""
    try:
        return path.is_file()
    except PermissionError:
        return True


def _sources(name: str, file: str, spec: dict[str, Any]) -> Iterator[str]:
    """Where a file may be, nearest first: mirrors of the user, folders of packages, URLs."""
    suffix = ".gz" if spec.get("compression") == "gzip" else ""
    for mirror in _mirrors() + manifest()[name].get("folders", []):
        if "://" in mirror:
            yield f"{mirror.rstrip('/')}/{name}/{file}{suffix}"
            continue
        places = [
            folder / form
            for folder in (Path(mirror).expanduser() / name, Path(mirror).expanduser())
            for form in (file, file + suffix)
        ]
        yield str(next((place for place in places if _is_file(place)), places[0]))
    if os.environ.get("D2L_OFFLINE") != "1":
        yield from spec["urls"]


class _Limited:
    """A file for writing that refuses to grow beyond a size."""

    def __init__(self, file: IO[bytes], limit: int):
        self.file, self.limit = file, limit

    def write(self, block: bytes) -> None:
        if self.file.tell() + len(block) > self.limit:
            raise ValueError(f"larger than the expected {self.limit} bytes")
        self.file.write(block)

    def flush(self) -> None:
        self.file.flush()


def _copy(source: str, target: Path, spec: dict[str, Any]) -> None:
    """Copy or download one file, unpacked if it is gzipped; refuses to write more than expected."""
    raw = Path(source)
    if "://" in source:
        import pooch

        raw = target.with_name("download")
        # A gzip file is never more than slightly larger than its content.
        with open(raw, "wb") as file:
            download = pooch.HTTPDownloader(timeout=TIMEOUT, chunk_size=1 << 18)
            download(source, _Limited(file, spec["bytes"] + (1 << 16)), None)
    with open(raw, "rb") as file:
        zipped = spec.get("compression") == "gzip" and file.read(2) == b"\x1f\x8b"
    with gzip.open(raw) if zipped else open(raw, "rb") as src, open(target, "wb") as dst:
        shutil.copyfileobj(src, _Limited(dst, spec["bytes"]), 1 << 20)


def unpack(archive: str | Path, folder: str | Path, *, max_bytes: int = 4 << 30) -> list[Path]:
    """Unpack a zip or tar archive without leaving its folder.

    Parameters
    ----------
    archive
        ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.bz2`` or ``.tar.xz``.
    folder
        Target; appears only when everything was unpacked. An existing folder is left alone and
        listed.
    max_bytes
        Largest sum of unpacked sizes.

    Returns
    -------
    The unpacked files, sorted.

    Raises
    ------
    DataError
        If the archive is missing or damaged, if a member is an absolute path, leaves the folder, is
        a link or a device, or if the sum is too large.

    Examples
    --------
    >>> unpack("fra-eng.zip", "fra-eng")  # doctest: +SKIP
    [PosixPath('fra-eng/fra.txt')]
    """
    archive, folder = Path(archive), Path(folder)
    _once(folder, lambda scratch: _extract(archive, scratch, max_bytes))
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _extract(archive: Path, folder: Path, max_bytes: int) -> None:
    if not archive.is_file():
        raise DataError(f"There is no archive {archive}.")
    try:
        (_unzip if zipfile.is_zipfile(archive) else _untar)(archive, folder, max_bytes)
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        OSError,
        RuntimeError,
    ) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{archive} is not a zip or tar archive that can be unpacked "
            f"({type(error).__name__}: {error}); fetch it again."
        ) from error


def _unzip(archive: Path, folder: Path, max_bytes: int) -> None:
    with zipfile.ZipFile(archive) as zipped:
        members = zipped.infolist()
        for member in members:
            _safe(
                archive,
                member.filename,
                stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR),
            )
        _limit(archive, sum(member.file_size for member in members), max_bytes)
        zipped.extractall(folder)


def _untar(archive: Path, folder: Path, max_bytes: int) -> None:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        for member in members:
            _safe(archive, member.name, not (member.isfile() or member.isdir()))
        _limit(archive, sum(member.size for member in members), max_bytes)
        tar.extractall(folder, filter="data")


def _safe(archive: Path, name: str, special: bool) -> None:
    path = Path(name.replace("\\", "/"))
    if special or path.is_absolute() or ".." in path.parts or re.match("[A-Za-z]:", name):
        raise DataError(
            f"{archive} holds {name!r}, a link, a device or a path outside its folder; "
            "it was not unpacked."
        )


def _limit(archive: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DataError(
            f"{archive} would unpack to {size} bytes, more than the allowed {max_bytes}; "
            "raise max_bytes if you trust it."
        )
