"""Stage 1 on the CPU with the work shared between neighbouring windows.

The graphs and their formulas stand in callm_export.shared_graphs. Each inner result belongs to an absolute frame number
and is kept until no window can ask for it; a window computes what is missing, which at stride 1 is one result of each
layer. Nothing is computed ahead, so any stride works, and a frame whose window is not scored costs next to nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from callm_edge.stage1.ingest import to_gray_256
from callm_edge.stage1.ort_session import cpu_session
from callm_edge.stage1.ring import SCORED, WINDOW, MirroredRing
from callm_edge.stage1.scores import Scores

GRAPHS = ("conv1", "conv2", "conv3", "window")
_GAP = 4 * WINDOW  # frame numbers left out at a gap, so that nothing from before it can be taken for what comes after


class SharedWork:
    """A backend. Its scores equal those of the whole window but for the order of additions.

    folder: of the four graphs. threads: of one call; 0 leaves it to ONNX Runtime (one per core).
    Raises BundleError where a graph cannot be loaded.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        import onnxruntime

        self._sessions = {name: cpu_session(folder / f"{name}.onnx", threads) for name in GRAPHS}
        self.name = f"shared-cpu onnxruntime {onnxruntime.__version__}"

    def stream(self) -> SharedStream:
        """See Backend.stream."""
        return SharedStream(self._sessions)


class SharedStream:
    """A stream (see Stream). sessions: of the four graphs, which several streams may use at once."""

    def __init__(self, sessions: dict[str, Any]) -> None:
        self._ring = MirroredRing()
        self._newest = -1
        self._window = sessions["window"]
        # conv1's results are taken up at once by conv2; of the others a window reaches back through its whole length.
        self._conv1 = _Results(sessions["conv1"], 4)
        self._conv2 = _Results(sessions["conv2"], WINDOW)
        self._conv3 = _Results(sessions["conv3"], WINDOW)

    def push(self, image: np.ndarray) -> None:
        self._ring.push(to_gray_256(image))
        self._newest += 1

    def clear(self) -> None:
        self._ring.clear()
        self._newest += _GAP

    def score(self) -> Scores | None:
        if self._ring.window() is None:
            return None
        n, w = self._newest, self._newest - WINDOW + 1
        self._complete(w)
        binding = self._window.io_binding()
        for name, first, count in (("first_frames", w, 2), ("last_frames", n - 1, 2), ("scored_frame", w + SCORED, 1)):
            frames = self._frames(first, count)
            binding.bind_cpu_input(name, frames if count == 1 else frames[None])
        for name, results, output, index in (
            ("q2_first", self._conv2, "q", w + 1),
            ("m2_last", self._conv2, "m", n - 1),
            ("q3_first", self._conv3, "q", w + 2),
            ("m3_4", self._conv3, "m", w + 4),
            ("q3_4", self._conv3, "q", w + 6),
            ("m3_8", self._conv3, "m", w + 8),
            ("q3_8", self._conv3, "q", w + 10),
            ("m3_last", self._conv3, "m", n - 3),
        ):
            binding.bind_ortvalue_input(name, results.value(output, index))
        for name in ("mse", "psnr_db", "patch_mse", "error_map"):
            binding.bind_output(name)
        self._window.run_with_iobinding(binding)
        return Scores(*binding.copy_outputs_to_cpu())

    def _frames(self, index: int, count: int) -> np.ndarray:
        return self._ring.newest(self._newest - index, count)

    def _complete(self, w: int) -> None:
        """Compute what the window that begins at frame `w` needs and nobody computed yet, in the order of time.

        At the very beginning, and after a gap, the predecessor of the first result of a layer lies before the footage.
        What then is computed from a stale slot is M, and only M; windows ask for M of that number only if they begin
        earlier, and there are none.
        """
        third = {c for c in range(w + 2, w + 13, 2) if not self._conv3.has(c)}
        second = {w + 1, w + 14}.union(*({c - 2, c - 1, c, c + 1} for c in third))
        for s in range(w + 1, w + 15):
            if s in second and not self._conv2.has(s):
                for i in (s - 1, s):
                    if i > w and not self._conv1.has(i):
                        self._conv1.compute(i, frames=self._frames(i - 1, 3)[None])
                a1 = self._conv1
                self._conv2.compute(s, a_before=a1.value("a", s - 1), a_now=a1.value("a", s))
            if (c := s - 1) in third:
                m, q = (lambda index, name=name: self._conv2.value(name, index) for name in "mq")
                self._conv3.compute(c, m_before=m(c - 2), q_before=q(c - 1), m_now=m(c), q_now=q(c + 1))


class _Results:
    """The results of one graph, by frame number, in memory that is allocated once. slots: how many are kept."""

    def __init__(self, session: Any, slots: int) -> None:
        from onnxruntime import OrtValue

        self._session, self._slots = session, slots
        self._numbers: list[int | None] = [None] * slots
        self._values: dict[str, list[Any]] = {}
        for output in session.get_outputs():
            zeros = np.zeros(output.shape, np.float32)
            self._values[output.name] = [
                OrtValue.ortvalue_from_shape_and_type(output.shape, np.float32) for _ in range(slots)
            ]
            for value in self._values[output.name]:
                value.update_inplace(zeros)

    def has(self, number: int) -> bool:
        return self._numbers[number % self._slots] == number

    def value(self, output: str, number: int) -> Any:
        return self._values[output][number % self._slots]

    def compute(self, number: int, **inputs: Any) -> None:
        binding = self._session.io_binding()
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, value)
            else:
                binding.bind_ortvalue_input(name, value)
        for name in self._values:
            binding.bind_ortvalue_output(name, self.value(name, number))
        self._session.run_with_iobinding(binding)
        self._numbers[number % self._slots] = number
