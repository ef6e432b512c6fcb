"""Stand-ins of the picture sets of chapters 8 and 14: drawn shapes, cells, streets and animals.

Each maker yields paths with pictures as arrays, or with bytes. As in `standins`, the arithmetic is
exact on every machine; the files that JPEG and PNG make of the pictures need not be the same.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Part = tuple[str, Bytes | bytes]
CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()
#: Centres of the petals of a flower, on a circle.
PETALS = ((0.6, 0.0), (0.19, 0.57), (-0.49, 0.35), (-0.49, -0.35), (0.19, -0.57))


def _depth(kind: int, x: Floats, y: Floats) -> Any:
    """How deep a point lies in one of ten shapes of radius about 1; negative outside."""
    d = np.sqrt(x * x + y * y)
    ax, ay = np.abs(x), np.abs(y)
    if kind == 0:  # disc
        return 0.9 - d
    if kind == 1:  # square
        return 0.75 - np.maximum(ax, ay)
    if kind == 2:  # triangle
        return 0.5 - np.maximum(y, 0.866 * ax - 0.5 * y)
    if kind == 3:  # ring
        return 0.2 - np.abs(d - 0.75)
    if kind == 4:  # cross
        return np.maximum(np.minimum(0.28 - ax, 1 - ay), np.minimum(0.28 - ay, 1 - ax))
    if kind == 5:  # flower
        petals = [0.4 - np.sqrt((x - a) * (x - a) + (y - b) * (y - b)) for a, b in PETALS]
        return np.maximum.reduce([*petals, 0.3 - d])
    if kind == 6:  # crescent
        return np.minimum(0.95 - d, np.sqrt((x - 0.5) * (x - 0.5) + y * y) - 0.75)
    if kind == 7:  # bar
        return np.minimum(0.25 - ax, 1 - ay)
    if kind == 8:  # half a disc
        return np.minimum(0.95 - d, y + 0.2)
    upright = np.minimum(0.22 - np.abs(x + 0.45), 0.9 - ay)  # an L
    return np.maximum(upright, np.minimum(0.22 - np.abs(y - 0.68), 0.67 - np.abs(x)))


def shapes(kind: int, n: int, rng: np.random.Generator, size: int = 32) -> Bytes:
    """`n` pictures ``(n, size, size, 3)`` of one of ten shapes: place, size, turn, colours vary."""

    def u(low: float, high: float, *extra: int) -> Floats:
        drawn: Floats = low + (high - low) * rng.random((n, 1, 1, *extra), dtype=np.float32)
        return drawn

    axis = ((np.arange(size, dtype=np.float32) + 0.5) / (size / 2) - 1)[None]
    radius, cx, cy = u(0.35, 0.75), u(-0.35, 0.35), u(-0.35, 0.35)
    x, y = (axis[:, None, :] - cx) / radius, (axis[:, :, None] - cy) / radius
    a, b = u(-1, 1), u(-1, 1)
    norm = np.sqrt(a * a + b * b) + np.float32(1e-3)
    a, b = a / norm, b / norm
    depth = _depth(kind, a * x - b * y, b * x + a * y)[..., None]
    cover = np.clip(depth * radius[..., None] * (size / 2) + 0.5, 0, 1)
    ground = u(0, 0.9, 3) + u(-0.2, 0.2, 3) * axis[:, :, None, None]
    image = ground + cover * (u(0.1, 1, 3) - ground)
    image = image + 0.12 * (rng.random(image.shape, dtype=np.float32) - np.float32(0.5))
    bytes_: Bytes = np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return bytes_


def cifar10_jpeg() -> Iterator[Part]:
    """Ten classes of shapes, 1,000 + 200 of each."""
    for part, n in (("train", 1000), ("test", 200)):
        for kind, name in enumerate(CIFAR):
            images = shapes(kind, n, np.random.default_rng([10, kind, n]))
            yield from ((f"{part}/{name}/{i:04}.jpg", image) for i, image in enumerate(images))


def cifar10() -> Iterator[Part]:
    """The six files of the binary version: a label and three planes of 32x32 for each picture."""
    for i, file in enumerate([*(f"data_batch_{j}.bin" for j in range(1, 6)), "test_batch.bin"]):
        rng = np.random.default_rng([11, i])
        images = np.concatenate([shapes(kind, 1000, rng) for kind in range(10)])
        rows = np.empty((10000, 3073), np.uint8)
        rows[:, 0] = np.repeat(np.arange(10), 1000)
        rows[:, 1:] = images.transpose(0, 3, 1, 2).reshape(10000, -1)
        yield file, rows[np.argsort(rng.random(10000), kind="stable")].tobytes()


class _Canvas:
    """A picture of height `h` and width `w`, painted piece by piece, with a mask beside it."""

    def __init__(self, h: int, w: int, color: Floats | tuple[float, ...], rng: np.random.Generator):
        self.h, self.w, self.rng = h, w, rng
        self.image = np.broadcast_to(np.asarray(color, np.float32), (h, w, 3)).copy()
        self.mask = np.zeros((h, w), np.uint8)

    def u(self, low: float, high: float) -> float:
        return float(low + (high - low) * self.rng.random())

    def oval(
        self, x: float, y: float, a: float, b: float, color: tuple[float, ...], label: int = 0
    ) -> None:
        """An ellipse with its centre and half axes."""
        top, left = max(int(y - b), 0), max(int(x - a), 0)
        rows = np.arange(top, min(int(y + b) + 2, self.h))[:, None] + 0.5
        columns = np.arange(left, min(int(x + a) + 2, self.w))[None] + 0.5
        dx, dy = (columns - x) / a, (rows - y) / b
        self._fill(top, left, dx * dx + dy * dy < 1, color, label)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, color: tuple[float, ...], label: int = 0
    ) -> None:
        """A rectangle."""
        top, left = max(int(y0), 0), max(int(x0), 0)
        inside = np.ones((max(min(int(y1), self.h) - top, 0), max(min(int(x1), self.w) - left, 0)))
        self._fill(top, left, inside > 0, color, label)

    def wedge(
        self, x: float, top: float, half: float, bottom: float, color: tuple[float, ...]
    ) -> None:
        """A triangle with its tip at the top, or at the bottom if that lies above."""
        low, high = sorted((top, bottom))
        rows = np.arange(max(int(low), 0), min(int(high) + 1, self.h))[:, None] + 0.5
        columns = np.arange(self.w)[None] + 0.5
        inside = np.abs(columns - x) < half * (rows - top) / (bottom - top)
        self._fill(max(int(low), 0), 0, inside, color, 0)

    def _fill(
        self, top: int, left: int, inside: NDArray[np.bool_], color: tuple[float, ...], label: int
    ) -> None:
        h, w = inside.shape
        self.image[top : top + h, left : left + w][inside] = color
        self.mask[top : top + h, left : left + w][inside] = label

    def finish(self, zoom: int, noise: float = 0.08) -> Bytes:
        """Bytes, each pixel `zoom` pixels wide and high, with noise on the small picture."""
        grain = self.rng.random(self.image.shape, dtype=np.float32) - np.float32(0.5)
        scaled: Floats = np.floor(np.clip(self.image + np.float32(noise) * grain, 0, 1) * 255 + 0.5)
        return scaled.astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)


def _animal(c: _Canvas, dog: bool) -> None:
    """A head: pointed ears and a small nose, or hanging ears and a long muzzle."""
    s = min(c.h, c.w) * c.u(0.25, 0.4)
    x, y = c.w * c.u(0.4, 0.6), c.h * c.u(0.45, 0.6)
    fur = (c.u(0.3, 0.9), c.u(0.25, 0.7), c.u(0.1, 0.5))
    dark = (fur[0] * 0.6, fur[1] * 0.6, fur[2] * 0.6)
    for side in (-1, 1):
        if dog:
            c.oval(x + side * s * 0.95, y + s * 0.2, s * 0.35, s * 0.8, dark)
        else:
            c.wedge(x + side * s * 0.65, y - s * 1.3, s * 0.4, y - s * 0.3, dark)
    c.oval(x, y, s, s * 0.95, fur)
    for side in (-1, 1):
        c.oval(x + side * s * 0.4, y - s * 0.2, s * 0.14, s * 0.14, (0.05, 0.05, 0.05))
    if dog:
        c.oval(x, y + s * 0.5, s * 0.45, s * 0.5, dark)
    c.oval(x, y + s * 0.3, s * (0.2 if dog else 0.1), s * 0.12, (0.1, 0.05, 0.05))


def cats_dogs() -> Iterator[Part]:
    """350 cats and 350 dogs of various sizes."""
    for label, kind in enumerate(("cat", "dog")):
        rng = np.random.default_rng([12, label])
        for i in sorted(range(4000), key=str)[:350]:
            h, w = (int(70 + 100 * rng.random()) for _ in range(2))
            c = _Canvas(h, w, rng.random(3, dtype=np.float32), rng)
            _animal(c, dog=label == 1)
            yield f"Data/Train_Data/{kind}/{kind}.{i}.jpg", c.finish(zoom=3, noise=0.15)


_OBJECT = """	<object>
		<name>{}</name>
		<pose>Unspecified</pose>
		<truncated>0</truncated>
		<difficult>0</difficult>
		<bndbox>
			<xmin>{}</xmin>
			<ymin>{}</ymin>
			<xmax>{}</xmax>
			<ymax>{}</ymax>
		</bndbox>
	</object>
"""
_ANNOTATION = """<annotation>
	<folder>JPEGImages</folder>
	<filename>{0}.jpg</filename>
	<path>{0}.jpg</path>
	<source>
		<database>Unknown</database>
	</source>
	<size>
		<width>640</width>
		<height>480</height>
		<depth>3</depth>
	</size>
	<segmented>0</segmented>
{1}</annotation>
"""
#: Name, most of it in a picture, least and greatest half side, colour.
CELLS = (
    ("RBC", 18, 17, 25, (0.85, 0.6, 0.6)),
    ("WBC", 1, 32, 48, (0.55, 0.4, 0.75)),
    ("Platelets", 3, 6, 9, (0.6, 0.45, 0.7)),
)


def bccd() -> Iterator[Part]:
    """364 pictures of cells 640x480 with their boxes in XML, and the splits 205, 87, 72."""
    rng, names = np.random.default_rng(13), [f"BloodImage_{i:05}" for i in range(364)]
    for name in names:
        c, boxes = _Canvas(240, 320, (0.93, 0.85, 0.85), rng), ""
        for kind, most, low, high, color in CELLS:
            for _ in range(1 + int(most * c.u(0.3, 1))):
                a, b = c.u(low, high), c.u(low, high)
                x, y = c.u(a, 319 - a), c.u(b, 239 - b)
                c.oval(x, y, a, b, color)
                c.oval(x, y, a * 0.5, b * 0.5, tuple(v * 0.85 for v in color))
                corners = (2 * (x - a), 2 * (y - b), 2 * (x + a), 2 * (y + b))
                boxes += _OBJECT.format(kind, *(int(v) + 1 for v in corners))
        yield f"BCCD/JPEGImages/{name}.jpg", c.finish(zoom=2)
        yield f"BCCD/Annotations/{name}.xml", _ANNOTATION.format(name, boxes).encode()
    order = [names[i] for i in np.argsort(rng.random(364), kind="stable")]
    splits = {"train": order[:205], "val": order[205:292], "test": order[292:]}
    splits["trainval"] = order[:292]
    for split, inside in splits.items():
        yield f"BCCD/ImageSets/Main/{split}.txt", "".join(f"{n}\n" for n in sorted(inside)).encode()
    yield "LICENSE", b"Drawn by code.\n"


def camvid() -> Iterator[Part]:
    """92 + 34 streets 480x360 with masks of eleven classes, 11 where none is told."""
    for part, n in (("train", 92), ("val", 34)):
        rng = np.random.default_rng([14, n])
        for i in range(n):
            c = _Canvas(180, 240, (0.6, 0.75, 0.95), rng)  # sky is class 0
            far = c.u(80, 100)
            for left in range(0, 240, 40):
                c.box(left, c.u(10, 60), left + 40, far + 5, (c.u(0.4, 0.7),) * 3, 1)
            c.oval(c.u(0, 240), far - 25, c.u(20, 40), 30, (0.2, 0.5, 0.2), 5)
            c.box(0, far, 240, 180, (0.35, 0.35, 0.38), 3)
            c.box(0, far, c.u(30, 60), 180, (0.6, 0.55, 0.5), 4)
            c.box(c.u(190, 215), far - 8, 240, far + 12, (0.5, 0.4, 0.3), 7)
            pole = c.u(20, 220)
            c.box(pole, far - 60, pole + 3, far + 25, (0.3, 0.3, 0.3), 2)
            c.box(pole - 6, far - 62, pole + 9, far - 48, (0.9, 0.2, 0.1), 6)
            for _ in range(1 + int(c.u(0, 3))):
                x, y, s = c.u(60, 220), c.u(far + 5, 165), c.u(8, 22)
                c.box(x - s, y - s * 0.6, x + s, y + s * 0.5, (c.u(0, 1), c.u(0, 1), c.u(0, 1)), 8)
            for label, x in ((9, c.u(20, 60)), (10, c.u(80, 200))):
                c.box(x, far + 10, x + 7, far + 36, (0.8, 0.3 + 0.04 * label, 0.3), label)
            c.box(0, 172, 240, 180, (0.1, 0.1, 0.1), 11)
            name = f"{'0006R0' if i % 2 else '0016E5'}_{i:05}.png"
            yield f"CamVid/{part}/{name}", c.finish(zoom=2)
            yield f"CamVid/{part}annot/{name}", c.mask.repeat(2, 0).repeat(2, 1)


def skimage_pictures() -> Iterator[Part]:
    """A cat and a cup of coffee."""
    rng = np.random.default_rng(15)
    cat = _Canvas(300, 451, (0.4, 0.45, 0.3), rng)
    _animal(cat, dog=False)
    yield "chelsea.png", cat.finish(zoom=1)
    cup = _Canvas(400, 600, (0.5, 0.3, 0.15), rng)
    cup.oval(300, 230, 240, 150, (0.85, 0.85, 0.8))
    cup.oval(300, 200, 130, 100, (0.95, 0.95, 0.92))
    cup.oval(300, 200, 110, 82, (0.3, 0.17, 0.08))
    yield "coffee.png", cup.finish(zoom=1)


PARTS: dict[str, Callable[[], Iterator[Part]]] = {
    "cifar10-jpeg": cifar10_jpeg,
    "cifar10": cifar10,
    "cats-dogs": cats_dogs,
    "bccd": bccd,
    "camvid": camvid,
    "skimage-pictures": skimage_pictures,
}
