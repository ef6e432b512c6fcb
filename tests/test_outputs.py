"""Outputs as they are kept: plain text, small pictures, alternative text; and what is too much."""

import base64
import doctest
import io

import matplotlib
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from nbformat.v4 import new_code_cell, new_notebook, new_output
from PIL import Image

from bookbuild import outputs
from bookbuild.outputs import FIGURE_MIME, clean_outputs, plain_text, problems, small_png
from d2l_helpers import plotting


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=int)


def line_drawing() -> Image.Image:
    """A figure of the book: lines with soft edges, and letters."""
    buffer, x = io.BytesIO(), np.linspace(0, 6, 200)
    with matplotlib.rc_context(plotting.STYLE):
        fig = Figure()
        lines = [np.sin(x), np.cos(x), x / 6, -x / 9]
        plotting.plot(x, lines, ["sine", "cosine", "up", "down"], fmts=["-"], ax=fig.subplots())
        fig.savefig(buffer, format="png", dpi=144)
    return Image.open(buffer).convert("RGB")


def test_doctests():
    found = doctest.testmod(outputs)
    assert found.attempted > 0 and found.failed == 0
    assert FIGURE_MIME == plotting.FIGURE_MIME


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        ("\x1b[1;31mred\x1b[0m text", "red text"),
        ("\x1b[38;2;1;2;3mx\x1b[K\x1b[2A\x1b[?25l", "x"),
        ("\x1b]0;title\x07x\x1b]8;;http://a\x1b\\link", "xlink"),
        ("\x1b(Bx\x1b=y\x9b31mz", "xyz"),
        ("bell\a back\b feed\f tab\v null\0 del\x7f next\x85", "bell back feed tab null del next"),
        (" 10 %\r 50 %\r100 %\nnext", "100 %\nnext"),
        (" 10 %\r", " 10 %"),
        ("windows\r\nlines\r\n", "windows\nlines\n"),
        ("half \ud83d a character", "half  a character"),
        ("tab\tand\nline, é → 漢 😀", "tab\tand\nline, é → 漢 😀"),
    ],
)
def test_plain_text(raw, plain):
    assert plain_text(raw) == plain


def test_no_control_character_is_kept():
    """In any place that a page shows."""
    raw = "\x1b[31ma\a\x1b[0m <x at 0x7f3a12ab34cd>"
    given = [
        new_output("stream", name="stdout", text=raw),
        new_output("stream", name="stdout", text="\b.\n"),
        new_output("stream", name="stderr", text=raw),
        new_output("error", ename="E", evalue=raw, traceback=[raw, raw]),
        new_output("display_data", data={"text/plain": raw, "text/html": raw, "text/latex": raw}),
        new_output("display_data", data={"image/svg+xml": raw, "application/json": {"a": 1}}),
        new_output("execute_result", data={"text/markdown": raw}, execution_count=3),
    ]
    given[4]["transient"] = {"display_id": "x"}
    before = nbformat.from_dict([dict(o) for o in given])
    kept = clean_outputs(given)
    assert given == before, "what is given stays as it is"
    assert "\\u001b" not in str(nbformat.writes(new_notebook(cells=[new_code_cell(outputs=kept)])))
    assert kept[0].text == "a <x at 0x…>.\n"
    assert [o.output_type for o in kept] == [
        "stream", "stream", "error", "display_data", "display_data", "execute_result",
    ]  # fmt: skip
    assert kept[2].evalue.startswith("a <") and kept[2].traceback[1].startswith("a <")
    assert kept[3].data["text/plain"] == "a <x at 0x…>" and "transient" not in kept[3]
    assert kept[3].data["text/latex"] == "a <x at 0x7f3a12ab34cd>"
    assert kept[4].data["application/json"] == {"a": 1}
    assert kept[5].execution_count is None
    assert clean_outputs(kept) == kept


def figure(picture: Image.Image, axes: list[dict]) -> nbformat.NotebookNode:
    data = {
        FIGURE_MIME: {"alt": "Some lines.", "axes": axes},
        "image/png": base64.b64encode(png(picture)).decode() + "\n",
        "text/plain": "<Figure>",
    }
    size = {"image/png": {"width": 200, "height": 120}}
    return new_output("display_data", data=data, metadata=size)


def test_pictures_get_small_and_keep_size_and_words():
    drawing = line_drawing()
    given = figure(drawing, [{"lines": [{"x": [1.0]}]}])
    (kept,) = clean_outputs([given])
    small = base64.b64decode(kept.data["image/png"])
    assert len(small) < 0.6 * len(png(drawing))
    assert kept.metadata["image/png"] == {"width": 200, "height": 120, "alt": "Some lines."}
    assert Image.open(io.BytesIO(small)).size == drawing.size
    assert clean_outputs([kept]) == [kept], "once is enough"


def test_a_line_drawing_has_few_colours_and_the_right_ones():
    drawing = line_drawing()
    assert len(drawing.getcolors(1 << 24)) > 256
    small = Image.open(io.BytesIO(small_png(png(drawing), drawing=True)))
    assert small.mode == "P" and len(small.getcolors()) <= 64
    before, after = np.asarray(drawing, dtype=int), np.asarray(small.convert("RGB"), dtype=int)
    assert (after[before.min(-1) == 255] == 255).all(), "white stays white"
    for colour in plotting.COLORS[:4]:
        rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        same = (before == rgb).all(-1)
        assert same.any() and np.abs(after[same] - rgb).max() <= 4


def test_few_colours_are_kept_exactly():
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (200, 3))
    picture = Image.fromarray(palette[rng.integers(0, 200, (60, 80))].astype(np.uint8))
    small = small_png(png(picture.convert("RGBA")), drawing=True)
    assert Image.open(io.BytesIO(small)).mode == "P"
    np.testing.assert_array_equal(pixels(small), np.asarray(picture))


@pytest.mark.parametrize("size", [100, 256])
def test_a_photograph_keeps_its_colours(size):
    """Too many for a palette: every pixel stays, also in what claims to be a drawing."""
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    photograph = Image.fromarray(np.stack([x, y, (x * y) % 256], -1).astype(np.uint8))
    assert len(photograph.getcolors(1 << 24)) == size**2
    for drawing in (False, True):
        small = small_png(png(photograph.convert("RGBA")), drawing)
        np.testing.assert_array_equal(pixels(small), np.asarray(photograph))


def test_a_heat_map_gets_no_bands():
    """256 shades with their mixtures at the edges: none that covers an area moves visibly."""
    values = np.linspace(0, 1, 256).reshape(16, 16)
    shades = (matplotlib.colormaps["viridis"](values)[..., :3] * 255).astype(np.uint8)
    large = Image.fromarray(shades).resize((480, 480), Image.Resampling.NEAREST)
    large = large.resize((475, 475), Image.Resampling.BILINEAR)
    small = small_png(png(large), drawing=False)
    assert np.abs(pixels(small) - np.asarray(large, dtype=int)).mean() < 1
    assert len(np.unique(pixels(small).reshape(-1, 3), axis=0)) > 200


def test_transparent_pictures_stay():
    picture = line_drawing().convert("RGBA")
    picture.putalpha(100)
    assert small_png(png(picture), drawing=True) == png(picture)


def notebook(mini, *outputs_of_cells: list) -> tuple:
    """A section with as many code cells, and its notebook with these outputs."""
    mini.add("only", *(f"x = {i}" for i in range(len(outputs_of_cells))))
    section = mini.book.select(["1.1"])[0]
    copy = nbformat.from_dict(section.notebook)
    for (index, _), given in zip(section.code_cells(), outputs_of_cells, strict=True):
        copy.cells[index]["outputs"] = given
    return section, copy


def test_too_much_text_is_named(mini):
    many = new_output("stream", name="stdout", text="line\n" * 60_000)
    page = f'<div data-frames="{"A" * 30_000}"><img src="data:image/png;base64,{"A" * 30_000}">'
    page += f'<audio src="data:audio/wav;base64,{"A" * 30_000}"></audio>'
    slider = new_output("display_data", data={"text/html": page, FIGURE_MIME: {"a": "x" * 30_000}})
    table = new_output("display_data", data={"text/html": "<td>1</td>" * 3000})
    few = new_output("stream", name="stdout", text="line\n" * 4000)
    section, copy = notebook(mini, [few], [few, many], [slider], [table])
    found = outputs.long_outputs(section, copy)
    assert [f.partition(":")[2].partition(";")[0] for f in found] == [
        f"{section.cell_lines[2]} (cell 3): an output of 300000 characters (20000 at most)",
        f"{section.cell_lines[4]} (cell 5): an output of 30000 characters (20000 at most)",
    ]
    assert all(f in problems(section, copy, mini.root) for f in found)


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        (None, "the outputs are 1.30 MB (1 MB at most), the largest 0.90 MB of"),
        ("{limit: 2, reason: many pictures}", None),
        ("{limit: 1.2, reason: many pictures}", "(1.2 MB at most)"),
        ("{limit: 2}", "write outputs_mb: {limit: 2, reason: why the section needs it}"),
        ("2", "write outputs_mb: {limit: 2, reason: why the section needs it}"),
    ],
)
def test_too_large_outputs_are_named(mini, allowed, message):
    def picture(size: int) -> nbformat.NotebookNode:
        alt = {"image/png": {"alt": "x"}}
        return new_output("display_data", data={"image/png": "A" * size}, metadata=alt)

    path = mini.add("only", "x = 1", "x = 2")
    if allowed:
        path.write_text(
            path.read_text().replace("#   d2l:", f"#   d2l:\n#     outputs_mb: {allowed}")
        )
    section = mini.book.select(["1.1"])[0]
    copy = nbformat.from_dict(section.notebook)
    copy.cells[1]["outputs"] = [picture(400_000)]
    copy.cells[2]["outputs"] = [picture(500_000), picture(400_000)]
    found = problems(section, copy, mini.root)
    if message is None:
        assert found == []
    else:
        assert len(found) == 1 and message in found[0] and section.name in found[0], found
    if allowed is None:
        assert f"of {section.where(2)}" in found[0] and "outputs_mb: {limit: ..." in found[0]


def test_pictures_need_words_and_outputs_no_paths(mini, monkeypatch):
    monkeypatch.setenv("SOME_API_TOKEN", "swordfish-9000")
    section, copy = notebook(
        mini,
        [new_output("display_data", data={"image/png": "AAAA"})],
        [new_output("stream", name="stdout", text=f"in {mini.root}/data")],
        [new_output("display_data", data={"text/html": "<b>swordfish-9000</b>"})],
        [new_output("error", ename="E", evalue="", traceback=["AKIA" + "ABCDEFGHIJKLMNOP"])],
        [new_output("stream", name="stdout", text=f"{mini.root}-other ghp_short")],
    )
    found = problems(section, copy, mini.root)
    words = ("no alternative text", "path of this machine", "password or key", "password or key")
    assert len(found) == 4, found
    for number, (problem, word) in enumerate(zip(found, words, strict=True), 2):
        assert f"(cell {number})" in problem and word in problem
