"""Where the crops of a clip lie, and what they show, by the truth about the clip."""

from __future__ import annotations

import hashlib

import numpy as np

from callm_edge.events.clip import Point
from callm_edge.stage2.pictures import CROP, crop_points
from callm_export.vlm.clip_set import Box, ClipRecord

JITTER = 0.3  # of a crop's side: how far a crop around the truth is moved
SHOWN = 0.5  # of a box's area: what a crop has to hold of it to show it


def shows(point: Point, boxes: tuple[Box, ...], size: tuple[int, int]) -> bool:
    """Whether the crop around `point` shows what one of the `boxes` marks, in a picture of `size` (width, height)."""
    side = CROP * min(size)
    left, top = (min(max(at - side / 2, 0), edge - side) for at, edge in zip(point, size, strict=True))
    for _, x, y, width, height in boxes:
        dx = min(left + side, x + width) - max(left, x)
        dy = min(top + side, y + height) - max(top, y)
        # What is larger than the crop fills it.
        if dx > 0 and dy > 0 and dx * dy >= SHOWN * min(width * height, side * side):
            return True
    return False


def points_seen(record: ClipRecord) -> list[list[Point]]:
    """Where the device puts a clip's crops, by rank and frame."""
    return crop_points(record.peaks, [record.size] * len(record.frames))


def guided_points(record: ClipRecord) -> list[Point | None]:
    """Where a crop should have been, up to a jitter: around what is abnormal, in frames whose crops all miss it.

    None where one of them shows it, or nothing is marked. Always the same for a clip.
    """
    rng = np.random.default_rng(int(hashlib.sha256(record.name.encode()).hexdigest()[:8], 16))
    reach = JITTER * CROP * min(record.size)
    found: list[Point | None] = []
    showing = crops_that_show(record)
    for shown, boxes in zip(showing.T, record.boxes or ((),) * len(record.frames), strict=True):
        dx, dy = rng.uniform(-reach, reach, 2)
        which = int(rng.integers(max(1, len(boxes))))
        if not boxes or shown.any():
            found.append(None)
            continue
        _, x, y, width, height = boxes[which]
        found.append((float(x + width / 2 + dx), float(y + height / 2 + dy)))
    return found


def crops_that_show(record: ClipRecord) -> np.ndarray:
    """(crops, F) bool: whether each crop, by rank and frame, shows what is abnormal."""
    boxes = record.boxes or ((),) * len(record.frames)
    rows = [
        [shows(at, marked, record.size) for at, marked in zip(row, boxes, strict=True)] for row in points_seen(record)
    ]
    return np.array(rows)
