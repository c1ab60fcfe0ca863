"""The scene-drift alarm of one camera: moved, covered, out of focus, light switched. It needs no training.

A slowly adapting reference of the scene is held against a fast mean of the picture, which people who walk through it
hardly change. Only what lasts is reported.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from callm_edge.decision.scene_view import Difference, View, gray_of
from callm_edge.events.scene import COVERED, DEFOCUSED, KINDS, LIGHT, MOVED, NORMAL, SceneChange
from callm_edge.sources.source import Frame

EVERY_S = 0.2  # a frame is looked at so often
_FRESH = 0.3  # part of a new picture in the fast mean: it has forgotten a passer-by after a second
_WARM_S = 3.0  # until a reference can be judged by
_REFERENCE_S, _BRIGHTNESS_S = 60.0, 8.0  # in which the reference follows the scene, and the light of a day
_PAUSE_S = 2.0  # without a frame, after which the fast mean starts anew
_SAME_SHAPES = 0.7  # correlation: below it, what hides the detail is not the lens
_OTHER_OUTLINES, _SURE = 0.3, 0.3
_ALIKE_OUTLINES = 0.7  # of views that look alike, as one street may: below it they are others if the shapes are too
_STRONGEST = 99.0


@dataclass(frozen=True)
class SceneLimits:
    """What is allowed.

    hold_s: what does not last so long is not reported, neither an alarm nor its end. settle_s: a view that is moved or
    lit otherwise becomes the new reference when it stood still for so long. shift: of the picture, as a part of its
    side. light: ratio of brightness, up or down, within seconds. detail: part of its detail that a picture must keep.
    """

    hold_s: float = 3.0
    settle_s: float = 60.0
    shift: float = 0.01
    light: float = 1.5
    detail: float = 0.5


class SceneDrift:
    """Looks at the frames of one camera. source: its name, for reports.

    kind: the scene's as reported last, of events.scene.KINDS.
    """

    def __init__(self, source: str, limits: SceneLimits = SceneLimits()) -> None:  # noqa: B008 (frozen)
        self.kind = NORMAL
        self._source, self._limits = source, limits
        self._gray: np.ndarray | None = None
        self._time = -math.inf
        self._reference = _Reference(limits)
        self._next: _Reference | None = None  # of a new view, until it is adopted
        self._since: float | None = None  # since when the scene is not what was reported
        self._seen: tuple[str, float] = (NORMAL, -math.inf)  # when it was not normal last, and the worst of then

    def push(self, frame: Frame) -> SceneChange | None:
        """Take the next frame; returns what is to be reported. Most frames are only counted."""
        passed = frame.time - self._time
        if 0 <= passed < EVERY_S - 1e-3:
            return None
        self._time = frame.time
        gray = gray_of(frame.image)
        if self._gray is None or not 0 <= passed < _PAUSE_S:
            self._gray, passed = gray, EVERY_S
        else:
            self._gray = cv2.addWeighted(self._gray, 1 - _FRESH, gray, _FRESH, 0.0)
        view = View.of(self._gray)
        kind, strength = (COVERED, _STRONGEST) if view.flat else self._reference.judge(view)
        if kind != NORMAL:
            self._seen = (max(kind, self.during(frame.time - _PAUSE_S), key=KINDS.index), frame.time)
        elif self.kind == NORMAL:
            self._reference.add(view, passed)
        if change := self._debounced(kind, strength):
            self._next = None
            return change
        return self._adopted(view, passed)

    def during(self, start_time: float) -> str:
        """What the scene was, or seemed to be, at some time since then, reported or not."""
        if self.kind != NORMAL:
            return self.kind
        kind, seen = self._seen
        return kind if seen >= start_time else NORMAL

    def _debounced(self, kind: str, strength: float) -> SceneChange | None:
        if kind == self.kind:
            self._since = None
            return None
        if self._since is None or self._since > self._time:  # a clock may be set back
            self._since = self._time
        if self._time - self._since < self._limits.hold_s:
            return None
        return self._report(kind, strength, self._since)

    def _adopted(self, view: View, passed: float) -> SceneChange | None:
        """The end of an alarm because the new view has settled."""
        if self.kind not in (MOVED, LIGHT) or view.flat:
            self._next = None  # nobody wants a covered view for a reference
            return None
        if self._next is None or self._next.judge(view)[0] != NORMAL:
            self._next = _Reference(self._limits)
        self._next.add(view, passed)
        if self._next.seconds < self._limits.settle_s:
            return None
        self._reference, self._next = self._next, None
        return self._report(NORMAL, 0.0, self._time, adopted=True)

    def _report(self, kind: str, strength: float, since: float, adopted: bool = False) -> SceneChange:
        change = SceneChange(self._source, kind, self.kind, since, round(min(strength, _STRONGEST), 2), adopted)
        self.kind, self._since = kind, None
        return change


class _Reference:
    """How a scene usually looks. seconds: of footage that it was made of."""

    def __init__(self, limits: SceneLimits) -> None:
        self.seconds = 0.0
        self._limits = limits
        self._view: View | None = None
        self._gain = 1.0  # of late: the light of a day changes sooner than what stands there

    def add(self, view: View, passed: float) -> None:
        """Follow the scene; the more slowly, the more of it is known. passed: seconds since the view before."""
        self.seconds += passed
        if self._view is None:
            self._view = view
            return
        gain = Difference.gain_between(self._view, view)
        self._gain += (gain - self._gain) * min(1.0, passed / _BRIGHTNESS_S)
        self._view = self._view.toward(view, max(passed / self.seconds, min(1.0, passed / _REFERENCE_S)))

    def judge(self, view: View) -> tuple[str, float]:
        """What is other now, the worst first, and its strength. Normal as long as too little is known."""
        if self._view is None or self.seconds < _WARM_S:
            return NORMAL, 0.0
        limits, found = self._limits, Difference.between(self._view, view)
        if found.detail < limits.detail:
            kind = DEFOCUSED if found.shapes > _SAME_SHAPES else COVERED
            return kind, limits.detail / max(found.detail, 1e-3)
        if found.shift > limits.shift and found.sure > _SURE:
            return MOVED, found.shift / limits.shift
        least = _OTHER_OUTLINES if found.shapes > _SAME_SHAPES else _ALIKE_OUTLINES
        if found.outlines < least:
            return MOVED, _STRONGEST
        change = abs(math.log(max(found.gain, 1e-3) / self._gain)) / math.log(limits.light)
        return (LIGHT, change) if change > 1 else (NORMAL, 0.0)
