"""Running: faults are named with file, cell and line; what is current does not run; what ran is kept."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from bookbuild import keys, pair
from bookbuild.book import Book, BookError
from bookbuild.pool import shard
from bookbuild.run import run, store_of
from bookbuild.store import read_notebook

Cli = Callable[..., tuple[int, str]]
ROOT = Path(__file__).resolve().parent.parent


def line_of(path, text: str) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems do not tell what processes share"
)
def test_memory_that_processes_share_counts_once(mini, cli: Cli):
    """Three children of a notebook of 400 MB are 1600 MB if each is counted whole; their own memory counts."""
    code = """import os, signal, time
block = bytearray(os.urandom(1 << 20)) * 400
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        {own}
        time.sleep(60)
    children.append(child)
time.sleep(2)
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(len(block))"""
    limits = "{cpu: {memory_mb: 900}}"
    mini.add("shared", code.format(own="pass"), limits=limits)
    mini.add("own", code.format(own="own = bytearray(os.urandom(1 << 20)) * 300"), limits=limits)
    status, text = cli("run")
    assert "1 of 2 notebooks good" in text
    message = next(m for m in text.splitlines() if m.startswith("error: "))
    assert "02-own.py" in message and "over its limit of 900 MB" in message


def test_every_fault_is_named(mini, cli: Cli, monkeypatch):
    """A cell that raises, a killed kernel, an endless cell, the limits, a warning, data: one run, each named."""
    raises = mini.add("raises", "x = 1", "# check 1.1-C1\ny = 2\nassert x == y, 'they differ'")
    killed = mini.add(
        "killed", "import os, signal", "x = 1", "os.kill(os.getpid(), signal.SIGKILL)"
    )
    endless = mini.add(
        "endless", "x = 1", "while True:\n    pass", limits="{cpu: {cell_seconds: 3}}"
    )
    slow = mini.add("slow", "import time", "time.sleep(60)", limits="{cpu: {seconds: 6}}")
    large = mini.add(
        "large",
        "import time",
        "block = bytearray(700 << 20)\ntime.sleep(20)",
        limits="{cpu: {memory_mb: 500}}",
    )
    warns = mini.add(
        "warns", "import warnings", "x = 1\nwarnings.warn('old call', DeprecationWarning)"
    )
    undeclared = mini.add(
        "undeclared",
        "import json, os\nwith open(os.environ['D2L_RECORD'], 'a') as file:\n    file.write(json.dumps({'name': 'cats', 'source': 'real'}))",
    )
    good = mini.add("good", "print(6 * 7)")
    status, text = cli("run")
    assert status == 1
    for path, cell, line, words in (
        (raises, 3, line_of(raises, "assert x == y"), "AssertionError: they differ"),
        (killed, 4, line_of(killed, "os.kill"), "kernel died"),
        (endless, 3, line_of(endless, "while True"), "did not end within its limit"),
        (slow, 3, line_of(slow, "time.sleep"), "limit of 6 s"),
        (large, 3, line_of(large, "block ="), "over its limit of 500 MB"),
        (warns, 3, line_of(warns, "x = 1"), "DeprecationWarning: old call"),
        (undeclared, 1, 0, "fetched cats, which its header does not declare"),
    ):
        name = path.relative_to(mini.root).as_posix()
        message = next((m for m in text.splitlines() if m.startswith(f"error: {name}")), "")
        assert words in message, (name, message, text)
        assert f"(cell {cell})" in message
        if line:
            assert f"{name}:{line} " in message
    assert "1 of 8 notebooks good" in text
    # what succeeded is kept: the second run runs the seven others only
    section = mini.book.select(["1.8"])[0]
    key = keys.key(section, "cpu", "real", keys.Sources(mini.root))
    assert store_of(mini.book).get(key).cells[1].outputs[0].text == "42\n"
    assert good.exists() and (mini.root / "build" / "failed" / "1.1.ipynb").exists()
    record = json.loads((mini.root / "build" / "records" / "cpu" / "1.1.json").read_text())
    assert record["status"] == "failed" and "checks" not in record and record["peak_mb"] > 10


def test_what_reruns(mini, cli: Cli):
    """Prose: nothing. A helper function: the notebooks that reach it. An export cell: its users."""
    first = mini.add(
        "first",
        "import d2l_helpers as d2l",
        'tags=["export"]\ndef double(x):\n    return 2 * x',
        "print(double(2), d2l.try_device())",
    )
    mini.add("second", "from d2l_helpers.chapters.start import double", "print(double(3))")
    third = mini.add("third", "print('nothing imported')")
    status, text = cli("run")
    assert status == 0, text
    assert "3 of 3 notebooks good" in text
    assert "nothing to do" in cli("run")[1]

    third.write_text(
        third.read_text().replace("# # 1.3 third", "# # 1.3 third\n#\n# One more sentence.")
    )
    assert "nothing to do" in cli("run")[1]

    device = mini.root / "d2l_helpers" / "device.py"
    device.write_text(
        device.read_text().replace(
            "def try_device(", "def unused():\n    return 1\n\n\ndef try_device("
        )
    )
    assert "nothing to do" in cli("run")[1]  # a function that nobody reaches
    device.write_text(device.read_text().replace("count = torch", "count = 0 + torch"))
    assert _ran(cli("run")[1]) == ["1.1"]

    first.write_text(first.read_text().replace("return 2 * x", "return x + x"))
    assert sorted(_ran(cli("run")[1])) == ["1.1", "1.2"]
    assert "return x + x" in (mini.root / "d2l_helpers" / "chapters" / "start.py").read_text()


def _outputs(result) -> list:
    """What a result would store, without the record of its run."""
    return pair.reference(result.section, result.notebook, result.run).cells


def _ran(text: str) -> list[str]:
    return [
        line.split()[2] for line in text.splitlines() if line.startswith("[") and "] ok" in line
    ]


def test_profiles(mini, cli: Cli):
    mini.add("knobs", 'tags=["parameters"]\nsteps = 7', "print(steps)", smoke="{steps: 2}")
    status, text = cli("run", "--profile", "smoke")
    assert status == 0, text
    section = mini.book.select(["1.1"])[0]
    key = keys.key(section, "smoke", "real", keys.Sources(mini.root))
    executed = store_of(mini.book).get(key)
    assert executed.cells[2].outputs[0].text == "2\n"
    assert [c.source for c in executed.cells] == [c.source for c in section.notebook.cells]
    assert keys.key(section, "cpu", "real", keys.Sources(mini.root)) != key


def test_unknown_parameter(mini, cli: Cli):
    mini.add("knobs", 'tags=["parameters"]\nsteps = 7', "print(steps)", smoke="{stepz: 2}")
    status, text = cli("run", "--profile", "smoke")
    assert status == 1 and "sets stepz" in text and "it has: steps" in text


def test_committed_notebook_is_a_store_entry(mini, cli: Cli):
    mini.add("only", "print(1.5)")
    assert cli("accept")[0] == 0
    for path in store_of(mini.book).folder.iterdir():
        path.unlink()
    assert "nothing to do" in cli("run")[1]
    # a number changed by hand: the notebook no longer vouches for its outputs
    path = mini.book.select(["1.1"])[0].ipynb
    path.write_text(path.read_text().replace("1.5\\n", "1.7\\n"))
    status, text = cli("check")
    assert (
        status == 1
        and "expected '1.7', got '1.5'" in text
        and "01-only.py:" in text
        and "(cell 2)" in text
    ), text


def test_damaged_store_entry(mini, cli: Cli):
    mini.add("only", "print(1)")
    cli("run")
    entry = next(store_of(mini.book).folder.glob("*.ipynb"))
    entry.write_text('{"half": ')
    status, text = cli("run")
    assert status == 0 and "is damaged" in text and "1 of 1 notebooks good" in text
    assert entry.with_suffix(".damaged").exists()


def test_two_runs_are_byte_equal(mini, cli: Cli):
    mini.add(
        "plot",
        "import torch\nimport matplotlib.pyplot as plt\nimport d2l_helpers as d2l\n\nd2l.use_style()",
        "ax = d2l.plot(torch.arange(5), torch.rand(5, generator=torch.manual_seed(0)))\nd2l.describe(ax, 'five points')",
        "print(object())",
    )
    texts = []
    for _ in range(2):
        assert cli("accept", "--fresh")[0] == 0
        notebook = json.loads(mini.book.select(["1.1"])[0].ipynb.read_text())
        assert notebook["metadata"].pop("run")["seconds"] > 0  # all that may differ
        texts.append(json.dumps(notebook))
    assert texts[0] == texts[1]
    assert '"alt": "five points"' in texts[0] and "vnd.d2l.figure" in texts[0]
    assert cli("accept")[0] == 0  # nothing ran, nothing is written
    assert "stored" not in cli("accept")[1]


def test_stores_unite(mini, tmp_path):
    mini.add("a", "print(1)")
    mini.add("b", "print(2)")
    book = mini.book
    results = run(book, shard(book.notebooks, "1/2"))
    assert [r.section.id for r in results] == ["1.1"]
    other = tmp_path / "other"
    store_of(book).folder.rename(other)
    run(book, shard(book.notebooks, "2/2"))
    assert store_of(book).merge(other) == 1
    assert all(
        r.run.status == "ok" and r.run.seconds > 0
        for r in run(book, book.notebooks, say=lambda text: None)
    )


def test_shard_needs_sense(mini):
    with pytest.raises(BookError, match="write i/n"):
        shard([], "3/2")


@pytest.mark.slow
def test_dask_cluster_gives_the_same(mini):
    from distributed import LocalCluster

    mini.add("a", "import torch", "print(torch.arange(3).sum() * 1.5)")
    mini.add("b", "print(2)")
    book: Book = mini.book
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        there = run(book, book.notebooks, fresh=True, scheduler=cluster.scheduler_address)
    here = run(book, book.notebooks, fresh=True)
    for a, b in zip(there, here, strict=True):
        assert a.ok and b.ok
        assert _outputs(a) == _outputs(b) and a.run.key == b.run.key == a.run.key_after


@pytest.mark.slow
def test_a_lost_worker_loses_nothing(mini):
    """One of two Dask workers is killed while it runs a notebook; another one takes it over, and the outputs are the same."""
    import os
    import signal
    import threading
    import time

    from distributed import Client, LocalCluster

    for i in range(4):
        mini.add(f"n{i}", "import time", "time.sleep(1.5)", f"print({i} + 1)")
    book: Book = mini.book
    done: list[list] = []
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        thread = threading.Thread(
            target=lambda: done.append(
                run(book, book.notebooks, fresh=True, scheduler=cluster.scheduler_address)
            )
        )
        thread.start()
        limit = time.monotonic() + 60
        while not any(client.processing().values()):
            assert time.monotonic() < limit
            time.sleep(0.05)
        time.sleep(2.0)  # into a notebook
        victim = next(
            worker.pid
            for worker in cluster.workers.values()
            if worker.worker_address in client.processing()
        )
        os.kill(victim, signal.SIGKILL)
        thread.join(120)
    there = done[0]
    here = run(book, book.notebooks, fresh=True)
    for a, b in zip(there, here, strict=True):
        assert a.ok and b.ok
        assert _outputs(a) == _outputs(b) and a.run.key == b.run.key == a.run.key_after


def test_interrupted_store_write_leaves_nothing(mini, monkeypatch):
    import os

    from bookbuild.store import write_text

    target = mini.root / "store" / "x.ipynb"
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_text(target, "text")
    assert list(target.parent.iterdir()) == []
    assert read_notebook(target) is None


def test_missing_and_tampered_data_are_errors(mini, cli: Cli, tmp_path, monkeypatch):
    path = mini.add(
        "data",
        "import d2l_helpers as d2l",
        "print(d2l.fetch('fashion-mnist').source)",
        data="fashion-mnist",
    )
    where = f"error: {path.relative_to(mini.root).as_posix()}:4 (header): "
    monkeypatch.setenv("D2L_DATA", "real")
    status, text = cli("run")
    assert status == 1 and where in text and "train-images-idx3-ubyte" in text
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "train-images-idx3-ubyte").write_bytes(b"not these bytes")
    monkeypatch.setenv("D2L_DATA", "auto")
    monkeypatch.setenv("D2L_MIRRORS", str(mirror))
    status, text = cli("run")
    assert (
        status == 1 and where in text and "15 bytes" in text and "expected 47040016 bytes" in text
    )
    monkeypatch.setenv("D2L_DATA", "sometimes")
    status, text = cli("run")
    assert status == 1 and "'sometimes'" in text


def test_stale_exported_module_fails_the_check(mini, cli: Cli):
    mini.add("one", 'tags=["export"]\ndef one():\n    return 1', "print(one())")
    cli("accept")
    module = mini.root / "d2l_helpers" / "chapters" / "start.py"
    module.write_text(module.read_text().replace("return 1", "return 2"))
    status, text = cli("check")
    assert status == 1 and "d2l_helpers/chapters/start.py: not what the export cells give" in text


def test_sources_that_change_while_a_notebook_runs(mini, cli: Cli):
    """A helper is edited while a notebook sleeps, and put back: the outputs are not served under the old key."""
    mini.add(
        "sleeps",
        "import d2l_helpers as d2l",
        "import time\nopen('begun', 'w').close()\ntime.sleep(6)",
        "import d2l_helpers.device as device\nprint(d2l.try_device('cpu'), device.MARK)",
    )
    device = mini.root / "d2l_helpers" / "device.py"
    original = device.read_text()
    device.write_text(original + "\n\nMARK = 'original'\n")
    original = device.read_text()
    begun = mini.root / "book" / "01-start" / "begun"

    def edit() -> None:
        while not begun.exists():
            time.sleep(0.05)
        device.write_text(original.replace("'original'", "'edited'"))

    thread = threading.Thread(target=edit)
    thread.start()
    status, text = cli("run")
    thread.join()
    device.write_text(original)
    assert status == 1 and "d2l_helpers/device.py changed while it ran" in text, text
    assert not list(store_of(mini.book).folder.glob("*.ipynb"))
    begun.unlink()
    assert cli("run")[0] == 0
    only = nbformat.read(next(store_of(mini.book).folder.glob("*.ipynb")), as_version=4)
    assert only.cells[-1].outputs[0].text.endswith("original\n")


def test_a_sentence_may_change_while_a_notebook_runs(mini, cli: Cli):
    path = mini.add("sleeps", "import time\nopen('begun', 'w').close()\ntime.sleep(3)", "print(1)")
    begun = mini.root / "book" / "01-start" / "begun"

    def edit() -> None:
        while not begun.exists():
            time.sleep(0.05)
        path.write_text(path.read_text() + "\n# %% [markdown]\n# One more sentence.\n")

    thread = threading.Thread(target=edit)
    thread.start()
    status, text = cli("run")
    thread.join()
    assert status == 0, text


def test_the_record_travels_with_the_outputs(mini, cli: Cli):
    """A fresh clone knows of every section when it ran, how long, where, and with what."""
    mini.add("only", "print(1.5)", "# check 1.1-C1\nassert 1 < 2", 'tags=["timing"]\nprint(0.3)')
    assert cli("accept")[0] == 0
    shutil.rmtree(mini.root / "build")
    shutil.rmtree(mini.root / "store")
    (result,) = run(mini.book, mini.book.notebooks)
    known = result.run
    assert known.when and known.seconds > 0 and known.peak_mb > 10 and known.device == "cpu"
    assert known.checks == ("C1",) and known.versions["torch"]
    assert (known.compared, known.uncompared) == (1, {"timing": 1})
    assert not (mini.root / "store").exists()


def test_limits_belong_to_a_profile(mini, cli: Cli):
    from bookbuild.run import limits

    mini.add("only", "print(1)", limits="{cpu: {seconds: 60}, gpu: {memory_mb: 500}}")
    (section,) = mini.book.notebooks
    assert limits(mini.book, section, "cpu") == {
        "seconds": 60,
        "cell_seconds": 120,
        "memory_mb": 2048,
    }
    assert limits(mini.book, section, "gpu")["seconds"] == 1800
    assert limits(mini.book, section, "gpu")["memory_mb"] == 500
    mini.add("flat", "print(1)", limits="{seconds: 60}")
    status, text = cli("run", "1.2")
    assert status == 1 and "limits: seconds: 60 is not understood" in text
    mini.add("typo", "print(1)", limits="{cpu: {second: 60}}")
    status, text = cli("run", "1.3")
    assert status == 1 and "second" in text and "cell_seconds" in text


TWO_JOBS = """
import subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from bookbuild.book import Book
from bookbuild.execute import execute
from bookbuild.run import Planner, job_of

book = Book(sys.argv[1])
planner = Planner(book, "cpu")
jobs = [job_of(planner, s, planner.planned(s)) for s in book.notebooks]
bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
try:
    with ThreadPoolExecutor(2) as pool:
        (first, _), (second, text) = pool.map(execute, jobs)
    assert first.error is not None and "limit of 6 s" in first.error.message, first.error
    assert second.ok and "alive" in text, second.error
    assert bystander.poll() is None
finally:
    bystander.kill()
    bystander.wait()
"""


def test_two_jobs_in_one_process_leave_each_other_alone(mini):
    """As in a Dask worker with two threads: the job over its limit ends, the other one does not."""
    mini.add("endless", "import time", "time.sleep(60)", limits="{cpu: {seconds: 6}}")
    mini.add("innocent", "import time", "time.sleep(9)", "print('alive')")
    # in a process of its own, which takes the event loops of its threads with it
    done = subprocess.run(
        [sys.executable, "-c", TWO_JOBS, str(mini.root)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


READERS = {
    "MPLBACKEND": {"MPLBACKEND": "Agg"},
    "ipython": {"IPYTHONDIR": "{tmp}/ipython"},
    "matplotlib": {"MPLCONFIGDIR": "{tmp}/mpl", "MATPLOTLIBRC": "{tmp}/mpl"},
    "startup": {"PYTHONSTARTUP": "{tmp}/startup.py"},
    "no asserts": {"PYTHONOPTIMIZE": "1"},
    "no home": {"HOME": "/dev/null/home", "MPLCONFIGDIR": "", "XDG_CACHE_HOME": ""},
    "long TMPDIR": {"TMPDIR": "{tmp}/" + "x" * 120},
}


@pytest.mark.parametrize("name", READERS)
def test_a_readers_own_settings_reach_no_output(mini, cli: Cli, tmp_path, monkeypatch, name):
    """Another backend, IPython and Matplotlib settings, a start-up file, asserts off: the same outputs."""
    mini.add(
        "plot",
        "import torch\nimport matplotlib.pyplot as plt\nimport d2l_helpers as d2l\n\nd2l.use_style()",
        "ax = d2l.plot([0, 1], [0, 1])\nd2l.describe(ax, 'a line')",
        "1\n2",
        "print(torch.get_default_dtype(), plt.rcParams['lines.linestyle'])",
        "try:\n    assert False\nexcept AssertionError:\n    print('checks work')",
    )
    status, text = cli("accept")
    assert status == 0, text
    profile = tmp_path / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    settings = "c = get_config()\nc.InteractiveShell.ast_node_interactivity = 'all'\n"
    (profile / "ipython_kernel_config.py").write_text(settings)
    start = "import torch\ntorch.set_default_dtype(torch.float64)\n"
    (profile / "startup" / "00.py").write_text(start)
    (tmp_path / "startup.py").write_text(start)
    (tmp_path / "mpl").mkdir()
    (tmp_path / "mpl" / "matplotlibrc").write_text("lines.linestyle: --\n")
    for variable, value in READERS[name].items():
        value = value.format(tmp=tmp_path)
        if variable == "TMPDIR":
            os.makedirs(value)
            monkeypatch.setattr("tempfile.tempdir", None)
        monkeypatch.setenv(variable, value)
    command = [sys.executable, "-m", "bookbuild", "--root", str(mini.root), "check", "--fresh"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_described_figure_needs_a_picture(mini, cli: Cli):
    mini.add(
        "plot",
        "import matplotlib.pyplot as plt\nimport d2l_helpers as d2l",
        "ax = d2l.plot([0, 1], [0, 1])\nd2l.describe(ax, 'a line')\nplt.close('all')",
    )
    status, text = cli("run")
    assert status == 1 and "describes a figure, and no picture came of it" in text


def test_a_taught_function_may_describe_a_figure(mini, cli: Cli):
    mini.add(
        "taught",
        "import d2l_helpers as d2l",
        'tags=["export"]\ndef show(ax):\n    d2l.describe(ax, "a line")\n    return ax',
        "print('defined')",
    )
    status, text = cli("run")
    assert status == 0, text


def test_the_device_is_what_the_notebook_said(mini):
    mini.add(
        "one",
        "import json, os\nwith open(os.environ['D2L_RECORD'], 'a') as file:\n"
        "    for device in ('cpu', 'mps:0'):\n"
        "        file.write(json.dumps({'device': device}) + '\\n')",
    )
    mini.add("two", "print('device: cuda')")
    assert [r.run.device for r in run(mini.book, mini.book.notebooks)] == ["mps:0", "cpu"]


def test_a_worker_with_other_versions_is_refused(mini, monkeypatch):
    from bookbuild.execute import execute
    from bookbuild.run import Planner, job_of

    mini.add("one", "print(1)")
    (section,) = mini.book.notebooks
    planner = Planner(mini.book, "cpu")
    job = job_of(planner, section, planner.planned(section))
    other = dataclasses.replace(job, versions={**job.versions, "torch": "1.0"})
    known, _ = execute(other)
    assert known.error is not None and "instead of 1.0" in known.error.message


def test_verbs_honour_their_arguments(mini, cli: Cli):
    one, two = mini.add("one", "print(1)"), mini.add("two", "print(2)")
    assert cli("pair", "1.2")[0] == 0
    assert two.with_suffix(".ipynb").exists() and not one.with_suffix(".ipynb").exists()
    for words in (
        ("build", "--profile", "gpu"),
        ("build", "--shard", "1/2"),
        ("accept", "--profile", "gpu"),
        ("export", "1.1"),
        ("lab", "1.1"),
        ("from-notebook",),
        ("merge-store",),
    ):
        with pytest.raises(SystemExit):
            cli(*words)
    assert "1.1" not in cli("status", "1.2")[1]


def test_prune(mini, cli: Cli, monkeypatch):
    path = mini.add("one", "print(1)")
    cli("run")
    path.write_text(path.read_text().replace("print(1)", "print(2)"))
    cli("run")
    folder = store_of(mini.book).folder
    (folder / "x.damaged").write_text("half")
    assert len(list(folder.iterdir())) == 3
    status, text = cli("prune")
    assert status == 0 and "2 files removed" in text
    assert "nothing to do" in cli("run")[1]
    # a limit on its size: what is current stays
    path.write_text(path.read_text().replace("print(2)", "print(3)"))
    monkeypatch.setenv("BOOK_STORE_MB", "0")
    cli("run")
    assert len(list(folder.iterdir())) == 1 and "nothing to do" in cli("run")[1]


def test_a_read_only_checkout_builds_elsewhere(mini, cli: Cli, monkeypatch, tmp_path):
    mini.add("one", "print(1)")
    assert cli("pair")[0] == 0
    monkeypatch.setenv("BOOK_BUILD", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("BOOK_STORE", str(tmp_path / "store"))
    assert cli("run")[0] == 0
    assert (tmp_path / "elsewhere" / "records" / "cpu" / "1.1.json").exists()
    assert not (mini.root / "build").exists()
