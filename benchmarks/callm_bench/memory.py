"""Does a run's memory stay flat? `python -m callm_bench.memory --frames 100000`: resident size on the way, in MB."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from callm_bench.resident import resident_mb
from callm_edge.bundle import Bundle
from callm_edge.cascade import Camera
from callm_edge.plaza import FPS
from callm_edge.sources import open_source
from callm_edge.stage1.choose import open_backend


def watched(frames: int, bundle: str, every: int, threads: int) -> Iterator[tuple[int, float]]:
    """(frames so far, resident MB) every so many frames of a plaza with all anomalies."""
    opened = Bundle.load(bundle)
    source = open_source(f"test:plaza?seed=1&anomaly=all&seconds={frames / FPS + 1}")
    with source:
        camera = Camera(source, open_backend(opened, threads=threads), opened.decision)
        for _ in camera:
            count = camera.counts.frames
            if count % every == 0:
                yield count, resident_mb()
            if count >= frames:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=10_000)
    parser.add_argument("--bundle", default="plaza")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    seen: dict[int, float] = {}
    for count, size in watched(options.frames, options.bundle, options.every, options.threads):
        if count not in seen:
            seen[count] = round(size, 1)
            print(json.dumps({"frames": count, "rss_mb": seen[count]}), flush=True)
    sizes = list(seen.values())
    print(json.dumps({"growth_mb": round(sizes[-1] - sizes[0], 1)}))


if __name__ == "__main__":
    main()
