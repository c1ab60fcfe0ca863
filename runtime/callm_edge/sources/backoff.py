"""How long to wait before the next attempt."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Backoff:
    """Doubling waits with jitter.

    first_s: the shortest wait, seconds. limit_s: the longest.
    jitter: each wait is stretched by a random part of itself, up to this fraction, so that many devices behind one
        switch do not all knock again in the same instant.
    """

    first_s: float = 1.0
    limit_s: float = 30.0
    jitter: float = 0.5
    rng: random.Random = field(default_factory=random.Random, compare=False, repr=False)

    def delay_s(self, failures: int) -> float:
        """Seconds to wait after ``failures`` (0, 1, 2 ...) failed attempts in a row."""
        # The exponent is capped because a camera may be away for weeks, and 2.0 ** 2000 is no float.
        doubled = self.first_s * 2.0 ** min(failures, 60)
        # The longest wait is random as well: that is where a camera that stays away, and all beside it, end up.
        return min(self.limit_s / (1 + self.jitter), doubled) * (1 + self.jitter * self.rng.random())
