"""What stage 2 sees of a clip: pictures of its uniform frames, their crops, and how both move.

The same on the device, in tuning and in evaluation, so that the branch is asked what it was taught.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from callm_edge.events.clip import Clip
from callm_edge.stage2.motion import Motion
from callm_edge.stage2.pictures import CROPS, clip_pictures, crop_points, shown


class ClipView:
    """A clip, decoded. crops: of each frame. gray: as a camera without colours sees.

    images: (H, W, 3) BGR uint8 of the 8 frames, (H, W) in gray. times_s: seconds of each from the first one.
    peaks: where its error is largest, see ClipFrame.
    Raises UserError where a picture is damaged.
    """

    def __init__(self, clip: Clip, crops: int = CROPS, gray: bool = False) -> None:
        self._frames, self._seen, self._crops = clip.frames, shown(len(clip.frames)), crops
        self._ways = clip.ways
        frames = [clip.frames[at] for at in self._seen]
        self.images = [frame.image() for frame in frames]
        if gray:
            self.images = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in self.images]
        self.times_s = [frame.time - frames[0].time for frame in frames]
        self.peaks = [frame.peaks for frame in frames]

    def pictures(self) -> np.ndarray:
        """(8 (1 + crops), 224, 224, 3) RGB uint8, see `clip_pictures`."""
        return clip_pictures(self.images, self.peaks, self._crops)

    def motion(self) -> np.ndarray:
        """(8 (1 + crops), 49, 18) float32 of these pictures, see `Motion.frame`. Raises UserError."""
        sizes = [(image.shape[1], image.shape[0]) for image in self.images]
        found = [self.flow.frame(number) for number in range(len(self.images))]
        for rank in crop_points(self.peaks, sizes, self._crops):
            found += [self.flow.crop(number, point) for number, point in enumerate(rank)]
        return np.stack(found)

    @cached_property
    def flow(self) -> Motion:
        """Of the 8 frames."""
        return Motion(self._frames, self._seen, self.images, self._ways)
