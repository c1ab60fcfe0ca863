"""What happens to every frame around stage 1: decoding, ingest, the ring, the decision, the evidence."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from callm_bench import footage
from callm_bench.setting import Setting
from callm_bench.stage import Call, SkipError, Stage, ready
from callm_edge.decision.box import peak_points
from callm_edge.decision.hysteresis import Hysteresis, Scored, Smoother
from callm_edge.events.evidence import EvidenceRing
from callm_edge.plaza import FPS, HEIGHT, WIDTH
from callm_edge.sources import Frame, open_source
from callm_edge.stage1 import gpu
from callm_edge.stage1.ingest import SIZE, to_gray_256
from callm_edge.stage1.ring import MirroredRing
from callm_kernels.reference.psnr_threshold import psnr_threshold

FILM_FRAMES = 50


def before_stage1(setting: Setting) -> list[Stage]:
    """From the file to the ring."""
    image = footage.images(FILM_FRAMES)[0]
    large = np.ascontiguousarray(np.tile(image, (3, 3, 1))[:1080])
    gray, ring = to_gray_256(image), MirroredRing()
    return [
        Stage(f"decode, H.264 {footage.PICTURE}", lambda stack: _decoding(setting, stack)),
        Stage(f"ingest, {footage.PICTURE}", ready(lambda: to_gray_256(image))),
        Stage("ingest, 1920x1080", ready(lambda: to_gray_256(large))),
        Stage("ring", ready(lambda: ring.push(gray))),
    ]


def after_stage1(setting: Setting) -> list[Stage]:
    """From the error to the event and its evidence."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (SIZE, SIZE), np.uint8)
    reconstruction = (frame / 127.5 - 1 + rng.normal(0, 0.1, frame.shape)).astype(np.float32)
    return [
        Stage(
            "score kernel, numpy reference",
            ready(lambda: psnr_threshold(frame, reconstruction, 20.0)),
            note="the kernel's plain definition, not what runs: on the CPU the score is inside stage 1's graph",
        ),
        Stage("score kernel, CUDA", _cuda_kernel),
        Stage("decision", lambda stack: _decision(setting)),
        Stage("evidence, JPEG", lambda stack: _evidence()),
    ]


def _decoding(setting: Setting, stack: ExitStack) -> Call:
    path = setting.folder / "film.mp4"
    footage.film(path, footage.images(FILM_FRAMES))

    def frames() -> Iterator[Frame]:
        while True:
            with open_source(str(path)) as source:
                yield from source

    decoded = frames()
    stack.callback(decoded.close)  # type: ignore[attr-defined]  # a generator
    return lambda: next(decoded)


def _cuda_kernel(stack: ExitStack) -> Call:
    if not gpu.present():
        raise SkipError("this machine has no NVIDIA GPU")
    raise SkipError("callm-edge bench --kernels times the kernels, with the clock of the GPU")


def _decision(setting: Setting) -> Call:
    """Smoothing, the error's peak and hysteresis, over a score that crosses the threshold now and then."""
    decision = setting.bundle.decision
    smoother, hysteresis = Smoother(decision.smoothing), Hysteresis(decision, "bench", FPS)
    rng = np.random.default_rng(0)
    scores = rng.normal(decision.threshold_psnr_db + 1, 1, 1000)
    error_map = rng.random((SIZE // 2, SIZE // 2), np.float32)
    index = -1

    def decide() -> None:
        nonlocal index
        index += 1
        score = smoother.push(float(scores[index % len(scores)]))
        peak_points(error_map, (WIDTH, HEIGHT))
        hysteresis.push(Scored(index, index / FPS, score, error_map, (WIDTH, HEIGHT)))

    return decide


def _evidence() -> Call:
    ring, pictures = EvidenceRing(250, 64 << 20), footage.looped(footage.images(FILM_FRAMES))
    index = -1

    def keep() -> None:
        nonlocal index
        index += 1
        ring.add(Frame(index, time.monotonic(), next(pictures)))

    return keep
