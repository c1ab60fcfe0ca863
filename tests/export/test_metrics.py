"""Metrics against the outputs of the original code and against their definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason="the extra 'train' is not installed")

from callm_edge.stage1.scores import psnr_db  # noqa: E402
from callm_export.metrics import auc, equal_error_rate, regularity, roc, stretches  # noqa: E402

GOLDENS = Path(__file__).resolve().parents[1] / "goldens" / "stage1"


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    """Outputs of the published code (Astrid et al.) on three synthetic clips of 30, 45 and 24 frames."""
    return json.loads((GOLDENS / "scores.json").read_text())


@pytest.fixture(scope="module")
def golden_extra() -> dict[str, Any]:
    """The same scores through the evaluation code of other papers."""
    return json.loads((GOLDENS / "scores_extra.json").read_text())


def trimmed(golden: dict[str, Any]) -> list[np.ndarray]:
    labels = np.split(np.array(golden["labels"]), np.cumsum(golden["lens"])[:-1])
    return [clip[8:-7] for clip in labels]


def test_psnr_is_the_published_one_with_peak_2(golden: dict[str, Any]) -> None:
    for mse, with_peak_2, with_peak_1 in zip(golden["mse"], golden["psnrv2_peak2"], golden["psnr"], strict=True):
        got = psnr_db(np.array(mse))
        np.testing.assert_allclose(got, with_peak_2, atol=1e-5)
        np.testing.assert_allclose(got - 10 * np.log10(4), with_peak_1, atol=1e-5)


def test_regularity_is_the_published_anomaly_score_list(golden: dict[str, Any]) -> None:
    got = np.concatenate([regularity(np.array(clip)) for clip in golden["psnr"]])
    np.testing.assert_allclose(got, golden["regularity_concat"], atol=1e-12)


def test_regularity_does_not_depend_on_the_peak(golden: dict[str, Any]) -> None:
    got = np.concatenate([regularity(np.array(clip)) for clip in golden["psnrv2_peak2"]])
    np.testing.assert_allclose(got, golden["regularity_concat"], atol=1e-9)


def test_auc_is_the_published_one(golden: dict[str, Any], golden_extra: dict[str, Any]) -> None:
    labels = np.concatenate(trimmed(golden))
    np.testing.assert_array_equal(labels, golden["labels_trimmed"])
    scores = np.concatenate([regularity(np.array(clip)) for clip in golden["psnr"]])
    assert auc(labels, scores) == pytest.approx(golden["auc_original"], abs=1e-12)
    assert auc(labels, scores) == pytest.approx(golden_extra["micro_raw"], abs=1e-12)
    assert roc(labels, scores).auc == pytest.approx(golden["auc_original"], abs=1e-12)


def test_auc_without_normalisation(golden: dict[str, Any]) -> None:
    labels, scores = np.concatenate(trimmed(golden)), np.concatenate(golden["psnr"])
    assert auc(labels, scores) == pytest.approx(golden["auc_no_norm_global"], abs=1e-12)


def test_auc_of_each_clip(golden: dict[str, Any], golden_extra: dict[str, Any]) -> None:
    """The reference pads every clip by one perfect pair, so that clips of one class have an AUC too."""
    padded = []
    for labels, psnr in zip(trimmed(golden), golden["psnr"], strict=True):
        padded.append(auc(np.array([0, *labels, 1]), np.array([1, *regularity(np.array(psnr)), 0])))
    got = np.array(padded, np.float64)
    np.testing.assert_allclose(got, golden["auc_per_video_padded"], atol=1e-12)
    assert np.mean(got) == pytest.approx(golden_extra["acci_macro_raw"], abs=1e-12)


def test_one_class_has_no_auc() -> None:
    assert auc(np.ones(4), np.arange(4)) is None
    assert auc(np.zeros(4), np.arange(4)) is None
    with pytest.raises(ValueError, match="one class"):
        roc(np.ones(4), np.arange(4))


def test_constant_clip_says_nothing() -> None:
    np.testing.assert_array_equal(regularity(np.full(5, 30.0)), 0.5)


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=40), st.data())
def test_auc_counts_ordered_pairs(scores: list[int], data: st.DataObject) -> None:
    labels = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    values = np.array(scores, np.float64)
    normal, abnormal = values[~labels], values[labels]
    if not len(normal) or not len(abnormal):
        assert auc(labels, values) is None
        return
    pairs = (abnormal[:, None] < normal).mean() + 0.5 * (abnormal[:, None] == normal).mean()
    assert auc(labels, values) == pytest.approx(pairs)


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=40), st.data())
def test_eer_lies_on_the_curve_and_the_diagonal(scores: list[int], data: st.DataObject) -> None:
    labels = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    if labels.all() or not labels.any():
        return
    curve = roc(labels, np.array(scores))
    # The curve may rise straight up at the crossing, where tpr is a range: hold the ends of it against the diagonal.
    below = curve.tpr[curve.fpr <= curve.eer + 1e-9].max()
    at = curve.fpr >= curve.eer - 1e-9
    assert 1 - curve.eer <= max(below, np.interp(curve.eer, curve.fpr, curve.tpr)) + 1e-9
    assert 1 - curve.eer >= min(curve.tpr[at].min(), np.interp(curve.eer, curve.fpr, curve.tpr)) - 1e-9


def test_eer_of_known_curves() -> None:
    assert equal_error_rate(np.array([0, 0, 1]), np.array([0, 1, 1])) == 0
    assert equal_error_rate(np.array([0, 1]), np.array([0, 1])) == 0.5
    assert equal_error_rate(np.array([0, 1, 1]), np.array([0, 0, 1])) == 1
    assert equal_error_rate(np.array([0, 0.2, 1]), np.array([0, 0.8, 1])) == pytest.approx(0.2)
    assert equal_error_rate(np.array([0, 0.25, 1]), np.array([0, 0.5, 1])) == pytest.approx(0.4)


@given(st.lists(st.booleans(), max_size=60))
def test_stretches_cover_the_labels_and_nothing_else(labels: list[bool]) -> None:
    covered = np.zeros(len(labels), bool)
    ends = [-2]
    for first, last in stretches(labels):
        assert first > ends[-1] + 1
        ends.append(last)
        covered[first : last + 1] = True
    assert covered.tolist() == labels
