"""A GStreamer pipeline as a child process that pictures come from."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import threading
from collections import deque
from typing import IO

import numpy as np

from callm_edge.sources.gstreamer_pipelines import Pipeline

_LAST_WORDS = 20
_END_S = 3.0


class PipelineError(Exception):
    """The pipeline gives no pictures (any more). The text is its own last word."""


@functools.cache
def has_element(name: str) -> bool:
    """Whether GStreamer is installed and knows the element. Asked once per process: it takes a tenth of a second."""
    program = shutil.which("gst-inspect-1.0")
    if program is None or shutil.which("gst-launch-1.0") is None:
        return False
    return subprocess.run([program, "--exists", name], check=False, capture_output=True).returncode == 0


def can_run(pipeline: Pipeline) -> bool:
    """Whether all its elements are there."""
    return all(has_element(name) for name in (*pipeline.elements, "fdsink"))


class PicturePipe:
    """Pictures of one pipeline. stdin: where a stream to decode is written, for pipelines that read one. fps: its own.

    Close it in every case.
    """

    def __init__(self, pipeline: Pipeline, *, takes_stream: bool = False) -> None:
        self.fps = pipeline.fps
        self._layout = _I420(pipeline.width, pipeline.height)
        reading, writing = os.pipe()
        try:
            # A pipe apart from standard output: NVIDIA's camera stack writes chatter there.
            self._process = subprocess.Popen(
                pipeline.argv(writing),
                stdin=subprocess.PIPE if takes_stream else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
            )
        except OSError as error:
            os.close(reading)
            raise PipelineError(f"gst-launch-1.0 cannot be started: {error.strerror}") from None
        finally:
            os.close(writing)
        self.stdin: IO[bytes] | None = self._process.stdin
        self._pictures = os.fdopen(reading, "rb", buffering=1 << 20)
        self._said: deque[str] = deque(maxlen=_LAST_WORDS)
        self._listener = threading.Thread(target=self._listen, name="gstreamer", daemon=True)
        self._listener.start()

    def read(self) -> np.ndarray | None:
        """The next picture, (H * 3 / 2, W) uint8 in I420, or None at a proper end. Raises PipelineError."""
        data = self._pictures.read(self._layout.bytes)
        if len(data) < self._layout.bytes:
            self._check_end()
            return None
        return self._layout.packed(np.frombuffer(data, np.uint8))

    def close(self) -> None:
        """End the child. May be called more than once, and from another thread."""
        if self.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self.stdin.close()
        if self._process.poll() is None:
            # As Ctrl-C does: the camera is handed back to its daemon, which a kill would leave thinking it is in use.
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._listener.join()

    def release(self) -> None:
        """Close, and give the pipe back; by the thread that reads."""
        self.close()
        self._pictures.close()

    def _check_end(self) -> None:
        """Nothing more comes: raises PipelineError unless that is a proper end."""
        code = self._process.wait()
        self._listener.join()
        if code:
            words = [line for line in self._said if "ERROR" in line] or list(self._said)
            raise PipelineError(words[0].removeprefix("ERROR: ")[:300] if words else f"it ended with exit code {code}")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if text := line.decode(errors="replace").strip():
                self._said.append(text)
        self._process.stdout.close()


class _I420:
    """How GStreamer lays out I420 in memory: rows padded to 4 bytes (gstvideo, video-info.c)."""

    def __init__(self, width: int, height: int) -> None:
        if width % 2 or height % 2:
            raise PipelineError(f"pictures of {width}x{height} have no whole number of colours")
        self._width, self._height = width, height
        self._luma, self._chroma = _padded(width), _padded(width // 2)
        self.bytes = self._luma * height + 2 * self._chroma * (height // 2)

    def packed(self, data: np.ndarray) -> np.ndarray:
        """(H * 3 / 2, W), without the padding: what OpenCV and FFmpeg take."""
        w, h = self._width, self._height
        if self._luma == w and self._chroma == w // 2:
            return data.reshape(h * 3 // 2, w)
        luma = data[: self._luma * h].reshape(h, self._luma)[:, :w]
        chroma = data[self._luma * h :].reshape(h, self._chroma)[:, : w // 2]
        return np.concatenate((luma.ravel(), chroma.ravel())).reshape(h * 3 // 2, w)


def _padded(width: int) -> int:
    return (width + 3) // 4 * 4
