"""The comparator: what must be the same, what may differ, and how a difference is told."""

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from bookbuild.compare import (
    FIGURE_MIME,
    IMAGE_TOLERANCE,
    coverage,
    differences,
    image_difference,
    same_number,
)


def stream(text: str) -> dict:
    return {"output_type": "stream", "name": "stdout", "text": text}


def shown(**data) -> dict:
    return {"output_type": "display_data", "data": data, "metadata": {}}


def png(array: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(array.astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("loss 0.12345", "loss 0.12346"),
        ("loss 0.12345", "loss 0.12390"),  # within 5 in 1000
        ("0.92", "0.93"),  # one unit of the last place
        ("residual 3.2e-16", "residual 5.1e-16"),
        ("a  b\n c", "a b c"),
        ("<object at 0x7f3a12ab34cd>", "<object at 0x7f0000000000>"),
        ("tensor([1.0000, 2.0000], device='cuda:0')", "tensor([1.0000, 2.0000], device=<device>)"),
        ("nan inf", "nan inf"),
        ("tensor([1., 0.])", "tensor([ 1.0000e+00, -2.9802e-08])"),  # a sum in another order
        ("\x1b[31mred\x1b[0m", "red"),
    ],
)
def test_same(stored, new):
    assert differences([stream(stored)], [stream(new)]) == []


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        ("loss 0.000048", "loss 0.900048"),
        ("accuracy 0.922", "accuracy 0.882"),
        ("1000 examples", "1001 examples"),
        ("epoch 1", "epoch 2"),
        ("slope -3.4", "slope 3.4"),
        ("mean 1.0", "mean nan"),
        ("shape (3, 1)", "shape (1, 3)"),
        ("converged", "diverged"),
        ("1e-3", "1e-5"),
        ("tensor([1., 0.])", "tensor([0., 1.])"),
        ("tensor([3., -1.])", "tensor([4., 0.])"),
        ("accuracy 0.9", "accuracy 0.8"),
        ("rate 1e-7", "rate 9e-7"),
        ("tensor([3, 1])", "tensor([3., 1.])"),
        ("counts to 256.0", "counts to 257.0"),
    ],
)
def test_different(stored, new):
    (message,) = differences([stream(stored)], [stream(new)])
    assert repr(stored) in message and repr(new) in message


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("1.", "1.0000", True),  # the same value, written in two ways
        ("1.", "0.9999", True),  # rounding
        ("2.", "2.0001", True),
        ("2.", "2.1", False),
        ("2.00", "3.00", False),  # without decimals, whatever is printed
        ("200.0", "201.0", False),  # 5 in 1000, but exact
        ("-0.", "0.", True),
        ("0.", "1.", False),
        ("0.", "0.01", False),
        ("0.00", "0.01", True),  # one unit of the last of two places
        ("0.05", "0.06", True),
        ("0.05", "0.07", False),
        ("0.5", "0.6", False),  # one place only
        ("9.5", "9.52", True),
        ("1.5", "1.51", False),  # one of them shows one place
        ("1.00e-07", "2.00e-07", False),
        ("1.19e-07", "2.38e-07", True),  # rounding of 32 bits
        ("3", "3.0", False),  # a count is no float
        ("1", "0.99999", True),
        ("inf", "-inf", False),
        ("−3.", "-3.", True),
    ],
)
def test_numbers(a, b, same):
    assert same_number(a, b) is same_number(b, a) is same


def test_the_line_that_differs_is_named():
    (message,) = differences([stream("same 1.0\nloss 0.5\n")], [stream("same 1.0\nloss 0.9\n")])
    assert message == "output 1: expected 'loss 0.5', got 'loss 0.9'"


def test_tags_change_the_tolerance():
    assert differences([stream("0.9")], [stream("0.85")], ["rtol=0.1"]) == []
    assert (
        differences([stream("took 0.3 s for 10")], [stream("took 7.1 s for 10")], ["timing"]) == []
    )
    assert differences([stream("took 0.3 s")], [stream("failed 7.1 s")], ["timing"])
    fast, slow = "a step, 1,592,833 examples/s, done", "a step, 581,797.5 examples/s, done"
    assert differences([stream(fast)], [stream(slow)], ["timing"]) == []
    assert differences([stream(slow)], [stream("a step, 950 examples/s, done")], ["timing"]) == []
    assert differences([stream(fast)], [stream("a step, 1,592,833 examples/s")], ["timing"])
    assert differences([stream("il est")], [stream("elle est")], ["generated"]) == []
    assert differences([stream("il est")], [stream(" \n")], ["generated"]), "nothing was written"
    assert differences([stream("il est")], [shown(**{"text/plain": "il est"})], ["generated"])
    assert differences([stream("12.0")], [stream("13.0")], ["rtol=0.1"]) == []
    assert differences([stream("12")], [stream("13")], ["rtol=0.1"]), "a count"


def test_a_deleted_or_added_output():
    assert differences([stream("x")], []) == ["expected 1 outputs (stream), got 0 ()"]
    assert differences([], [stream("x")])


def test_split_streams_are_one():
    assert differences([stream("ab")], [stream("a"), stream("b")]) == []


def test_tables_cell_by_cell():
    table = "<table><tr><th>x</th></tr><tr><td>{}</td></tr></table>"
    assert (
        differences(
            [shown(**{"text/html": table.format("0.5001")})],
            [shown(**{"text/html": table.format("0.5002")})],
        )
        == []
    )
    (message,) = differences(
        [shown(**{"text/html": table.format("0.5")})], [shown(**{"text/html": table.format("0.9")})]
    )
    assert "table row 2, column 1: expected '0.5', got '0.9'" in message
    two = table.replace("</table>", "<tr><td>1</td></tr></table>")
    assert (
        "different shape"
        in differences([shown(**{"text/html": table})], [shown(**{"text/html": two})])[0]
    )


def test_figures_by_their_data():
    def figure(y, label="loss"):
        axes = {
            "title": "",
            "xlabel": "t",
            "ylabel": "",
            "lines": [{"label": label, "n": 2, "x": [0.0, 1.0], "y": y}],
            "bars": [],
            "points": [],
            "images": [],
        }
        return shown(
            **{
                FIGURE_MIME: {"alt": "", "axes": [axes]},
                "image/png": png(np.full((64, 64), y[0] * 100)),
                "text/plain": "<Figure>",
            }
        )

    assert differences([figure([1.0, 0.5])], [figure([1.001, 0.5])]) == []
    assert differences([figure([1.0, 0.5])], [figure([1.0, 0.6])]) == [
        "output 1: axes[0].lines[0].y[1]: expected 0.5, got 0.6"
    ]
    assert "'loss'" in differences([figure([1.0, 0.5])], [figure([1.0, 0.5], "error")])[0]
    assert differences([figure([1.0, 0.5])], [figure([1.0, 0.6])], ["timing"]) == []


def test_pictures_without_data():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (96, 96))
    other = noise.copy()
    other[40:56, 40:56] = 255
    assert (
        differences(
            [shown(**{"image/png": png(noise)})],
            [shown(**{"image/png": png(np.clip(noise + 1, 0, 255))})],
        )
        == []
    )
    assert (
        "picture differs"
        in differences([shown(**{"image/png": png(noise)})], [shown(**{"image/png": png(other)})])[
            0
        ]
    )
    assert (
        "picture differs"
        in differences(
            [shown(**{"image/png": png(noise)})], [shown(**{"image/png": png(noise[:80])})]
        )[0]
    )


def drawn(shift: int = 0, half: bool = False) -> np.ndarray:
    """A curve four pixels wide on white, with a frame."""
    picture = np.full((240, 400), 255)
    x = np.arange(20, 380)
    for width in range(4):
        picture[(120 + 80 * np.sin(x / 40)).astype(int) + width + shift, x] = 0
    picture[:, 18:20] = picture[220:222] = 0
    if half:
        picture[:, 200:] = 255
    return picture


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (np.zeros((96, 96)), np.full((96, 96), 255), False),
        (drawn(), drawn(), True),
        (drawn(), np.clip(drawn(), 8, 247), True),  # a palette
        (drawn(), drawn(1), True),  # a pixel, as another version of the fonts makes
        (drawn(), drawn(6), False),
        (drawn(), drawn(half=True), False),
        (drawn(), 255 - drawn(), False),
        (np.zeros((4, 5)), np.full((4, 5), 200), False),
        (drawn(), drawn()[:, :-1], False),
    ],
    ids="black-white same palette pixel shifted half inverted small size".split(),
)
def test_image_difference(a, b, same):
    assert (image_difference(png(a), png(b)) <= IMAGE_TOLERANCE) is same
    messages = differences([shown(**{"image/png": png(a)})], [shown(**{"image/png": png(b)})])
    assert ("picture differs" in "".join(messages)) is not same


def test_image_difference_sees_colours_and_transparency():
    def colour(*rgba: int) -> str:
        buffer = io.BytesIO()
        Image.new("RGBA", (32, 32), rgba).save(buffer, "PNG")
        return base64.b64encode(buffer.getvalue()).decode()

    assert image_difference(colour(255, 0, 0, 255), colour(0, 130, 0, 255)) == 1.0
    assert image_difference(colour(0, 0, 0, 0), colour(255, 255, 255, 255)) == 0.0


@pytest.mark.parametrize(
    ("axes", "looked_at"),
    [
        ([], True),
        ([{"title": "t", "xlabel": "", "ylabel": ""}], True),
        ([{"title": "", "xlabel": "", "ylabel": "", "others": ["AnnotationBbox"]}], True),
        ([{"title": "", "xlabel": "", "ylabel": "", "patches": [{"x": [1.0]}]}], False),
        (
            [{"title": "", "xlabel": "", "ylabel": "", "patches": [{}], "others": ["Table"]}],
            True,
        ),
    ],
)
def test_a_figure_without_a_full_record_is_compared_by_its_picture(axes, looked_at):
    def figure(grey: int) -> dict:
        record = {"alt": "x", "axes": axes}
        return shown(**{FIGURE_MIME: record, "image/png": png(np.full((64, 64), grey))})

    assert differences([figure(0)], [figure(0)]) == []
    assert ("picture differs" in "".join(differences([figure(0)], [figure(255)]))) is looked_at


def test_slider_pages_by_what_they_show():
    """The frames in the page have no say, its words and values do."""
    page = '<div data-frames="{}"><img src="data:image/png;base64,{}">w <input data-values="[1, 2]"><output>{}</output></div>'
    record = {"alt": "", "axes": [{"xlabel": "", "lines": [{"x": [1.0]}]}]}

    def slider(*words: str, frames: float = 1.0) -> list[dict]:
        brief = {"words": "t", "numbers": [[frames, 2.0, 0.5], [0.0, 300.0, 1.0]]}
        data = {
            FIGURE_MIME: {**record, "frames": [brief, brief]},
            "image/png": png(np.zeros((16, 16))),
            "text/html": page.format(*words),
            "text/plain": "sliders: w",
        }
        return [shown(**data)]

    assert differences(slider("AAAA", "BBBB", "1.5"), slider("CCCC", "DDDD", "1.5")) == []
    assert differences(slider("A", "B", "1.5"), slider("A", "B", "1.5", frames=1.001)) == []
    assert (
        "frames[0].numbers[0][0]"
        in (differences(slider("A", "B", "1.5"), slider("A", "B", "1.5", frames=1.1))[0])
    )
    assert "2.5" in differences(slider("A", "B", "1.5"), slider("A", "B", "2.5"))[0]
    changed = slider("A", "B", "1.5")
    changed[0]["data"]["text/html"] = changed[0]["data"]["text/html"].replace("[1, 2]", "[1, 3]")
    assert differences(slider("A", "B", "1.5"), changed)


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("<p>a &lt;b&gt;</p>", "<p>a </p>", False),  # text that looks like markup
        ("<p>&lt;script&gt;1&lt;/script&gt;</p>", "<p>&lt;script&gt;2&lt;/script&gt;</p>", False),
        ("<p>a &amp; b</p>", "<p>a & b</p>", True),
        ("<p>x</p><style>p {}</style>", "<p>x</p>", True),
        ('<svg><path d="M1 2"/></svg>', '<svg><path d="M1 3"/></svg>', False),
        ("<table><td>1</table>", "<table><td>2</table>", False),
        ("<table><caption>a</caption></table>", "<table><caption>b</caption></table>", False),
        ('<a href="a.html">x</a>', '<a href="b.html">x</a>', False),
    ],
)
def test_html(one, two, same):
    assert (not differences([shown(**{"text/html": one})], [shown(**{"text/html": two})])) is same


def test_pictures_within_html():
    page = '<img alt="" src="data:image/png;base64,{}">'
    black, white = (png(np.full((32, 32), grey)) for grey in (0, 255))
    one, two = (shown(**{"text/html": page.format(picture)}) for picture in (black, white))
    assert differences([one], [one]) == []
    assert "picture differs" in differences([one], [two])[0]


@pytest.mark.parametrize(
    ("kind", "one", "two"),
    [
        ("image/svg+xml", "<svg>1.0</svg>", "<svg>1.001</svg>"),
        ("text/latex", "$x_1$", "$x_2$"),
        ("application/json", {"a": [1.0]}, {"a": [1.001]}),
        ("application/vnd.other", "0.90001", "0.90002"),
    ],
)
def test_other_kinds_of_output_are_compared_exactly(kind, one, two):
    assert differences([shown(**{kind: one})], [shown(**{kind: one})]) == []
    assert kind in differences([shown(**{kind: one})], [shown(**{kind: two})])[0]


def test_other_kinds_differ():
    assert (
        "expected the types"
        in differences(
            [shown(**{"text/plain": "x"})], [shown(**{"image/png": png(np.zeros((8, 8)))})]
        )[0]
    )
    error = {"output_type": "error", "ename": "ValueError", "evalue": "bad 1", "traceback": []}
    assert "expected stream, got error" in differences([stream("x")], [error])[0]
    assert "ValueError" in differences([{**error, "ename": "TypeError"}], [error])[0]


def test_what_is_small_on_the_axis_is_small():
    """Differences that nobody can see: near zero in a wide picture, or the mean of positive and negative weights."""

    def figure(y: float, mean: float) -> list[dict]:
        axis = {"title": "", "xlabel": "", "ylabel": "", "bars": [], "points": []}
        axis["lines"] = [
            {"label": "a", "n": 1, "x": [0.0], "y": [y]},
            {"label": "b", "n": 1, "x": [1.0], "y": [100.0]},
        ]
        axis["images"] = [{"shape": [1, 2], "values": [-0.5, 0.5], "mean": mean}]
        return [
            {
                "output_type": "display_data",
                "metadata": {},
                "data": {FIGURE_MIME: {"alt": "x", "axes": [axis]}, "image/png": ""},
            }
        ]

    assert differences(figure(0.01, 0.0), figure(0.03, 0.0005)) == []
    assert "lines[0].y[0]" in differences(figure(0.01, 0.0), figure(0.5, 0.0))[0]
    assert "images[0].mean" in differences(figure(0.01, 0.0), figure(0.01, 0.01))[0]
    assert differences(figure(0.01, 0.0), figure(9.0, 5.0), ["chaotic"]) == []
    changed = figure(0.01, 0.0)
    changed[0]["data"][FIGURE_MIME]["axes"][0]["lines"].pop()
    assert "expected 2 entries" in differences(figure(0.01, 0.0), changed, ["chaotic"])[0]
    assert (
        "0.5" in differences([stream("loss 0.5")], [stream("loss 0.9")], ["chaotic"])[0]
    )  # what is printed is told, and holds
    nan = math.nan
    assert "got nan" in differences(figure(0.01, 0.0), figure(nan, 0.0), ["chaotic"])[0]
    assert differences(figure(nan, 0.0), figure(nan, 0.0)) == []


def test_words_and_counts_in_a_chaotic_figure():
    """Every number passes, also in words; another word does not."""

    def figure(words: str) -> list[dict]:
        axis = {"title": words, "xlabel": "", "ylabel": "", "lines": [{"n": 1, "x": [0.0]}]}
        return [shown(**{FIGURE_MIME: {"alt": "", "axes": [axis]}})]

    assert differences(figure("12 errors"), figure("14 errors"), ["chaotic"]) == []
    assert differences(figure("12 errors"), figure("12 hits"), ["chaotic"])
    assert differences(figure("12 errors"), figure("14 errors"))


def test_colours_differ_by_neighbours_of_a_colour_map():
    def figure(grey: float) -> list[dict]:
        patch = {"kind": "Rectangle", "n": 1, "x": [0.0, 1.0], "grey": [grey, 0.1]}
        axis = {"title": "", "xlabel": "", "ylabel": "", "patches": [patch]}
        return [shown(**{FIGURE_MIME: {"alt": "", "axes": [axis]}})]

    assert differences(figure(0.12), figure(0.13)) == []
    assert "patches[0].grey[0]" in differences(figure(0.12), figure(0.2))[0]


def test_coverage():
    def cell(*outputs: dict, tags: list[str] | None = None) -> dict:
        return {"cell_type": "code", "metadata": {"tags": tags or []}, "outputs": list(outputs)}

    figure = shown(**{FIGURE_MIME: {"alt": "", "axes": []}, "image/png": ""})
    cells = [
        {"cell_type": "markdown", "metadata": {}},
        cell(),
        cell(stream("1")),
        cell(figure),
        cell(stream("1"), tags=["timing"]),
        cell(figure, tags=["timing", "chaotic"]),
        cell(figure, tags=["chaotic"]),
        cell(figure, stream("loss 1"), tags=["chaotic"]),
        cell(stream("1"), tags=["generated", "rtol=0.2"]),
        cell(stream("1"), tags=["nbval-ignore-output"]),
        cell(stream("1"), tags=["injected-parameters"]),
    ]
    assert coverage({"cells": cells}) == (
        3,
        {"timing": 2, "generated": 1, "chaotic": 1, "nbval-ignore-output": 1},
    )
