"""Pictures for the chapter on vision: files read into tensors, and drawn scenes with exact labels.

The scenes stand on crops of the two photographs that scikit-learn brings (`china.jpg` and
`flower.jpg`, CC BY 2.0). Their labels are exact, because the code that draws an object knows it.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .standin_pictures import _depth

Floats = NDArray[np.float32]
#: The ten shapes, in the order of their labels.
SHAPES = "disc square triangle ring cross flower crescent bar half-disc L".split()
#: Name of a colour -> red, green and blue.
COLORS = {
    "red": (0.85, 0.15, 0.15),
    "green": (0.15, 0.65, 0.2),
    "blue": (0.15, 0.3, 0.85),
    "yellow": (0.92, 0.85, 0.15),
    "purple": (0.6, 0.2, 0.7),
    "white": (0.95, 0.95, 0.95),
}


def read_images(
    paths: Iterable[Path],
    size: tuple[int, int] | None = None,
    mode: Literal["RGB", "L"] = "RGB",
) -> Tensor:
    """Picture files as one tensor of bytes.

    Parameters
    ----------
    paths
        Files of one size, or of any size where `size` is given.
    size
        Height and width to resize to, in pixels; colours are averaged (bilinear, antialiased).
    mode
        ``"RGB"``, or ``"L"`` for masks whose bytes are labels: they are resized by the nearest
        pixel, so no label is made up.

    Returns
    -------
    Tensor
        Bytes ``(n, 3, height, width)``, or ``(n, height, width)`` for masks.

    Raises
    ------
    ValueError
        If there is no file, or the sizes differ and `size` is not given.
    """
    how = Image.Resampling.BILINEAR if mode == "RGB" else Image.Resampling.NEAREST
    arrays: list[NDArray[np.uint8]] = []
    for path in paths:
        with Image.open(path) as image:
            # palette masks keep their indices; a conversion to "L" would give brightness
            picture = image if mode == "L" and image.mode == "P" else image.convert(mode)
            if size is not None:
                picture = picture.resize((size[1], size[0]), how)
            arrays.append(np.array(picture, np.uint8))
            if arrays[-1].shape != arrays[0].shape:
                raise ValueError(
                    f"{path} has shape {arrays[-1].shape}, the first picture "
                    f"{arrays[0].shape}; pass size=(height, width)."
                )
    if not arrays:
        raise ValueError("no picture to read: the list of paths is empty.")
    tensor = torch.from_numpy(np.stack(arrays))
    return tensor.permute(0, 3, 1, 2).contiguous() if mode == "RGB" else tensor


@cache
def _photographs() -> Floats:
    """The two photographs at half their size, (2, 213, 320, 3), numbers from 0 to 1."""
    from sklearn.datasets import load_sample_image  # type: ignore[import-untyped]

    both = [load_sample_image(f"{name}.jpg")[:426] for name in ("china", "flower")]
    halves = np.stack(both).astype(np.float32).reshape(2, 213, 2, 320, 2, 3).mean((2, 4))
    return np.asarray(halves / 255, np.float32)


class _Drawing:
    """`n` square pictures, painted object by object: what the three generators share."""

    def __init__(self, n: int, size: int, rng: np.random.Generator):
        if n < 1 or not 8 <= size <= 200:
            raise ValueError(f"n is {n} and size {size}; draw one picture or more, of 8 to 200.")
        self.n, self.size, self.rng = n, size, rng
        photos = _photographs()
        which = rng.integers(0, 2, n)
        top, left = rng.integers(0, 213 - size, n), rng.integers(0, 320 - size, n)
        rows = top[:, None] + np.arange(size)
        columns = left[:, None] + np.arange(size)
        self.image = photos[which[:, None, None], rows[:, :, None], columns[:, None, :]]
        self.axis = ((np.arange(size, dtype=np.float32) + 0.5) / (size / 2) - 1)[None]

    def u(self, low: float, high: float, *more: int) -> Floats:
        """Uniform numbers (n, 1, 1, *more)."""
        drawn = self.rng.random((self.n, 1, 1, *more), dtype=np.float32)
        return np.asarray(low + (high - low) * drawn, np.float32)

    def paint(
        self,
        kinds: NDArray[Any],
        radius: Floats,
        color: Floats,
        present: NDArray[np.bool_] | None = None,
        reach: float = 1.0,
    ) -> NDArray[np.bool_]:
        """Paint a shape of each kind, turned at random; returns its pixels, (n, size, size).

        Its radius is in units of half the picture; its centre stays inside by `reach` radii.
        """
        free = np.maximum(0.97 - reach * radius, 0)
        cx, cy = self.u(-1, 1) * free, self.u(-1, 1) * free
        x = (self.axis[:, None, :] - cx) / radius
        y = (self.axis[:, :, None] - cy) / radius
        a, b = self.u(-1, 1), self.u(-1, 1)
        norm = np.sqrt(a * a + b * b) + np.float32(1e-3)
        a, b = a / norm, b / norm
        x, y = a * x - b * y, b * x + a * y
        depth = np.empty((self.n, self.size, self.size), np.float32)
        for kind in np.unique(kinds):
            rows = kinds == kind
            depth[rows] = _depth(int(kind), x[rows], y[rows])
        cover = np.clip(depth * radius * (self.size / 2) + 0.5, 0, 1)
        if present is not None:
            cover *= present[:, None, None]
        self.image += cover[..., None] * (color - self.image)
        return np.asarray(cover > 0.5)

    def finish(self, noise: float) -> Tensor:
        """Add noise; bytes (n, 3, size, size)."""
        grain = self.rng.random(self.image.shape, dtype=np.float32) - np.float32(0.5)
        bytes_ = np.floor(np.clip(self.image + 2 * noise * grain, 0, 1) * 255 + 0.5)
        return torch.from_numpy(bytes_.astype(np.uint8)).permute(0, 3, 1, 2).contiguous()


def _tight_boxes(masks: Tensor) -> Tensor:
    """The boxes (n, 4) around masks (n, h, w), relative to width and height; 0 for empty ones."""
    boxes = torch.zeros(len(masks), 4)
    for side, first, axis in ((masks.shape[-1], 0, 1), (masks.shape[-2], 1, 2)):
        line = masks.any(axis).to(torch.uint8)
        boxes[:, first] = line.argmax(1) / side
        boxes[:, first + 2] = (side - line.flip(1).argmax(1)) / side
    return boxes * masks.flatten(1).any(1)[:, None]


class ShapeImages:
    """One filled shape a picture, of a named colour; place, size, turn and background vary.

    Parameters
    ----------
    n
        How many pictures.
    classes
        Which of `SHAPES`: a count (the first so many) or their numbers.
    size
        Height and width in pixels.
    seed
        Equal seeds draw equal pictures.

    Attributes
    ----------
    images
        Bytes ``(n, 3, size, size)``.
    labels
        Position in `classes`, ``(n,)``.
    colors
        Number of the colour in `COLORS`, ``(n,)``.
    masks
        Which pixels belong to the shape, ``(n, size, size)``.
    captions
        Such as ``"a red ring"``.

    Examples
    --------
    >>> data = ShapeImages(4, classes=3, seed=1)
    >>> data.images.shape, len(data.captions)
    (torch.Size([4, 3, 32, 32]), 4)
    """

    def __init__(self, n: int, classes: int | Sequence[int] = 10, size: int = 32, seed: int = 0):
        kinds = list(range(classes)) if isinstance(classes, int) else list(classes)
        if not kinds or not set(kinds) <= set(range(len(SHAPES))):
            raise ValueError(f"classes is {classes}; the shapes have the numbers 0 to 9.")
        rng = np.random.default_rng([20, seed])
        draw = _Drawing(n, size, rng)
        labels, colors = rng.integers(0, len(kinds), n), rng.integers(0, len(COLORS), n)
        paint = np.array(list(COLORS.values()), np.float32)[colors][:, None, None]
        paint = np.clip(paint + draw.u(-0.12, 0.12, 3), 0, 1)
        mask = draw.paint(np.array(kinds)[labels], draw.u(0.35, 0.75), paint, reach=0.9)
        self.images, self.masks = draw.finish(0.06), torch.from_numpy(mask)
        self.labels, self.colors = torch.from_numpy(labels), torch.from_numpy(colors)
        names = list(COLORS)
        self.captions = [
            f"a {names[c]} {SHAPES[kinds[k]]}"
            for k, c in zip(labels.tolist(), colors.tolist(), strict=True)
        ]


class BananaLike:
    """One yellow crescent a picture with its tight box: detection with an exact answer.

    Parameters
    ----------
    n
        How many pictures.
    size
        Height and width in pixels.
    seed
        Equal seeds draw equal pictures.

    Attributes
    ----------
    images
        Bytes ``(n, 3, size, size)``.
    boxes
        ``(n, 4)``: x1, y1, x2, y2, relative to the size.
    masks
        Which pixels belong to the crescent, ``(n, size, size)``.

    Examples
    --------
    >>> data = BananaLike(2)
    >>> data.boxes.shape, bool((data.boxes[:, 2:] > data.boxes[:, :2]).all())
    (torch.Size([2, 4]), True)
    """

    def __init__(self, n: int, size: int = 64, seed: int = 0):
        draw = _Drawing(n, size, np.random.default_rng([21, seed]))
        color = np.array((0.92, 0.8, 0.15), np.float32) + draw.u(-0.08, 0.08, 3)
        crescents = np.full(n, SHAPES.index("crescent"))
        mask = draw.paint(crescents, draw.u(0.22, 0.62), np.clip(color, 0, 1))
        self.images, self.masks = draw.finish(0.06), torch.from_numpy(mask)
        self.boxes = _tight_boxes(self.masks)


class ShapeScenes:
    """One to three shapes of three classes a picture, with boxes and masks.

    A later shape covers an earlier one; masks and boxes hold what is seen. A shape of which fewer
    than 12 pixels are seen has no box, and its pixels count as background in the masks.

    Parameters
    ----------
    n
        How many pictures.
    size
        Height and width in pixels.
    seed
        Equal seeds draw equal pictures.

    Attributes
    ----------
    images
        Bytes ``(n, 3, size, size)``.
    labels
        ``(n, 3, 5)``: class (0 disc, 1 square, 2 triangle), x1, y1, x2, y2, relative to the size;
        rows of -1 where there are fewer objects, at the end.
    instances
        Number of the row in `labels` plus 1 at each pixel, 0 for the background,
        ``(n, size, size)``.
    classes
        Class plus 1 at each pixel, 0 for the background, ``(n, size, size)``.

    Examples
    --------
    >>> data = ShapeScenes(3)
    >>> data.labels.shape, data.classes.shape
    (torch.Size([3, 3, 5]), torch.Size([3, 64, 64]))
    """

    def __init__(self, n: int, size: int = 64, seed: int = 0):
        rng = np.random.default_rng([22, seed])
        draw = _Drawing(n, size, rng)
        count, kinds = rng.integers(1, 4, n), rng.integers(0, 3, (3, n))
        table = np.array(list(COLORS.values()), np.float32)
        top = torch.zeros(n, size, size, dtype=torch.long)  # which object is seen
        for i in range(3):
            color = table[rng.integers(0, len(table), n)][:, None, None]
            color = np.clip(color + draw.u(-0.12, 0.12, 3), 0, 1)
            mask = draw.paint(kinds[i], draw.u(0.25, 0.52), color, i < count)
            top[torch.from_numpy(mask)] = i + 1
        self.images = draw.finish(0.06)
        seen = torch.stack([top == i + 1 for i in range(3)], 1)  # (n, 3, size, size)
        kept = seen.sum((2, 3)) >= 12
        boxes = _tight_boxes(seen.flatten(0, 1)).view(n, 3, 4)
        labels = torch.cat([torch.from_numpy(kinds.T)[..., None], boxes], -1)
        labels = torch.where(kept[..., None], labels, -1.0)
        order = (~kept).long().argsort(dim=1, stable=True)  # the objects, then the empty rows
        self.labels = labels.gather(1, order[..., None].expand(-1, -1, 5)).float()
        number = torch.where(kept, order.argsort(1) + 1, 0)  # row in the labels, plus 1
        of_top = torch.cat([torch.zeros(n, 1, dtype=torch.long), number], 1)
        self.instances = of_top.gather(1, top.flatten(1)).view_as(top)
        kind = torch.cat([torch.full((n, 1), -1), self.labels[..., 0].long()], 1)
        self.classes = kind.gather(1, self.instances.flatten(1)).view_as(top) + 1
