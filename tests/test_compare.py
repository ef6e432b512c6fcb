"""The comparator: what must be the same, what may differ, and how a difference is told."""

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from bookbuild.compare import FIGURE_MIME, differences


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
    ],
)
def test_different(stored, new):
    (message,) = differences([stream(stored)], [stream(new)])
    assert repr(stored) in message and repr(new) in message


def test_the_line_that_differs_is_named():
    (message,) = differences([stream("same 1.0\nloss 0.5\n")], [stream("same 1.0\nloss 0.9\n")])
    assert message == "output 1: expected 'loss 0.5', got 'loss 0.9'"


def test_tags_change_the_tolerance():
    assert differences([stream("0.9")], [stream("0.85")], ["rtol=0.1"]) == []
    assert (
        differences([stream("took 0.3 s for 10")], [stream("took 7.1 s for 10")], ["timing"]) == []
    )
    assert differences([stream("took 0.3 s")], [stream("failed 7.1 s")], ["timing"])


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


def test_slider_pages_without_their_frames():
    page = '<div data-frames="{}"><img src="data:image/png;base64,{}">w <output>{}</output></div>'
    assert (
        differences(
            [shown(**{"text/html": page.format("AAAA", "BBBB", "1.5")})],
            [shown(**{"text/html": page.format("CCCC", "DDDD", "1.5")})],
        )
        == []
    )
    assert differences(
        [shown(**{"text/html": page.format("AAAA", "BBBB", "1.5")})],
        [shown(**{"text/html": page.format("CCCC", "DDDD", "2.5")})],
    )


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
