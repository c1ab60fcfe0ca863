"""The threshold of yes and no."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_export.vlm.threshold import balanced_accuracy, best_threshold, normal_threshold

CLIPS = st.lists(st.tuples(st.booleans(), st.floats(0.001, 0.999)), min_size=2, max_size=30).filter(
    lambda rows: len({truth for truth, _ in rows}) == 2
)


@given(CLIPS, st.floats(0, 1))
def test_no_other_threshold_is_better(rows: list[tuple[bool, float]], other: float) -> None:
    truth = np.array([row[0] for row in rows])
    probability = np.array([row[1] for row in rows])
    threshold = best_threshold(truth, probability)
    assert 0 <= threshold <= 1
    chosen = balanced_accuracy(truth, probability >= threshold)
    assert chosen >= balanced_accuracy(truth, probability >= other) - 1e-9


def test_between_neighbours_that_are_all_but_equal() -> None:
    truth = np.array([False, False, True])
    probability = np.array([0.5, 0.001, np.nextafter(0.001, 1)])
    assert balanced_accuracy(truth, probability >= best_threshold(truth, probability)) == 0.75


def test_far_from_both_classes() -> None:
    truth = np.array([False, False, True, True])
    assert best_threshold(truth, np.array([0.1, 0.2, 0.8, 0.9])) == pytest.approx(0.5)


def test_balanced_accuracy_does_not_depend_on_the_share() -> None:
    truth = np.array([True, False, False, False])
    assert balanced_accuracy(truth, np.array([True, True, False, False])) == pytest.approx((1 + 2 / 3) / 2)


@given(st.lists(st.floats(0, 0.999), min_size=1, max_size=60))
def test_nine_of_ten_normal_clips_pass(rows: list[float]) -> None:
    probability = np.array(rows)
    threshold = normal_threshold(probability)
    assert 0 < threshold <= 1
    assert (probability < threshold).mean() >= 0.9
    last = np.sort(probability)[int(np.ceil(0.9 * len(rows))) - 1]
    assert (probability < threshold).sum() == (probability <= last).sum(), "and none that need not"


def test_halfway_to_the_first_that_does_not_pass() -> None:
    assert normal_threshold(np.linspace(0.1, 1.0, 10)) == pytest.approx(0.95)
    assert normal_threshold(np.array([0.4])) == pytest.approx(0.7)
