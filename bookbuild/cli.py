"""The verbs: `python -m bookbuild VERB`."""

import argparse
import sys

from . import export
from .book import Book, BookError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bookbuild", description="Build and check the book.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("export", help="write d2l_helpers/chapters from the export cells")
    args = parser.parse_args(argv)
    try:
        book = Book()
        for path in export.write(book):
            print(path.relative_to(book.root))
    except BookError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
