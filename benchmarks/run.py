"""All benchmarks, each in a process of its own on one thread. Exit status 1 if a goal is missed."""

import os
import subprocess
import sys
from pathlib import Path

from bookbuild.execute import MALLOC  # as the kernels of the book have it

NAMES = ("loader", "training", "notebook", "scale", "texts")


def main() -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **MALLOC}
    missed = []
    for name in NAMES:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        if subprocess.run(
            command, cwd=Path(__file__).resolve().parent.parent, env=environment
        ).returncode:
            missed.append(name)
    print(f"goals missed in: {', '.join(missed)}" if missed else "all goals hold")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
