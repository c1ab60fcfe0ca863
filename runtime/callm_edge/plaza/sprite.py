"""Small supersampled patches that are blended into the frame: the one way in which anything that moves gets drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from callm_edge.plaza.camera import HEIGHT, WIDTH
from callm_edge.plaza.scene import Occluder

_SHIFT = 3  # sub-pixel bits of cv2's fixed point coordinates
_FIXED = 1 << _SHIFT
_MAX_SIDE_PX = 900  # a thing right under the lens is cut, not drawn with gigabytes

Colour = tuple[float, float, float, float]  # B, G, R, cover


@dataclass
class Sprite:
    """One moving thing of one frame, as strokes in picture pixels.

    y: metres from the mast, for drawing order and for what hides it. bounds: x0, y0, x1, y1 pixels, floats.
    strokes: painted in order: ("hull" | "poly" | "line", (n, 2) float pixels, colour, width in pixels).
    light: brightness 0..1 by the shade the thing stands in.
    """

    y: float
    bounds: tuple[float, float, float, float]
    strokes: list[tuple[str, np.ndarray, Colour, float]] = field(default_factory=list)
    light: float = 1.0

    def box(self) -> tuple[int, int, int, int] | None:
        """x, y, w, h pixels clipped to the picture; None while less than a few pixels of it are in sight."""
        x0, y0 = max(0, int(self.bounds[0])), max(0, int(self.bounds[1]))
        x1, y1 = min(WIDTH, int(self.bounds[2]) + 1), min(HEIGHT, int(self.bounds[3]) + 1)
        return (x0, y0, x1 - x0, y1 - y0) if x1 - x0 >= 4 and y1 - y0 >= 4 else None


def paint(frame: np.ndarray, sprite: Sprite, occluders: Sequence[Occluder]) -> None:
    """Blend ``sprite`` into ``frame`` (360, 640, 3) BGR uint8 in place, behind the occluders nearer than it."""
    x0, y0 = max(0, int(sprite.bounds[0]) - 2), max(0, int(sprite.bounds[1]) - 2)
    x1, y1 = min(WIDTH, int(sprite.bounds[2]) + 3), min(HEIGHT, int(sprite.bounds[3]) + 3)
    width, height = x1 - x0, y1 - y0
    if width <= 0 or height <= 0 or max(width, height) > _MAX_SIDE_PX:
        return
    # Far people are a few pixels wide: they need finer sampling than near ones to keep their limbs.
    scale = 4 if height < 50 else 2
    patch: np.ndarray = np.zeros((height * scale, width * scale, 4), np.uint8)
    factor = scale * _FIXED
    origin = np.array((x0, y0), np.float32)
    # One conversion for all strokes: forty small ones would cost more than the drawing.
    fixed = ((np.concatenate([points for _, points, _, _ in sprite.strokes]) - origin) * factor).astype(np.int32)
    first = 0
    for kind, points, colour, line_px in sprite.strokes:
        shape = fixed[first : first + len(points)]
        first += len(points)
        if kind == "hull":
            cv2.fillConvexPoly(patch, cv2.convexHull(shape), colour, cv2.LINE_AA if scale == 2 else cv2.LINE_8, _SHIFT)
        elif kind == "poly":
            cv2.fillPoly(patch, [shape], colour, cv2.LINE_AA, _SHIFT)
        else:
            cv2.polylines(patch, [shape], False, colour, max(1, round(line_px * scale)), cv2.LINE_AA, _SHIFT)
    if scale == 4:
        patch = cv2.resize(patch, (width * 2, height * 2), interpolation=cv2.INTER_AREA)
    patch = cv2.resize(patch, (width, height), interpolation=cv2.INTER_AREA)
    if scale == 2:
        # Near people would be sharper than the paving they stand on.
        patch = cv2.GaussianBlur(patch, (3, 3), 0.55)
    if sprite.light < 0.995:
        light = sprite.light
        # Shade is lit by the sky: blue loses least.
        patch = cv2.multiply(patch, np.array((light + 0.04, light, light - 0.02, 1.0)))
    for occluder in occluders:
        if occluder.y < sprite.y:
            _hide(patch, x0, y0, occluder)
    cover = cv2.cvtColor(cv2.bitwise_not(patch[:, :, 3]), cv2.COLOR_GRAY2BGR)
    region = frame[y0:y1, x0:x1]
    cv2.add(cv2.multiply(region, cover, scale=1 / 255), cv2.cvtColor(patch, cv2.COLOR_BGRA2BGR), dst=region)


def _hide(patch: np.ndarray, x0: int, y0: int, occluder: Occluder) -> None:
    """Take away from a premultiplied patch what a nearer fixed object covers."""
    ox, oy, ow, oh = occluder.box
    left, top = max(x0, ox), max(y0, oy)
    right, bottom = min(x0 + patch.shape[1], ox + ow), min(y0 + patch.shape[0], oy + oh)
    if left >= right or top >= bottom:
        return
    alpha = occluder.alpha[top - oy : bottom - oy, left - ox : right - ox]
    part = patch[top - y0 : bottom - y0, left - x0 : right - x0]
    keep = cv2.bitwise_not(alpha)
    cv2.multiply(part, cv2.merge((keep, keep, keep, keep)), dst=part, scale=1 / 255)
