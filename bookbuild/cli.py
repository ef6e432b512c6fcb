"""The verbs: `python -m bookbuild VERB [SECTION ...]`; a section is `3.4`, `3` or a path."""

import argparse
import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from . import check, edit, export, pair, reset
from .book import Book, BookError, Section
from .pool import shard
from .progress import phase
from .record import PROFILES
from .run import Planner, Result, run, store_of
from .store import sweep

STORE_MB = 2000  # of executed notebooks; BOOK_STORE_MB


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    try:
        book = Book(args.root)
        sweep(
            book.root / "book",
            book.root / export.PACKAGE,
            store_of(book).folder,
            book.build / "records",
            book.build / "failed",
        )
        return int(args.function(book, args))
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        print(
            f"error: {error.filename or args.verb}: {error.strerror}. What had finished is kept; "
            "make room or name another folder for\n  what is built (BOOK_BUILD), executed "
            "notebooks (BOOK_STORE), data (D2L_CACHE) or scratch files (TMPDIR), and start again.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted; what had finished is kept.", file=sys.stderr)
        return 130


Verb = Callable[[Book, argparse.Namespace], int]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bookbuild", description="Build and check the book.")
    parser.add_argument("--root", help="root of the book (default: the folder of this package)")
    verbs = parser.add_subparsers(dest="verb", required=True)

    def verb(name: str, function: Verb, text: str, options: str = "") -> argparse.ArgumentParser:
        """A verb with just those options that it honours."""
        sub = verbs.add_parser(name, help=text, description=text)
        sub.set_defaults(function=function)
        offered = options.split()
        if "sections" in offered:
            sub.add_argument(
                "sections", nargs="*", help="3.4, a chapter (3), or a path; all without it"
            )
        if "profile" in offered:
            sub.add_argument("--profile", default="cpu", choices=tuple(PROFILES))
        if "run" in offered:
            fresh = os.environ.get("FRESH") == "1"
            sub.add_argument("--fresh", action="store_true", default=fresh, help="run all anew")
            sub.add_argument("--scheduler", help="address of a Dask scheduler, tcp://host:port")
        if "shard" in offered:
            sub.add_argument("--shard", help="i/n: the i-th of n parts of the list")
        return sub

    verb("pair", _pair, "bring .ipynb files and exported modules up to their sources", "sections")
    verb("export", _export, "write d2l_helpers/chapters from the export cells")
    verb("run", _run, "execute what is out of date", "sections profile run shard")
    checks = verb(
        "check",
        _check,
        "execute what is out of date and compare with the stored outputs",
        "sections profile run shard",
    )
    checks.add_argument(
        "--allow-standin",
        action="store_true",
        help="pass although outputs of stand-in data could not be compared with those of real data",
    )
    text = "take the outputs of the current code as the stored ones"
    verb("accept", _accept, text, "sections run")
    verb("build", _build, "pair, run, and build the site", "sections run")
    text = "print the built pages: the book, a chapter or sections as build/pdf/*.pdf"
    pdf = verb("pdf", _pdf, text, "sections")
    pdf.add_argument("--paper", default="A4", help="A4 or letter")
    text = "the built pages as build/epub/*.epub: the book, a chapter or sections"
    verb("epub", _epub, text, "sections")
    text = "change the code a little: do the checks and outputs notice?"
    mutants = verb("mutate", _mutate, text, "sections shard")
    mutants.add_argument("--seed", default="0", help="which changes are tried")
    mutants.add_argument("--count", type=int, default=5, help="how many for each section")
    mutants.add_argument("--record", action="store_true", help="write tests/mutation.json")
    mutants.add_argument(
        "--floor", type=float, default=0.0, help="fail below this share of killed ones"
    )
    notebooks = verb("from-notebook", _from_notebook, "bring an edit of an .ipynb into its .py")
    notebooks.add_argument("sections", nargs="+", help="3.4, a chapter (3), or a path")
    text = "write assignments without solutions, and with them as the key, for nbgrader too"
    verb("assignments", _assignments, text, "sections")
    verb("slides", _slides, "write sections as slides that open from the disk", "sections")
    back = verb("reset", _reset, "bring a section back as it was accepted; your version is kept")
    back.add_argument("sections", nargs="+", help="3.4, a chapter (3), or a path")
    text = "archive or folder that the book came in, where there is no git"
    back.add_argument("--from", dest="archive", type=Path, metavar="BOOK.zip", help=text)
    skeleton = verb("new", _new, "write the skeleton of a planned section")
    skeleton.add_argument("section", help="its number in book/contents.toml, such as 8.1")
    verb("lab", _lab, "open JupyterLab on the book")
    merge = verb("merge-store", _merge, "take over the entries of other store folders")
    merge.add_argument("folders", nargs="+", type=Path)
    verb("prune", _prune, "remove executed notebooks that belong to no current code")
    text = "checks planned, marked and exercises for each section"
    verb("status", _status, text, "sections")
    return parser


def _selected(book: Book, args: argparse.Namespace) -> list[Section]:
    return shard(book.select(args.sections), getattr(args, "shard", None))


def _tell(book: Book, what: str, paths: list[Path]) -> None:
    for path in paths:
        print(f"{what} {path.relative_to(book.root).as_posix()}")


def _export(book: Book, args: argparse.Namespace) -> int:
    _tell(book, "wrote", export.write(book))
    return 0


def _pair(book: Book, args: argparse.Namespace) -> int:
    _tell(book, "wrote", export.write(book) + pair.write(book, book.select(args.sections)))
    return 0


def _results(book: Book, args: argparse.Namespace) -> list[Result]:
    export.write(book)
    results = run(
        book, _selected(book, args), getattr(args, "profile", "cpu"), args.fresh, args.scheduler
    )
    limit = float(os.environ.get("BOOK_STORE_MB", STORE_MB))
    keep = {r.run.key for r in results}
    store_of(book).prune(keep, limit)
    return results


def _run(book: Book, args: argparse.Namespace) -> int:
    return 0 if all(r.ok for r in _results(book, args)) else 1


def _check(book: Book, args: argparse.Namespace) -> int:
    return check.check(
        book,
        _selected(book, args),
        args.profile,
        args.fresh,
        args.scheduler,
        args.allow_standin,
    )


def _accept(book: Book, args: argparse.Namespace) -> int:
    results = _results(book, args)
    with phase(f"accept: storing the outputs of {len(results)} notebooks"):
        written, refused = check.accept(book, results)
    _tell(book, "stored", written)
    for problem in refused:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if refused else 0


def _build(book: Book, args: argparse.Namespace) -> int:
    from . import site

    wanted = [s for s in book.select(args.sections, pages=True) if not s.is_page]
    with phase("pair: bringing notebooks up to their sources"):
        written = export.write(book) + pair.write(book, wanted)
    _tell(book, "wrote", written)
    results = {r.section.id: r for r in run(book, wanted, "cpu", args.fresh, args.scheduler)}
    others = [s for s in book.notebooks if s.id not in results]
    if others:  # pages that were not asked for show what there is of them
        planner = Planner(book, "cpu")
        with phase(f"site: taking {len(others)} other notebooks as they are"):
            for section in others:
                result = planner.current(section)
                results[section.id] = result if result.ok else _as_committed(section, result)
    executed = {
        number: pair.merge(r.section, r.notebook)
        for number, r in results.items()
        if r.notebook is not None
    }
    runs = {number: r.run for number, r in results.items() if r.run.status != "planned"}
    problems = [r.message for r in results.values() if r.run.error]
    problems += site.build(book, executed, runs, book.build / "html")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not problems:
        print(f"site: {(book.build / 'html' / 'index.html').as_uri()}")
    return 1 if problems else 0


def _pdf(book: Book, args: argparse.Namespace) -> int:
    from . import paper

    sections = book.select(args.sections, pages=True)
    print(f"pdf: {paper.make_pdf(book, sections, _named(args.sections), args.paper)}")
    return 0


def _epub(book: Book, args: argparse.Namespace) -> int:
    from . import paper

    sections = book.select(args.sections, pages=True)
    print(f"epub: {paper.make_epub(book, sections, _named(args.sections))}")
    return 0


def _named(wanted: list[str]) -> str:
    """Name of a file for sections as a person asks for them: `book`, `book-3`, `book-3.4`."""
    return "-".join(["book", *(Path(want).name.removesuffix(".py") for want in wanted)])


def _as_committed(section: Section, planned: Result) -> Result:
    """The committed outputs of a section whose code changed since; changed cells have none."""
    notebook = pair.committed(section)
    accepted = pair.stored_run(notebook)
    if notebook is None or accepted is None:
        return planned
    return Result(section, accepted, pair.updated(section, notebook))


def _from_notebook(book: Book, args: argparse.Namespace) -> int:
    for section in book.select(args.sections):
        _tell(book, "wrote", [edit.from_notebook(section)])
    return _pair(Book(book.root), args)


def _reset(book: Book, args: argparse.Namespace) -> int:
    wanted = book.select(args.sections, missing=True)
    archive = args.archive or reset.archive_nearby(book)
    if archive:
        print(f"as it is in {archive}:")
    # Of a chapter that is half written, those that were there.
    there = [s for s in wanted if s.exists or reset.accepted_source(s, archive)]
    for section in there or wanted:
        changed, kept = reset.reset(book, section, archive)
        if not changed:
            print(f"{section.id} is as it was accepted.")
            continue
        print(f"{section.id} is back as it was accepted.")
        if kept.exists():
            print(f"  your version is in {kept.relative_to(book.root).as_posix()}/")
    _tell(book, "wrote", export.write(Book(book.root)))
    return 0


def _new(book: Book, args: argparse.Namespace) -> int:
    from . import new

    path = new.write(book, args.section)
    print(new.next_steps(book, args.section, path))
    return 0


def _mutate(book: Book, args: argparse.Namespace) -> int:
    from .mutate import mutate

    return mutate(book, _selected(book, args), args.seed, args.count, args.record, args.floor)


def _merge(book: Book, args: argparse.Namespace) -> int:
    for folder in args.folders:
        if not folder.is_dir():
            raise BookError(f"{folder}: no such folder.")
        print(f"{folder}: {store_of(book).merge(folder)} entries taken over")
    return 0


def _prune(book: Book, args: argparse.Namespace) -> int:
    planners = [Planner(book, profile) for profile in PROFILES]
    keep = {planner.planned(s).key for planner in planners for s in book.notebooks}
    store = store_of(book)
    damaged = list(store.folder.glob("*.damaged"))
    for path in damaged:
        path.unlink(missing_ok=True)
    gone, left = store.prune(keep, 0)
    print(f"store: {gone + len(damaged)} files removed, {left:.0f} MB of current outputs left")
    return 0


def _lab(book: Book, args: argparse.Namespace) -> int:
    from . import lab

    return lab.start(book.root)


def _assignments(book: Book, args: argparse.Namespace) -> int:
    from .teach import write_assignments

    sections = book.select(args.sections, pages=True)
    written, kept = write_assignments(book, [s for s in sections if not s.is_page])
    for path in written:
        print(f"wrote {path}")
    for section in sections:
        if section.is_page and section.exercises:
            print(f"left out {section.id}: it is a page, so its exercises have no notebook")
    for message in kept:
        print(f"error: {message}", file=sys.stderr)
    return 1 if kept else 0


def _slides(book: Book, args: argparse.Namespace) -> int:
    from .teach import write_slides

    for path in write_slides(book, book.select(args.sections)):
        print(f"slides: {path.as_uri()}")
    return 0


def _status(book: Book, args: argparse.Namespace) -> int:
    from .lint import exercises

    wanted = {s.id for s in book.select(args.sections)} if args.sections else None
    print(f"{'section':<8} {'there':<6} {'checks':>8} {'exercises':>10}  title")
    for section in book.planned:
        if wanted is not None and section.id not in wanted:
            continue
        asked = len(set(exercises(section))) if section.exists else 0
        marked = len(section.marked_checks) if section.exists else 0
        print(
            f"{section.id:<8} {'yes' if section.exists else '-':<6} {marked:>4}/{section.checks:<3}"
            f" {asked:>6}/{section.exercises:<3}  {section.title}"
        )
    return 0
