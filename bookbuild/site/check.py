"""Faults in the built pages: dead links, files of other hosts, pictures without text, bad maths.

Regular expressions read the pages, which are machine-made: an HTML parser takes nine times as long.
"""

import contextlib
import hashlib
import html
import json
import os
import re
import urllib.parse
from pathlib import Path
from typing import Any

IDS = re.compile(r"""<[a-z][^>]*?\sid="([^"]+)\"""")
LINKS = re.compile(r"""<(a|img|script|link|source|iframe|object)\b([^>]*)>""")
INLINE = re.compile(r"<script\b(?![^>]*\bsrc=)[^>]*>.*?</script>|<!--.*?-->", re.DOTALL)
ATTRIBUTE = re.compile(r"""\b(href|src|alt|rel)="([^"]*)\"""")
LOADS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch"}
BAD_MATHS = ("katex-error", "#cc0000", 'class="bad-tex"')
SKIP = ("_static/",)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
MADE_BY = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]


def scan(path: Path) -> dict[str, Any]:
    """What a page holds: ids, links, and faults that need no other page."""
    text = path.read_text(encoding="utf-8")
    body = INLINE.sub("", text)
    links = []
    faults = [f"mathematics was not rendered ({mark})" for mark in BAD_MATHS if mark in body]
    for sign in sorted(set(CONTROL.findall(text))):
        line = text[: text.index(sign)].rsplit("\n", 1)[-1]
        words = " ".join(re.sub(r"<[^>]*>", " ", line).split()[-4:])
        faults.append(f"the control character {sign!r} stands in the page, after {words[-40:]!r}")
    for match in LINKS.finditer(body):
        tag, attributes = match[1], {k: html.unescape(v) for k, v in ATTRIBUTE.findall(match[2])}
        target = attributes.get("href") if tag in ("a", "link") else attributes.get("src")
        if tag == "img" and not attributes.get("alt", "").strip():
            faults.append(f"the picture {(target or '')[:60]} has no alternative text")
        if not target or target.startswith(("data:", "mailto:", "javascript:")):
            continue
        if re.match(r"(?:[a-z]+:)?//", target):
            if tag not in ("a", "link") or (
                tag == "link" and LOADS & set(attributes.get("rel", "").split())
            ):
                faults.append(f"the page loads {target} from another host")
            continue
        links.append(target)
    return {
        "ids": sorted(set(map(html.unescape, IDS.findall(body)))),
        "links": sorted(set(links)),
        "faults": faults,
    }


def check(folder: Path, cache: Path) -> list[tuple[str, str, str]]:
    """Faults of the pages in a folder.

    Parameters
    ----------
    folder
        Where the site lies.
    cache
        File that keeps what unchanged pages hold; another version of this module ignores it.

    Returns
    -------
    Page, what is wrong, and the target of the link, if it is one, for every fault.
    """
    old: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(cache.read_text(encoding="utf-8"))
        old = known["pages"] if known.get("made by") == MADE_BY else {}
    pages: dict[str, Any] = {}
    files = {
        Path(base, name).relative_to(folder).as_posix()
        for base, _, names in os.walk(folder)
        for name in names
    }
    for name in sorted(f for f in files if f.endswith(".html") and not f.startswith(SKIP)):
        stat = (folder / name).stat()
        stamp = [stat.st_mtime_ns, stat.st_size]
        known = old.get(name)
        pages[name] = (
            known if known and known["stamp"] == stamp else scan(folder / name) | {"stamp": stamp}
        )
    cache.write_text(json.dumps({"made by": MADE_BY, "pages": pages}), encoding="utf-8")
    ids = {name: set(page["ids"]) for name, page in pages.items()}
    found = []
    for name, page in pages.items():
        found += [(name, fault, "") for fault in page["faults"]]
        for link in page["links"]:
            fault = _dead(name, link, files, ids)
            if fault:
                found.append((name, fault, link))
    return found


def _dead(page: str, link: str, files: set[str], ids: dict[str, set[str]]) -> str:
    target, _, anchor = link.partition("#")
    target = urllib.parse.unquote(target.split("?")[0])
    path = (
        os.path.normpath(os.path.join(os.path.dirname(page), target)).replace(os.sep, "/")
        if target
        else page
    )
    if path not in files:
        return f"the link to {link} leads nowhere"
    if anchor and path in ids and urllib.parse.unquote(anchor) not in ids[path]:
        return f"the link to {link} has no target with that name"
    return ""
