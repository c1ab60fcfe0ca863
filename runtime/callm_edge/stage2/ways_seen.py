"""A camera's usual ways, gathered while its normal footage goes by."""

from __future__ import annotations

import numpy as np

from callm_edge.stage2.flow import LONGEST_S, STEP_S, flow_between, resized
from callm_edge.stage2.ways import PLACES, SHAPE, Ways

_EVERY_S = 0.39  # from one flow to the next, at least: 0.4 s at 10 and at 25 frames a second
FEWEST = 100  # flows: less shows no usual ways


class WaysSeen:
    """Gathers the ways of normal footage, frame by frame; of most frames nothing but their time is looked at.

    flows: how many pairs of frames have been looked at.
    """

    def __init__(self) -> None:
        self.flows = 0
        self._sum = np.zeros(SHAPE)
        self._first: tuple[float, np.ndarray] | None = None
        self._next = -np.inf

    def push(self, time: float, image: np.ndarray) -> None:
        """The next frame. time: seconds, rising; a new clip may begin anywhere. image: as for `flow_between`."""
        if self._first is not None and 0 < (gap := time - self._first[0]) < LONGEST_S:
            if gap > 0.75 * STEP_S:
                self._add(flow_between(self._first[1], image, gap))
                self._first = None
        elif time >= self._next or time < self._next - _EVERY_S:
            self._first, self._next = (time, image.copy()), time + _EVERY_S
        else:
            self._first = None

    def ways(self) -> Ways | None:
        """What was usual; None where too little was seen to tell: 40 s of at least five frames a second are enough."""
        return Ways((self._sum / self.flows).astype(np.float32)) if self.flows >= FEWEST else None

    def _add(self, flow: np.ndarray) -> None:
        both = np.concatenate([flow, np.square(flow).sum(2, keepdims=True)], axis=2)
        self._sum += resized(both, PLACES)
        self.flows += 1
