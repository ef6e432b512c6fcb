"""The verbs: `python -m bookbuild VERB [SECTION ...]`; a section is `3.4`, a chapter `3`, or a path."""

import argparse
import errno
import os
import sys
from typing import Any

from . import check, export, pair
from .book import Book, BookError, Section
from .run import Result, run, shard, store_of
from .store import sweep


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        book = Book(args.root)
        sweep(
            book.root / "book",
            book.root / export.PACKAGE,
            store_of(book).folder,
            book.root / "build" / "records",
            book.root / "build" / "failed",
        )
        return int(args.function(book, args))
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        print(f"error: {error.filename or args.verb}: {error.strerror}. What had finished is kept; make room or name another folder for\n"
              "  executed notebooks (BOOK_STORE), data (D2L_CACHE) or scratch files (TMPDIR), and start again.", file=sys.stderr)  # fmt: skip
        return 1
    except KeyboardInterrupt:
        print("interrupted; what had finished is kept.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bookbuild", description="Build and check the book.")
    parser.add_argument("--root", help="root of the book (default: the folder of this package)")
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(name: str, function: Any, text: str, *options: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        sub.add_argument(
            "sections", nargs="*", help="3.4, a chapter (3), or a path; all without it"
        )
        if "run" in options:
            sub.add_argument("--profile", default="cpu", choices=("cpu", "gpu", "smoke"))
            sub.add_argument(
                "--fresh",
                action="store_true",
                default=os.environ.get("FRESH") == "1",
                help="run everything anew",
            )
            sub.add_argument("--scheduler", help="address of a Dask scheduler, tcp://host:port")
            sub.add_argument("--shard", help="i/n: the i-th of n parts of the list")
        return sub

    verb("pair", _pair, "bring .ipynb files and exported modules up to their sources")
    verb("export", _export, "write d2l_helpers/chapters from the export cells")
    verb("run", _run, "execute what is out of date", "run")
    verb("check", _check, "execute what is out of date and compare with the stored outputs", "run")
    verb("accept", _accept, "take the outputs of the current code as the stored ones", "run")
    verb("build", _build, "pair, run, and build the site", "run")
    verb("site", _build, "the same as build", "run")
    sub = verb("mutate", _mutate, "change the code a little: do the checks and outputs notice?")
    sub.add_argument("--seed", default="0", help="which changes are tried")
    sub.add_argument("--count", type=int, default=5, help="how many for each section")
    sub.add_argument("--shard", help="i/n: the i-th of n parts of the list")
    sub.add_argument("--record", action="store_true", help="write tests/mutation.json")
    sub.add_argument("--floor", type=float, default=0.0, help="fail below this share of killed ones")
    verb("from-notebook", _from_notebook, "bring an edit made in an .ipynb into its .py")
    verb("lab", _lab, "open JupyterLab on the book")
    verb("merge-store", _merge, "take over the entries of other store folders (given as arguments)")
    verb("status", _status, "checks planned, marked and exercises for each section")
    return parser


def _selected(book: Book, args: argparse.Namespace) -> list[Section]:
    return shard(book.select(args.sections), getattr(args, "shard", None))


def _export(book: Book, args: argparse.Namespace) -> int:
    for path in export.write(book):
        print(f"wrote {path.relative_to(book.root).as_posix()}")
    return 0


def _pair(book: Book, args: argparse.Namespace) -> int:
    for path in export.write(book) + pair.write(book):
        print(f"wrote {path.relative_to(book.root).as_posix()}")
    return 0


def _results(book: Book, args: argparse.Namespace) -> list[Result]:
    export.write(book)
    return run(book, _selected(book, args), args.profile, args.fresh, args.scheduler)


def _run(book: Book, args: argparse.Namespace) -> int:
    return 0 if all(r.ok for r in _results(book, args)) else 1


def _check(book: Book, args: argparse.Namespace) -> int:
    return check.check(book, _selected(book, args), args.profile, args.fresh, args.scheduler)


def _accept(book: Book, args: argparse.Namespace) -> int:
    if args.profile != "cpu":
        raise BookError(f"--profile {args.profile}: stored outputs are those of the cpu profile.")
    results = _results(book, args)
    for path in check.accept(book, [r.section for r in results], results):
        print(f"stored {path.relative_to(book.root).as_posix()}")
    return 0


def _build(book: Book, args: argparse.Namespace) -> int:
    from . import site

    _pair(book, args)
    wanted = {s.id for s in _selected(book, args)}
    results = run(
        book,
        book.notebooks if not args.sections else [s for s in book.notebooks if s.id in wanted],
        "cpu",
        args.fresh,
        args.scheduler,
    )
    executed = {
        r.section.id: pair.merge(r.section, r.notebook) for r in results if r.notebook is not None
    }
    records = {r.section.id: r.record for r in results}
    for section in book.notebooks:  # pages that were not asked for keep the outputs they have
        notebook = pair.committed(section)
        if section.id not in executed and section.id not in records and notebook is not None:
            executed[section.id] = pair.updated(section, notebook)
            records[section.id] = {
                "section": section.id,
                "status": "stored",
                "checks": section.marked_checks,
            }
    problems = [r.message for r in results if not r.ok] + site.build(
        book, executed, records, book.root / "build" / "html"
    )
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not problems:
        print(f"site: {(book.root / 'build' / 'html' / 'index.html').as_uri()}")
    return 1 if problems else 0


def _from_notebook(book: Book, args: argparse.Namespace) -> int:
    if not args.sections:
        raise BookError(
            "from-notebook needs a section, for example: python -m bookbuild from-notebook 3.4"
        )
    for section in book.select(args.sections):
        print(f"wrote {pair.from_notebook(section).relative_to(book.root).as_posix()}")
    return _pair(Book(book.root), args)


def _mutate(book: Book, args: argparse.Namespace) -> int:
    from .mutate import mutate

    return mutate(book, _selected(book, args), args.seed, args.count, args.record, args.floor)


def _merge(book: Book, args: argparse.Namespace) -> int:
    from pathlib import Path

    for folder in args.sections:
        if not Path(folder).is_dir():
            raise BookError(f"{folder}: no such folder.")
        print(f"{folder}: {store_of(book).merge(Path(folder))} entries taken over")
    return 0


def _lab(book: Book, args: argparse.Namespace) -> int:
    from . import lab

    return lab.start(book.root)


def _status(book: Book, args: argparse.Namespace) -> int:
    from .lint import EXERCISE, prose

    print(f"{'section':<8} {'there':<6} {'checks':>8} {'exercises':>10}  title")
    for section in book.planned:
        asked = (
            len({e for _, text in prose(section) for e in EXERCISE.findall(text)})
            if section.exists
            else 0
        )
        marked = len(section.marked_checks) if section.exists else 0
        print(
            f"{section.id:<8} {'yes' if section.exists else '-':<6} {marked:>4}/{section.checks:<3} {asked:>6}/{section.exercises:<3}  {section.title}"
        )
    return 0
