"""How long each step of an answer took."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class Ledger:
    """steps: milliseconds of each, in order; steps of one name are added up."""

    steps: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)

    def step(self, name: str) -> None:
        """What happened since the last step was `name`."""
        now = time.perf_counter()
        self.steps[name] = round(self.steps.get(name, 0.0) + 1000 * (now - self._began), 1)
        self._began = now
