"""Clips that wait are encoded together: one thread, one batch after another, as large as what waits.

Nothing is delayed for the sake of a batch: an idle encoder takes a clip at once, a busy one finds several afterwards.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

Encoded = Future[np.ndarray]


class Batcher:
    """encode: see Engine.encode. most: clips of a batch. waiting: clips that may wait.

    on_batch: hears the size of each batch. Clips whose future was cancelled while they waited are skipped.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[np.ndarray]], list[np.ndarray]],
        most: int,
        waiting: int,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._encode, self._most, self._on_batch = encode, most, on_batch
        self._queue: queue.Queue[tuple[np.ndarray, Encoded] | None] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._run, name="encoder", daemon=True)
        self._thread.start()

    def submit(self, pictures: np.ndarray) -> Encoded:
        """(P, S, S, 3) uint8 -> the future of (32, width) float32. Raises queue.Full."""
        future: Encoded = Future()
        self._queue.put_nowait((pictures, future))
        return future

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def close(self) -> None:
        """Encode what waits and end."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            waiting = [self._queue.get()]
            while len(waiting) < self._most and not self._queue.empty():
                waiting.append(self._queue.get_nowait())  # this thread is the only one that takes
            open_ = None not in waiting
            batch = [
                (pictures, future)
                for pictures, future in filter(None, waiting)
                if future.set_running_or_notify_cancel()
            ]
            if batch:
                self._on_batch(len(batch))
                self._do(batch)

    def _do(self, batch: list[tuple[np.ndarray, Encoded]]) -> None:
        try:
            found = self._encode([pictures for pictures, _ in batch])
        except Exception as error:  # whoever waits hears of it; the thread serves the others
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), video in zip(batch, found, strict=True):
            future.set_result(video)
