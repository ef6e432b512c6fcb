"""Figures: what is drawn, what is recorded, what is refused; headless and inside IPython."""

import base64
import doctest
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, TextArea
from matplotlib.patches import FancyArrowPatch
from PIL import Image

from d2l_helpers import plotting
from d2l_helpers.plotting import (
    COLORS,
    FIGURE_MIME,
    describe,
    figure_data,
    heatmap,
    plot,
    show_images,
    sliders,
    use_style,
)


@pytest.fixture(autouse=True)
def headless() -> Iterator[None]:
    backend = mpl.get_backend()
    plt.switch_backend("agg")
    with mpl.rc_context():
        yield
    plt.close("all")
    plt.switch_backend(backend)


def lines(ax):
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in ax.lines]


def test_doctests():
    result = doctest.testmod(plotting)
    assert result.attempted
    assert not result.failed


def test_style_is_set():
    use_style()
    assert mpl.rcParams["axes.grid"] is True
    assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(COLORS)


def test_colours_differ_in_greyscale():
    grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in map(mpl.colors.to_rgb, COLORS)]
    assert min(abs(a - b) for a, b in zip(grey, grey[1:], strict=False)) > 0.1


# plot


@pytest.mark.parametrize(
    "x",
    [
        [0, 1, 2],
        (0, 1, 2),
        np.arange(3),
        torch.arange(3),
        torch.arange(3.0, requires_grad=True),
        [torch.tensor(0), torch.tensor(1), torch.tensor(2)],
    ],
)
@pytest.mark.parametrize("many", [False, True])
def test_plot_takes_lists_arrays_and_tensors(x, many):
    y = np.array([1.0, 2.0, 4.0])
    ys = [y, torch.tensor(y * 2)] if many else y
    expected = [([0, 1, 2], [1, 2, 4]), ([0, 1, 2], [2, 4, 8])][: 1 + many]
    assert lines(plot(x, ys)) == expected


@pytest.mark.parametrize(
    "ys",
    [
        np.ones((2, 3)),
        torch.ones(2, 3),
        [[1, 1, 1], [1, 1, 1]],
        torch.ones(2, 3, dtype=torch.bfloat16),
    ],
)
def test_plot_takes_a_matrix_as_lines(ys):
    ax = plot(range(3), ys, ["a", "b"])
    assert lines(ax) == [([0, 1, 2], [1, 1, 1])] * 2
    assert [line.get_linestyle() for line in ax.lines] == ["-", "--"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a", "b"]


def test_plot_with_an_abscissa_for_each_line():
    assert lines(plot([[0, 1], torch.arange(3)], [[5, 6], [7, 8, 9]])) == [
        ([0, 1], [5, 6]),
        ([0, 1, 2], [7, 8, 9]),
    ]
    assert len(plot(np.zeros((2, 3)), np.ones((2, 3))).lines) == 2


def test_plot_labels_scales_limits_and_axes():
    _, ax = plt.subplots()
    same = plot(
        [1, 10],
        [1, 100],
        xlabel="x",
        ylabel="y",
        title="t",
        xscale="log",
        yscale="log",
        xlim=(1, 10),
        ylim=(1, 100),
        fmts=["r:"],
        ax=ax,
    )
    assert same is ax
    assert ax.get_legend() is None
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title(), ax.get_xscale(), ax.get_yscale()) == (
        "x",
        "y",
        "t",
        "log",
        "log",
    )
    assert (ax.get_xlim(), ax.get_ylim()) == ((1, 10), (1, 100))
    assert ax.lines[0].get_linestyle() == ":"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ([[0, 1]], [[1, 2], [3, 4]]),
            "plot got 1 abscissae for 2 lines; give one array, or one for each line.",
        ),
        (
            ([0, 1], [1, 2], ["a", "b"]),
            "plot got 2 labels for 1 lines; give one label for each line, or none.",
        ),
        (
            ([0, 1], [[1, 2], [1, 2, 3]]),
            "line 1 has shape (3,), its abscissae (2,); both must be equal and 1-D.",
        ),
        (
            ([np.zeros((2, 2))], [np.zeros((2, 2))]),
            "line 0 has shape (2, 2), its abscissae (2, 2); both must be equal and 1-D.",
        ),
        (
            ([[0], [0]], [[1]]),
            "plot got 2 abscissae for 1 lines; give one array, or one for each line.",
        ),
        (([1], 3), "line 0 has shape (), its abscissae (1,); both must be equal and 1-D."),
    ],
)
def test_plot_refuses(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plot(*arguments)


# show_images


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (torch.rand(2, 5, 4), (5, 4)),
        (np.random.default_rng(0).random((2, 1, 5, 4)), (5, 4)),
        (torch.rand(2, 3, 5, 4), (5, 4, 3)),
        (np.zeros((2, 5, 4, 3), np.uint8), (5, 4, 3)),
        (np.zeros((2, 5, 4, 1), np.uint8), (5, 4)),
        ([torch.rand(5, 4), np.zeros((5, 4))], (5, 4)),
    ],
)
def test_show_images_shapes(images, shape):
    axes = show_images(images, 2, 2, titles=["first"])
    assert axes.shape == (4,)
    assert [ax.images[0].get_array().shape for ax in axes[:2]] == [shape] * 2
    assert not axes[2].images
    assert [ax.get_title() for ax in axes] == ["first", "", "", ""]


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.float32, 1)])
def test_grey_images_share_one_scale(dtype, top):
    ax = show_images(np.full((1, 2, 2), 1, dtype), 1, 1)[0]
    assert ax.images[0].get_clim() == (0, top)


def test_show_images_refuses():
    with pytest.raises(
        ValueError, match="5 images do not fit 2 x 2 places; enlarge the grid or pass fewer."
    ):
        show_images(np.zeros((5, 2, 2)), 2, 2)
    with pytest.raises(
        ValueError,
        match=re.escape(
            "image 0 has shape (2, 5, 5); expected (h, w), (1, h, w), (3, h, w) or (h, w, 3)."
        ),
    ):
        show_images(np.zeros((1, 2, 5, 5)), 1, 1)


# heatmap


def test_heatmap_names_and_numbers():
    ax = heatmap(
        torch.eye(2),
        rows=["a", "b"],
        cols=["c", "d"],
        annotate=".1f",
        xlabel="x",
        ylabel="y",
        title="t",
    )
    assert [t.get_text() for t in ax.get_xticklabels()] == ["c", "d"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert [(t.get_text(), t.get_color()) for t in ax.texts] == [
        ("1.0", "black"),
        ("0.0", "white"),
        ("0.0", "white"),
        ("1.0", "black"),
    ]
    assert len(ax.figure.axes) == 2, "a colour scale stands beside it"


def test_heatmap_on_given_axes():
    _, ax = plt.subplots()
    assert heatmap(np.zeros((2, 6)), cols=list("abcdef"), ax=ax) is ax
    assert ax.get_xticklabels()[0].get_rotation() == 45


@pytest.mark.parametrize(
    ("matrix", "names", "message"),
    [
        ([1, 2], {}, "heatmap needs a matrix, got shape (2,); reshape it or choose one slice."),
        (np.zeros((2, 3)), {"rows": ["a"]}, "heatmap got 1 names for 2 rows."),
        (np.zeros((2, 3)), {"cols": ["a"]}, "heatmap got 1 names for 3 cols."),
    ],
)
def test_heatmap_refuses(matrix, names, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        heatmap(matrix, **names)


# alternative text and the record of what was plotted


def test_describe():
    ax = plot([0], [0])
    describe(ax, " Two\n  words ")
    assert figure_data(ax.figure)["alt"] == "Two words"
    describe(ax.figure, "figure")
    assert ax.figure.get_label() == "figure"
    axes = show_images(np.zeros((2, 2, 2)), 1, 2)
    describe(axes, "array")
    assert axes[1].figure.get_label() == "array"
    describe(list(axes), "list")
    assert axes[1].figure.get_label() == "list"
    inner = plt.figure().subfigures(1, 2)[1].subplots()
    describe(inner, "inner")
    assert inner.get_figure(root=True).get_label() == "inner"
    with pytest.raises(
        ValueError,
        match="describe needs a text; say in one or two sentences what the figure shows.",
    ):
        describe(ax, " \n")


def test_figure_data_of_every_kind():
    _, ax = plt.subplots()
    ax.plot(["mon", "tue"], [1.23456789, np.nan], label="week")
    ax.bar([0, 1], [3, 4], label="bars")
    ax.errorbar([0, 1], [5, 6], yerr=[1, 1])
    ax.scatter([0, 1], np.ma.masked_greater([1, 9], 5), label="dots")
    ax.fill_between([0, 1], [0, 0], [1, 1])
    ax.pie([1, 2])
    ax.imshow([[0, 1], [2, np.nan]])
    ax.imshow([[np.nan]])
    ax.set(title="t", xlabel="x", ylabel="y")
    (data,) = figure_data(ax.figure)["axes"]
    json.dumps(data, allow_nan=False)
    assert (data["title"], data["xlabel"], data["ylabel"]) == ("t", "x", "y")
    assert data["lines"][0] == {"label": "week", "n": 2, "x": [0.0, 1.0], "y": [1.23457, "nan"]}
    assert data["bars"] == [
        {"label": "bars", "n": 2}
        | {"x": [-0.4, 0.6], "y": [0.0, 0.0], "w": [0.8, 0.8], "h": [3.0, 4.0]}
    ]
    (dots,) = data["points"]
    assert dots["label"] == "dots" and dots["x"] == [0.0, "nan"] and dots["y"] == [1.0, "nan"]
    first, second = data["images"]
    assert first["shape"] == [2, 2] and first["values"] == [0.0, 1.0, 2.0, "nan"]
    assert first["mean"] == 1.0 and first["cmap"] == "viridis" and first["range"] == [0.0, 2.0]
    assert second["shape"] == [1, 1] and second["values"] == ["nan"] and second["mean"] == "nan"
    assert [shape["kind"] for shape in data["shapes"]] == [
        "LineCollection",
        "FillBetweenPolyCollection",
    ]
    assert [(patch["kind"], patch["n"]) for patch in data["patches"]] == [("Wedge", 2)]


def test_long_lines_are_sampled_with_both_ends():
    record = figure_data(plot(range(1000), range(1000)).figure)["axes"][0]["lines"][0]
    assert record["n"] == 1000
    assert len(record["x"]) == 24
    assert record["y"][0] == 0
    assert record["y"][-1] == 999


def drawn(call) -> dict:
    """Record of fresh axes after a call."""
    fig = Figure()
    call(fig.subplots())
    record = figure_data(fig)
    assert record == figure_data(fig)
    fig.canvas.draw()
    assert record == figure_data(fig), "the same before and after the figure is drawn"
    return record["axes"][0]


X, Y = np.meshgrid(np.linspace(0, 1, 7), np.linspace(0, 1, 5))
#: Two calls that draw different things of one kind, and where the record shows it.
KINDS = {
    "rectangle": ("patches", lambda ax, k: ax.add_patch(plt.Rectangle((0, 0), 1 + k, 2))),
    "colour": ("patches", lambda ax, k: ax.add_patch(plt.Circle((0, 0), 1, fc="wk"[k]))),
    "edge": ("patches", lambda ax, k: ax.add_patch(plt.Circle((0, 0), 1, ec="rk"[k], fill=False))),
    "polygon": ("patches", lambda ax, k: ax.fill([0, 1, 1], [0, 0, 1 + k])),
    "arrow": ("patches", lambda ax, k: ax.arrow(0, 0, 1, k)),
    "fancy arrow": ("patches", lambda ax, k: ax.add_patch(FancyArrowPatch((0, 0), (1, k)))),
    "pie": ("patches", lambda ax, k: ax.pie([1, 2 + k])),
    "stairs": ("patches", lambda ax, k: ax.stairs([1, 2 + k])),
    "span": ("patches", lambda ax, k: ax.axvspan(0, 1 + k)),
    "fill": ("shapes", lambda ax, k: ax.fill_between([0, 1], [0, 0], [1, 2 + k])),
    "vlines": ("shapes", lambda ax, k: ax.vlines([0, 1], 0, [1, 2 + k])),
    "error bars": ("shapes", lambda ax, k: ax.errorbar([0, 1], [1, 1], yerr=[1, 2 + k])),
    "contour": ("shapes", lambda ax, k: ax.contour(X, Y, X * X + (1 + k) * Y * Y)),
    "filled contour": ("shapes", lambda ax, k: ax.contourf(X, Y, X * X + (1 + k) * Y * Y)),
    "levels": ("shapes", lambda ax, k: ax.contour(X, Y, X + Y, levels=[0.3 + k / 10, 0.7])),
    "mesh": ("shapes", lambda ax, k: ax.pcolormesh(X + (X == 0.5) * k)),
    "quiver": ("points", lambda ax, k: ax.quiver([0, 1], [0, 1], [1, 2], [1, 2 + k])),
    "one point": ("points", lambda ax, k: ax.scatter([1], [2 + k])),
    "point colours": (
        "points",
        lambda ax, k: ax.scatter([1, 2], [1, 2], c=[["r", "b"], ["b", "r"]][k]),
    ),
    "point values": ("points", lambda ax, k: ax.scatter([1, 2], [1, 2], c=[1, 2 + k])),
    "point sizes": ("points", lambda ax, k: ax.scatter([1, 2], [1, 2], s=[9, 16 + k])),
    "horizontal bars": ("bars", lambda ax, k: ax.barh([0, 1], [1, 2 + k])),
    "bar edges": ("bars", lambda ax, k: ax.hist([1, 2, 3], bins=[0, 2, 4 + k])),
    "sloping line": ("lines", lambda ax, k: ax.axline((0, 0), slope=1 + k)),
    "two points": ("lines", lambda ax, k: ax.axline((0, 0), (1, 1 + k))),
    "peak": ("lines", lambda ax, k: ax.plot(np.eye(1, 999, 500)[0] * (1 + k))),
    "text": ("texts", lambda ax, k: ax.text(0, 0, f"word {k}")),
    "place": ("texts", lambda ax, k: ax.text(0, k, "word")),
    "annotation": ("texts", lambda ax, k: ax.annotate("", (1, k), (0, 0), arrowprops={})),
    "category": ("xticks", lambda ax, k: ax.bar(["a", "bc"[k]], [1, 2])),
    "labels": ("xticks", lambda ax, k: ax.set_xticks([0, 1], ["a", "bc"[k]])),
    "places": ("yticks", lambda ax, k: ax.set_yticks([0, 1 + k])),
    "limits": ("xlim", lambda ax, k: ax.set_xlim(0, 1 + k)),
    "legend": ("legend", lambda ax, k: ax.legend([Line2D([], [])], [f"name {k}"])),
    "left title": ("title", lambda ax, k: ax.set_title(f"name {k}", loc="left")),
    "colour map": ("images", lambda ax, k: ax.imshow(X, cmap=["gray", "gray_r"][k])),
    "colour range": ("images", lambda ax, k: ax.imshow(X, vmax=1 + k)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_everything_drawn_is_recorded(kind):
    where, call = KINDS[kind]
    one, two = drawn(lambda ax: call(ax, 0)), drawn(lambda ax: call(ax, 1))
    json.dumps(one, allow_nan=False)
    assert one[where] != two[where]
    assert set(drawn(lambda ax: None)) == {"title", "xlabel", "ylabel"}
    assert "others" not in one


def test_what_cannot_be_recorded_is_named():
    def call(ax):
        ax.add_artist(AnnotationBbox(TextArea("x"), (0, 0)))
        ax.table([["1"]])
        ax.plot([0], [0])[0].set_visible(False)

    assert drawn(call)["others"] == ["AnnotationBbox", "Table"]
    assert "lines" not in drawn(call)


def test_figures_in_space():
    """What is recorded does not depend on the view, and holds nothing of unfilled memory."""

    def space(k: float, turn: float = 0) -> dict:
        fig = Figure()
        ax = fig.add_subplot(projection="3d")
        ax.plot_surface(X, Y, X + k * Y, cmap="viridis", rstride=3, cstride=2)
        ax.plot_wireframe(X, Y, X + k * Y)
        ax.scatter([0, 1], [0, 1], [0, k])
        ax.plot([0, 1], [0, 1], [0, k])
        ax.text(0, 0, k, "x")
        ax.view_init(azim=turn)
        before = figure_data(fig)
        fig.canvas.draw()
        assert figure_data(fig) == before
        return before["axes"][0]

    one, turned, two = space(1), space(1, 40), space(2)
    assert one == turned
    for name in ("lines", "points", "shapes"):
        assert one[name] != two[name], name
    surface, wires = one["shapes"]
    assert 0 <= min(surface["z"]) <= surface["mean_z"] <= max(surface["z"]) <= 2
    assert wires["kind"] == "Line3DCollection"


def test_parts_of_a_figure():
    """Figures within figures, axes within axes, and words of the figure itself."""
    fig = Figure()
    left, right = fig.subfigures(1, 2)
    left.suptitle("left")
    fig.suptitle("all")
    ax = right.subplots()
    ax.inset_axes([0, 0, 0.3, 0.3]).plot([1, 2])
    fig.legend([Line2D([], [])], ["name"])
    record = figure_data(fig)
    assert record["texts"]["words"] == ["all", "left"] and record["legend"] == ["name"]
    assert len(record["axes"]) == 2 and record["axes"][1]["lines"][0]["y"] == [1.0, 2.0]


def test_records_are_short_and_calm():
    """Thousands of things drawn take a few kilobytes; what rounding leaves of zero is zero."""

    def call(ax):
        for i in range(300):
            ax.add_patch(plt.Rectangle((i, i), 1, 1, fc=plt.cm.viridis(i / 300)))
            ax.text(i, i, str(i))
        ax.plot(np.sin(np.linspace(0, np.pi, 5)))

    record = drawn(call)
    assert record["patches"][0]["n"] == record["texts"]["n"] == 300
    assert len(record["texts"]["words"]) == 100 and len(record["patches"][0]["grey"]) == 64
    assert len(json.dumps(record)) < 5000
    assert record["lines"][0]["y"][-1] == 0.0


# sliders


def draw(fig: Figure, w: float, b: float) -> None:
    fig.subplots().plot([0, 1], [b, w + b])


@pytest.fixture(scope="module")
def widget() -> plotting.Sliders:
    return sliders(
        draw, 'Line "w < b"\n& more.', figsize=(2, 1), w=[0, 1, 2], b=torch.tensor([0.0, 0.5])
    )


def test_sliders_show_the_middle_and_hold_every_frame(widget):
    bundle, metadata = widget._repr_mimebundle_()
    assert len(widget.frames) == 6
    assert widget.middle == 3, "w = 1, b = 0.5"
    assert bundle["image/png"] == base64.b64encode(widget.frames[3]).decode()
    assert bundle[FIGURE_MIME]["axes"][0]["lines"][0]["y"] == [0.5, 1.5]
    assert bundle["text/plain"] == "sliders: w, b"
    assert metadata == {"image/png": {"alt": 'Line "w < b" & more.'}}
    assert len(bundle[FIGURE_MIME]["frames"]) == 6
    assert Image.open(io.BytesIO(widget.frames[0])).size == (300, 150)
    assert plt.get_fignums() == [], "frames are not left open"


def test_sliders_page_needs_no_network(widget):
    from html.parser import HTMLParser

    page = widget._repr_mimebundle_()[0]["text/html"]
    assert not re.search(
        r"http|//|@import|url\(|<link|<iframe", re.sub(r"[A-Za-z0-9+/]{60,}={0,2}", "", page)
    ), "nothing but the pictures"
    tags: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append((tag, dict(attrs)))

    Reader().feed(page)
    (img,) = [attrs for tag, attrs in tags if tag == "img"]
    assert img["alt"] == 'Line "w < b" & more.'
    assert all(a["src"].startswith("data:image/png;base64,") for _, a in tags if a.get("src"))
    ranges = [attrs for tag, attrs in tags if tag == "input"]
    assert [(r["min"], r["max"], r["value"], json.loads(r["data-values"])) for r in ranges] == [
        ("0", "2", "1", ["0", "1", "2"]),
        ("0", "1", "1", ["0", "0.5"]),
    ]
    frames = json.loads(tags[0][1]["data-frames"])
    assert [base64.b64decode(f) for f in frames] == widget.frames


def test_sliders_are_reproducible(widget):
    again = sliders(draw, widget.alt, figsize=(2, 1), w=[0, 1, 2], b=[0, 0.5])
    assert again._repr_mimebundle_() == widget._repr_mimebundle_()


@pytest.mark.parametrize("change", ["level", "order", "title"])
def test_hidden_frames_are_recorded(change):
    """Another picture in a frame that is not the middle one shows in the record."""

    def frames(changed: bool) -> list[dict]:
        def draw(fig: Figure, k: float) -> None:
            y, title = [1.0, 2.0, 4.0], "t"
            if changed and k == 3:
                y = {"level": [1.0, 2.0, 4.1], "order": [4.0, 2.0, 1.0]}.get(change, y)
                title = "u" if change == "title" else title
            ax = fig.subplots()
            ax.plot(y)
            ax.set_title(title)

        bundle, _ = sliders(draw, "text", figsize=(1, 1), k=[1, 2, 3])._repr_mimebundle_()
        return bundle[FIGURE_MIME]["frames"]

    one, two = frames(False), frames(True)
    assert one[:2] == two[:2] and one[2] != two[2]
    assert len(json.dumps(one)) < 400


def test_slider_values_may_be_words():
    """The page shows the words as they are, escaped; `draw` gets them."""
    seen = []
    widget = sliders(
        lambda fig, shape: seen.append(shape), "text", figsize=(1, 1), shape=["(3, 1)", "<b>"]
    )
    assert seen == ["(3, 1)", "<b>"]
    page = widget._repr_mimebundle_()[0]["text/html"]
    assert "&lt;b&gt;</output>" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("values", "count"), [({}, 0), ({"w": []}, 0), ({"w": range(15), "b": range(14)}, 210)]
)
def test_sliders_refuse(values, count):
    with pytest.raises(
        ValueError,
        match=re.escape(f"sliders got {count} combinations; give 1 to 200, as name=[value, ...]."),
    ):
        sliders(draw, "text", **values)


def test_sliders_need_a_text():
    with pytest.raises(
        ValueError,
        match="sliders needs an alternative text; say in one or two sentences what the figure shows.",
    ):
        sliders(draw, " ", w=[1], b=[1])


# IPython


def test_use_style_in_a_shell_asks_for_sharp_figures_and_the_record(monkeypatch):
    import matplotlib_inline.backend_inline as inline

    calls = []
    formatter = SimpleNamespace(for_type=lambda *arguments: calls.append(arguments))
    shell = SimpleNamespace(display_formatter=SimpleNamespace(mimebundle_formatter=formatter))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(inline, "set_matplotlib_formats", calls.append)
    use_style()
    assert calls == ["retina", (Figure, plotting._figure_bundle)]
    ax = plot([0], [1])
    assert plotting._figure_bundle(ax.figure) == {FIGURE_MIME: figure_data(ax.figure)}


SHELL = """
import base64, json, sys
import matplotlib; matplotlib.use("module://matplotlib_inline.backend_inline")
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("import d2l_helpers as d2l; d2l.use_style()").raise_error()
shell.run_cell("ax = d2l.plot([0, 1], [2, 3], ['a']); d2l.describe(ax, 'A rising line.')").raise_error()
data, metadata = shell.display_formatter.format(shell.user_ns["ax"].figure)
widget = shell.run_cell("d2l.sliders(lambda fig, k: fig.subplots().plot([0, k]), 'Steeper.', k=[1, 2, 3])").result
shown, described = shell.display_formatter.format(widget)
png = data["image/png"]
size = (png if isinstance(png, bytes) else base64.b64decode(png))[16:24].hex()
print("RESULT " + json.dumps([sorted(data), data["application/vnd.d2l.figure+json"], metadata["image/png"], size, sorted(shown), described]))
"""


def test_in_ipython_a_figure_carries_its_data_and_text(tmp_path):
    """In a process of its own, because a shell stays for good."""
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:d2l_helpers", "-c", SHELL],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr
    kinds, data, metadata, size, shown, described = json.loads(run.stdout.split("RESULT ")[1])
    assert kinds == [FIGURE_MIME, "image/png", "text/plain"]
    assert data["alt"] == "A rising line."
    assert data["axes"][0]["lines"] == [{"label": "a", "n": 2, "x": [0.0, 1.0], "y": [2.0, 3.0]}]
    pixels = [int(size[:8], 16), int(size[8:], 16)]
    assert 800 < pixels[0] < 1200, "twice the resolution"
    assert abs(metadata["width"] * 2 - pixels[0]) <= 2
    assert shown == [FIGURE_MIME, "image/png", "text/html", "text/plain"]
    assert described == {"image/png": {"alt": "Steeper."}}


def test_a_busy_machine_gives_no_warning_about_legends(recwarn, monkeypatch):
    clock = iter(range(0, 10**9, 10))
    plotting.use_style()
    _, ax = plt.subplots()
    ax.plot([0, 1], label="a")
    ax.legend()
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    ax.figure.canvas.draw()
    assert not [w for w in recwarn if "legend" in str(w.message)]
