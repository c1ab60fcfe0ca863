"""`callm-edge run` on a video file against stage 1 alone on the same frames: `python -m callm_bench.pipeline [--json]`.

The two take turns, so that whatever else the machine does hits both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from callm_bench.stage1 import environment
from callm_edge.bundle import Bundle
from callm_edge.plaza import FPS, HEIGHT, WIDTH, Plaza
from callm_edge.sources import open_source
from callm_edge.stage1.choose import open_backend


def film(path: Path, seconds: float) -> None:
    """The plaza as H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = {"crf": "23", "preset": "veryfast"}
        for image, _ in Plaza(5, ("cyclist",), seconds):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))


def whole(path: Path, bundle: str, backend: str, store: Path) -> float:
    """Frames per second of a run as a user starts it."""
    command = [sys.executable, "-m", "callm_edge", "run", "--source", str(path), "--bundle", bundle]
    command += ["--backend", backend, "--store", str(store), "--json"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return float(json.loads(lines[-1])["fps"])


def alone(images: list[np.ndarray], bundle: str, backend: str) -> float:
    """Windows per second of stage 1, with nothing else going on."""
    stream = open_backend(Bundle.load(bundle), backend).stream()
    seconds, windows = 0.0, 0
    for image in images:
        began = time.perf_counter()
        stream.push(image)
        if stream.score() is not None:
            seconds += time.perf_counter() - began
            windows += 1
    return windows / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=24.0, help="of film")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bundle", default="plaza")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {"whole": [], "stage 1 alone": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plaza.mp4"
        film(path, options.seconds)
        with open_source(str(path)) as source:
            images = [frame.image for frame in source]
        for _ in range(options.rounds):
            rates["whole"].append(whole(path, options.bundle, options.backend, Path(folder) / "store"))
            rates["stage 1 alone"].append(alone(images, options.bundle, options.backend))
    medians = {name: round(float(np.median(values)), 1) for name, values in rates.items()}
    ratio = round(float(np.median(np.divide(rates["whole"], rates["stage 1 alone"]))), 3)
    if options.json:
        print(json.dumps({"frames_per_second": medians, "ratio": ratio, "environment": environment()}))
    else:
        print(f"{medians['whole']} frames/s from file to events, {medians['stage 1 alone']} of stage 1 alone: {ratio}")
        print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
