"""Flag-level parity: what counts as a flip, and what the histogram says of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.bundle import Bundle, Decision
from callm_edge.errors import UserError
from callm_edge.sources import open_source
from callm_edge.stage1.scorer import OrtScorer
from callm_edge.stage1.scores import Scores
from callm_edge.verify import EDGES_DB, Traces, Verification, compare, verify

DECISION = Decision(statistic="tile", smoothing=1, threshold_psnr_db=20.0)


def traces(*patch_psnr_db: float, frame: float = 30.0) -> Traces:
    patch = np.array(patch_psnr_db, np.float32)
    return Traces(np.full_like(patch, frame), patch)


def test_only_windows_that_cross_the_threshold_flip() -> None:
    found = compare([traces(25, 20.01, 19.99, 15)], [traces(21, 19.99, 20.01, 10)], DECISION)
    assert found.flipped.tolist() == [False, True, True, False]
    assert found.flips == 2
    assert found.windows == 4
    assert found.max_abs_diff_patch_psnr_db == pytest.approx(5)
    assert found.mean_abs_diff_patch_psnr_db == pytest.approx((4 + 0.02 + 0.02 + 5) / 4, abs=1e-5)
    assert found.max_abs_diff_psnr_db == 0


def test_the_bundles_statistic_and_smoothing_decide() -> None:
    reference, other = [traces(25, 20.1, 25)], [traces(25, 19.9, 25)]
    assert compare(reference, other, DECISION).flips == 1
    assert compare(reference, other, DECISION.model_copy(update={"statistic": "frame"})).flips == 0
    assert compare(reference, other, DECISION.model_copy(update={"smoothing": 3})).flips == 0


def test_smoothing_begins_anew_with_each_clip() -> None:
    """19.9 after a clip that ended at 30 is a flag: nothing of the other clip is averaged into it."""
    decision = DECISION.model_copy(update={"smoothing": 3})
    found = compare([traces(30, 30), traces(20.1)], [traces(30, 30), traces(19.9)], decision)
    assert found.flipped.tolist() == [False, False, True]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_a_flip_and_valid_json(value: float) -> None:
    found = compare([traces(25, 25)], [traces(25, value)], DECISION)
    assert found.flips == 1
    whole = Verification("b", DECISION, np.array([5.0, 5.0]), {"broken": found})
    told = json.loads(json.dumps(whole.to_dict(), allow_nan=False))
    assert told["backends"]["broken"]["max_abs_diff_patch_psnr_db"] is None


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=50), st.integers(0, 1000))
def test_every_window_stands_in_one_bin_and_every_flip_with_it(margins: list[float], seed: int) -> None:
    flipped = np.random.default_rng(seed).random(len(margins)) < 0.5
    parity = compare([traces(25)], [traces(25)], DECISION)
    parity = type(parity)(len(margins), 0.0, 0.0, 0.0, 0.0, flipped)
    whole = Verification("b", DECISION, np.array(margins), {"x": parity})
    rows = whole.histogram()
    assert len(rows) == len(EDGES_DB) + 1
    assert sum(row["windows"] for row in rows) == len(margins)
    assert sum(row["flips"]["x"] for row in rows) == flipped.sum()
    assert sum(row["windows"] for row in rows if row["to_db"] is not None and row["to_db"] <= 0) == whole.flags


class Off:
    """A backend that is the reference, made worse by a factor."""

    def __init__(self, bundle: Bundle, factor: float) -> None:
        self._scorer, self._factor = OrtScorer(bundle.score_path), factor
        self.name = "off"

    def stream(self) -> Off:
        stream = Off.__new__(Off)
        stream._stream, stream._factor = self._scorer.stream(), self._factor  # type: ignore[attr-defined]
        return stream

    def push(self, image: np.ndarray) -> None:
        self._stream.push(image)  # type: ignore[attr-defined]

    def clear(self) -> None:
        self._stream.clear()  # type: ignore[attr-defined]

    def score(self) -> Scores | None:
        got = self._stream.score()  # type: ignore[attr-defined]
        return got and Scores(got.mse * self._factor, got.psnr_db, got.patch_mse * self._factor, got.error_map)


def test_a_backend_that_is_worse_is_found_out(tiny_bundle: Bundle) -> None:
    heard: list[int] = []
    sources = [open_source(f"test:plaza?seed={seed}&seconds=1") for seed in (1, 2)]
    first = verify(tiny_bundle, {"same": Off(tiny_bundle, 1.0)}, sources, heard.append)
    assert first.parities["same"].flips == 0
    assert first.parities["same"].max_abs_diff_patch_psnr_db == 0
    assert len(first.margins_db) == first.parities["same"].windows == 20
    assert heard == sorted(heard)
    assert heard[-1] == 20
    # the threshold where the scores are: a shift of 0.4 dB flips what lies within
    middle = tiny_bundle.decision.threshold_psnr_db + float(np.median(first.margins_db))
    bundle = tiny_bundle.with_decision(tiny_bundle.decision.model_copy(update={"threshold_psnr_db": middle}), {})
    sources = [open_source(f"test:plaza?seed={seed}&seconds=1") for seed in (1, 2)]
    second = verify(bundle, {"worse": Off(bundle, 10**0.04)}, sources).parities["worse"]
    assert second.max_abs_diff_patch_psnr_db == pytest.approx(0.4, abs=1e-3)
    assert second.flips > 0


def test_too_short_clips_are_told(tiny_bundle: Bundle) -> None:
    with pytest.raises(UserError, match="nothing to verify on"):
        verify(tiny_bundle, {}, [open_source("test:plaza?seed=1&seconds=0.5")])
