"""PSNR with the true data range as peak."""

from __future__ import annotations

import numpy as np
import pytest

from callm_edge.stage1.scores import Scores, psnr_db


@pytest.mark.parametrize(("mse", "wanted"), [(4.0, 0.0), (0.04, 20.0), (0.0, 106.0206)])
def test_psnr(mse: float, wanted: float) -> None:
    assert float(psnr_db(np.array([mse]))[0]) == pytest.approx(wanted, abs=1e-3)


def test_patch_psnr_is_that_of_the_worst_tile() -> None:
    scores = Scores(np.array([0.01]), np.array([26.02]), np.array([0.4]), np.zeros((1, 128, 128)))
    assert float(scores.patch_psnr_db[0]) == pytest.approx(10.0)
