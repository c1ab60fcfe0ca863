"""Windows of several cameras scored in one call.

A GPU that runs one window leaves most of itself idle; several in one call cost little more. Cameras that come within a
few milliseconds of each other share a call; nobody waits longer than that for another camera.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import numpy as np

from callm_edge.stage1.scorer import Scorer, WindowStream
from callm_edge.stage1.scores import Scores

WAIT_S = 0.004  # a tenth of a frame at 25 fps


@dataclass
class _Ticket:
    """One camera's window on its way through a call."""

    window: np.ndarray
    done: threading.Event = field(default_factory=threading.Event)
    scores: Scores | None = None
    error: BaseException | None = None


class Batched:
    """A backend over a scorer that takes any number of windows.

    most: windows of one call. wait_s: how long the first of a batch waits for others.
    The first camera to come scores for all; a failed call fails for each of them.
    """

    def __init__(self, scorer: Scorer, most: int, wait_s: float = WAIT_S) -> None:
        if most < 1:
            raise ValueError("a batch holds at least one window")
        self.name = f"{scorer.name} batch {most}"
        self._scorer, self._most, self._wait_s = scorer, most, wait_s
        self._waiting: list[_Ticket] = []
        self._led = False  # some thread is collecting a batch
        self._changed = threading.Condition()
        self.calls = 0

    def stream(self) -> WindowStream:
        """See Backend.stream."""
        return WindowStream(self)

    def score(self, windows: np.ndarray) -> Scores:
        """See Scorer.score; one window at a time, from any number of threads."""
        ticket = _Ticket(windows[0].copy())  # the ring goes on while it waits
        with self._changed:
            self._waiting.append(ticket)
            leads = not self._led
            self._led = True
            self._changed.notify_all()
        while leads:
            leads = self._call()
        ticket.done.wait()
        if ticket.error is not None:
            raise ticket.error
        assert ticket.scores is not None
        return ticket.scores

    def _call(self) -> bool:
        """Score one batch; returns whether more came than fitted, which are then this thread's to lead too."""
        end = time.monotonic() + self._wait_s
        with self._changed:
            while len(self._waiting) < self._most and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
            self._led = bool(self._waiting)
            more = self._led
        try:
            scores = self._scorer.score(np.stack([ticket.window for ticket in batch]))
            self.calls += 1
            for at, ticket in enumerate(batch):
                part = slice(at, at + 1)
                ticket.scores = Scores(
                    scores.mse[part], scores.psnr_db[part], scores.patch_mse[part], scores.error_map[part]
                )
        except BaseException as error:
            for ticket in batch:
                ticket.error = error
        for ticket in batch:
            ticket.done.set()
        return more
