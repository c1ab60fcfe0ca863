"""What stage 2 says of an event."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Verdict:
    """The two answers to the two questions.

    abnormal: yes or no. probability: that it is abnormal, 0..1. explanation: what is abnormal; empty after no.
    answered_by: 'device' or 'remote:NAME'. reason: why that one was asked.
    ledger_ms: how long each step took, in the order of the steps.
    """

    event_id: str
    abnormal: bool
    probability: float
    explanation: str
    answered_by: str
    reason: str
    ledger_ms: dict[str, float]

    def to_json(self) -> str:
        """The `verdict` line of `run --json` (a contract: other programs read it)."""
        return json.dumps({"type": "verdict", **asdict(self)})
