"""Pseudo-anomalies: windows of normal footage made abnormal, with the normal picture as the target.

A plain autoencoder learns to reconstruct nearly anything. Shown abnormal input and asked for the normal picture, it
learns to reconstruct only the normal (Astrid et al., "Learning Not to Reconstruct Anomalies", BMVC 2021, where every
s-th frame or a foreign patch make the abnormal input). Here the same idea, made of the camera's own moving things:

skip     every s-th frame: all that moves is too fast; the target is the median of the window, where it is gone
mover    a person cut out of other footage and pasted in, too fast or too large; the target is without it
walker   the same, at a walking person's size and speed: this one stays in the target, so that being pasted is no sign

Too fast and too large are meant where it stands: who is near the camera is large and crosses many pixels. How tall
things are at a row of the picture is fitted on the movers themselves, and speeds are counted in that height.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from sklearn.linear_model import HuberRegressor

from callm_export.autoencoder import SCORED, SIZE, WINDOW
from callm_export.footage import Footage


@dataclass(frozen=True)
class Cutout:
    """Something that moved. patch, alpha: (h, w) float32, gray 0..255 and 0..1; x, y: top left corner in its frame."""

    patch: np.ndarray
    alpha: np.ndarray
    x: int
    y: int

    @property
    def foot(self) -> int:
        """Row of the picture where it stands."""
        return self.y + len(self.patch)


@dataclass(frozen=True)
class Perspective:
    """How tall a mover is that stands at a row: a line between two limits, in pixels of the 256 x 256 frame."""

    slope: float
    offset: float
    least: float
    most: float

    @classmethod
    def fit(cls, feet: np.ndarray, heights: np.ndarray) -> Perspective:
        """From the movers' rows (N,) and heights (N,); robust, since some are halves of people and some are two."""
        if len(feet) < 20 or np.ptp(feet) < 10:
            middle = float(np.median(heights))
            return cls(0.0, middle, middle, middle)
        line = HuberRegressor().fit(feet[:, None], heights)
        least, most = np.percentile(heights, (5, 99))
        # Who is nearest has no feet in the picture and is no cutout: the line goes on for them, within reason.
        return cls(float(line.coef_[0]), float(line.intercept_), float(least), float(1.4 * most))

    def height(self, foot: float) -> float:
        """Pixels, at row `foot`, which may lie below the picture."""
        return float(np.clip(self.offset + self.slope * foot, self.least, self.most))


@dataclass(frozen=True)
class Movers:
    """What moves in normal footage.

    cutouts: of single movers. perspective: fitted on them. speed: that 95 % of them stay under, in heights (as the
    perspective has them at that row) per frame.
    """

    cutouts: tuple[Cutout, ...]
    perspective: Perspective
    speed: float


def find_movers(footage: Footage, rng: np.random.Generator, samples: int = 400, most: int = 400) -> Movers:
    """Cut movers out of random frames by background subtraction and measure their speed by optical flow."""
    cutouts: list[Cutout] = []
    speeds: list[float] = []
    usable = [clip for clip in footage.clips if len(clip) >= WINDOW]
    backgrounds = [np.median(clip[:: max(1, len(clip) // 25)], axis=0).astype(np.float32) for clip in usable]
    for _ in range(min(samples, footage.frames // 3)):
        which = int(rng.integers(len(usable)))
        clip, background = usable[which], backgrounds[which]
        at = int(rng.integers(len(clip) - 1))
        frame = clip[at].astype(np.float32)
        mask = (cv2.GaussianBlur(np.abs(frame - background), (3, 3), 0) > 18).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 3), np.uint8))
        flow = cv2.calcOpticalFlowFarneback(clip[at], clip[at + 1], None, 0.5, 3, 13, 3, 5, 1.1, 0)  # type: ignore[call-overload]
        count, labels, boxes, _ = cv2.connectedComponentsWithStats(mask)
        for label in range(1, count):
            x, y, w, h, area = (int(v) for v in boxes[label])
            inside = x > 1 and y > 1 and x + w < SIZE - 1 and y + h < SIZE - 1
            if not inside or not 40 <= area <= 3000 or w > 2 * h:
                continue
            part = labels[y - 1 : y + h + 1, x - 1 : x + w + 1] == label
            moved = np.linalg.norm(flow[y - 1 : y + h + 1, x - 1 : x + w + 1][part], axis=-1)
            speeds.append(float(np.percentile(moved, 75)))
            alpha = cv2.GaussianBlur(part.astype(np.float32), (3, 3), 0)
            cutouts.append(Cutout(frame[y - 1 : y + h + 1, x - 1 : x + w + 1], alpha, x - 1, y - 1))
    if not cutouts:
        return Movers((), Perspective(0.0, 30.0, 30.0, 30.0), 0.03)
    feet = np.array([cutout.foot for cutout in cutouts], np.float64)
    perspective = Perspective.fit(feet, np.array([len(cutout.patch) for cutout in cutouts], np.float64))
    relative = [speed / perspective.height(foot) for speed, foot in zip(speeds, feet, strict=True)]
    if len(cutouts) > most:
        cutouts = [cutouts[i] for i in rng.choice(len(cutouts), most, replace=False)]
    return Movers(tuple(cutouts), perspective, max(0.01, float(np.percentile(relative, 95))))


@dataclass(frozen=True)
class PseudoAnomalies:
    """How often each kind is made (fractions of the samples), and of what."""

    movers: Movers
    skip: float = 0.2
    mover: float = 0.3
    walker: float = 0.15

    def kind(self, rng: np.random.Generator) -> str:
        """'skip', 'mover', 'walker' or '' for a window left as it is."""
        u = float(rng.random())
        if u < self.skip:
            return "skip"
        if not self.movers.cutouts:
            return ""
        if u < self.skip + self.mover:
            return "mover"
        return "walker" if u < self.skip + self.mover + self.walker else ""

    def skipped(self, clip: np.ndarray, start: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Every s-th frame, s in 2..5, around the window at `start` -> (window (16, H, W), target (H, W)), uint8."""
        longest = (len(clip) - 1) // (WINDOW - 1)
        stride = min(int(rng.integers(2, 6)), longest)
        first = int(np.clip(start + SCORED - SCORED * stride, 0, len(clip) - 1 - (WINDOW - 1) * stride))
        window = np.asarray(clip[first : first + (WINDOW - 1) * stride + 1 : stride])
        return window, np.median(window, axis=0).astype(np.uint8)

    def paste(self, window: np.ndarray, kind: str, rng: np.random.Generator, top: int = 0) -> np.ndarray:
        """Window (16, H, W) uint8 with a cutout moving through it; its place at frame 9 is random.

        top: row of the whole frame where the window begins.
        """
        height, width = window.shape[1:]
        foot = rng.uniform(0.05, 1.25) * height
        tall = self.movers.perspective.height(top + foot)
        cutout, zoom = self._cutout(tall, rng)
        if kind == "walker":
            scale, speed = rng.uniform(0.85, 1.15), rng.uniform(0.0, 1.0)
        elif rng.random() < 0.65:
            scale, speed = rng.uniform(0.8, 1.7), rng.uniform(1.8, 5.0)
        else:
            scale, speed = rng.uniform(1.8, 3.0), rng.uniform(0.3, 4.0)
        angle = rng.choice((0.0, np.pi)) + rng.normal(0, 0.35) if rng.random() < 0.7 else rng.uniform(0, 2 * np.pi)
        pace = self.movers.speed * tall * speed
        vx, vy = pace * np.cos(angle), pace * np.sin(angle)
        scale *= zoom
        wide = scale * (rng.uniform(0.8, 1.5) if kind == "mover" else 1.0)
        patch, alpha = cutout.patch, cutout.alpha
        if rng.random() < 0.5:
            patch, alpha = patch[:, ::-1], alpha[:, ::-1]
        size = (max(3, round(patch.shape[1] * wide)), max(3, round(patch.shape[0] * scale)))
        patch = cv2.resize(np.ascontiguousarray(patch), size, interpolation=cv2.INTER_LINEAR)
        alpha = cv2.resize(np.ascontiguousarray(alpha), size, interpolation=cv2.INTER_LINEAR)
        patch = np.clip((patch - patch.mean()) * rng.uniform(0.7, 1.3) + patch.mean() + rng.uniform(-15, 15), 0, 255)
        x9, y9 = rng.uniform(-size[0] / 2, width - size[0] / 2), foot - size[1]
        out = window.copy()
        for t in range(WINDOW):
            _blend(out[t], patch, alpha, x9 + vx * (t - SCORED), y9 + vy * (t - SCORED))
        return out

    def _cutout(self, tall: float, rng: np.random.Generator) -> tuple[Cutout, float]:
        """One of the cutouts, and by how much to enlarge it where a mover is `tall` pixels tall.

        Of a few drawn the nearest in size is taken: something small made large is soft, and softness would be a sign.
        """
        drawn = [self.movers.cutouts[i] for i in rng.integers(len(self.movers.cutouts), size=4)]
        zooms = [tall / self.movers.perspective.height(cutout.foot) for cutout in drawn]
        best = int(np.argmin(np.abs(np.log(zooms))))
        return drawn[best], zooms[best]


def _blend(frame: np.ndarray, patch: np.ndarray, alpha: np.ndarray, x: float, y: float) -> None:
    """Draw gray `patch` over `frame` in place, its top left corner at (x, y): between pixels and outside are fine."""
    height, width = frame.shape
    left, top = int(np.floor(x)), int(np.floor(y))
    h, w = patch.shape[0] + 1, patch.shape[1] + 1
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + w, width), min(top + h, height)
    if x0 >= x1 or y0 >= y1:
        return
    shift = np.array([[1, 0, x - left], [0, 1, y - top]], np.float32)
    a = cv2.warpAffine(alpha, shift, (w, h))[y0 - top : y1 - top, x0 - left : x1 - left]
    p = cv2.warpAffine(patch.astype(np.float32), shift, (w, h), borderMode=cv2.BORDER_REPLICATE)
    p = p[y0 - top : y1 - top, x0 - left : x1 - left]
    below = frame[y0:y1, x0:x1].astype(np.float32)
    frame[y0:y1, x0:x1] = np.round(below + a * (p - below)).astype(np.uint8)
