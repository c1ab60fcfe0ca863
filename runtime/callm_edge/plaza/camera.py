"""The plaza's one camera: a pinhole on a mast that looks down at the paving.

Everything that draws asks it where a point of the world lands.

World axes, in metres: x to the right, y away from the mast along the ground, z up; the mast's foot is the origin.
"""

from __future__ import annotations

import math

import numpy as np

FPS = 25
WIDTH, HEIGHT = 640, 360

_MAST_M = 5.2
_PITCH = math.radians(26.0)
_FOCAL_PX = HEIGHT / 2 / math.tan(math.radians(20.0))
_COS, _SIN = math.cos(_PITCH), math.sin(_PITCH)

# Direction in which sunlight travels per metre of height: shadows fall to the right and away from the camera.
SUN_SLOPE = (0.62, 0.34)


def project(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image position of world points.

    points: (..., 3) metres. Returns (..., 2) pixels as x, y and (...) distance along the optical axis in metres.
    """
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    depth = y * _COS + (_MAST_M - z) * _SIN
    # A point beside or behind the lens has no image; the clamp keeps it finite and far outside the picture.
    scale = _FOCAL_PX / np.maximum(depth, 0.3)
    u = WIDTH / 2 + x * scale
    v = HEIGHT / 2 + ((_MAST_M - z) * _COS - y * _SIN) * scale
    return np.stack((u, v), axis=-1), depth


def pixels_per_metre(depth: np.ndarray) -> np.ndarray:
    """Size in pixels of one metre at ``depth`` metres along the optical axis, same shape."""
    return _FOCAL_PX / np.maximum(depth, 0.3)


def half_width(y: float) -> float:
    """Metres of paving visible to each side of the middle at distance ``y`` metres from the mast."""
    return WIDTH / 2 * (y * _COS + _MAST_M * _SIN) / _FOCAL_PX


def shadow_points(points: np.ndarray) -> np.ndarray:
    """Where the sun throws the shadow of world points: (..., 3) metres in, (..., 3) on the ground out."""
    z = np.maximum(points[..., 2], 0.0)
    return np.stack((points[..., 0] + z * SUN_SLOPE[0], points[..., 1] + z * SUN_SLOPE[1], np.zeros_like(z)), axis=-1)
