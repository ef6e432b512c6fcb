"""Outputs as they are kept: clean text, small pictures; and what is wrong with them.

`clean_outputs` brings the outputs of a cell into the form that is committed and shown; `problems`
lists what no cleaning mends: a picture without words, a path or key of somebody's, too much of it.
"""

import base64
import copy
import io
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from .book import Section
from .grammar import FIGURE_MIME

#: Characters of text that one output may have: some 300 lines, more than anybody reads.
MAX_TEXT = 20_000
#: Megabytes that the committed outputs of a section may have; a header may allow more.
MAX_MB = 1.0
#: A picture of more colours is no drawing, and to look for a palette takes seconds.
MANY = 16_384

ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{6,}\b")
#: Sequences with which a terminal sets colours, moves the cursor, names its window.
ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^_`a-~])|\x9b[0-?]*[@-~]"
)
#: What no page may hold: control characters but tab and line end, and halves of characters.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
#: Pictures within HTML, as text.
EMBEDDED = re.compile(r'data-frames="[^"]*"|data:[\w+.-]+/[\w+.-]+;base64,[A-Za-z0-9+/=]+')
#: Beginnings that keys of well-known services have.
SECRET = re.compile(
    r"\b(?:AKIA[0-9A-Z]{16}|gh[pousr]_\w{36,}|github_pat_\w{22,}|hf_\w{30,}|sk-[\w-]{20,}"
    r"|xox[abpr]-[\w-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def plain_text(text: str) -> str:
    """Text as a terminal leaves it, without colours, overwritten parts of a line and controls.

    Examples
    --------
    >>> plain_text("\\x1b[31mred\\x1b[0m\\n 10 %\\r100 %\\a\\n")
    'red\\n100 %\\n'
    """
    text = ANSI.sub("", text)
    if "\r" in text:  # a carriage return begins the line anew
        lines = [[part for part in line.split("\r") if part] for line in text.split("\n")]
        text = "\n".join(parts[-1] if parts else "" for parts in lines)
    return CONTROL.sub("", text)


def coalesce(outputs: list[Any]) -> list[Any]:
    """Outputs with neighbouring pieces of one stream joined."""
    joined: list[Any] = []
    for output in outputs:
        stream = (output["output_type"], output.get("name")) if "text" in output else None
        if stream and joined and stream == (joined[-1]["output_type"], joined[-1].get("name")):
            text = joined[-1]["text"] + output["text"]
            joined[-1] = copy.copy(joined[-1])
            joined[-1]["text"] = text
        else:
            joined.append(output)
    return joined


def clean_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs as they are kept.

    Streams are joined, text is plain (`plain_text`), addresses are masked, transient metadata goes,
    alternative text stands where nbconvert and JupyterLab look for it, pictures are small
    (`small_png`; their width and height stay). The outputs given stay as they are.
    """
    kept: list[NotebookNode] = coalesce(copy.deepcopy(outputs))
    for output in kept:
        output.pop("transient", None)
        if output.output_type == "execute_result":
            output["execution_count"] = None
        if output.output_type == "stream":
            output["text"] = ADDRESS.sub("0x…", plain_text(output["text"]))
        elif output.output_type == "error":
            output["evalue"] = plain_text(output["evalue"])
            output["traceback"] = [plain_text(line) for line in output["traceback"]]
        elif "data" in output:
            _clean_bundle(output)
    return kept


def _clean_bundle(output: NotebookNode) -> None:
    data = output["data"]
    for mime, value in data.items():
        if isinstance(value, str) and (mime.startswith("text/") or mime == "image/svg+xml"):
            data[mime] = plain_text(value)
    if "text/plain" in data:
        data["text/plain"] = ADDRESS.sub("0x…", data["text/plain"])
    if "image/png" not in data:
        return
    record = data.get(FIGURE_MIME) or {}
    if record.get("alt"):
        old = output["metadata"].get("image/png", {})
        output["metadata"]["image/png"] = {**old, "alt": record["alt"]}
    axes = record.get("axes") or []
    drawing = bool(axes) and not any(ax.get("images") for ax in axes)
    small = small_png(base64.b64decode(data["image/png"]), drawing)
    data["image/png"] = base64.b64encode(small).decode()


def small_png(data: bytes, drawing: bool) -> bytes:
    """The same picture in fewer bytes.

    One of at most 256 colours gets a palette and keeps every pixel. A line drawing is reduced to 64
    colours, which changes shades at the edges of lines and letters only; anything else to 256.
    Where that could be seen (`_looks_alike`), the picture keeps more colours, or all of them.

    Parameters
    ----------
    data
        A PNG. One that has a palette or is transparent is returned as it is.
    drawing
        Whether it is a line drawing: no photographs or heat maps in it.
    """
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        if opened.mode not in ("RGB", "RGBA"):
            return data
        if opened.mode == "RGBA" and np.asarray(opened)[..., 3].min() < 255:
            return data
        picture = opened.convert("RGB")
    if picture.getcolors(256) is not None:
        small = _exact_palette(picture)
    elif picture.getcolors(MANY) is None:  # a photograph
        small = picture
    else:
        method, no_dots = Image.Quantize.MEDIANCUT, Image.Dither.NONE
        for colours in (64, 256) if drawing else (256,):
            small = picture.quantize(colours, method, kmeans=1, dither=no_dots)
            if _looks_alike(picture, small.convert("RGB")):
                break
        else:
            small = picture
    buffer = io.BytesIO()
    small.save(buffer, "PNG", optimize=True)
    return min(buffer.getvalue(), data, key=len)


def _looks_alike(before: Any, after: Any) -> bool:
    """Whether nobody sees the difference, in levels from 0 to 255 of red, green or blue.

    Colours of areas (one pixel in a thousand or more) change by 4 at most, of the other pixels 999
    in a thousand by 20 at most, and the root of the mean square is 1.2 at most: smooth surfaces
    get no bands.
    """
    import numpy as np

    old, new = (np.asarray(p, dtype=np.int32).reshape(-1, 3) for p in (before, after))
    change = np.abs(old - new).max(1)
    codes = old @ np.array([65536, 256, 1], np.int32)
    _, index, counts = np.unique(codes, return_inverse=True, return_counts=True)
    areas = counts[index] * 1000 >= len(codes)
    return bool(
        change[areas].max(initial=0) <= 4
        and np.percentile(change, 99.9) <= 20
        and np.sqrt(np.mean(change**2)) <= 1.2
    )


def _exact_palette(picture: Any) -> Any:
    """A picture of at most 256 colours with a palette of just these."""
    import numpy as np
    from PIL import Image

    rgb = np.asarray(picture, dtype=np.uint32)
    codes, index = np.unique(rgb @ np.array([65536, 256, 1], np.uint32), return_inverse=True)
    small = Image.fromarray(index.reshape(rgb.shape[:2]).astype(np.uint8), "P")
    small.putpalette([int(c) >> shift & 255 for c in codes for shift in (16, 8, 0)])
    return small


def problems(section: Section, notebook: NotebookNode, root: Path) -> list[str]:
    """Everything that is wrong with the outputs of a notebook, with file, line and cell."""
    return (
        missing_alt(section, notebook)
        + private_outputs(section, notebook, root)
        + long_outputs(section, notebook)
        + large_outputs(section, notebook)
    )


def missing_alt(section: Section, notebook: NotebookNode) -> list[str]:
    """Pictures among the outputs that no text describes."""
    return [
        f"{section.where(index)}: the picture has no alternative text; "
        'end the cell with d2l.describe(ax, "what it shows").'
        for index, output in _outputs(notebook)
        if "image/png" in output.get("data", {})
        and not output.get("metadata", {}).get("image/png", {}).get("alt")
    ]


def private_outputs(section: Section, notebook: NotebookNode, root: Path) -> list[str]:
    """Outputs that show a path of the machine that made them, or a secret.

    A secret is a known kind of key, or the value of a variable such as API_TOKEN.
    """
    home, found = str(Path.home()), []
    paths = [str(root), *([home] if len(home) > 1 else [])]
    secrets = [
        v
        for k, v in os.environ.items()
        if len(v) >= 8
        and re.search(r"TOKEN|SECRET|PASSW|API_?KEY|CREDENTIAL", k, re.I)
        and not Path(v).exists()
    ]
    for index, output in _outputs(notebook):
        text = " ".join(_texts(output).values())
        if any(re.search(rf"{re.escape(path)}(?![\w-])", text) for path in paths):
            found.append(
                f"{section.where(index)}: the output shows a path of this machine; "
                "print something else."
            )
        if SECRET.search(text) or any(secret in text for secret in secrets):
            found.append(
                f"{section.where(index)}: the output shows what looks like a password or key; "
                "remove it, and withdraw the key."
            )
    return found


def long_outputs(section: Section, notebook: NotebookNode) -> list[str]:
    """Outputs with more text than a page can carry."""
    found = []
    for index, output in _outputs(notebook):
        texts = _texts(output)
        texts.pop(FIGURE_MIME, None)
        size = max(len(EMBEDDED.sub("", text)) for text in texts.values())
        if size > MAX_TEXT:
            found.append(
                f"{section.where(index)}: an output of {size} characters ({MAX_TEXT} at most); "
                "print fewer lines, or a summary."
            )
    return found


def large_outputs(section: Section, notebook: NotebookNode) -> list[str]:
    """A section whose outputs are larger together than they may be.

    Its header may allow more, and says why: `outputs_mb: {limit: 2, reason: 40 photographs}`.
    """
    sizes: dict[int, int] = {}
    for index, output in _outputs(notebook):
        size = len(json.dumps(output, ensure_ascii=False).encode(errors="replace"))
        sizes[index] = sizes.get(index, 0) + size
    allowed, limit = section.settings.get("outputs_mb"), MAX_MB
    if allowed is not None:
        good = isinstance(allowed, dict) and isinstance(allowed.get("limit"), (int, float))
        if not good or not str(allowed.get("reason") or "").strip():
            return [
                f"{section.name}: the header says outputs_mb: {allowed!r}; "
                "write outputs_mb: {limit: 2, reason: why the section needs it}."
            ]
        limit = float(allowed["limit"])
    total = sum(sizes.values()) / 1e6
    if total <= limit:
        return []
    largest = max(sizes, key=lambda index: sizes[index])
    return [
        f"{section.name}: the outputs are {total:.2f} MB ({limit:g} MB at most), "
        f"the largest {sizes[largest] / 1e6:.2f} MB of {section.where(largest)}; draw fewer or "
        "smaller pictures or frames, or give the header outputs_mb: {limit: ..., reason: ...}."
    ]


def _outputs(notebook: NotebookNode) -> Iterator[tuple[int, Any]]:
    """(index of the cell, output) of every output."""
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            yield index, output


def _texts(output: Any) -> dict[str, str]:
    """Kind -> what is text in an output: all but pictures."""
    data = output.get("data", {})
    return {
        "stream": output.get("text", ""),
        "error": "\n".join([output.get("evalue", ""), *output.get("traceback", [])]),
        **{k: str(v) for k, v in data.items() if k not in ("image/png", "image/jpeg")},
    }
