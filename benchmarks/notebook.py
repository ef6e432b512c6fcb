"""What running a notebook costs over the plain script, and what importing the helper costs over torch.

python -m benchmarks.notebook
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from .common import goal, medians

SCRIPT = """
import torch
torch.manual_seed(0)
X = torch.randn(2000, 50)
w = torch.zeros(50, requires_grad=True)
optimizer = torch.optim.SGD([w], lr=0.1)
for _ in range(200):
    loss = ((X @ w - X.sum(1)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"{loss.item():.6f}")
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def child_seconds(command: list[str]) -> float:
    """CPU seconds of a command and of all processes that it waited for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        script, notebook, driver = (
            Path(folder) / "plain.py",
            Path(folder) / "plain.ipynb",
            Path(folder) / "driver.py",
        )
        script.write_text(SCRIPT)
        nbformat.write(
            nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in (SCRIPT,)]),
            notebook,
        )
        driver.write_text(
            "import sys, pathlib\nfrom bookbuild.execute import Job, execute\nfrom bookbuild.record import Run\n"
            f"text = pathlib.Path({str(notebook)!r}).read_text()\n"
            "for _ in range(int(sys.argv[1])):\n"
            f"    run, _ = execute(Job(Run('x', 'cpu'), text, {{}}, {folder!r}, {{'OMP_NUM_THREADS': '1'}}, 100, 100, 4000, {{}}))\n"
            "    assert run.ok, run.error\n"
        )
        plain = sorted(child_seconds([sys.executable, str(script)]) for _ in range(5))[2]
        # The worker starts once for many notebooks: the difference between three and one is two notebooks.
        one = sorted(child_seconds([sys.executable, str(driver), "1"]) for _ in range(3))[1]
        three = sorted(child_seconds([sys.executable, str(driver), "3"]) for _ in range(3))[1]
    each = (three - one) / 2
    print(
        f"plain script {plain:.2f} CPU s; a notebook {each:.2f} CPU s ({each / plain:.2f} times); start of the worker {one - each:.2f} CPU s"
    )
    good = goal("a notebook over its plain script, CPU seconds", each - plain, 6.5, " s")
    base = [sys.executable, "-c", "import torch"]
    helper = [sys.executable, "-c", "import torch, d2l_helpers"]
    t = medians(
        7,
        torch=lambda: subprocess.run(base, env=ENVIRONMENT),
        helper=lambda: subprocess.run(helper, env=ENVIRONMENT),
    )
    print(f"import torch {t['torch']:.2f} s; with d2l_helpers {t['helper']:.2f} s")
    return (
        0
        if goal("import of d2l_helpers over torch", t["helper"] - t["torch"], 0.1, " s") and good
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
