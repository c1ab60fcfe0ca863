"""From which probability of 'yes' on a clip counts as abnormal."""

from __future__ import annotations

import numpy as np

LET_PASS = 0.9  # share of normal clips, where the threshold is chosen by them alone


def balanced_accuracy(truth: np.ndarray, found: np.ndarray) -> float:
    """Mean of the shares of abnormal and of normal clips that were judged rightly; both (N,) bool."""
    return float(((found & truth).sum() / truth.sum() + (~found & ~truth).sum() / (~truth).sum()) / 2)


def best_threshold(truth: np.ndarray, probability: np.ndarray) -> float:
    """The threshold of the best balanced accuracy on these clips, in 0..1.

    Of equally good ones the middle, in log odds, of the widest stretch, so that it is as far from clips of either class
    as can be. truth: (N,) bool with both classes. probability: (N,) of 'yes'.
    """
    known = np.unique(probability)
    odds = np.log(np.clip(known, 1e-9, 1 - 1e-9) / np.clip(1 - known, 1e-9, 1))
    edges = np.concatenate([[odds[0] - 1.0], odds, [odds[-1] + 1.0]])
    low, high = edges[:-1], edges[1:]
    scores = np.array([balanced_accuracy(truth, probability > at) for at in (-1.0, *known)])
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    widest = best[np.argmax((high - low)[best])]
    middle = 1 / (1 + np.exp(-(low[widest] + high[widest]) / 2))
    # Between neighbours that are all but equal, rounding would put the middle on a wrong side.
    above = known[widest] if widest < len(known) else 1.0
    below = known[widest - 1] if widest > 0 else -1.0
    return float(middle if below < middle <= above else above)


def normal_threshold(probability: np.ndarray) -> float:
    """The threshold, in 0..1, that lets nine of ten normal clips pass, where there are no others.

    It lies halfway to the first of the clips that do not pass. probability: (N,) of 'yes', N at least 1.
    """
    known = np.sort(probability)
    above = int(np.ceil(LET_PASS * len(known)))
    below, first = known[above - 1], known[above] if above < len(known) else 1.0
    # What lies on the threshold does not pass.
    return min(1.0, max(float((below + first) / 2), float(np.nextafter(below, 2))))
