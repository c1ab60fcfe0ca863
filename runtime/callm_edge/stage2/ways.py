"""The ways that are usual at each place of a camera's picture, from its normal footage.

Whether a way is wrong, or somebody fast, is a matter of the place: people walk to the left here and to the right there,
and farther off all are slower. A few minutes of normal footage tell (`ways_seen`); of a clip stage 2 is then told what
moves otherwise than is usual there (`strangeness`), in the same words for every camera.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

PLACES = (48, 27)  # across and down
SHAPE = (*PLACES[::-1], 5)


@dataclass(frozen=True, eq=False)
class Ways:
    """usual: (27, 48, 5) float32 of each place: its mean flow to the right, down, left and up, in widths of a frame a
    second, and the mean square of the flow.
    """

    usual: np.ndarray

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ways) and np.array_equal(self.usual, other.usual)

    def __hash__(self) -> int:
        return hash(self.usual.tobytes())

    def to_bytes(self) -> bytes:
        """As a .npy file."""
        memory = io.BytesIO()
        np.save(memory, self.usual)
        return memory.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Ways:
        """Raises ValueError where they are of something else."""
        try:
            usual = np.load(io.BytesIO(data), allow_pickle=False)
        except EOFError as error:
            raise ValueError("the usual ways are cut off") from error
        if not isinstance(usual, np.ndarray) or usual.shape != SHAPE or usual.dtype != np.float32:
            raise ValueError("the usual ways are no array of the shape that they have")
        if not np.isfinite(usual).all() or (usual < 0).any():
            raise ValueError("the usual ways hold numbers that no flow has")
        return cls(usual)
