"""Are two outputs the same result? Text, numbers, tables, figures and pictures, each by its rule.

**Text** is the same word for word, whatever the spaces between the words; addresses, paths of
temporary files and names of accelerators may be others.

**Numbers in text**, in this order:

1. Written alike, they are the same.
2. Two numbers without decimals (`3`, `3.`, `3.0`, `1.00e+02`, `1e-7`) are the same only if their
   values are equal: a count, a label, an entry of a tensor of ones, a learning rate have no
   rounding. Those with a point or exponent may differ where the tag `rtol=...` of the cell says so.
   A count and a float are two things: `3` is not `3.0`.
3. Any other two differ at most by `RTOL` of the larger one or by `ATOL`, whichever is more. So `1.`
   and `0.9999` are the same, and `0.` and `2.98e-08`: a sum that another machine adds in another
   order. `2.` and `2.1` are not.
4. Two numbers that both show at least two decimals may also differ by one unit of the last place
   of the one that shows more, since rounding for print moves them by that: `0.05` and `0.06`, but
   not `0.5` and `0.6`.

**Figures** are compared by the record of what was drawn (`d2l_helpers.plotting.figure_data`) with
rule 3 for its numbers, or by `SHARE` of the tolerance of the largest number along the same axis;
where the record is empty or says that it is not complete, by their pictures, too. **Pictures** are
compared by means of blocks (`image_difference`). **HTML** is compared by its words, tables by cell,
drawings within it as they are. Any **other kind** of output is compared exactly.

Tags of a cell change that: `rtol=0.1` sets the tolerance, `chaotic` lets every number of a figure
pass but no word and no count of what is drawn, `timing` masks all numbers and leaves figures out.
"""

import base64
import io
import json
import math
import re
from typing import Any

import numpy as np

from .grammar import FIGURE_MIME, INJECTED
from .outputs import coalesce, plain_text

RTOL, ATOL = 5e-3, 1e-6
#: For figures of a cell with this tag: any number passes, but not another structure or text.
CHAOTIC = 1e9
#: What counts of the tolerance against the largest number along an axis: with `RTOL` a thousandth
#: of the axis, less than a pixel of a figure of the book, so that nobody can see the difference.
SHARE = 0.2
#: Red, green, blue, grey and opacity between 0 and 1: neighbours in a colour map of 64 colours.
COLOUR_TOLERANCE = 0.02
#: Side of the overlapping blocks of a picture in pixels, and by how much their means may differ: a
#: line of the book, 4 pixels wide, moved by one pixel changes them by 1/16, by two by 1/8.
BLOCK, IMAGE_TOLERANCE = 16, 0.1
PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp")
#: What a record of a figure may have of things drawn.
DRAWN = ("lines", "bars", "points", "images", "patches", "shapes", "texts")

NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?(?![\w])"
    r"|(?<![\w])[-+]?(?:nan|inf)(?![\w])"
)
#: A measured number with thousands set apart, one number however large: `1,592,833`.
GROUPED = re.compile(r"(?<![\w.,])[-+−]?\d{1,3}(?:,\d{3})+(?![\w,])")
MASKS = [
    (re.compile(r"\b0x[0-9a-fA-F]{6,}\b|0x…"), "0x"),
    (re.compile(r"\S*/ipykernel_\d+/\d+\.py"), "<cell>"),
    (re.compile(r"(?:/tmp|/var/folders|[A-Z]:\\Users)\S*"), "<temporary path>"),
    (re.compile(r"(['\"]?)(?:cuda|mps|xpu)(?::\d+)?\1"), "<device>"),
]


def mask(text: str, timing: bool = False) -> str:
    """Text without what differs from run to run; with `timing` without numbers too."""
    text = plain_text(text)
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    if timing:
        text = NUMBER.sub("#", GROUPED.sub("0", text))
    text = re.sub(r"\s+", " ", text).strip()
    return re.sub(r"(?<=[\[(]) ", "", text)  # room for a minus sign that another entry has


def _decimals(number: str) -> tuple[str, int]:
    """Decimals and exponent of a printed number: ("23", -3) for '1.23e-3'."""
    mantissa, _, exponent = number.lower().partition("e")
    return mantissa.partition(".")[2], int(exponent or 0)


def same_number(a: str, b: str, rtol: float = RTOL, atol: float = ATOL) -> bool:
    """Whether two printed numbers are the same, by the rules for numbers in text."""
    a, b = a.replace("−", "-"), b.replace("−", "-")
    if a == b:
        return True
    x, y = float(a), float(b)
    if not (math.isfinite(x) and math.isfinite(y)):
        return str(x) == str(y)
    counts = [not re.search(r"[.eE]", number) for number in (a, b)]
    (left, i), (right, j) = _decimals(a), _decimals(b)
    if not left.strip("0") and not right.strip("0"):
        if any(counts) or rtol <= RTOL:
            return counts[0] == counts[1] and x == y
    allowed = max(rtol * max(abs(x), abs(y)), atol)
    if len(left) >= 2 and len(right) >= 2:
        allowed = max(allowed, 1.001 * min(10.0 ** (i - len(left)), 10.0 ** (j - len(right))))
    return abs(x - y) <= allowed


def same_text(a: str, b: str, rtol: float = RTOL, timing: bool = False) -> bool:
    """Whether two texts are the same but for numbers within the tolerance."""
    a, b = mask(a, timing), mask(b, timing)
    if a == b:
        return True
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return False
    pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
    return all(same_number(x, y, rtol) for x, y in pairs)


def _html_parts(page: str) -> tuple[list[list[str]], str, list[str], list[str]]:
    """Cells of the rows of tables, the words elsewhere, embedded pictures (base64), drawings."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(page, "html.parser")
    for tag in soup.find_all(["style", "script"]):
        tag.decompose()
    drawings = [str(tag.extract()) for tag in soup.find_all("svg")]
    sources = [str(tag.get("src", "")) for tag in soup.find_all("img")]
    pictures = [source.partition(",")[2] for source in sources if source.startswith("data:image/")]
    names = ("alt", "title", "href", "value", "data-values")  # attributes that a reader meets
    words = [f"{n}={tag[n]}" for tag in soup.find_all(True) for n in names if tag.has_attr(n)]
    cells = soup.find_all(["td", "th"])
    rows: dict[int, list[str]] = {}
    for cell in cells:
        rows.setdefault(id(cell.find_parent("tr")), []).append(cell.get_text())
    for cell in cells:
        cell.extract()
    return list(rows.values()), " ".join([soup.get_text(" "), *words]), pictures, drawings


def _html_difference(a: str, b: str, rtol: float, timing: bool, pictures: bool) -> str | None:
    (rows, words, shown, drawn), (rows2, words2, shown2, drawn2) = _html_parts(a), _html_parts(b)
    if [len(row) for row in rows] != [len(row) for row in rows2]:
        return f"tables of different shape: {len(rows)} and {len(rows2)} rows"
    for i, (left, right) in enumerate(zip(rows, rows2, strict=True), 1):
        for j, (x, y) in enumerate(zip(left, right, strict=True), 1):
            if not same_text(x, y, rtol, timing):
                return f"table row {i}, column {j}: expected {x.strip()!r}, got {y.strip()!r}"
    if not same_text(words, words2, rtol, timing):
        return f"expected {_short(words)}, got {_short(words2)}"
    if drawn != drawn2:
        return f"expected {_short(' '.join(drawn))}, got {_short(' '.join(drawn2))}"
    if len(shown) != len(shown2):
        return f"expected {len(shown)} embedded pictures, got {len(shown2)}"
    if pictures and not timing:
        both = zip(shown, shown2, strict=True)
        return next((d for x, y in both if (d := _picture_difference(x, y))), None)
    return None


def _largest(values: Any) -> float:
    """The largest size of a finite number in a list; 0 for anything else."""
    numbers = values if isinstance(values, list) else []
    return max((abs(v) for v in numbers if isinstance(v, float) and math.isfinite(v)), default=0.0)


def _floors(record: dict[str, Any], rtol: float) -> dict[str, float]:
    """Key -> by how much its numbers may differ in this part of a record, however small they are.

    That is a share of the largest number drawn along x or y, or in an image.
    """
    if "xlabel" in record:  # axes
        texts = [record["texts"]] if record.get("texts") else []
        rows = [row for kind in DRAWN[:-1] for row in record.get(kind, [])] + texts
        size = {k: max((_largest(row.get(k)) for row in rows), default=0.0) for k in "xyz"}
        keys = {"x": ("x", "w", "mean_w", "tip_x"), "y": ("y", "h", "mean_h", "tip_y"), "z": ("z",)}
        return {
            name: SHARE * rtol * size[axis]
            for axis, names in keys.items()
            for name in (*names, f"mean_{axis}")
        }
    if "values" in record:  # the mean of positive and negative values may be anything near 0
        floor = SHARE * rtol * _largest(record["values"])
        return {"mean": floor, "mean_values": floor}
    return {}


def _data_difference(
    a: Any,
    b: Any,
    rtol: float,
    path: str = "",
    floors: dict[str, float] | None = None,
    floor: float = ATOL,
) -> str | None:
    """First place where two records of figures differ.

    `floors` has what numbers under a key may differ by in any case, `floor` that for a and b.
    """
    if isinstance(a, dict) and isinstance(b, dict):
        if set(a) != set(b):
            return f"{path or 'figure'}: expected {sorted(a)}, got {sorted(b)}"
        colours = {"colour": COLOUR_TOLERANCE, "grey": COLOUR_TOLERANCE}
        floors = colours | (floors or {}) | _floors(a, rtol)
        inside = (
            _data_difference(
                a[k], b[k], rtol, f"{path}.{k}".strip("."), floors, floors.get(k, ATOL)
            )
            for k in a
        )
        return next((d for d in inside if d), None)
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{path}: expected {len(a)} entries, got {len(b)}"
        floor = max(SHARE * rtol * _largest(a), floor)
        inside = (
            _data_difference(x, y, rtol, f"{path}[{i}]", floors, floor)
            for i, (x, y) in enumerate(zip(a, b, strict=True))
        )
        return next((d for d in inside if d), None)
    if isinstance(a, float) and isinstance(b, (int, float)):
        allowed = max(rtol * max(abs(a), abs(b)), floor)
        same = a == b or abs(a - b) <= allowed or (math.isnan(a) and math.isnan(b))
        return None if same else f"{path}: expected {a:g}, got {b:g}"
    if isinstance(a, str) and isinstance(b, str):
        same = same_text(a, b, rtol, timing=rtol >= CHAOTIC)
        return None if same else f"{path}: expected {a!r}, got {b!r}"
    return None if a == b else f"{path}: expected {a!r}, got {b!r}"


def _vouches(record: dict[str, Any]) -> bool:
    """Whether a record says all of what is drawn, so that nobody has to look at the picture."""
    parts = [record, *record.get("axes", [])]
    return any(part.get(kind) for part in parts for kind in DRAWN) and not any(
        part.get("others") for part in parts
    )


def _pixels(data: str) -> np.ndarray[Any, Any]:
    """Red, green and blue from 0 to 1 of a picture (base64) on white."""
    from PIL import Image

    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return np.asarray(Image.alpha_composite(white, picture).convert("RGB"), dtype=float) / 255


def _blocks(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Means of all blocks of `BLOCK` pixels square, each half a block from the next."""
    half = BLOCK // 2
    rows, cols = (-size % half + (half if size <= half else 0) for size in pixels.shape[:2])
    padded = np.pad(pixels, ((0, rows), (0, cols), (0, 0)), mode="edge")
    tall, wide = padded.shape[0] // half, padded.shape[1] // half
    means = padded.reshape(tall, half, wide, half, 3).mean((1, 3))
    return (means[1:, 1:] + means[1:, :-1] + means[:-1, 1:] + means[:-1, :-1]) / 4


def image_difference(a: str, b: str) -> float:
    """The largest difference between two pictures (base64), from 0 to 1; 1 for another size.

    Compared are the means of red, of green and of blue over overlapping blocks of `BLOCK` pixels
    square, so that a line moved by less than a pixel counts for nothing and a small thing that is
    missing as much as a large one.
    """
    x, y = _pixels(a), _pixels(b)
    if x.shape != y.shape:
        return 1.0
    return float(np.abs(_blocks(x) - _blocks(y)).max())


def _picture_difference(a: str, b: str) -> str | None:
    distance = 0.0 if a == b else image_difference(a, b)
    if distance <= IMAGE_TOLERANCE:
        return None
    return f"the picture differs by {distance:.3f} (allowed {IMAGE_TOLERANCE})"


def tolerance(tags: list[str]) -> float:
    """The tag `rtol=0.1` of a cell, else the default."""
    return next((float(tag[5:]) for tag in tags if tag.startswith("rtol=")), RTOL)


def coverage(notebook: Any) -> tuple[int, dict[str, int]]:
    """How many cells have outputs that are compared, and why how many others have not.

    Cells without outputs and those that papermill put in do not count.

    Returns
    -------
    Number of cells compared, and reason -> number of cells: `timing` (numbers are masked, figures
    not looked at), `generated` (words of a trained model), `chaotic` (only figures, whose numbers
    all pass), and nbval's own tags.

    Examples
    --------
    >>> coverage({"cells": [{"cell_type": "code", "metadata": {"tags": ["timing"]},
    ...     "outputs": [{"output_type": "stream", "name": "stdout", "text": "3 s"}]}]})
    (0, {'timing': 1})
    """
    compared, others = 0, dict[str, int]()
    for cell in notebook["cells"]:
        tags, outputs = cell["metadata"].get("tags", []), cell.get("outputs")
        if not outputs or INJECTED & set(tags):
            continue
        skipped = ("nbval-skip", "nbval-ignore-output", "timing", "generated")
        reason = next((tag for tag in skipped if tag in tags), None)
        if "chaotic" in tags and all(FIGURE_MIME in o.get("data", {}) for o in outputs):
            reason = reason or "chaotic"
        if reason:
            others[reason] = others.get(reason, 0) + 1
        else:
            compared += 1
    return compared, others


def differences(expected: list[Any], got: list[Any], tags: list[str] | None = None) -> list[str]:
    """What is different between the stored and the new outputs of a cell; empty if they agree."""
    tags = tags or []
    timing, rtol = "timing" in tags, tolerance(tags)
    drawn = CHAOTIC if "chaotic" in tags else rtol
    expected, got = coalesce(expected), coalesce(got)
    if len(expected) != len(got):
        return [
            f"expected {len(expected)} outputs {_kinds(expected)}, got {len(got)} {_kinds(got)}"
        ]
    found = []
    for number, (a, b) in enumerate(zip(expected, got, strict=True), 1):
        what = None
        if not ("generated" in tags and _has_words(a) and _has_words(b)):
            what = _one(a, b, rtol, timing, drawn)
        if what:
            found.append(f"output {number}: {what}")
    return found


def _has_words(output: Any) -> bool:
    """Whether an output is printed text, and not a blank one."""
    return output["output_type"] == "stream" and bool(output["text"].strip())


def _one(a: Any, b: Any, rtol: float, timing: bool, drawn: float) -> str | None:
    kinds = {"execute_result": "result", "display_data": "display"}
    left, right = (kinds.get(o["output_type"], o["output_type"]) for o in (a, b))
    if left != right:
        return f"expected {a['output_type']}, got {b['output_type']}"
    if left == "stream":
        if a["name"] != b["name"]:
            return f"expected {a['name']}, got {b['name']}"
        return _text_difference(a["text"], b["text"], rtol, timing)
    if left == "error":
        if a["ename"] == b["ename"] and same_text(a["evalue"], b["evalue"], rtol):
            return None
        return f"expected {a['ename']}: {a['evalue']}, got {b['ename']}: {b['evalue']}"
    return _bundle_difference(a["data"], b["data"], rtol, timing, drawn)


def _bundle_difference(
    a: dict[str, Any], b: dict[str, Any], rtol: float, timing: bool, drawn: float
) -> str | None:
    if set(a) != set(b):
        return f"expected the types {sorted(a)}, got {sorted(b)}"
    figure = FIGURE_MIME in a
    if figure and timing:
        return None
    record = _json(a.get(FIGURE_MIME)) or {}
    look = not (figure and _vouches(record)) and not timing  # at pictures
    if figure and (what := _data_difference(record, _json(b[FIGURE_MIME]), drawn)):
        return what
    if drawn >= CHAOTIC and figure:
        look = False
    for kind in sorted(set(a) - {FIGURE_MIME}):
        x, y = _str(a[kind]), _str(b[kind])
        if kind in PICTURES:
            what = _picture_difference(x, y) if look else None
        elif kind == "text/html":
            what = _html_difference(x, y, rtol, timing, look)
        elif kind == "text/plain" and "text/html" in a and not figure:
            what = None  # the same in other words
        elif kind in ("text/markdown", "text/plain"):
            what = _text_difference(x, y, rtol, timing)
        else:
            what = None if a[kind] == b[kind] else f"{kind}: expected {_short(x)}, got {_short(y)}"
        if what:
            return what
    return None


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _str(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def _kinds(outputs: list[Any]) -> str:
    return "(" + ", ".join(o["output_type"] for o in outputs) + ")"


def _short(text: str, size: int = 160) -> str:
    text = text.strip()
    return repr(text if len(text) <= size else text[:size] + "…")


def _text_difference(a: str, b: str, rtol: float, timing: bool) -> str | None:
    """The first line that differs; None if the texts are the same."""
    if same_text(a, b, rtol, timing):
        return None
    left, right = a.strip().splitlines(), b.strip().splitlines()
    for x, y in zip(left, right, strict=False):
        if not same_text(x, y, rtol, timing):
            return f"expected {_short(x)}, got {_short(y)}"
    return f"expected {len(left)} lines, got {len(right)}: {_short(a)} / {_short(b)}"
