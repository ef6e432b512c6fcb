"""Are two outputs the same result? Text exact, numbers within a tolerance, tables by cell, figures by their data."""

import base64
import html
import io
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np

RTOL, ATOL = 5e-3, 1e-6
CHAOTIC = (
    1e9  # for figures of a cell with this tag: any number passes, but not another structure or text
)
IMAGE_TOLERANCE = 0.02
FIGURE_MIME = "application/vnd.d2l.figure+json"
NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?(?![\w])|(?<![\w])[-+]?(?:nan|inf)(?![\w])"
)
MASKS = [
    (re.compile(r"\b0x[0-9a-fA-F]{6,}\b|0x…"), "0x"),
    (re.compile(r"\S*/ipykernel_\d+/\d+\.py"), "<cell>"),
    (re.compile(r"(?:/tmp|/var/folders|[A-Z]:\\Users)\S*"), "<temporary path>"),
    (re.compile(r"(['\"]?)(?:cuda|mps|xpu)(?::\d+)?\1"), "<device>"),
    (
        re.compile(
            r"data:image/png;base64,[A-Za-z0-9+/=]+|data-frames=\"[^\"]*\"|id=\"d2l-[0-9a-f]+\""
        ),
        "",
    ),
]


def mask(text: str, timing: bool = False) -> str:
    """Text without what differs from run to run; with `timing` without numbers too."""
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    if timing:
        text = NUMBER.sub("#", text)
    return re.sub(r"\s+", " ", text).strip()


def _place(number: str) -> float:
    """Worth of one unit in the last printed place: 0.01 for '0.92', 1e-5 for '1.23e-3'."""
    mantissa, _, exponent = number.lower().replace("−", "-").partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals)


def same_number(a: str, b: str, rtol: float, atol: float = ATOL) -> bool:
    """Integers exactly; others within the tolerance or one unit of the last printed place."""
    if a == b:
        return True
    if not re.search(r"[.eE]|nan|inf", a + b):
        return False
    x, y = float(a.replace("−", "-")), float(b.replace("−", "-"))
    if not (math.isfinite(x) and math.isfinite(y)):
        return str(x) == str(y)
    return abs(x - y) <= max(rtol * max(abs(x), abs(y)), atol, 1.001 * min(_place(a), _place(b)))


def same_text(a: str, b: str, rtol: float = RTOL, timing: bool = False) -> bool:
    a, b = mask(a, timing), mask(b, timing)
    if a == b:
        return True
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return False
    return all(
        same_number(x, y, rtol) for x, y in zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
    )


class _Table(HTMLParser):
    """Rows of the cells of an HTML table; other text collects in `rest`."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.rest, self.open, self.skip = "", False, 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            if not self.rows:
                self.rows.append([])
            self.rows[-1].append("")
            self.open = True
        elif tag in ("style", "script"):
            self.skip += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.open = False
        elif tag in ("style", "script"):
            self.skip -= 1

    def handle_data(self, data: str) -> None:
        if self.skip:
            return
        if self.open:
            self.rows[-1][-1] += data
        else:
            self.rest += data


def _html_difference(a: str, b: str, rtol: float, timing: bool) -> str | None:
    one, two = _Table(), _Table()
    one.feed(a)
    two.feed(b)
    if [len(r) for r in one.rows] != [len(r) for r in two.rows]:
        return f"tables of different shape: {len(one.rows)} and {len(two.rows)} rows"
    for i, (left, right) in enumerate(zip(one.rows, two.rows, strict=True)):
        for j, (x, y) in enumerate(zip(left, right, strict=True)):
            if not same_text(x, y, rtol, timing):
                return (
                    f"table row {i + 1}, column {j + 1}: expected {x.strip()!r}, got {y.strip()!r}"
                )
    return (
        None
        if same_text(one.rest, two.rest, rtol, timing)
        else f"expected {_short(one.rest)}, got {_short(two.rest)}"
    )


def _largest(values: Any) -> float:
    """The largest size of a finite number in a list; 0 for anything else."""
    numbers = values if isinstance(values, list) else []
    return max(
        (
            abs(float(v))
            for v in numbers
            if isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v)
        ),
        default=0.0,
    )


def _scales(figure: dict[str, Any]) -> dict[str, float]:
    """Sizes by which numbers of this part of a figure are measured: the largest one drawn along x and y, or in an image."""
    if "lines" in figure:
        drawn = [row for part in ("lines", "points") for row in figure[part]]
        return {k: max((_largest(row.get(k)) for row in drawn), default=0.0) for k in "xy"}
    if (
        "mean" in figure and "values" in figure
    ):  # the mean of positive and negative values may be anything near 0
        return {"mean": _largest(figure["values"])}
    return {}


def _data_difference(
    a: Any,
    b: Any,
    rtol: float,
    path: str = "",
    scales: dict[str, float] | None = None,
    scale: float = 0.0,
) -> str | None:
    """First place where two figures' data differ; `scales` has the size for the numbers under a key, `scale` that for a and b."""
    if isinstance(a, dict) and isinstance(b, dict):
        if set(a) != set(b):
            return f"{path or 'figure'}: expected {sorted(a)}, got {sorted(b)}"
        scales = (scales or {}) | _scales(a)
        inside = (
            _data_difference(a[k], b[k], rtol, f"{path}.{k}".strip("."), scales, scales.get(k, 0.0))
            for k in a
        )
        return next((d for d in inside if d), None)
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{path}: expected {len(a)} entries, got {len(b)}"
        scale = max(_largest(a), scale)
        inside = (
            _data_difference(x, y, rtol, f"{path}[{i}]", scales, scale)
            for i, (x, y) in enumerate(zip(a, b, strict=True))
        )
        return next((d for d in inside if d), None)
    if isinstance(a, float) and isinstance(b, (int, float)):
        allowed = max(rtol * max(abs(a), abs(b)), ATOL, 0.2 * rtol * scale)
        same = a == b or abs(a - b) <= allowed or (math.isnan(a) and math.isnan(b))
        return None if same else f"{path}: expected {a:g}, got {b:g}"
    if isinstance(a, str) and isinstance(b, str):
        return None if same_text(a, b, rtol) else f"{path}: expected {a!r}, got {b!r}"
    return None if a == b else f"{path}: expected {a!r}, got {b!r}"


def _pixels(data: str) -> np.ndarray[Any, Any]:
    from PIL import Image

    return (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"), dtype=float) / 255
    )


def image_difference(a: str, b: str) -> float:
    """Mean difference of two PNGs (base64) in grey after 8 x 8 block means, from 0 to 1; 1 for another size."""
    x, y = _pixels(a), _pixels(b)
    if x.shape != y.shape:
        return 1.0
    rows, cols = x.shape[0] // 8 * 8, x.shape[1] // 8 * 8
    if not rows or not cols:
        return float(np.abs(x - y).mean())

    def blocks(z: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return z[:rows, :cols].reshape(rows // 8, 8, cols // 8, 8).mean((1, 3))

    return float(
        np.abs(blocks(x) - blocks(y)).max()
        if max(rows, cols) < 64
        else np.percentile(np.abs(blocks(x) - blocks(y)), 99)
    )


def coalesce(outputs: list[Any]) -> list[Any]:
    """Join neighbouring pieces of one stream."""
    joined: list[Any] = []
    for output in outputs:
        if (
            joined
            and output["output_type"] == "stream"
            and joined[-1]["output_type"] == "stream"
            and joined[-1]["name"] == output["name"]
        ):
            joined[-1] = {**joined[-1], "text": joined[-1]["text"] + output["text"]}
        else:
            joined.append(output)
    return joined


def tolerance(tags: list[str]) -> float:
    """The tag `rtol=0.1` of a cell, else the default."""
    return next((float(tag[5:]) for tag in tags if tag.startswith("rtol=")), RTOL)


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
        what = _one(a, b, rtol, timing, drawn)
        if what:
            found.append(f"output {number}: {what}")
    return found


def _one(a: Any, b: Any, rtol: float, timing: bool, drawn: float) -> str | None:
    kinds = {"execute_result": "result", "display_data": "display"}
    if kinds.get(a["output_type"], a["output_type"]) != kinds.get(
        b["output_type"], b["output_type"]
    ):
        return f"expected {a['output_type']}, got {b['output_type']}"
    if a["output_type"] == "stream":
        if a["name"] != b["name"]:
            return f"expected {a['name']}, got {b['name']}"
        return (
            None
            if same_text(a["text"], b["text"], rtol, timing)
            else _text_difference(a["text"], b["text"], rtol, timing)
        )
    if a["output_type"] == "error":
        return (
            None
            if a["ename"] == b["ename"] and same_text(a["evalue"], b["evalue"], rtol)
            else f"expected {a['ename']}: {a['evalue']}, got {b['ename']}: {b['evalue']}"
        )
    return _bundle_difference(a["data"], b["data"], rtol, timing, drawn)


def _bundle_difference(
    a: dict[str, Any], b: dict[str, Any], rtol: float, timing: bool, drawn: float
) -> str | None:
    if set(a) != set(b):
        return f"expected the types {sorted(a)}, got {sorted(b)}"
    if timing and FIGURE_MIME in a:
        return None
    if FIGURE_MIME in a:
        return _data_difference(_json(a[FIGURE_MIME]), _json(b[FIGURE_MIME]), drawn)
    for kind in sorted(a):
        x, y = a[kind], b[kind]
        if kind == "image/png":
            distance = 0.0 if x == y or timing else image_difference(x, y)
            if distance > IMAGE_TOLERANCE:
                return f"the picture differs by {distance:.3f} (allowed {IMAGE_TOLERANCE})"
        elif kind == "text/html":
            if what := _html_difference(mask_html(_str(x)), mask_html(_str(y)), rtol, timing):
                return what
        elif (
            kind in ("text/markdown", "text/plain")
            and "text/html" not in a
            and not same_text(_str(x), _str(y), rtol, timing)
        ):
            return _text_difference(_str(x), _str(y), rtol, timing)
    return None


def mask_html(text: str) -> str:
    for pattern, replacement in MASKS:
        text = pattern.sub(replacement, text)
    return html.unescape(text)


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _str(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def _kinds(outputs: list[Any]) -> str:
    return "(" + ", ".join(o["output_type"] for o in outputs) + ")"


def _short(text: str, size: int = 160) -> str:
    text = text.strip()
    return repr(text if len(text) <= size else text[:size] + "…")


def _text_difference(a: str, b: str, rtol: float, timing: bool) -> str:
    """The first line that differs."""
    left, right = a.strip().splitlines(), b.strip().splitlines()
    for x, y in zip(left, right, strict=False):
        if not same_text(x, y, rtol, timing):
            return f"expected {_short(x)}, got {_short(y)}"
    return f"expected {len(left)} lines, got {len(right)}: {_short(a)} / {_short(b)}"


def coverage(notebook):  # STUB
    n, why = 0, {}
    for c in notebook.cells:
        if c.cell_type == "code" and c.get("outputs"):
            if "timing" in c.metadata.get("tags", []):
                why["timing"] = why.get("timing", 0) + 1
            else:
                n += 1
    return n, why
