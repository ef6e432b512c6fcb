"""Offline stand-ins: data sets of the same shape and types as the real ones, drawn by code from a fixed seed.

Only arithmetic that IEEE 754 rounds exactly (add, multiply, divide, square root) and uniform random numbers are
used, never ``exp`` or ``sin``, so a stand-in has the same bytes on every machine. `version` names these bytes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
#: Names of the ten kinds of Fashion-MNIST, in the order of their labels.
KINDS = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_SIZE, _CHUNK, _SEED = 28, 500, 20170825


class _Sketch:
    """`n` pictures drawn at once, in coordinates from -1 to 1 with y downwards; background 0, white 1.

    Shapes are *depths*: arrays ``(n, 28, 28)``, positive inside, about the distance to the edge. Every parameter
    of a shape has shape ``(n, 1, 1)``, so that each picture has its own pose, size and tone.
    """

    def __init__(self, n: int, rng: np.random.Generator):
        self.n, self.rng = n, rng
        self.image: Array = np.zeros((n, _SIZE, _SIZE), np.float32)
        axis = (np.arange(_SIZE, dtype=np.float32) + 0.5) / (_SIZE / 2) - 1
        u, v = axis[None, None, :] - self.u(-0.07, 0.07), axis[None, :, None] - self.u(-0.05, 0.05)
        tilt = self.u(-0.08, 0.08)
        norm = np.sqrt(1 + tilt * tilt)  # a rotation without sine and cosine
        self.x: Array = (u - tilt * v) / (norm * self.u(0.95, 1.15)) + self.u(-0.05, 0.05) * v * v
        self.y: Array = (tilt * u + v) / (norm * self.u(0.95, 1.08))
        self.side: Array = np.abs(self.x)  # for shapes that are symmetric about the middle
        self.soft = self.u(0.08, 0.17)
        self.tone = self.pick(0.25, self.u(0.18, 0.5), self.u(0.5, 1.0))

    def u(self, low: float, high: float) -> Array:
        """One uniform number for each picture, shape ``(n, 1, 1)``."""
        drawn: Array = low + (high - low) * self.rng.random((self.n, 1, 1), dtype=np.float32)
        return drawn

    def pick(self, chance: float, yes: Array | float, no: Array | float) -> Array:
        """`yes` with the given chance, else `no`, for each picture."""
        return np.where(self.u(0, 1) < chance, yes, no).astype(np.float32)

    def paint(self, depth: Array, tone: Array | float) -> None:
        """Cover the inside of a shape with a tone, with soft edges."""
        self.image += np.clip(depth / self.soft + 0.5, 0, 1) * (tone - self.image)

    def limb(self, x0: Array, y0: Array, x1: Array, y1: Array, r0: Array, r1: Array, side: bool = False) -> Array:
        """Depth of a tapered bar with round ends; `side` draws it left and right."""
        px, py, dx, dy = (self.side if side else self.x) - x0, self.y - y0, x1 - x0, y1 - y0
        t = np.clip((px * dx + py * dy) / (dx * dx + dy * dy), 0, 1)
        px, py = px - t * dx, py - t * dy
        depth: Array = r0 + (r1 - r0) * t - np.sqrt(px * px + py * py)
        return depth

    def between(self, top: Array, bottom: Array, half: Array) -> Array:
        """Depth of the region from `top` to `bottom` whose half width is `half`."""
        depth: Array = np.minimum(np.minimum(self.y - top, bottom - self.y), half - self.side)
        return depth

    def ramp(self, start: Array, stop: Array) -> Array:
        """0 above `start`, 1 below `stop`, linear between."""
        part: Array = np.clip((self.y - start) / (stop - start), 0, 1)
        return part

    def weave(self) -> None:
        """Stripes, checks, folds or nothing over everything drawn so far."""
        period, phase = self.u(0.14, 0.4), self.u(0, 1)
        across, along = self.pick(0.16, 1, 0), self.pick(0.1, 1, 0)
        contrast = self.u(0.12, 0.5)
        for on, axis in ((across, self.y), (along, self.x)):
            wave = axis / period + phase
            wave = np.abs(wave - np.floor(wave) - 0.5) * 4 - 1  # a triangle between -1 and 1
            self.image *= 1 - on * contrast * np.clip(wave * 2, 0, 1)
        lean = self.u(-0.18, 0.18) * self.x + self.u(-0.14, 0.14) * self.y
        self.image *= 1 + lean

    def finish(self) -> NDArray[np.uint8]:
        """Noise, occlusion and brightness; then bytes, shape ``(n, 28, 28)``."""
        noise = self.rng.random(self.image.shape, dtype=np.float32) - self.rng.random(self.image.shape, dtype=np.float32)
        self.image *= 1 + self.u(0.05, 0.35) * noise
        cx, cy, w, h = self.u(-0.8, 0.8), self.u(-0.8, 0.8), self.u(0.15, 0.45), self.u(0.15, 0.45)
        block = np.minimum(w - np.abs(self.x - cx), h - np.abs(self.y - cy))
        self.paint(np.minimum(block, self.pick(0.15, 1, -1)), self.pick(0.6, 0, self.u(0, 0.6)))
        scaled: Array = np.floor(np.clip(self.image, 0, 1) * 255 + 0.5)
        return scaled.astype(np.uint8)


def _body(s: _Sketch, shoulder: Array, waist: Array, hem: Array, top: Array, bottom: Array) -> Array:
    """Depth of a torso: half widths at the shoulders, at the waist and at the hem."""
    middle = top + (bottom - top) * 0.5
    half: Array = shoulder + (waist - shoulder) * s.ramp(top, middle) + (hem - waist) * s.ramp(middle, bottom)
    return s.between(top, bottom, half)


def _sleeves(s: _Sketch, shoulder: Array, top: Array, length: Array, spread: Array, tone: Array) -> None:
    """Two sleeves from the shoulders; `spread` 0 hangs straight down."""
    radius = s.u(0.13, 0.19)
    norm = np.sqrt(1 + spread * spread)
    x0, y0 = shoulder - radius * 0.7, top + radius
    s.paint(s.limb(x0, y0, x0 + length * spread / norm, y0 + length / norm, radius, radius * s.u(0.6, 0.95), side=True), tone)


def _neck(s: _Sketch, top: Array, width: Array, depth: Array, tone: Array | float = 0.0) -> None:
    """An opening at the neck, between a V and a half circle."""
    drop = (s.y - top) / depth
    v_shape = width * (1 - drop) - s.side
    u_shape = width - np.sqrt(s.side * s.side + (s.y - top) * (s.y - top) * (width / depth) * (width / depth))
    opening = s.pick(0.4, 1, 0) * (v_shape - u_shape) + u_shape
    s.paint(opening if isinstance(tone, float) else np.minimum(opening, s.y - top), tone)


def _line(s: _Sketch, x: Array, top: Array, bottom: Array, width: Array, tone: Array | float) -> None:
    """A vertical line, such as a zip."""
    s.paint(np.minimum(width - np.abs(s.x - x), np.minimum(s.y - top, bottom - s.y)), tone)


def _contrast(s: _Sketch, least: float, most: float) -> Array:
    """A tone that differs from the garment's, darker or lighter."""
    step = s.u(least, most)
    tone: Array = np.clip(s.tone + s.pick(0.5, step, -step), 0.05, 1)
    return tone


def _t_shirt(s: _Sketch) -> None:
    top, shoulder = s.u(-0.85, -0.7), s.u(0.46, 0.62)
    _sleeves(s, shoulder, top, s.pick(0.1, s.u(0.5, 1.2), s.u(0.18, 0.55)), s.u(0.15, 1.2), s.tone * s.u(0.85, 1.0))
    width = shoulder * s.u(0.82, 1.0)
    s.paint(_body(s, shoulder, width, width * s.u(0.95, 1.12), top, s.u(0.68, 0.9)), s.tone)
    s.weave()
    print_on = s.pick(0.4, 1, -1)
    patch = np.minimum(s.u(0.1, 0.3) - np.abs(s.x), s.u(0.1, 0.3) - np.abs(s.y + s.u(0.0, 0.3)))
    s.paint(np.minimum(patch, print_on), _contrast(s, 0.15, 0.5))
    _neck(s, top, s.u(0.16, 0.3), s.u(0.1, 0.3))


def _trouser(s: _Sketch) -> None:
    top, bottom = s.u(-0.92, -0.82), s.u(0.72, 0.93)
    waist, hip, ankle = s.u(0.22, 0.34), s.u(0.28, 0.42), s.u(0.2, 0.46)
    crotch, gap = s.u(-0.55, -0.1), s.u(0.02, 0.2)
    inner = gap * s.ramp(crotch, bottom)
    legs = _body(s, waist, hip, np.maximum(ankle, gap + 0.12), top, bottom)
    s.paint(np.where(s.y > crotch, np.minimum(legs, s.side - inner), legs), s.tone)
    s.weave()
    _line(s, s.u(-0.02, 0.02), top, bottom, s.u(0.0, 0.03), s.tone * s.u(0.1, 0.8))
    _line(s, s.u(0.0, 0.0), top, top + s.u(0.05, 0.12), s.u(0.3, 0.5), s.image * s.u(0.6, 1.1))


def _pullover(s: _Sketch) -> None:
    top, shoulder, bottom = s.u(-0.85, -0.7), s.u(0.44, 0.6), s.u(0.5, 0.8)
    _sleeves(s, shoulder, top, s.u(0.95, 1.35), s.u(0.1, 0.38), s.tone * s.u(0.7, 1.0))
    width = shoulder * s.u(0.8, 1.0)
    s.paint(_body(s, shoulder, width, width * s.u(0.85, 1.05), top, bottom), s.tone)
    s.weave()
    s.paint(s.between(bottom - s.u(0.06, 0.16), bottom, width * 0.95), s.tone * s.u(0.6, 0.95))
    patch = np.minimum(s.u(0.1, 0.3) - np.abs(s.x), s.u(0.06, 0.2) - np.abs(s.y + s.u(0.0, 0.3)))
    s.paint(np.minimum(patch, s.pick(0.2, 1, -1)), _contrast(s, 0.15, 0.5))
    _line(s, s.u(-0.03, 0.03), top, s.pick(0.6, top + s.u(0.2, 0.5), bottom), s.u(0.0, 0.04), s.pick(0.3, s.tone * s.u(0.4, 0.9), s.image))
    high = s.pick(0.3, 1, -1)  # a turtleneck instead of an opening
    s.paint(np.minimum(s.between(top - s.u(0.08, 0.18), top + 0.1, s.u(0.16, 0.24)), high), s.tone * s.u(0.75, 0.95))
    _neck(s, top, s.u(0.14, 0.26), np.where(high > 0, 0.02, s.u(0.08, 0.2)))


def _dress(s: _Sketch) -> None:
    top, bottom, shoulder = s.u(-0.92, -0.8), s.u(0.76, 0.95), s.u(0.2, 0.46)
    length = s.pick(0.3, s.u(0.1, 0.35), s.pick(0.25, s.u(0.7, 1.2), 0.01))
    _sleeves(s, shoulder, top, length, s.u(0.15, 0.5), s.tone * s.u(0.7, 1.0))
    waist = shoulder * s.u(0.68, 0.95)
    s.paint(_body(s, shoulder, waist, waist * s.u(1.1, 2.3), top, bottom), s.tone)
    s.weave()
    belt, belt_on = s.u(-0.15, 0.1), s.pick(0.4, 1, -1)
    s.paint(np.minimum(s.between(belt, belt + s.u(0.06, 0.12), waist * 1.05), belt_on), _contrast(s, 0.1, 0.4))
    _neck(s, top, shoulder * s.u(0.45, 0.75), s.u(0.12, 0.4))


def _coat(s: _Sketch) -> None:
    top, shoulder, bottom = s.u(-0.88, -0.72), s.u(0.42, 0.56), s.u(0.7, 0.97)
    _sleeves(s, shoulder, top, s.u(1.05, 1.45), s.u(0.05, 0.25), s.tone * s.u(0.7, 1.0))
    width = shoulder * s.u(0.78, 1.0)
    s.paint(_body(s, shoulder, width, width * s.u(0.95, 1.25), top, bottom), s.tone)
    s.weave()
    depth = s.u(0.2, 0.7)
    _neck(s, top, s.u(0.14, 0.28), depth, s.pick(0.3, s.image, _contrast(s, 0.08, 0.4)))  # lapels
    front = s.u(-0.06, 0.06)
    _line(s, front, top + depth * s.u(0.2, 0.9), bottom, s.u(0.02, 0.06), s.pick(0.15, s.image, s.pick(0.7, 0.04, _contrast(s, 0.1, 0.45))))
    pocket, depth = s.u(0.15, 0.4), s.u(0.015, 0.04)
    flap = np.minimum(depth - np.abs(s.y - pocket), s.u(0.07, 0.12) - np.abs(s.side - s.u(0.2, 0.3)))
    s.paint(np.minimum(flap, s.pick(0.5, 1, -1)), s.tone * s.u(0.3, 0.8))
    belt = s.between(s.u(-0.05, 0.15), s.u(0.16, 0.22), width)
    s.paint(np.minimum(belt, s.pick(0.2, 1, -1)), s.tone * s.u(0.5, 0.9))


def _shirt(s: _Sketch) -> None:
    top, shoulder, bottom = s.u(-0.86, -0.7), s.u(0.42, 0.6), s.u(0.65, 0.92)
    short = s.u(0, 1) < 0.45
    length = np.where(short, s.u(0.25, 0.6), s.u(0.9, 1.4))
    spread = np.where(short, s.u(0.2, 1.0), s.u(0.08, 0.38))
    _sleeves(s, shoulder, top, length, spread, s.tone * s.u(0.75, 1.0))
    width = shoulder * s.u(0.8, 1.0)
    s.paint(_body(s, shoulder, width, width * s.u(0.95, 1.12), top, bottom), s.tone)
    s.weave()
    _line(s, s.u(-0.03, 0.03), top, bottom, s.u(0.015, 0.045), s.pick(0.3, s.image, s.tone * s.u(0.4, 0.85)))
    period = s.u(0.18, 0.26)
    row = s.y / period
    dots = s.u(0.03, 0.05) - np.abs(s.x) - period * np.abs(row - np.floor(row) - 0.5)
    s.paint(np.minimum(np.minimum(dots, bottom - s.y), s.pick(0.5, 1, -1)), _contrast(s, 0.15, 0.5))
    wing = s.u(0.16, 0.28)
    collar = s.limb(s.u(0.1, 0.16), top, wing, top + s.u(0.12, 0.26), s.u(0.05, 0.1), s.u(0.02, 0.05), side=True)
    s.paint(np.minimum(collar, s.pick(0.7, 1, -1)), _contrast(s, 0.08, 0.4))
    _neck(s, top, s.u(0.08, 0.26), s.u(0.1, 0.3))


def _shoe(s: _Sketch, toe: Array, instep: Array, shaft: Array, floor: Array) -> Array:
    """Depth of the upper of a shoe that points left: heights of toe, instep and shaft above the floor."""
    front, middle, back = s.u(-0.92, -0.8), s.u(-0.3, 0.05), s.u(0.72, 0.9)
    rise = np.clip((s.x - front) / (middle - front), 0, 1)
    leg = np.clip((s.x - middle) / s.u(0.12, 0.35), 0, 1)
    height = toe * np.clip(rise * 6, 0.4, 1) + (instep - toe) * rise * rise + (shaft - instep) * leg
    depth: Array = np.minimum(np.minimum(floor - s.y, s.y - floor + height), np.minimum(s.x - front, back - s.x))
    return depth


def _sole(s: _Sketch, floor: Array, heel: Array, tone: Array) -> None:
    """A sole under a shoe, thicker below the heel."""
    thick = s.u(0.05, 0.13) + heel * np.clip((s.x - s.u(0.1, 0.4)) / 0.12, 0, 1)
    s.paint(np.minimum(np.minimum(s.y - floor, floor + thick - s.y), 0.9 - s.side), tone)


def _sandal(s: _Sketch) -> None:
    floor, heel = s.u(0.3, 0.5), s.pick(0.55, s.u(0.3, 0.75), s.u(0.0, 0.2))
    toe, back, thick = s.u(-0.88, -0.75), s.u(0.7, 0.86), s.u(0.04, 0.1)
    tread = floor - heel * np.clip((s.x - toe - 0.25) / (back - toe - 0.25), 0, 1)
    wedge = np.where(s.u(0, 1) < 0.4, floor + s.u(0.04, 0.1), tread + thick)
    s.paint(np.minimum(np.minimum(s.y - tread, wedge - s.y), np.minimum(s.x - toe, back - s.x)), s.tone)
    stiletto = s.limb(back - 0.1, floor - heel, back - s.u(0, 0.12), floor, s.u(0.05, 0.09), s.u(0.03, 0.05))
    s.paint(np.where(heel > 0.2, stiletto, -1), s.tone)
    strap, radius = s.tone * s.u(0.7, 1.1), s.u(0.03, 0.07)
    for low, high in ((-0.75, -0.5), (-0.45, -0.2), (-0.1, 0.25), (0.3, 0.6)):
        x0, reach = s.u(low, high), s.u(-0.1, 0.35)
        y0 = floor - heel * np.clip((x0 - toe - 0.25) / (back - toe - 0.25), 0, 1)
        bar = s.limb(x0, y0, x0 + reach, y0 - s.u(0.18, 0.5), radius, radius)
        s.paint(np.minimum(bar, s.pick(0.8, 1, -1)), strap)
    band = s.u(0.05, 0.35)  # height of the ankle strap above the heel
    cuff = s.limb(s.u(0.1, 0.4), floor - heel - band, back - 0.06, floor - heel - band - s.u(0.0, 0.1), radius, radius)
    cup = s.limb(back - 0.06, floor - heel, back - 0.06, floor - heel - band, radius, radius * s.u(0.8, 2.0))
    s.paint(np.minimum(np.maximum(cuff, cup), s.pick(0.7, 1, -1)), strap)
    full = np.minimum(np.minimum(tread - s.y, s.y - tread + s.u(0.15, 0.45)), np.minimum(s.x - toe, s.u(-0.5, 0.3) - s.x))
    s.paint(np.minimum(full, s.pick(0.25, 1, -1)), strap)  # a closed toe
    s.weave()


def _sneaker(s: _Sketch) -> None:
    floor, toe = s.u(0.3, 0.48), s.u(0.16, 0.3)
    shaft = s.pick(0.25, s.u(0.6, 1.15), s.u(0.4, 0.62))
    s.paint(_shoe(s, toe, toe + (shaft - toe) * s.u(0.55, 0.95), shaft, floor), s.tone)
    s.weave()
    trim = _contrast(s, 0.15, 0.55)
    for low, high in ((-0.3, -0.05), (0.0, 0.3)):
        x0 = s.u(low, high)
        bar = s.limb(x0, floor - s.u(0.05, 0.12), x0 + s.u(0.08, 0.3), floor - s.u(0.25, 0.4), s.u(0.02, 0.05), s.u(0.02, 0.05))
        s.paint(np.minimum(bar, s.pick(0.65, 1, -1)), trim)
    mouth = 0.2 - np.abs(s.x - s.u(0.4, 0.55)) - np.abs(s.y - floor + shaft) * 2.5
    s.paint(mouth, s.pick(0.5, 0, s.tone * s.u(0.2, 0.7)))
    _sole(s, floor, s.u(0, 0.01), s.pick(0.6, s.u(0.75, 1.0), trim))


def _bag(s: _Sketch) -> None:
    half, top, bottom = s.u(0.5, 0.88), s.u(-0.45, 0.05), s.u(0.55, 0.85)
    outer, rise = half * s.u(0.35, 0.8), s.u(0.25, 0.75)
    ring = np.sqrt(s.x * s.x / (outer * outer) + (s.y - top) * (s.y - top) / (rise * rise))  # 1 on an ellipse
    handle = np.minimum(s.u(0.035, 0.08) - np.abs(ring - 1) * np.minimum(outer, rise), top + 0.05 - s.y)
    s.paint(np.minimum(handle, s.pick(0.75, 1, -1)), s.tone * s.u(0.6, 1.0))
    s.paint(_body(s, half * s.u(0.75, 1.0), half, half * s.u(0.85, 1.05), top, bottom), s.tone)
    s.weave()
    flap = top + (bottom - top) * s.u(0.15, 0.6)
    seam = np.minimum(s.u(0.02, 0.05) - np.abs(s.y - flap), half * 0.95 - s.side)
    s.paint(np.minimum(seam, s.pick(0.6, 1, -1)), s.tone * s.u(0.2, 0.75))
    clasp = s.u(0.05, 0.11) - np.maximum(np.abs(s.x), np.abs(s.y - flap))
    s.paint(np.minimum(clasp, s.pick(0.6, 1, -1)), _contrast(s, 0.2, 0.6))


def _ankle_boot(s: _Sketch) -> None:
    floor, toe = s.u(0.5, 0.72), s.u(0.2, 0.36)
    shaft = s.pick(0.25, s.u(0.55, 1.0), s.u(0.95, 1.5))
    s.paint(_shoe(s, toe, toe + s.u(0.15, 0.35), shaft, floor), s.tone)
    s.weave()
    seam = s.u(0.2, 0.6)
    _line(s, seam, floor - shaft, floor - s.u(0.05, 0.4), s.u(0.0, 0.04), s.tone * s.u(0.3, 0.9))
    strap = np.minimum(s.u(0.03, 0.08) - np.abs(s.y - floor + s.u(0.45, 0.75)), np.minimum(s.x - s.u(-0.1, 0.1), 0.8 - s.x))
    s.paint(np.minimum(strap, s.pick(0.3, 1, -1)), _contrast(s, 0.1, 0.4))
    _sole(s, floor, s.pick(0.6, s.u(0.08, 0.25), s.u(0, 0.03)), s.tone * s.u(0.3, 0.9))


_DRAW: tuple[Callable[[_Sketch], None], ...] = (
    _t_shirt, _trouser, _pullover, _dress, _coat, _sandal, _shirt, _sneaker, _bag, _ankle_boot,
)  # fmt: skip


def garments(per_kind: int, seed: int = _SEED) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a balanced, shuffled set of pictures of ten kinds of garments.

    Parameters
    ----------
    per_kind
        Pictures of each kind.
    seed
        Fixes every byte.

    Returns
    -------
    Pictures ``(10 * per_kind, 28, 28)`` and labels ``(10 * per_kind,)``, both uint8; names in `KINDS`.

    Examples
    --------
    >>> images, labels = garments(3)
    >>> images.shape, np.bincount(labels).tolist()
    ((30, 28, 28), [3, 3, 3, 3, 3, 3, 3, 3, 3, 3])
    """
    labels = np.random.default_rng([seed, len(KINDS)]).permutation(np.repeat(np.arange(len(KINDS), dtype=np.uint8), per_kind))
    images = np.empty((len(labels), _SIZE, _SIZE), np.uint8)
    for kind, draw in enumerate(_DRAW):
        rng, places = np.random.default_rng([seed, kind]), np.flatnonzero(labels == kind)
        for start in range(0, per_kind, _CHUNK):
            part = places[start : start + _CHUNK]
            sketch = _Sketch(len(part), rng)
            draw(sketch)
            images[part] = sketch.finish()
    return images, labels


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write bytes in the IDX format: two zeros, type 8, number of dimensions, big-endian sizes, data.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database, "File formats".

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(Path(folder, "labels"), np.array([7, 9], np.uint8))
    ...     Path(folder, "labels").read_bytes().hex(" ", -4)
    '00000801 00000002 0709'
    """
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(header + array.tobytes())


def _fashion_mnist(folder: Path) -> None:
    """The four files of Fashion-MNIST: 60 000 training and 10 000 test pictures, 28x28, grey."""
    for part, per_kind, seed in (("train", 6000, _SEED), ("t10k", 1000, _SEED + 1)):
        images, labels = garments(per_kind, seed)
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)


#: Data set -> function that writes its stand-in's files into a folder.
MAKERS: dict[str, Callable[[Path], None]] = {"fashion-mnist": _fashion_mnist}
#: Data set -> start of the SHA-256 over its stand-in's files in the order of their names.
_VERSIONS = {"fashion-mnist": "e092ba4472ff"}


def version(name: str) -> str:
    """What the bytes of a stand-in are called: another version, other bytes.

    Examples
    --------
    >>> version("fashion-mnist").isalnum()
    True
    """
    return _VERSIONS[name]
