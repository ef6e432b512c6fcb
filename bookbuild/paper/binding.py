"""Printed documents bound into one PDF: pages, places, links, bookmarks, numbers, tags."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, OutlineItem, Pdf, String

from ..book import BookError
from .document import SCHEME

Place = tuple[int, Any, Any]  # page of the document from 0, left, top


@dataclass
class Entry:
    """A bookmark: its text, the name of its place, and those below it."""

    text: str
    place: str
    below: list["Entry"] = field(default_factory=list)


def places(path: Path) -> tuple[dict[str, Place], int]:
    """Name -> place of a printed document, and how many pages it has."""
    with pikepdf.open(path) as pdf:
        numbers: dict[Any, int] = {page.objgen: i for i, page in enumerate(pdf.pages)}
        named = pdf.Root.get("/Dests", Dictionary())
        return {
            name.lstrip("/"): (numbers[to[0].objgen], to[2], to[3]) for name, to in named.items()
        }, len(pdf.pages)


def bind(
    parts: list[Path], front: int, entries: list[Entry], out: Path, title: str, author: str
) -> None:
    """Bind printed documents.

    Parameters
    ----------
    parts
        The documents in order.
    front
        How many pages at the beginning have Roman numbers.
    entries
        The bookmarks.
    out, title, author
        The PDF and what it says of itself.

    Raises
    ------
    BookError
        If a link or a bookmark leads to a place that no document has.
    """
    with Pdf.new() as pdf:
        known: dict[str, Array] = {}
        trees = []
        for part in parts:
            named, count = places(part)
            begin = len(pdf.pages)
            source = pikepdf.open(part)
            for page in source.pages:
                pdf.pages.append(page)
            for name, (number, left, top) in named.items():
                known[name] = Array([pdf.pages[begin + number].obj, Name.XYZ, left, top, 0])
            trees.append((source, begin, begin + count))
        _tags(pdf, trees)
        _link(pdf, known)
        with pdf.open_outline() as outline:
            outline.root.extend(_bookmark(entry, known) for entry in entries)
        roman, arabic = Dictionary(S=Name.r), Dictionary(S=Name.D)
        labels: list[Any] = [0, roman, front, arabic]
        pdf.Root.PageLabels = Dictionary(Nums=Array(labels))
        pdf.Root.PageMode = Name.UseOutlines
        pdf.Root.Lang = String("en")
        pdf.Root.ViewerPreferences = Dictionary(DisplayDocTitle=True)
        with pdf.open_metadata() as metadata:
            metadata["dc:title"] = title
            metadata["dc:creator"] = [author]
            metadata["dc:language"] = ["en"]
        part_file = out.with_name(f".{out.name}.part")
        pdf.save(part_file, object_stream_mode=pikepdf.ObjectStreamMode.generate)
        for source, _, _ in trees:
            source.close()
    part_file.replace(out)


def _links(pdf: Pdf) -> Iterator[Any]:
    for page in pdf.pages:
        for note in page.obj.get("/Annots", []):
            if note.get("/Subtype") == Name.Link:
                yield note


def _link(pdf: Pdf, known: dict[str, Array]) -> None:
    """Every link within the PDF gets the page and the height of its place."""
    lost = set()
    for note in _links(pdf):
        address = str(note.get("/A", {}).get("/URI", ""))
        if "/Dest" in note:
            name = str(note.Dest).lstrip("/")
        elif address.startswith(SCHEME):
            name = address.removeprefix(SCHEME)
        else:
            continue
        if name in known:
            note.Dest = known[name]
            if "/A" in note:
                del note["/A"]
        else:
            lost.add(name)
    if lost:
        raise BookError(
            f"the PDF has links to places that are not in it: {', '.join(sorted(lost))}."
        )


def _bookmark(entry: Entry, known: dict[str, Array]) -> OutlineItem:
    if entry.place not in known:
        raise BookError(f"the PDF has no place {entry.place} for its bookmark {entry.text!r}.")
    item = OutlineItem(entry.text, known[entry.place])
    item.is_closed = True
    item.children.extend(_bookmark(child, known) for child in entry.below)
    return item


def _tags(pdf: Pdf, parts: list[tuple[Pdf, int, int]]) -> None:
    """One tree of tags, which say to a screen reader what is a heading, a table, a picture.

    Each document counts its pages and links from 0 in the list that leads from them to their tags;
    here they count on.
    """
    root = pdf.make_indirect(Dictionary(Type=Name.StructTreeRoot))
    numbers: list[Any] = []
    kids, count = Array(), 0
    for source, begin, end in parts:
        tree = source.Root.get("/StructTreeRoot")
        if tree is None:
            continue
        copied = pdf.copy_foreign(tree)
        kids.append(copied.K)
        copied.K.P = root
        highest = 0
        for key, value in _numbers(copied.ParentTree):
            numbers.extend([count + key, value])
            highest = max(highest, key + 1)
        for page in list(pdf.pages)[begin:end]:
            if "/StructParents" in page.obj:
                page.obj.StructParents = count + int(page.obj.StructParents)
            for note in page.obj.get("/Annots", []):
                if "/StructParent" in note:
                    note.StructParent = count + int(note.StructParent)
        count += highest
    root.K, root.ParentTree = kids, pdf.make_indirect(Dictionary(Nums=Array(numbers)))
    root.ParentTreeNextKey = count
    pdf.Root.StructTreeRoot, pdf.Root.MarkInfo = root, Dictionary(Marked=True)


def _numbers(tree: Any) -> Iterator[tuple[int, Any]]:
    """Key and value of each entry of a number tree."""
    entries = list(tree.get("/Nums", []))
    yield from ((int(key), value) for key, value in zip(entries[::2], entries[1::2], strict=True))
    for kid in tree.get("/Kids", []):
        yield from _numbers(kid)
