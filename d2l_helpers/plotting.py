"""Figures of the book: one style, line plots, image grids, heat maps, sliders, alt text.

Every function takes plain tensors, arrays or lists, returns Matplotlib objects, and works the same
in Jupyter, in a script and headless. In Jupyter, :func:`use_style` also stores beside every figure
what was plotted (``application/vnd.d2l.figure+json``), so that a check can compare data rather than
pixels.
"""

import base64
import hashlib
import html
import io
import itertools
import json
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.category import StrCategoryFormatter, StrCategoryLocator
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import AxLine
from matplotlib.patches import Ellipse, Rectangle
from matplotlib.quiver import Quiver
from matplotlib.text import Annotation
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter
from numpy.typing import NDArray

FIGURE_MIME = "application/vnd.d2l.figure+json"
#: Okabe and Ito's colours without yellow, ordered so that neighbours also differ in greyscale.
COLORS = ("#0072B2", "#D55E00", "#56B4E9", "#009E73", "#CC79A7", "#000000", "#E69F00")
STYLE: dict[str, Any] = {
    "figure.figsize": (5.0, 3.0),
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "font.size": 10,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "image.cmap": "viridis",
    "svg.hashsalt": "d2l",
}


def use_style() -> None:
    """Set the book's style; in Jupyter also sharp figures and a record of the plotted data.

    Call it once at the top of a notebook. It changes Matplotlib's ``rcParams`` and, in Jupyter, the
    figure format (PNG at twice the resolution); ``matplotlib.rcdefaults()`` takes the style back.

    Examples
    --------
    >>> use_style()
    >>> mpl.rcParams["axes.grid"]
    True
    """
    mpl.rcParams.update(STYLE)  # type: ignore[arg-type]
    # It comes when the machine is busy, and says nothing of the figure.
    warnings.filterwarnings("ignore", message='Creating legend with loc="best"')
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("retina")  # type: ignore[no-untyped-call]
    shell.display_formatter.mimebundle_formatter.for_type(Figure, _figure_bundle)


def _array(values: Any) -> NDArray[Any]:
    """Tensor (any device and type), array or nested list -> NumPy array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        half = str(values.dtype).startswith(
            ("torch.bfloat16", "torch.float8")
        )  # types that NumPy lacks
        values = (values.float() if half else values).numpy()
    elif isinstance(values, (list, tuple)) and values and hasattr(values[0], "detach"):
        values = [_array(value) for value in values]
    return np.asarray(values)


def _is_several(values: Any) -> bool:
    """Whether these are several lines: a list of arrays, or an array of two dimensions or more."""
    if isinstance(values, (list, tuple)):
        return len(values) > 0 and _array(values[0]).ndim > 0
    return _array(values).ndim > 1


def plot(
    x: Any,
    ys: Any,
    labels: Sequence[str] = (),
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    xscale: str = "linear",
    yscale: str = "linear",
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    fmts: Sequence[str] = ("-", "--", "-.", ":"),
    ax: Axes | None = None,
) -> Axes:
    """Draw one or several lines over common or separate abscissae.

    Parameters
    ----------
    x
        Shape ``(n,)``, common to all lines, or a list with one such array for each line (or shape
        ``(lines, n)``).
    ys
        Shape ``(n,)`` for one line, else a list of arrays, or an array of shape ``(lines, n)``.
    labels
        One name for each line; none draws no legend.
    fmts
        Line formats, used in turn, so that lines differ without colour too.
    ax
        Axes to draw on; a new figure without it.

    Returns
    -------
    The axes drawn on.

    Raises
    ------
    ValueError
        If the number of abscissae, lines and labels or the lengths do not fit.

    Examples
    --------
    >>> ax = plot([0, 1, 2], [[0, 1, 4], [0, 1, 8]], ["square", "cube"], xlabel="x")
    >>> len(ax.lines)
    2
    """
    lines = list(ys) if _is_several(ys) else [ys]
    shared = not _is_several(x)
    if not shared and len(x) != len(lines):
        raise ValueError(
            f"plot got {len(x)} abscissae for {len(lines)} lines; "
            "give one array, or one for each line."
        )
    if labels and len(labels) != len(lines):
        raise ValueError(
            f"plot got {len(labels)} labels for {len(lines)} lines; "
            "give one label for each line, or none."
        )
    if ax is None:
        _, ax = plt.subplots()
    for i, line in enumerate(lines):
        xs, values = _array(x if shared else x[i]), _array(line)
        if xs.shape != values.shape or values.ndim != 1:
            raise ValueError(
                f"line {i} has shape {values.shape}, its abscissae {xs.shape}; "
                "both must be equal and 1-D."
            )
        ax.plot(xs, values, fmts[i % len(fmts)], label=labels[i] if labels else None)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title, xscale=xscale, yscale=yscale)
    if xlim is not None:
        ax.set_xlim(*xlim)
    if ylim is not None:
        ax.set_ylim(*ylim)
    if labels:
        ax.legend()
    return ax


def show_images(
    imgs: Any, num_rows: int, num_cols: int, titles: Sequence[str] | None = None, scale: float = 1.5
) -> NDArray[Any]:
    """Draw images in a grid.

    Parameters
    ----------
    imgs
        ``num_rows * num_cols`` images or fewer, each ``(h, w)`` or ``(1, h, w)`` grey, or
        ``(3, h, w)`` or ``(h, w, 3)`` colour; floats in [0, 1] or unsigned bytes. Grey images share
        one scale from 0 to the top of their type, so that brightness can be compared.
    titles
        A line above each image.
    scale
        Inches for each image.

    Returns
    -------
    Array of axes, shape ``(num_rows * num_cols,)``.

    Raises
    ------
    ValueError
        If there are more images than places, or an image has another shape.

    Examples
    --------
    >>> axes = show_images(np.zeros((3, 8, 8)), 1, 4, titles=["a", "b", "c"])
    >>> axes.shape
    (4,)
    """
    if len(imgs) > num_rows * num_cols:
        raise ValueError(
            f"{len(imgs)} images do not fit {num_rows} x {num_cols} places; "
            "enlarge the grid or pass fewer."
        )
    height = scale * (1.18 if titles else 1.0)
    _, axes = plt.subplots(
        num_rows, num_cols, figsize=(num_cols * scale, num_rows * height), squeeze=False
    )
    for i, ax in enumerate(axes.flat):
        ax.axis("off")
        if i >= len(imgs):
            continue
        img = _array(imgs[i])
        if img.ndim == 3 and img.shape[0] in (1, 3):
            img = img.transpose(1, 2, 0)
        if img.ndim == 3 and img.shape[2] == 1:
            img = img[..., 0]
        if img.ndim != 2 and not (img.ndim == 3 and img.shape[2] == 3):
            raise ValueError(
                f"image {i} has shape {_array(imgs[i]).shape}; "
                "expected (h, w), (1, h, w), (3, h, w) or (h, w, 3)."
            )
        ax.imshow(img, cmap="gray", vmin=0, vmax=255 if img.dtype == np.uint8 else 1)
        if titles is not None and i < len(titles):
            ax.set_title(titles[i], fontsize=9)
    return np.asarray(axes.ravel())


def heatmap(
    matrix: Any,
    *,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    rows: Sequence[str] = (),
    cols: Sequence[str] = (),
    annotate: str = "",
    cmap: str = "viridis",
    ax: Axes | None = None,
) -> Axes:
    """Draw a matrix as colours with a scale beside it.

    Parameters
    ----------
    matrix
        Shape ``(rows, columns)``.
    rows, cols
        Names of rows and columns, one each, or none.
    annotate
        A format such as ``".2f"`` writes every value into its cell.

    Raises
    ------
    ValueError
        If `matrix` is not two-dimensional or the names do not fit.

    Examples
    --------
    >>> ax = heatmap([[1, 0], [0, 1]], rows=["cat", "dog"], cols=["cat", "dog"], annotate="d")
    >>> [text.get_text() for text in ax.texts]
    ['1', '0', '0', '1']
    """
    values = _array(matrix)
    if values.ndim != 2:
        raise ValueError(
            f"heatmap needs a matrix, got shape {values.shape}; reshape it or choose one slice."
        )
    for names, size, what in ((rows, values.shape[0], "rows"), (cols, values.shape[1], "cols")):
        if names and len(names) != size:
            raise ValueError(f"heatmap got {len(names)} names for {size} {what}.")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.4, 3.4))
    image = ax.imshow(values, cmap=cmap)
    ax.grid(False)
    plt.colorbar(image, ax=ax, shrink=0.85)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if rows:
        ax.set_yticks(range(len(rows)), labels=list(rows))
    if cols:
        slanted: dict[str, Any] = (
            {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(cols) > 5 else {}
        )
        ax.set_xticks(range(len(cols)), labels=list(cols), **slanted)
    if annotate:
        for (i, j), value in np.ndenumerate(values):
            rgb = image.cmap(image.norm(value))[:3]
            dark = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] < 0.5
            ax.text(
                j,
                i,
                format(value, annotate),
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=8,
            )
    return ax


def describe(figure: Any, alt: str) -> None:
    """Give a figure its alternative text: what a reader who cannot see it needs to know.

    Parameters
    ----------
    figure
        A figure, axes, or an array of axes.
    alt
        One or two sentences. Jupyter stores it with the image, the site puts it into ``alt``.

    Raises
    ------
    ValueError
        If the text is empty.

    Examples
    --------
    >>> ax = plot([0, 1], [0, 1])
    >>> describe(ax, "A straight line from the origin to (1, 1).")
    """
    if not alt.strip():
        raise ValueError(
            "describe needs a text; say in one or two sentences what the figure shows."
        )
    target = _array(figure).ravel()[0] if isinstance(figure, (np.ndarray, list, tuple)) else figure
    owner = target if isinstance(target, Figure) else target.get_figure(root=True)
    owner.set_label(" ".join(alt.split()))


def sliders(
    draw: Callable[..., None],
    alt: str,
    *,
    figsize: tuple[float, float] = (5.0, 3.0),
    **values: Sequence[float | str],
) -> "Sliders":
    """An interactive figure that needs neither a server nor a network.

    Every combination of the slider values is drawn once; the page then only changes the picture.
    Where scripts do not run (GitHub, print, stored outputs) the picture in the middle of the ranges
    stands.

    Parameters
    ----------
    draw
        Called as ``draw(fig, name=value, ...)`` with an empty figure.
    alt
        Alternative text of the picture.
    values
        One range for each slider, of numbers or words, for example ``w=[0, 0.5, 1]``. At most 200
        combinations.

    Raises
    ------
    ValueError
        If there is no slider, an empty range, more than 200 combinations, or no alternative text.

    Examples
    --------
    >>> def draw(fig, degree):
    ...     fig.subplots().plot([0, 1], [0, degree])
    >>> widget = sliders(draw, "A line that gets steeper.", degree=[1, 2, 3])
    >>> len(widget.frames)
    3
    """
    count = math.prod(len(value) for value in values.values())
    if not values or count == 0 or count > 200:
        raise ValueError(
            f"sliders got {count if values else 0} combinations; "
            "give 1 to 200, as name=[value, ...]."
        )
    if not alt.strip():
        raise ValueError(
            "sliders needs an alternative text; say in one or two sentences what the figure shows."
        )
    return Sliders(
        draw,
        alt,
        figsize,
        {
            name: [v if isinstance(v, str) else float(v) for v in value]
            for name, value in values.items()
        },
    )


class Sliders:
    """What :func:`sliders` returns: the frames, and how Jupyter shows them."""

    def __init__(
        self,
        draw: Callable[..., None],
        alt: str,
        figsize: tuple[float, float],
        values: dict[str, list[float | str]],
    ):
        self.alt, self.values = " ".join(alt.split()), values
        self.frames: list[bytes] = []
        briefs: list[dict[str, Any]] = []
        middle = tuple(len(value) // 2 for value in values.values())
        for index in itertools.product(*(range(len(value)) for value in values.values())):
            fig = Figure(figsize=figsize, layout="constrained")
            draw(
                fig,
                **{name: value[i] for (name, value), i in zip(values.items(), index, strict=True)},
            )
            self.frames.append(_png(fig))
            record = figure_data(fig)
            briefs.append(_brief(record))
            if index == middle:
                self.middle, self.data = len(self.frames) - 1, record
        self.start = middle
        self.data["frames"] = briefs

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        frames = [base64.b64encode(frame).decode() for frame in self.frames]
        uid = "d2l-" + hashlib.sha256("".join(frames).encode()).hexdigest()[:10]
        rows = []
        for (name, value), start in zip(self.values.items(), self.start, strict=True):
            words = [v if isinstance(v, str) else f"{v:g}" for v in value]
            shown = html.escape(json.dumps(words))
            rows.append(
                f'<label style="display:flex;gap:.6em;align-items:center">{html.escape(name)} '
                f'<input type="range" min="0" max="{len(value) - 1}" value="{start}" '
                f'data-values="{shown}" style="flex:1"> '
                f'<output style="min-width:4em">{html.escape(words[start])}</output></label>'
            )
        page = (
            f'<div class="d2l-sliders" id="{uid}" '
            f'data-frames="{html.escape(json.dumps(frames))}" style="max-width:34em">'
            f'<img alt="{html.escape(self.alt)}" style="max-width:100%" '
            f'src="data:image/png;base64,{frames[self.middle]}">'
            f"{''.join(rows)}<script>{SLIDER_SCRIPT}</script></div>"
        )
        bundle = {
            "text/html": page,
            "image/png": frames[self.middle],
            FIGURE_MIME: self.data,
            "text/plain": f"sliders: {', '.join(self.values)}",
        }
        return bundle, {"image/png": {"alt": self.alt}}


#: The same text in every slider figure, so that one content-security hash covers them all.
SLIDER_SCRIPT = (
    "(()=>{const root=document.currentScript.closest('.d2l-sliders');"
    "const frames=JSON.parse(root.dataset.frames),inputs=[...root.querySelectorAll('input')];"
    "const show=()=>{let k=0;for(const i of inputs){k=k*(+i.max+1)+(+i.value);"
    "i.nextElementSibling.value=JSON.parse(i.dataset.values)[i.value]}"
    "root.querySelector('img').src='data:image/png;base64,'+frames[k]};"
    "inputs.forEach(i=>i.addEventListener('input',show))})()"
)


def _png(fig: Figure) -> bytes:
    """A small PNG of a figure: 1.5x resolution, at most 48 colours."""
    from PIL import Image

    buffer, small = io.BytesIO(), io.BytesIO()
    fig.savefig(buffer, format="png", dpi=150)
    Image.open(buffer).convert("RGB").quantize(48).save(small, "PNG", optimize=True)
    return small.getvalue()


def _figure_bundle(fig: Figure, include: Any = None, exclude: Any = None) -> dict[str, Any]:
    """What Jupyter stores beside a figure's picture: the plotted data and the alt text."""
    return {FIGURE_MIME: figure_data(fig)}


#: How many numbers, words and grey levels of one thing drawn are recorded.
SAMPLES, WORDS, GREYS = 24, 100, 64


def figure_data(fig: Figure) -> dict[str, Any]:
    """What was drawn, in numbers and words: a sample of everything that a figure shows.

    Recorded of each axes, where there are any: ``lines``, ``bars``, ``points`` (scatters, arrows of
    a field), ``images``, ``patches`` (rectangles, circles, arrows, polygons), ``shapes`` (filled
    areas, bundles of lines, contours, surfaces), ``texts``, ``legend``; ticks and limits that were
    set by hand (``xticks``, ``yticks``, ``xlim``, ``ylim``); and in ``others`` the classes of what
    else there is, so that a check can fall back to the picture.

    Returns
    -------
    ``{"alt": text, "axes": [{"title", "xlabel", "ylabel", "lines", ...}, ...]}``; beside them
    ``texts``, ``legend`` and ``others`` of the figure itself. Of a long list there are 24 values,
    the first and the last among them, and the mean of all. Numbers are rounded to six significant
    digits; one that is not finite is a string such as ``"nan"``.

    Examples
    --------
    >>> ax = plot([0, 1], [2, 3], ["a"])
    >>> figure_data(ax.figure)["axes"][0]["lines"]
    [{'label': 'a', 'n': 2, 'x': [0.0, 1.0], 'y': [2.0, 3.0]}]
    """
    parts: list[Any] = [fig]
    for part in parts:  # grows: figures within figures
        parts += part.subfigs
    axes = [ax for ax in fig.axes if ax.get_visible()]
    for ax in axes:  # grows: axes within axes
        axes += [child for child in ax.child_axes if isinstance(child, Axes)]
    texts = [text for part in parts for text in part.texts]
    loose = [
        a
        for p in parts
        for kind in ("lines", "patches", "artists", "images")
        for a in getattr(p, kind)
    ]
    own: dict[str, Any] = {
        "legend": [text for part in parts for legend in part.legends for text in _legend(legend)],
        "texts": _texts(texts, None),
        "others": sorted({type(artist).__name__ for artist in _shown(loose)}),
    }
    return {
        "alt": str(fig.get_label()),
        **{name: value for name, value in own.items() if value},
        "axes": [_axes_data(ax) for ax in axes],
    }


def _axes_data(ax: Axes) -> dict[str, Any]:
    titles = (ax.get_title(loc) for loc in ("left", "center", "right"))
    collections = [_collection(artist) for artist in _shown(ax.collections)]
    groups = [group for group in ax.containers if hasattr(group, "patches")]
    in_bars = {id(patch) for group in groups for patch in group.patches}
    drawn: dict[str, Any] = {
        "lines": [_line(line) for line in _shown(ax.lines)],
        "bars": [_bars(group) for group in groups],
        "points": [row for kind, row in collections if kind == "points"],
        "images": [_image(image) for image in _shown(ax.images)],
        "patches": _patches([p for p in _shown(ax.patches) if id(p) not in in_bars]),
        "shapes": [row for kind, row in collections if kind == "shapes" and row["n"]],
        "texts": _texts(ax.texts, ax),
        "xticks": _ticks(ax, ax.xaxis),
        "yticks": _ticks(ax, ax.yaxis),
        "xlim": [] if ax.get_autoscalex_on() else _sample(ax.get_xlim()),
        "ylim": [] if ax.get_autoscaley_on() else _sample(ax.get_ylim()),
        "legend": _legend(ax.get_legend()),
        "others": sorted(
            {type(artist).__name__ for artist in _shown([*ax.artists, *ax.tables])}
            | {row for kind, row in collections if kind == "others"}
        ),
    }
    return {
        "title": " | ".join(title for title in titles if title),
        "xlabel": ax.get_xlabel(),
        "ylabel": ax.get_ylabel(),
        **{name: value for name, value in drawn.items() if value},
    }


def _shown(artists: Any) -> list[Any]:
    return [artist for artist in artists if artist.get_visible()]


def _line(line: Any) -> dict[str, Any]:
    """Numbers, also for words and dates."""
    if isinstance(line, AxLine):  # has no data: a point, and a second one or a slope
        (a, b), slope = line.get_xy1() or (math.nan, math.nan), line.get_slope()
        c, d = line.get_xy2() or (math.nan, math.nan)
        x, y = [a, c], [b, d if slope is None else slope]
    elif hasattr(line, "get_data_3d"):
        x, y, z = line.get_data_3d()
        return {"label": _label(line), "n": len(x)} | _numbers(x=x, y=y, z=z)
    else:
        x, y = line.get_xdata(orig=False), line.get_ydata(orig=False)
    return {"label": _label(line), "n": len(x)} | _numbers(x=x, y=y)


def _bars(group: Any) -> dict[str, Any]:
    """Left edges, bottoms, widths and heights of the bars of one call."""
    boxes = [p.get_bbox().bounds for p in group.patches if isinstance(p, Rectangle)]
    x, y, w, h = np.reshape(np.asarray(boxes, dtype=float), (-1, 4)).T
    return {"label": _label(group), "n": len(group.patches)} | _numbers(x=x, y=y, w=w, h=h)


def _image(image: Any) -> dict[str, Any]:
    values = _filled(image.get_array())
    known = values[np.isfinite(values)]
    row: dict[str, Any] = {
        "shape": list(values.shape),
        "values": _sample(values),
        "mean": _round(float(known.mean())) if known.size else "nan",
    }
    if values.ndim == 2:
        row |= {"cmap": image.get_cmap().name, "range": _range(image)}
    return row


def _collection(artist: Any) -> tuple[str, Any]:
    """Where a collection is recorded (`points`, `shapes`, `others`), and its record or class."""
    kind = type(artist).__name__
    row: dict[str, Any] = {"label": _label(artist)}
    if "3D" in kind:
        return _in_space(artist, kind, row)
    if isinstance(artist, ContourSet):
        # How many points a contour has may change with rounding, its extent and centre hardly do.
        parts = [np.asarray(p.vertices) for p in artist.get_paths() if np.size(p.vertices)]
        ends = [np.stack([p.min(0), p.mean(0), p.max(0)]) for p in parts]
        points = np.concatenate([np.zeros((0, 2)), *ends])
        row |= {"kind": kind, "n": len(parts), "levels": _sample(artist.levels)}
        return "shapes", row | _numbers(x=points[:, 0], y=points[:, 1])
    offsets = _filled(artist.get_offsets())
    if isinstance(artist, PathCollection) or len(offsets) > 1:
        row |= {"n": len(offsets)} | _numbers(x=offsets[:, 0], y=offsets[:, 1])
        if isinstance(artist, Quiver):
            row |= {"u": _sample(_filled(artist.U)), "v": _sample(_filled(artist.V))}
        sizes = np.asarray(artist.get_sizes()) if hasattr(artist, "get_sizes") else np.zeros(0)
        if len(sizes) > 1:
            row["sizes"] = _sample(sizes)
        return "points", row | _colours(artist)
    if isinstance(artist, QuadMesh):
        points = _filled(artist.get_coordinates()).reshape(-1, 2)
        count = len(points)
    else:
        paths = artist.get_paths()
        points = np.concatenate([np.zeros((0, 2)), *(path.vertices for path in paths)])
        count = len(paths)
    row |= {"kind": kind, "n": count} | _numbers(x=points[:, 0], y=points[:, 1])
    return "shapes", row | _colours(artist)


def _in_space(artist: Any, kind: str, row: dict[str, Any]) -> tuple[str, Any]:
    """The same for axes in space.

    Matplotlib keeps the coordinates there under private names; paths and colours are a projection,
    which depends on whether the figure has been drawn.
    """
    values = artist.get_array()
    if values is not None:
        row |= _numbers(values=_filled(values)) | {"range": _range(artist)}
    places = getattr(artist, "_offsets3d", None)
    if places is not None:
        return "points", row | {"n": len(places[0])} | _numbers(
            **dict(zip("xyz", places, strict=True))
        )
    parts = getattr(artist, "_segments3d", None)
    faces = getattr(artist, "_faces", None)
    if faces is not None:  # short ones are filled up with anything
        invalid = np.broadcast_to(artist._invalid_vertices, faces.shape[:2])
        parts = [face[~out] for face, out in zip(faces, invalid, strict=True)]
    if parts is None:
        return "others", kind
    points = np.concatenate([np.zeros((0, 3)), *(_filled(part) for part in parts)])
    row |= {"kind": kind, "n": len(parts)}
    return "shapes", row | _numbers(x=points[:, 0], y=points[:, 1], z=points[:, 2])


def _patches(patches: list[Any]) -> list[dict[str, Any]]:
    """One entry for all patches of a class and label: corners and colours."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for patch in patches:
        groups.setdefault((type(patch).__name__, _label(patch)), []).append(patch)
    rows = []
    for (kind, label), group in groups.items():
        points = np.concatenate([_corners(patch) for patch in group])
        faces = [p.get_facecolor() if p.get_fill() else p.get_edgecolor() for p in group]
        row = {"kind": kind, "label": label, "n": len(group)}
        rows.append(row | _numbers(x=points[:, 0], y=points[:, 1]) | _colour(np.asarray(faces)))
    return rows


def _corners(patch: Any) -> NDArray[np.float64]:
    """Opposite corners of a rectangle or circle, the ends of an arrow, all corners otherwise."""
    ends = getattr(patch, "_posA_posB", None)  # the path of an arrow depends on the resolution
    if ends is not None:
        return np.asarray(ends, dtype=float)
    path = patch.get_path().transformed(patch.get_patch_transform())
    if isinstance(patch, (Rectangle, Ellipse)):
        return np.asarray(path.get_extents().get_points())
    return np.asarray(path.vertices)


def _colours(artist: Any) -> dict[str, Any]:
    """Values that colours stand for, or the colours themselves."""
    values = artist.get_array()
    if values is not None:
        return _numbers(values=_filled(values)) | {"range": _range(artist)}
    faces = np.asarray(artist.get_facecolor())
    return _colour(faces if len(faces) else np.asarray(artist.get_edgecolor()))


def _colour(rgba: NDArray[Any]) -> dict[str, Any]:
    """Mean red, green, blue and opacity; where the colours differ, the grey levels of each."""
    if not rgba.size:
        return {}
    colours = rgba.reshape(-1, 4).astype(float)
    row = {"colour": [round(float(value), 3) for value in colours.mean(0)]}
    if len(colours) > 1 and (colours != colours[0]).any():
        greys = _sample(colours @ [0.3, 0.59, 0.11, 0.0], GREYS)
        row["grey"] = [round(float(value), 2) for value in greys]
    return row


def _range(artist: Any) -> list[float | str]:
    """Values at the two ends of the colour map."""
    return [_round(float(value)) for value in artist.get_clim() if value is not None]


def _texts(texts: Any, ax: Axes | None) -> dict[str, Any]:
    """Words and places of texts, and what the arrows of annotations point at."""
    found = [t for t in _shown(texts) if t.get_text() or isinstance(t, Annotation)]
    if not found:
        return {}

    def place(text: Any) -> tuple[float, float]:
        x, y = text.get_unitless_position() if ax else text.get_position()
        return float(x), float(y)

    pick = np.linspace(0, len(found) - 1, min(len(found), WORDS)).round().astype(int)
    x, y = np.asarray([place(text) for text in found]).T
    row = {"n": len(found), "words": [found[i].get_text() for i in pick]} | _numbers(x=x, y=y)
    tips = [t.xy for t in found if isinstance(t, Annotation)]
    if ax and tips:
        convert_x, convert_y = cast(Any, ax).convert_xunits, cast(Any, ax).convert_yunits
        row["tip_x"] = _sample([float(convert_x(x)) for x, _ in tips])
        row["tip_y"] = _sample([float(convert_y(y)) for _, y in tips])
    return row


def _ticks(ax: Axes, axis: Any) -> dict[str, Any]:
    """Places and labels of ticks that were set by hand or are words."""
    where, form = axis.get_major_locator(), axis.get_major_formatter()
    by_hand = isinstance(where, (FixedLocator, StrCategoryLocator))
    if not (by_hand and ax.axison and axis.get_visible()):
        return {}
    places = [float(place) for place in axis.get_majorticklocs()]
    named = isinstance(form, (FixedFormatter, FuncFormatter, StrCategoryFormatter))
    words = form.format_ticks(places) if named else []
    row: dict[str, Any] = {"at": _sample(places), "words": words[:WORDS]}
    return {name: value for name, value in row.items() if value}


def _legend(legend: Any) -> list[str]:
    if legend is None or not legend.get_visible():
        return []
    return [
        text.get_text() for text in (legend.get_title(), *legend.get_texts()) if text.get_text()
    ]


def _filled(values: Any) -> NDArray[np.float64]:
    """Floats with nan in place of masked values."""
    filled: NDArray[np.float64] = np.ma.filled(np.ma.asarray(values, dtype=np.float64), np.nan)
    return filled


def _label(artist: Any) -> str:
    label = str(artist.get_label())
    return "" if label.startswith("_") else label


def _round(value: float, digits: int = 6) -> float | str:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else str(value)


def _sample(values: Any, count: int = SAMPLES) -> list[float | str]:
    array = np.asarray(values, dtype=float).ravel()
    size = np.abs(array[np.isfinite(array)]).max(initial=0.0)
    array = np.where(np.abs(array) <= 1e-15 * size, 0.0, array)  # what rounding leaves of a zero
    if len(array) > count:
        array = array[np.linspace(0, len(array) - 1, count).round().astype(int)]
    return [_round(float(value)) for value in array]


def _numbers(**columns: Any) -> dict[str, Any]:
    """A sample of each column; of a longer one also the mean, so that all values count."""
    row: dict[str, Any] = {}
    for name, values in columns.items():
        array = np.asarray(values, dtype=float).ravel()
        row[name] = _sample(array)
        known = array[np.isfinite(array)]
        if len(array) > SAMPLES and known.size:
            row[f"mean_{name}"] = _round(float(known.mean()))
    return row


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    """A figure's record in a few numbers, for one frame of many.

    All its words; and of each axes and each kind of number (all x, all y, ...) the mean, the size
    (root of the mean square) and the tilt (mean with weights that rise from -1 to 1).
    """
    words: list[str] = []
    parts: list[dict[str, list[float]]] = []

    def visit(value: Any, name: str, columns: dict[str, list[float]]) -> None:
        if isinstance(value, str) and value:
            words.append(value)
        elif isinstance(value, float):
            columns.setdefault(name, []).append(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                visit(inner, key, columns)
        elif isinstance(value, list):
            for inner in value:
                visit(inner, name, columns)

    for axes in record["axes"]:
        parts.append({})
        visit(axes, "", parts[-1])
    numbers = [[_three(np.asarray(part[name])) for name in sorted(part)] for part in parts]
    return {"words": " | ".join(words), "numbers": numbers}


def _three(values: NDArray[np.float64]) -> list[float | str]:
    """Mean, size and tilt of some numbers, to four digits."""
    tilt = float(np.mean(values * np.linspace(-1, 1, len(values))))
    size = math.sqrt(float(np.mean(values**2)))
    return [_round(number, 4) for number in (float(values.mean()), size, tilt)]
