"""How a clip moves: optical flow of the frames that stage 2 sees, in the cells of the encoder's map.

The channels are those of Efros, Berg, Mori and Malik, "Recognizing Action at a Distance" (ICCV 2003), where people are
small too: flow to the right, down, left and up, each for itself, so that opposite ways do not cancel out. Of a frame
alone nobody can tell who walks against the flow, and hardly who runs.

The frames that come right after the seen ones are needed. Where there are none (pictures from elsewhere, footage of few
frames a second) nothing moves. Beside the flow stands how strange it is at its place, where the camera's usual ways are
known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from callm_edge.events.clip import ClipFrame
from callm_edge.stage2.flow import LONGEST_S, SIZE, STEP_S, flow_between, resized
from callm_edge.stage2.pictures import Point, crop_square
from callm_edge.stage2.strangeness import STRANGE, Strangeness
from callm_edge.stage2.ways import Ways

GRID = 7  # cells of a side: those of the encoder's map
FLOW = 8  # channels of a cell: its mean and its largest flow in the four directions
CHANNELS = FLOW + 2 * STRANGE  # and the mean and the largest of what is strange about it
_FINE = 7  # a cell's side in pixels of which the largest is taken
_GAIN = 3.0  # of the flow's root: what walks gets near 1


def follower(times: Sequence[float], at: int) -> int | None:
    """Of the frames near frame `at` the one nearest to 80 ms away, a later one if there is any; None if there is none.

    times: seconds of all frames, rising.
    """
    for sign in (1, -1):
        found = [other for other, time in enumerate(times) if 0 < sign * (time - times[at]) < LONGEST_S]
        if found:
            return min(found, key=lambda other: abs(abs(times[other] - times[at]) - STEP_S))
    return None


class Motion:
    """Flow of some frames of a clip.

    frames: all that there are, in order of time. seen: indices of those whose flow is wanted. images: their pictures,
    (H, W, 3) BGR or (H, W) gray, uint8. ways: usual ones of their camera; where they are not known, nothing is strange.
    Raises UserError where a picture of another frame is damaged.
    """

    def __init__(
        self,
        frames: Sequence[ClipFrame],
        seen: Sequence[int],
        images: Sequence[np.ndarray],
        ways: Ways | None = None,
    ) -> None:
        times = [frame.time for frame in frames]
        strangeness = Strangeness(ways) if ways else None
        self._sizes = [(image.shape[1], image.shape[0]) for image in images]
        self._flows: list[np.ndarray] = []  # (90, 160, 4 + 5), what is strange beside the flow
        for at, image in zip(seen, images, strict=True):
            other = follower(times, at)
            if other is None:
                flow = np.zeros((*SIZE[::-1], 4), np.float32)
            else:
                flow = flow_between(image, frames[other].image(), times[other] - times[at])
            self._flows.append(_beside_usual(flow, strangeness))

    def frame(self, number: int) -> np.ndarray:
        """Cells of a whole frame, by its number among the seen ones.

        Returns (49, 18) float32: root of the mean and of the largest flow to the right, down, left and up, before the
        root in widths of a frame a second, less what noise may be; and of the mean and the largest of `Strangeness.of`.
        """
        return _cells(self._flows[number])

    def crop(self, number: int, point: Point) -> np.ndarray:
        """The same of the crop around `point` of that frame, in pixels of its picture."""
        flow = self._flows[number]
        width, height = self._sizes[number]
        x, y, side = crop_square((width, height), point)
        across, down = flow.shape[1] / width, flow.shape[0] / height
        left, top = round(x * across), round(y * down)
        right, bottom = round((x + side) * across), round((y + side) * down)
        return _cells(flow[top : max(top + 1, bottom), left : max(left + 1, right)])


def _beside_usual(flow: np.ndarray, strangeness: Strangeness | None) -> np.ndarray:
    """(90, 160, 4) -> (90, 160, 9): what is strange about a flow beside it, nothing where no ways are known."""
    strange = np.zeros((*flow.shape[:2], STRANGE), np.float32) if strangeness is None else strangeness.of(flow)
    return np.concatenate([flow, strange], axis=2)


def _cells(flow: np.ndarray) -> np.ndarray:
    """(h, w, 9) -> (49, 18)"""
    fine = GRID * _FINE
    flow = resized(flow, (fine, fine))
    blocks = flow.reshape(GRID, _FINE, GRID, _FINE, -1).transpose(0, 2, 1, 3, 4).reshape(GRID * GRID, _FINE**2, -1)
    mean, largest = np.sqrt(blocks.mean(1)), np.sqrt(blocks.max(1))
    ways = FLOW // 2
    found: np.ndarray = np.concatenate(
        [_GAIN * mean[:, :ways], _GAIN * largest[:, :ways], mean[:, ways:], largest[:, ways:]], axis=1
    )
    return found
