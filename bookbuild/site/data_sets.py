"""The page of data sets and weights: what each is, its licence and source, and who uses it."""

import re
import tomllib
from pathlib import Path
from typing import Any

from ..book import Book, Section
from .pieces import page, piece
from .places import doc

MANIFEST = Path("d2l_helpers", "manifest.toml")


def data_sets_page(book: Book) -> str:
    """The page in Markdown, from the manifest and the headers of the sections."""
    path = book.root / MANIFEST
    entries = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    used: dict[str, list[Section]] = {name: [] for name in entries}
    for section in book.notebooks:
        for name in section.settings.get("data") or []:
            used.setdefault(name, []).append(section)
    rows = [_row(name, entry, used[name]) for name, entry in entries.items()]
    sets = [row for row in rows if row["kind"] != "weights"]
    weights = [row for row in rows if row["kind"] == "weights"]
    return page(
        "data-sets",
        sets=piece("data-sets", rows=sets, label="Data sets"),
        weights=piece("data-sets", rows=weights, label="Weights"),
    )


def _row(name: str, entry: dict[str, Any], sections: list[Section]) -> dict[str, Any]:
    there = [{"id": s.id, "title": s.title, "url": f"{doc(s)}.html"} for s in sections]
    keys = ("title", "license", "origin", "citation", "part", "note", "official", "kind")
    return {
        "name": name,
        **{key: entry.get(key, "") for key in keys},
        "size": _size(entry),
        "how": _how(entry),
        "link": _link(entry),
        "sections": there,
        "planned": [] if there else entry.get("used", []),
    }


def _size(entry: dict[str, Any]) -> str:
    """Of the files as they are used, e.g. `8.8 MB in 733 files`."""
    files = list(entry.get("files", {}).values())
    count = len(files) or entry["members"]["count"]
    size = sum(file["bytes"] for file in files) or entry["members"]["bytes"]
    text = f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"
    text = text if size >= 1e5 else f"{size / 1e3:.0f} kB"
    return f"{text} in {count:,} files" if count > 1 else text


def _how(entry: dict[str, Any]) -> str:
    """The kinds of sources, in words."""
    ways = []
    if any(file.get("urls") for file in entry.get("files", {}).values()):
        ways.append("a download")
    if entry.get("archives"):
        ways.append("an archive")
    if "repository" in entry and "archives" not in entry:
        ways.append(f"the repository at commit {entry['commit'][:10]}")
    if "package" in entry:
        ways.append(f"{entry['package']} from a registry of packages")
    if entry.get("folders"):
        ways.append("a package of the operating system")
    return ", ".join(ways) or "a mirror only"


def _link(entry: dict[str, Any]) -> str:
    """The address of the source, as the origin names it; packages have none that is everybody's."""
    if "repository" in entry:
        return f"https://github.com/{entry['repository']}/tree/{entry['commit']}"
    named = re.match(r"[\w-]+(\.[\w-]+)*\.[a-z]{2,3}/[\w./~-]+", entry.get("origin", ""))
    return f"https://{named[0]}" if named else ""
