"""Flag-level parity: what deployed backends of stage 1 decide against the FP32 graph of the whole window.

A difference of scores says little by itself: 0.05 dB is nothing far from the threshold and everything at it. So what
counts is flags that flip: windows that one of the two flags and the other does not, at the bundle's threshold and with
its smoothing, as in a run. The histogram of margins (reference score minus threshold) says how many windows were near
enough to the threshold to flip at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from callm_edge.bundle import AUTOENCODER_FP16, AUTOENCODER_INT8, Bundle, Decision
from callm_edge.decision.hysteresis import smoothed
from callm_edge.errors import BundleError, UserError
from callm_edge.sources import Source
from callm_edge.stage1.backend import Backend, Stream
from callm_edge.stage1.scorer import OrtScorer

REFERENCE = "onnxruntime"
# The GPU's graphs on the CPU: what half precision and int8 themselves do to the flags, told before there is a GPU.
ON_CPU = {"onnxruntime-fp16": AUTOENCODER_FP16, "onnxruntime-int8": AUTOENCODER_INT8}
EDGES_DB = (-1.0, -0.3, -0.1, -0.03, -0.01, 0.0, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Traces:
    """Scores of one clip: (N,) float32 each, in dB. psnr_db: of the frame; patch_psnr_db: of its worst tile."""

    psnr_db: np.ndarray
    patch_psnr_db: np.ndarray

    def flags(self, decision: Decision) -> np.ndarray:
        """(N,) bool: below the threshold after smoothing."""
        return self.score_db(decision) < decision.threshold_psnr_db

    def score_db(self, decision: Decision) -> np.ndarray:
        """(N,) float64: the bundle's statistic after its smoothing."""
        return smoothed(self.patch_psnr_db if decision.statistic == "tile" else self.psnr_db, decision.smoothing)


@dataclass(frozen=True)
class Parity:
    """A backend against the reference, over all clips. Differences are absolute, in dB. flipped: (N,) bool."""

    windows: int
    max_abs_diff_psnr_db: float
    mean_abs_diff_psnr_db: float
    max_abs_diff_patch_psnr_db: float
    mean_abs_diff_patch_psnr_db: float
    flipped: np.ndarray

    @property
    def flips(self) -> int:
        """Windows whose flag is another than the reference's."""
        return int(self.flipped.sum())


@dataclass(frozen=True)
class Verification:
    """What came out. margins_db: (N,), score of the reference minus threshold: negative is flagged."""

    bundle: str
    decision: Decision
    margins_db: np.ndarray
    parities: Mapping[str, Parity]

    @property
    def flags(self) -> int:
        """Windows that the reference flags."""
        return int((self.margins_db < 0).sum())

    def histogram(self) -> list[dict[str, Any]]:
        """Windows, and flips by backend, per range of margins; None is an open end."""
        bins = np.digitize(self.margins_db, EDGES_DB)
        ends = [None, *EDGES_DB, None]
        return [
            {
                "from_db": ends[i],
                "to_db": ends[i + 1],
                "windows": int((bins == i).sum()),
                "flips": {name: int(parity.flipped[bins == i].sum()) for name, parity in self.parities.items()},
            }
            for i in range(len(EDGES_DB) + 1)
        ]

    def to_dict(self) -> dict[str, Any]:
        """As `verify --json` prints it."""
        return {
            "bundle": self.bundle,
            "reference": REFERENCE,
            "statistic": self.decision.statistic,
            "threshold_psnr_db": self.decision.threshold_psnr_db,
            "windows": len(self.margins_db),
            "flags": self.flags,
            "backends": {
                name: {
                    "max_abs_diff_psnr_db": _finite(parity.max_abs_diff_psnr_db),
                    "mean_abs_diff_psnr_db": _finite(parity.mean_abs_diff_psnr_db),
                    "max_abs_diff_patch_psnr_db": _finite(parity.max_abs_diff_patch_psnr_db),
                    "mean_abs_diff_patch_psnr_db": _finite(parity.mean_abs_diff_patch_psnr_db),
                    "flips": parity.flips,
                    "windows": parity.windows,
                }
                for name, parity in self.parities.items()
            },
            "margins": self.histogram(),
        }


def verify(
    bundle: Bundle,
    backends: Mapping[str, Backend],
    sources: Sequence[Source],
    progress: Callable[[int], None] = lambda windows: None,
    limit_seconds: float | None = None,
) -> Verification:
    """Run `sources` through the reference and all `backends`, picture by picture.

    progress: hears the number of windows so far. limit_seconds: of each source.
    Raises UserError where no source gives a window; SourceError where one fails.
    """
    reference = OrtScorer(bundle.score_path)
    clips: list[dict[str, Traces]] = []
    done = 0
    for source in sources:

        def on_window(windows: int, before: int = done) -> None:
            progress(before + windows)

        clip = _score(source, {REFERENCE: reference, **backends}, on_window, limit_seconds)
        done += len(clip[REFERENCE].psnr_db)
        clips.append(clip)
    if not done:
        raise UserError(
            "There is nothing to verify on", "the sources gave no window", "Give clips of 16 frames and more"
        )
    decision = bundle.decision
    margins = np.concatenate([clip[REFERENCE].score_db(decision) for clip in clips]) - decision.threshold_psnr_db
    parities = {
        name: compare([clip[REFERENCE] for clip in clips], [clip[name] for clip in clips], decision)
        for name in backends
    }
    return Verification(bundle.name, decision, margins, parities)


def compare(reference: Sequence[Traces], other: Sequence[Traces], decision: Decision) -> Parity:
    """Clip by clip, since smoothing begins anew with each. A score that is not finite counts as a flip."""
    psnr = np.concatenate([np.abs(a.psnr_db - b.psnr_db) for a, b in zip(reference, other, strict=True)])
    patch = np.concatenate([np.abs(a.patch_psnr_db - b.patch_psnr_db) for a, b in zip(reference, other, strict=True)])
    flipped = np.concatenate(
        [
            (a.flags(decision) != b.flags(decision)) | ~np.isfinite(b.score_db(decision))
            for a, b in zip(reference, other, strict=True)
        ]
    )
    return Parity(
        windows=len(psnr),
        max_abs_diff_psnr_db=float(psnr.max()),
        mean_abs_diff_psnr_db=float(psnr.mean()),
        max_abs_diff_patch_psnr_db=float(patch.max()),
        mean_abs_diff_patch_psnr_db=float(patch.mean()),
        flipped=flipped,
    )


def on_cpu(bundle: Bundle, name: str) -> Backend:
    """One of ON_CPU as a backend. Raises BundleError where the bundle has no such graph."""
    graph = ON_CPU[name]
    if graph not in bundle.manifest.files:
        raise BundleError(f"The bundle '{bundle.name}' has no '{graph}'", "", "See callm-edge export --help")
    return OrtScorer(bundle.folder / graph)


def _score(
    source: Source, backends: Mapping[str, Backend], progress: Callable[[int], None], limit_seconds: float | None
) -> dict[str, Traces]:
    streams: dict[str, Stream] = {name: backend.stream() for name, backend in backends.items()}
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in streams}
    last, first_time = -1, None
    with source:
        for frame in source:
            first_time = frame.time if first_time is None else first_time
            if limit_seconds is not None and frame.time - first_time >= limit_seconds:
                break
            for name, stream in streams.items():
                if frame.index != last + 1 and last >= 0:
                    stream.clear()
                stream.push(frame.image)
                if (got := stream.score()) is not None:
                    scores[name].append((float(got.psnr_db[0]), float(got.patch_psnr_db[0])))
            last = frame.index
            progress(len(scores[REFERENCE]))
    return {name: Traces(*np.asarray(values, np.float32).reshape(-1, 2).T) for name, values in scores.items()}


def _finite(value: float) -> float | None:
    """JSON knows no infinity and no NaN."""
    return round(value, 6) if np.isfinite(value) else None
