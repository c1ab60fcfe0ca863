"""Things that move in footage of a fixed camera: where stage 1 might have pointed, guessed without it."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

MOST = 5  # movers of a frame
SIGMA = 4.0  # pixels of the gray pictures: half a person's width
APART = 16  # pixels between two movers
SAMPLED = 41  # pictures that the background is the median of


class Movers:
    """Against the background of all pictures. pictures: (h, w) gray of one camera, uint8 or float, at least one."""

    def __init__(self, pictures: Sequence[np.ndarray]) -> None:
        chosen = np.unique(np.linspace(0, len(pictures) - 1, SAMPLED).astype(int))
        self._background = np.median(np.stack([pictures[at] for at in chosen]), axis=0).astype(np.float32)

    def some_of(
        self, picture: np.ndarray, size: tuple[int, int], count: int, rng: np.random.Generator
    ) -> list[tuple[float, float]]:
        """x, y in a picture of `size` (width, height) of up to `count` of the clearest movers of `picture` (h, w)."""
        found = self.of(picture)
        height, width = picture.shape
        chosen = [found[at] for at in rng.permutation(len(found))[:count]]
        return [((x + 0.5) * size[0] / width, (y + 0.5) * size[1] / height) for x, y in chosen]

    def of(self, picture: np.ndarray) -> list[tuple[int, int]]:
        """(h, w) -> up to 5 pairs of x, y, the clearest mover first; always at least one."""
        change = cv2.GaussianBlur(np.abs(picture.astype(np.float32) - self._background), (0, 0), SIGMA)
        found: list[tuple[int, int]] = []
        clearest = float(change.max())
        while len(found) < MOST:
            y, x = (int(at) for at in np.unravel_index(int(change.argmax()), change.shape))
            if found and change[y, x] < 0.3 * clearest:
                break
            found.append((x, y))
            change[max(0, y - APART) : y + APART + 1, max(0, x - APART) : x + APART + 1] = 0
        return found
