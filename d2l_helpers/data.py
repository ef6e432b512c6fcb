"""Data sets: fetched, verified and cached, or an offline stand-in; and batches from memory.

``fetch(name)`` gives the folder of a data set of the manifest (``manifest.toml``). It looks in the cache,
then in the mirrors named by ``D2L_MIRRORS`` (folders or URLs, separated by ``;``), then at the URLs of the
manifest, and checks size and SHA-256 before a file is used. Without the real data it makes a *stand-in* of
the same shape and types and says so. ``D2L_DATA`` decides: ``auto`` (default), ``real`` or ``standin``;
``D2L_CACHE`` names the cache folder.
"""

import gzip
import hashlib
import json
import os
import shutil
import stat
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MANIFEST = Path(__file__).with_name("manifest.toml")
MODES = ("auto", "real", "standin")


class DataError(RuntimeError):
    """Data that cannot be had or are not what they should be; the message names what was tried."""


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
    """

    name: str
    source: str
    folder: Path
    files: dict[str, Path]

    @property
    def is_real(self) -> bool:
        """Whether these are the real data, so that a check of their numbers holds."""
        return self.source == "real"


@cache
def _manifest(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def manifest() -> dict[str, Any]:
    """The known data sets: name -> files with SHA-256, bytes and URLs; licence; citation.

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
        With ``source`` ``"real"`` or ``"standin"``. A stand-in announces itself in one line.

    Raises
    ------
    DataError
        If the name is unknown; if ``D2L_DATA=real`` and no source has the files; if a source has them with a
        wrong checksum and no other has the right ones. Nothing is deleted: a damaged file in the cache is
        moved aside to ``<file>.damaged``.

    Examples
    --------
    >>> data = fetch("fashion-mnist")  # doctest: +SKIP
    >>> data.source, sorted(data.files)[0]  # doctest: +SKIP
    ('real', 't10k-images-idx3-ubyte')
    """
    if name not in manifest():
        raise DataError(f"There is no data set {name!r}; the manifest has: {', '.join(sorted(manifest()))}.")
    wanted = mode()
    data = _standin(name) if wanted == "standin" else _real(name)
    if data is None:
        raise DataError("unreachable")
    if isinstance(data, DataError):
        if wanted == "real" or data.args[1:] == ("damaged",):
            raise DataError(data.args[0])
        data = _standin(name)
    if not data.is_real:
        print(f"{name}: stand-in data, made by code; numbers differ from those of the real set.")
    _note_use(data)
    return data


def _note_use(data: Dataset) -> None:
    """Append to the file named by D2L_RECORD, by which the book's runner learns what a notebook used."""
    if os.environ.get("D2L_RECORD"):
        with open(os.environ["D2L_RECORD"], "a", encoding="utf-8") as file:
            file.write(json.dumps({"name": data.name, "source": data.source}) + "\n")


def _lock(folder: Path) -> Any:
    from filelock import FileLock

    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(str(folder) + ".lock")


def _real(name: str) -> "Dataset | DataError":
    entry, folder = manifest()[name], cache_folder() / name
    paths = {file: folder / file for file in entry["files"]}
    if all(_matches(path, entry["files"][file]) for file, path in paths.items()):
        return Dataset(name, "real", folder, paths)
    with _lock(folder):
        for file, spec in entry["files"].items():
            if not _matches(paths[file], spec):
                problem = _obtain(name, file, spec, paths[file])
                if problem is not None:
                    return problem
    return Dataset(name, "real", folder, paths)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _matches(path: Path, spec: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == spec["bytes"] and _digest(path) == spec["sha256"]


def _obtain(name: str, file: str, spec: dict[str, Any], target: Path) -> DataError | None:
    """Put one verified file into the cache; on failure return an error that names every source tried."""
    target.parent.mkdir(parents=True, exist_ok=True)
    tried, damaged = [], False
    if target.exists():
        aside = target.with_name(target.name + ".damaged")
        os.replace(target, aside)
        tried.append(f"{target}: wrong checksum, moved to {aside.name}")
        damaged = True
    for source in _sources(name, file, spec):
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".part-") as scratch:
            part = Path(scratch) / file
            try:
                _copy(source, part, spec)
            except (OSError, ValueError, EOFError) as error:
                tried.append(f"{source}: {type(error).__name__}: {error}")
                continue
            if _matches(part, spec):
                os.replace(part, target)
                return None
            damaged = True
            tried.append(f"{source}: wrong content ({part.stat().st_size} bytes, sha256 {_digest(part)[:12]}...; expected {spec['bytes']} bytes, {spec['sha256'][:12]}...)")
    lines = "\n  ".join(tried) or "no source is configured"
    return DataError(
        f"Data set {name!r}: the file {file!r} could not be had.\n  {lines}\n"
        f"Put it into {target.parent}, name a folder or URL that has it in D2L_MIRRORS, or set D2L_DATA=standin.",
        "damaged" if damaged else "missing",
    )


def _sources(name: str, file: str, spec: dict[str, Any]) -> Iterator[str]:
    """Where a file may be, nearest first: mirrors of the user, then the manifest's URLs."""
    suffix = ".gz" if spec.get("compression") == "gzip" else ""
    for mirror in filter(None, (part.strip() for part in os.environ.get("D2L_MIRRORS", "").split(";"))):
        if "://" in mirror:
            yield f"{mirror.rstrip('/')}/{name}/{file}{suffix}"
            continue
        for candidate in (Path(mirror) / name / file, Path(mirror) / name / (file + suffix), Path(mirror) / file, Path(mirror) / (file + suffix)):
            if candidate.is_file():
                yield str(candidate)
                break
    if os.environ.get("D2L_OFFLINE") != "1":
        yield from spec["urls"]


def _copy(source: str, part: Path, spec: dict[str, Any]) -> None:
    """Copy or download one file, unpacked if it is a gzip file; refuses to write more than expected."""
    raw = part.with_name("download")
    if "://" in source:
        import pooch

        pooch.HTTPDownloader(timeout=(5, 30), progressbar=False)(source, str(raw), None)
    else:
        raw = Path(source)
    opener: Callable[..., Any] = gzip.open if _is_gzip(raw) and spec.get("compression") == "gzip" else open
    with opener(raw, "rb") as src, open(part, "wb") as dst:
        while block := src.read(1 << 20):
            dst.write(block)
            if dst.tell() > spec["bytes"]:
                raise ValueError(f"larger than the expected {spec['bytes']} bytes")


def _is_gzip(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _standin(name: str) -> Dataset:
    from . import standins

    make = standins.MAKERS[name]
    folder = cache_folder() / f"{name}-standin-{standins.version(name)}"
    if not folder.is_dir():
        with _lock(folder):
            if not folder.is_dir():
                scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
                try:
                    make(scratch)
                    os.replace(scratch, folder)
                except BaseException:
                    shutil.rmtree(scratch, ignore_errors=True)
                    raise
    return Dataset(name, "standin", folder, {file: folder / file for file in manifest()[name]["files"]})


def unpack(archive: str | Path, folder: str | Path, *, max_bytes: int = 4 << 30) -> list[Path]:
    """Unpack a zip or tar archive without leaving its folder.

    Parameters
    ----------
    archive
        ``.zip``, ``.tar``, ``.tar.gz``, ``.tgz``, ``.tar.bz2`` or ``.tar.xz``.
    folder
        Target; appears only when everything was unpacked. An existing folder is left alone and listed.
    max_bytes
        Largest sum of unpacked sizes.

    Returns
    -------
    The unpacked files, sorted.

    Raises
    ------
    DataError
        If a member is an absolute path, leaves the folder, is a link or a device, or the sum is too large.

    Examples
    --------
    >>> unpack("fra-eng.zip", "fra-eng")  # doctest: +SKIP
    [PosixPath('fra-eng/fra.txt')]
    """
    archive, folder = Path(archive), Path(folder)
    if not folder.is_dir():
        with _lock(folder):
            if not folder.is_dir():
                scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
                try:
                    _extract(archive, scratch, max_bytes)
                    os.replace(scratch, folder)
                except BaseException:
                    shutil.rmtree(scratch, ignore_errors=True)
                    raise
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _extract(archive: Path, folder: Path, max_bytes: int) -> None:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            members = zipped.infolist()
            for member in members:
                _safe(archive, member.filename, stat.S_ISLNK(member.external_attr >> 16))
            _limit(archive, sum(member.file_size for member in members), max_bytes)
            zipped.extractall(folder)
        return
    try:
        with tarfile.open(archive) as tar:
            entries = tar.getmembers()
            for entry in entries:
                _safe(archive, entry.name, not (entry.isfile() or entry.isdir()))
            _limit(archive, sum(entry.size for entry in entries), max_bytes)
            tar.extractall(folder, filter="data")
    except tarfile.ReadError as error:
        raise DataError(f"{archive} is neither a zip nor a tar archive ({error}); fetch it again.") from error


def _safe(archive: Path, name: str, special: bool) -> None:
    path = Path(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or special:
        raise DataError(f"{archive} holds {name!r}, a link, a device or a path outside its folder; it was not unpacked.")


def _limit(archive: Path, size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DataError(f"{archive} would unpack to {size} bytes, more than the allowed {max_bytes}; raise max_bytes if you trust it.")


class BatchLoader:
    """Minibatches as slices of tensors that already lie in memory or on the device.

    Decoding happens once, before; an epoch then costs one permutation and one ``index_select`` a batch.

    Parameters
    ----------
    tensors
        Equal first dimension ``n``; for example images ``(n, 1, 28, 28)`` and labels ``(n,)``.
    batch_size
        Examples a batch; the last batch may be smaller.
    shuffle
        A new order each epoch, drawn from `generator`.
    generator
        CPU generator that fixes the order; PyTorch's global one without it.
    drop_last
        Leave out a smaller last batch.
    transform
        Called with the tensors of a batch; returns what the loop receives. Converting bytes to floats here
        keeps the stored set four times smaller.

    Raises
    ------
    ValueError
        If no tensors are given, their lengths differ, or `batch_size` is not positive.

    Examples
    --------
    >>> loader = BatchLoader([torch.arange(5)], batch_size=2)
    >>> [batch[0].tolist() for batch in loader], len(loader)
    ([[0, 1], [2, 3], [4]], 3)
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        batch_size: int,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
        transform: Callable[..., Any] | None = None,
    ):
        if not tensors:
            raise ValueError("BatchLoader needs at least one tensor.")
        sizes = [len(tensor) for tensor in tensors]
        if len(set(sizes)) > 1:
            raise ValueError(f"BatchLoader got tensors of different lengths {sizes}; the first dimension must agree.")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
        self.tensors, self.num_examples = tuple(tensors), sizes[0]
        self.batch_size, self.shuffle, self.generator = batch_size, shuffle, generator
        self.drop_last, self.transform = drop_last, transform

    def __len__(self) -> int:
        """Number of batches an epoch."""
        full, rest = divmod(self.num_examples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        device = self.tensors[0].device
        order = torch.randperm(self.num_examples, generator=self.generator).to(device) if self.shuffle else None
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            stop = start + self.batch_size
            if order is None:
                batch = tuple(tensor[start:stop] for tensor in self.tensors)
            else:
                index = order[start:stop]
                batch = tuple(tensor.index_select(0, index.to(tensor.device)) for tensor in self.tensors)
            yield self.transform(*batch) if self.transform else batch
