"""From which probability of 'yes' on a clip counts as abnormal."""

from __future__ import annotations

import numpy as np


def balanced_accuracy(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean of the shares of abnormal and of normal clips that were judged rightly; both (N,) bool."""
    return float(((found & truth).sum() / truth.sum() + (~found & ~truth).sum() / (~truth).sum()) / 2)


def best_threshold(truth: np.ndarray, probability: np.ndarray) -> float:
    """The threshold of the best balanced accuracy on these clips, in 0..1.

    Of equally good ones the middle, in log odds, of the widest stretch, so that it is as far from clips of either class
    as can be. truth: (N,) bool with both classes. probability: (N,) of 'yes'.
    """
    odds = np.log(np.clip(probability, 1e-9, 1 - 1e-9) / np.clip(1 - probability, 1e-9, 1))
    known = np.unique(odds)
    edges = np.concatenate([[known[0] - 1.0], known, [known[-1] + 1.0]])
    low, high = edges[:-1], edges[1:]
    scores = np.array([balanced_accuracy(truth, odds > at) for at in low])
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    widest = best[np.argmax((high - low)[best])]
    return float(1 / (1 + np.exp(-(low[widest] + high[widest]) / 2)))
