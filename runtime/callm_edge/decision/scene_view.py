"""What a camera's picture shows of its scene, apart from who walks there: numbers that two moments are compared by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from callm_edge.stage1.ingest import SIZE

SMALL, CELLS, EDGES = 32, 16, 128  # pixels, or cells, a side
FLAT = 4.0  # gray levels of standard deviation: below it a picture shows nothing
_TEXTURE = 1.5  # mean gradient, gray levels a pixel, from which on a cell has detail that can be lost
_ENOUGH = 0.1  # part of a picture that can speak for all of it
_BURNT_OUT = 240  # gray levels
_DARK = 0.05  # gain below which a picture is black, and nothing can be scaled by it

_window: np.ndarray = cv2.createHanningWindow((EDGES, EDGES), cv2.CV_32F)


@dataclass(frozen=True)
class View:
    """Of one picture, or the mean of many.

    small: (32, 32) gray levels. detail: (16, 16) mean gradient of each cell, at the full 256 x 256. edges: (128, 128)
    gradient magnitude. All float32.
    """

    small: np.ndarray
    detail: np.ndarray
    edges: np.ndarray

    @classmethod
    def of(cls, gray: np.ndarray) -> View:
        """gray: (256, 256) float32, 0..255."""
        half = cv2.resize(gray, (EDGES, EDGES), interpolation=cv2.INTER_AREA)
        return cls(
            small=cv2.resize(half, (SMALL, SMALL), interpolation=cv2.INTER_AREA),
            detail=cv2.resize(_gradient(gray), (CELLS, CELLS), interpolation=cv2.INTER_AREA),
            edges=_gradient(half),
        )

    def toward(self, other: View, part: float) -> View:
        """This view, moved toward another by a part of the way, 0..1."""
        return View(
            *(
                cv2.addWeighted(mine, 1 - part, theirs, part, 0.0)
                for mine, theirs in (
                    (self.small, other.small),
                    (self.detail, other.detail),
                    (self.edges, other.edges),
                )
            )
        )

    @property
    def flat(self) -> bool:
        return float(self.small.std()) < FLAT


@dataclass(frozen=True)
class Difference:
    """Between a reference and a view of now.

    gain: brightness of now over that of the reference, the median over the picture. detail: the same of detail, where
    the reference has any, brightness allowed for. shapes, outlines: correlation -1..1 of the pictures and of the edges.
    shift: of the picture, as a part of its side. sure: 0..1, how clearly all of it shifted so.
    """

    gain: float
    detail: float = 1.0
    shapes: float = 1.0
    outlines: float = 1.0
    shift: float = 0.0
    sure: float = 0.0

    @staticmethod
    def gain_between(reference: View, now: View) -> float:
        """The gain alone. What is burnt out grew less bright than it should have, and says nothing of it."""
        ratio = (now.small + 1) / (reference.small + 1)
        honest = np.maximum(now.small, reference.small) < _BURNT_OUT
        return float(np.median(ratio[honest] if honest.mean() > _ENOUGH else ratio))

    @classmethod
    def between(cls, reference: View, now: View) -> Difference:
        """A reference with next to no detail, such as a white wall or a night, tells of brightness alone."""
        gain = cls.gain_between(reference, now)
        textured = reference.detail > _TEXTURE
        if textured.mean() < _ENOUGH:
            return cls(gain)
        # Copies: OpenCV multiplies its arguments by the window where they lie.
        (dx, dy), sure = cv2.phaseCorrelate(reference.edges.copy(), now.edges.copy(), _window)
        return cls(
            gain,
            float(np.median(now.detail[textured] / reference.detail[textured])) / max(gain, _DARK),
            _correlation(reference.small, now.small),
            _correlation(reference.edges, now.edges),
            math.hypot(dx, dy) / EDGES,
            float(sure),
        )


def gray_of(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) BGR or (H, W) gray, uint8 -> (256, 256) float32.

    As stage 1 sees it but for rounding: resized first, it costs the same for a large picture as for a small one.
    """
    image = cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.shape[2] == 3 else image[..., 0]
    return image.astype(np.float32)


def _gradient(gray: np.ndarray) -> np.ndarray:
    """Gradient magnitude, gray levels a pixel."""
    dx = cv2.Sobel(gray, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(gray, cv2.CV_32F, 0, 1, scale=1 / 8)
    magnitude: np.ndarray = cv2.magnitude(dx, dy)
    return magnitude


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float((a * b).sum()) / norm if norm else 0.0
