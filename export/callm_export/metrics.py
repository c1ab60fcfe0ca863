"""How well scores tell abnormal frames from normal ones. Labels: 1 is abnormal; scores: PSNR, low is abnormal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Roc:
    """A receiver operating characteristic.

    fpr, tpr: (K,) float64 in 0..1, rising: share of normal frames flagged, share of abnormal frames flagged.
    auc: area below it. eer: the error rate where as many normal frames are flagged as abnormal ones are missed.
    """

    fpr: np.ndarray
    tpr: np.ndarray
    auc: float
    eer: float


def regularity(psnr_db: np.ndarray) -> np.ndarray:
    """(N,) PSNR of one clip -> (N,) float64 in 0..1: per-clip min-max, as published.

    It needs the whole clip, so it exists in tables only, never on a device. A clip of constant PSNR says nothing about
    its frames: 0.5 for each, where the published formula divides by zero.
    """
    values = np.asarray(psnr_db, np.float64)
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.full(values.shape, 0.5)


def auc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC of (N,) labels and (N,) scores; None where the labels hold one class only."""
    from sklearn.metrics import roc_auc_score

    abnormal = np.asarray(labels, bool)
    if abnormal.all() or not abnormal.any():
        return None
    return float(roc_auc_score(abnormal, -np.asarray(scores, np.float64)))


def roc(labels: np.ndarray, scores: np.ndarray) -> Roc:
    """The whole curve. Raises ValueError where the labels hold one class only."""
    from sklearn.metrics import roc_curve

    area = auc(labels, scores)
    if area is None:
        raise ValueError("labels hold one class only")
    fpr, tpr, _ = roc_curve(np.asarray(labels, bool), -np.asarray(scores, np.float64))
    return Roc(fpr, tpr, area, equal_error_rate(fpr, tpr))


def equal_error_rate(fpr: np.ndarray, tpr: np.ndarray) -> float:
    """Where a rising ROC crosses the diagonal fpr = 1 - tpr, linear between its points."""
    excess = fpr + tpr - 1  # rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    if after == 0:
        return float(fpr[0])
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))


def stretches(labels: Sequence[bool] | np.ndarray) -> list[tuple[int, int]]:
    """First and last position (inclusive) of every run of true labels."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], np.asarray(labels, bool), [False]]).astype(np.int8)))
    return [(int(first), int(end) - 1) for first, end in edges.reshape(-1, 2)]
