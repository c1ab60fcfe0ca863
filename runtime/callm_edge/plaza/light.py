"""Weather and sensor: drifting brightness, passing thin cloud, shadows on the ground, and noise."""

from __future__ import annotations

import cv2
import numpy as np

from callm_edge.plaza.camera import FPS, HEIGHT, WIDTH
from callm_edge.plaza.scene import Scene

_CLOUD_WIDTH = 3 * WIDTH
_NOISE_MARGIN = 64
_NOISE_MEAN = 40


class Light:
    """One seed's light. ``ground`` lays moving shadows, ``finish`` adds cloud, drift and sensor noise."""

    def __init__(self, seed: int, scene: Scene) -> None:
        rng = np.random.default_rng((seed, 2))
        self._scene = scene
        self._shadow = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
        depth, tint = float(rng.uniform(0.0, 0.16)), 1 + rng.normal(0, 0.012, 3)
        coarse = rng.standard_normal((4, 9)).astype(np.float32)
        coarse[:, -3:] = coarse[:, :3]  # the sky repeats after two widths without a seam
        veil = cv2.GaussianBlur(cv2.resize(coarse, (_CLOUD_WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), (0, 0), 40)
        veil = 1 / (1 + np.exp(-2.2 * veil))
        self._cloud = np.clip((1 - depth * veil)[..., None] * tint * 236, 0, 255).astype(np.uint8)
        self._cloud_speed = float(rng.uniform(0.2, 0.9))
        self._cloud_start = float(rng.uniform(0, WIDTH))
        strength = float(rng.uniform(1.6, 3.0))
        size = (HEIGHT + _NOISE_MARGIN, WIDTH + _NOISE_MARGIN, 3)
        grain = rng.standard_normal(size, np.float32)
        # Real sensors and codecs correlate neighbouring pixels, and luminance noise is stronger than colour noise.
        soft = cv2.GaussianBlur(grain, (0, 0), 0.8) * 2.0
        mixed = 0.55 * grain.mean(axis=2, keepdims=True) * 1.7 + 0.3 * grain + 0.4 * soft
        self._noise = np.clip(_NOISE_MEAN + strength * mixed, 0, 255).astype(np.uint8)
        self._level, self._swing = float(rng.uniform(0.97, 1.04)), float(rng.uniform(0.008, 0.03))
        self._period, self._offset = float(rng.uniform(18, 50)) * FPS, float(rng.uniform(0, 2 * np.pi))
        self._flicker = float(rng.uniform(0.001, 0.004))
        self._seed = seed

    def ground(self, shadows: list[np.ndarray], contacts: list[tuple[float, float, float]]) -> np.ndarray:
        """The empty plaza with moving shadows on it: a fresh (360, 640, 3) BGR uint8.

        shadows: convex outlines, (n, 2) float pixels. contacts: x, y, radius pixels of the dark spot under a foot.
        """
        mask: np.ndarray = self._shadow
        mask[:] = 0
        for outline in shadows:
            cv2.fillConvexPoly(mask, (outline * 4).astype(np.int32), 255, cv2.LINE_8, 3)
        mask = cv2.multiply(cv2.blur(mask, (3, 3)), self._scene.sunlit, scale=0.43 / 255)
        under = np.zeros_like(mask)
        for x, y, radius in contacts:
            centre = (round(x * 4), round(y * 4))
            cv2.circle(under, centre, max(4, round(radius * 3)), 90, -1, cv2.LINE_AA, 3)
        mask = cv2.max(mask, cv2.blur(under, (5, 3)))
        gain = cv2.cvtColor(
            cv2.resize(cv2.bitwise_not(mask), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR), cv2.COLOR_GRAY2BGR
        )
        return cv2.multiply(self._scene.background, gain, scale=1 / 255)

    def sun_at(self, x: float, y: float) -> float:
        """Brightness 0..1 of something that stands at picture position ``x``, ``y``."""
        column, row = min(max(int(x / 2), 0), WIDTH // 2 - 1), min(max(int(y / 2), 0), HEIGHT // 2 - 1)
        return 0.70 + 0.30 * float(self._scene.sunlit[row, column]) / 255

    def finish(self, frame: np.ndarray, index: int) -> np.ndarray:
        """Cloud, drift, flicker and noise of frame ``index``: a fresh (360, 640, 3) BGR uint8."""
        # Its own generator for every frame: the noise does not depend on who drew what before.
        rng = np.random.default_rng((self._seed, 3, index))
        shift = int(self._cloud_start + index * self._cloud_speed) % (2 * WIDTH)
        frame = cv2.multiply(frame, self._cloud[:, shift : shift + WIDTH], scale=1 / 236)
        gain = self._level + self._swing * np.sin(2 * np.pi * index / self._period + self._offset)
        gain += self._flicker * rng.standard_normal()
        top, left = (int(v) for v in rng.integers(0, _NOISE_MARGIN, 2))
        noise = self._noise[top : top + HEIGHT, left : left + WIDTH]
        flip = int(rng.integers(0, 4))
        if flip:
            noise = cv2.flip(noise, flip - 2)
        return cv2.addWeighted(frame, float(gain), noise, 1.0, -float(_NOISE_MEAN))
