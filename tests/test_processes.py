"""Scripts of several processes end with what started them, whatever happens."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import d2l_helpers as d2l
from d2l_helpers import processes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

#: Each worker writes its process number into a folder, then waits.
WAITS = """
import os, sys, time
from pathlib import Path
Path(sys.argv[1], os.environ["RANK"]).write_text(str(os.getpid()))
time.sleep(600)
"""


def twice(x: float) -> float:
    return 2 * x


class Base:
    factor = 3


def numbers(folder: Path, count: int = 2, seconds: float = 60) -> list[int]:
    """The process numbers of all workers, once they have started."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        texts = [p.read_text() for p in folder.iterdir()]
        if len(texts) == count and all(texts):
            return [int(t) for t in texts]
        time.sleep(0.05)
    raise AssertionError("the workers did not start")


def all_end(pids: list[int], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(psutil.pid_exists(p) and psutil.Process(p).status() != "zombie" for p in pids):
            return True
        time.sleep(0.05)
    return False


def start(folder: Path, timeout: float = 600) -> subprocess.Popen[str]:
    """A "notebook" that runs the waiting workers."""
    (folder / "pids").mkdir()
    script = folder / "waits.py"
    script.write_text(WAITS)
    code = f"import d2l_helpers as d2l; d2l.torchrun({str(script)!r}, 2, [{str(folder / 'pids')!r}], {timeout})"
    return subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def test_a_script_holds_text_functions_and_classes_in_order() -> None:
    path = d2l.write_script("all.py", "import math", Base, twice, "print(twice(Base.factor))")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    assert (path.name, done.stdout) == ("all.py", "6\n")
    assert path.parent != d2l.write_script("all.py", "").parent


def test_a_script_takes_classes_and_functions_of_cells() -> None:
    """As a notebook defines them: in cells, which are no file."""
    cells = [
        "from dataclasses import dataclass\nimport d2l_helpers as d2l",
        "x = 1\n\n@dataclass\nclass Pair:\n    left: int\n    right: int = 3\n\n"
        "    def total(self):\n        return self.left + self.right\n\ny = 2",
        "def double(x):\n    return 2 * x",
        "class Bare:\n    size = 1",
        "path = d2l.write_script('s.py', 'from dataclasses import dataclass', Pair, double, 'print(double(Pair(4).total()))')",
        "print(path)\ntry:\n    d2l.write_script('s.py', Bare)\nexcept TypeError as e:\n    print(e)",
    ]
    code = "from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell.instance()\n"
    code += f"for cell in {cells!r}:\n    shell.run_cell(cell, store_history=True).raise_error()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    path, refused = done.stdout.splitlines()
    ran = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    assert ran.stdout == "14\n"
    assert "x = 1" not in Path(path).read_text()
    assert "no source is known" in refused and "with a method" in refused


@pytest.mark.parametrize("name", ["a.txt", "folder/a.py", "../a.py", ""])
def test_a_script_needs_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="name of a script"):
        d2l.write_script(name, "")


def test_a_script_that_is_no_python_is_refused_with_its_line() -> None:
    with pytest.raises(ValueError, match=r"bad\.py is no Python at line 3, 'x = ='"):
        d2l.write_script("bad.py", "y = 1", "x = =")
    with pytest.raises(TypeError, match="no source is known of 3"):
        d2l.write_script("bad.py", 3)  # type: ignore[arg-type]


def test_processes_know_each_other_and_their_output_comes_back() -> None:
    text = """
    import json, os, sys
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo")
    x = torch.tensor([float(dist.get_rank()) + 1])
    dist.all_reduce(x)
    threads = torch.get_num_threads()
    if dist.get_rank() == 0:
        print(json.dumps([x.item(), dist.get_world_size(), threads, sys.argv[1:]]))
    dist.destroy_process_group()
    """
    done = d2l.torchrun(d2l.write_script("sum.py", text), nproc=2, args=["--lr", 0.1])
    assert done.returncode == 0
    assert done.stdout == '[3.0, 2, 1, ["--lr", "0.1"]]\n'


def test_a_script_that_fails_shows_its_own_error(tmp_path: Path) -> None:
    text = 'import os\nif os.environ["RANK"] == "1":\n    raise KeyError("the shard 7")'
    script = d2l.write_script("fails.py", text)
    with pytest.raises(RuntimeError, match=r"fails\.py failed on 2 processes") as caught:
        d2l.torchrun(script)
    message = str(caught.value)
    assert message.endswith("KeyError: 'the shard 7'") and "line 3" in message
    assert d2l.torchrun(script, check=False).returncode != 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"script": "none.py"}, FileNotFoundError, "no script none.py"),
        ({"nproc": 0}, ValueError, "nproc is 0"),
        ({"nproc": 1.5}, ValueError, r"nproc is 1\.5"),
        ({"timeout": 0}, ValueError, "timeout is 0"),
    ],
)
def test_bad_arguments_are_named(
    tmp_path: Path, arguments: dict[str, object], error: type[Exception], words: str
) -> None:
    (tmp_path / "good.py").write_text("")
    with pytest.raises(error, match=words):
        d2l.torchrun(**({"script": tmp_path / "good.py"} | arguments))  # type: ignore[arg-type]


def test_at_the_limit_all_are_ended_and_the_error_says_so(tmp_path: Path) -> None:
    script = d2l.write_script("waits.py", WAITS)
    with pytest.raises(TimeoutError, match=r"waits\.py took longer than 12 s on 2 processes"):
        d2l.torchrun(script, args=[tmp_path], timeout=12)
    assert all_end(numbers(tmp_path, seconds=1))


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_an_interrupted_or_a_killed_notebook(tmp_path: Path, sign: int) -> None:
    notebook = start(tmp_path)
    pids = numbers(tmp_path / "pids")
    os.kill(notebook.pid, sign)
    notebook.communicate(timeout=30)
    assert all_end(pids)


def test_workers_end_when_their_launcher_is_lost(tmp_path: Path) -> None:
    notebook = start(tmp_path)
    pids = numbers(tmp_path / "pids")
    launcher = psutil.Process(pids[0]).parent()
    assert launcher is not None
    time.sleep(0.5)  # the guard looks for the family ten times a second
    launcher.kill()
    notebook.communicate(timeout=30)
    assert notebook.returncode != 0
    assert all_end(pids)


def test_the_network_is_the_loopback_unless_a_reader_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    assert processes._environment()["GLOO_SOCKET_IFNAME"] in ("lo", "lo0")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    assert processes._environment()["GLOO_SOCKET_IFNAME"] == "eth7"
