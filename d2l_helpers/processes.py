"""Programs of several processes, started from a notebook and ended with it.

A function that a cell defines cannot be sent to another process, so what several processes run
stands in a script: `write_script` puts one together from the cells' own functions, and `torchrun`
starts it on this machine.
"""

import ast
import contextlib
import inspect
import linecache
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["torchrun", "write_script"]

#: Lines of a failed script's messages that the error shows.
SHOWN = 15
#: Exit status of the guard where the time was up, as of `timeout`.
LATE = 124


def write_script(name: str, *parts: str | Callable[..., object] | type) -> Path:
    """Write a Python script into a folder of its own.

    Parameters
    ----------
    name
        Name of the file, such as `train.py`.
    parts
        What the script holds, in this order: text, or functions and classes, of which the source
        is taken, decorators included. A name that a function uses has to be in the script too.

    Returns
    -------
    pathlib.Path
        The script. Its folder is a temporary one, which later scripts do not share.

    Raises
    ------
    ValueError
        If `name` is no plain name of a Python file, or the script would not compile.
    TypeError
        If the source of a part cannot be found.

    Examples
    --------
    >>> script = write_script("hello.py", 'print("hello")')
    >>> script.read_text(encoding="utf-8")
    'print("hello")\\n'
    """
    if Path(name).name != name or not name.endswith(".py"):
        raise ValueError(f"{name!r} is no name of a script: take a plain one that ends with .py")
    text = "\n\n".join(_source(part).strip("\n") for part in parts) + "\n"
    try:
        compile(text, name, "exec")
    except SyntaxError as error:
        line = (error.text or "").strip()
        raise ValueError(
            f"{name} is no Python at line {error.lineno}, {line!r}: {error.msg}"
        ) from error
    path = Path(tempfile.mkdtemp(prefix="d2l-script-")) / name
    path.write_text(text, encoding="utf-8")
    return path


def _source(part: str | Callable[..., object] | type) -> str:
    if isinstance(part, str):
        return textwrap.dedent(part)
    try:
        return textwrap.dedent(inspect.getsource(part))
    except (OSError, TypeError) as error:
        if isinstance(part, type) and (text := _source_of_class(part)):
            return text
        raise TypeError(
            f"no source is known of {part!r}; give functions, classes with a method, or text"
        ) from error


def _source_of_class(part: type) -> str:
    """The source of a class that a cell defines, found through its methods; empty if there is none.

    Before Python 3.13, `inspect` looks for a class in a file of its module, which a notebook lacks.
    """
    for member in vars(part).values():
        code = getattr(inspect.unwrap(getattr(member, "__func__", member)), "__code__", None)
        if code is None:
            continue
        text = "".join(linecache.getlines(code.co_filename))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.name == part.__name__:
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                lines = text.splitlines()[first - 1 : node.end_lineno]
                return textwrap.dedent("\n".join(lines))
    return ""


def torchrun(
    script: str | os.PathLike[str],
    nproc: int = 2,
    args: Sequence[object] = (),
    timeout: float = 120.0,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a script in several processes of this machine, as the command `torchrun` does.

    Each process has one thread, and finds its number and their count in the environment (`RANK`,
    `WORLD_SIZE`), from where `torch.distributed.init_process_group` takes them. They talk through
    the loopback interface alone. Whatever happens here (an interrupted cell, a killed kernel, the
    time limit), all of them are ended.

    Parameters
    ----------
    script
        The file to run.
    nproc
        Number of processes.
    args
        Arguments of the script.
    timeout
        Limit in seconds.
    check
        Whether a script that fails is an error here.

    Returns
    -------
    subprocess.CompletedProcess
        Exit status, and the output and messages of all processes, as text.

    Raises
    ------
    FileNotFoundError
        If there is no such script.
    ValueError
        If `nproc` is no positive integer or `timeout` is not positive.
    TimeoutError
        If the time was up: processes that wait for each other never end by themselves.
    RuntimeError
        If the script failed and `check` holds; the error ends with the script's own messages.

    Examples
    --------
    >>> script = write_script("rank.py", "import os", "print(os.environ['WORLD_SIZE'])")
    >>> torchrun(script, nproc=1).stdout
    '1\\n'
    """
    path = Path(script)
    if not path.is_file():
        raise FileNotFoundError(f"there is no script {path}; write it first, with write_script")
    if not isinstance(nproc, int) or nproc < 1:
        raise ValueError(f"nproc is {nproc!r}: give a whole number of processes, 1 or more")
    if not timeout > 0:
        raise ValueError(f"timeout is {timeout!r}: give a positive number of seconds")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr=127.0.0.1", f"--nproc_per_node={nproc}", str(path)]
    command += [str(a) for a in args]
    guard = [sys.executable, "-m", "d2l_helpers.processes", str(float(timeout)), *command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            guard, stdin=subprocess.PIPE, stdout=out, stderr=err, env=_environment()
        )
        try:
            process.wait()
        finally:  # an interrupted cell comes here too; the guard ends when its input does
            if process.stdin:
                process.stdin.close()
            process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "replace").replace("\r\n", "\n"))
    done = subprocess.CompletedProcess(command, process.returncode, *texts)
    if done.returncode == LATE:
        raise TimeoutError(
            f"{path.name} took longer than {timeout:g} s on {nproc} processes and was ended; "
            f"does one of them wait for another? {_last(done.stderr)}"
        )
    if check and done.returncode:
        raise RuntimeError(
            f"{path.name} failed on {nproc} processes (exit status {done.returncode}). "
            f"{_last(done.stderr)}"
        )
    return done


def _environment() -> dict[str, str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    if sys.platform == "win32":
        environment.setdefault("USE_LIBUV", "0")
    else:  # where the name of the machine leads elsewhere, Gloo would wait for it
        loopback = "lo0" if sys.platform == "darwin" else "lo"
        environment.setdefault("GLOO_SOCKET_IFNAME", loopback)
    return environment


def _last(messages: str) -> str:
    """The part of the messages that tells most: the first worker's traceback, else the end."""
    lines = [line for line in messages.splitlines() if line.strip()]
    own = [re.sub(r"^\[rank\d+\]:\s?", "", line) for line in lines if line.startswith("[rank")]
    if not own:
        starts = [i for i, line in enumerate(lines) if line.startswith("Traceback")]
        own = lines[starts[0] :] if starts else lines
        ends = [i for i, line in enumerate(own) if re.match(r"[\w.]+(Error|Exception)\b", line)]
        own = own[: ends[0] + 1] if ends else own
    return "Its last messages:\n" + "\n".join(own[-SHOWN:]) if own else "It wrote no message."


def _guard(seconds: float, command: Sequence[str]) -> int:
    """Run a command; end its whole family with the input, with the command or at the limit."""
    import psutil

    gone = threading.Event()

    def watch() -> None:
        while os.read(0, 1):  # not sys.stdin, which holds a lock when this process ends
            pass
        gone.set()

    threading.Thread(target=watch, daemon=True).start()
    end = time.monotonic() + seconds
    child = psutil.Popen(command, stdin=subprocess.DEVNULL)
    family: dict[int, psutil.Process] = {}
    status: int | None = None
    try:
        while status is None and not gone.is_set() and time.monotonic() < end:
            with contextlib.suppress(psutil.Error):  # kept: of a lost parent nobody is a child
                family |= {p.pid: p for p in child.children(recursive=True)}
            with contextlib.suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
                status = child.wait(timeout=0.1)
    finally:
        family[child.pid] = child
        for process in family.values():
            with contextlib.suppress(psutil.Error):
                process.kill()
    if status is None:
        return 1 if gone.is_set() else LATE
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # an interrupt reaches the whole terminal
        sys.exit(_guard(float(sys.argv[1]), sys.argv[2:]))
    sys.exit(130)
