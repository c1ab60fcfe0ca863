"""How far two language models agree about clips."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'vlm': pip install 'callm-edge[vlm]'")

from callm_bench.yes_no_agreement import agreement  # noqa: E402


def test_of_each_against_the_first() -> None:
    truth = np.array([True, True, False, False])
    sides = {"before": np.array([0.9, 0.8, 0.1, 0.6]), "after": np.array([0.9, 0.4, 0.1, 0.2])}
    found = agreement(truth, 0.5, sides)
    assert found["before"] == {
        "agreement": 1.0,
        "mean_difference": 0.0,
        "balanced_accuracy": 0.75,
        "at_its_best_threshold": 1.0,
    }
    assert found["after"] == {
        "agreement": 0.5,
        "mean_difference": 0.2,
        "balanced_accuracy": 0.75,
        "at_its_best_threshold": 1.0,
    }
