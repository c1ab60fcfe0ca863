"""One line of `doctor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Check:
    """name: what was looked at. detail: what was seen. fix: exactly what to do, empty where nothing is to be done."""

    name: str
    state: State
    detail: str
    fix: str = ""


def guarded(name: str, look: Callable[[], Check]) -> Check:
    """What ``look`` finds; a look that breaks is a finding too, and must not hide those that follow."""
    try:
        return look()
    except Exception as error:
        return Check(name, "failed", f"the check itself failed: {type(error).__name__}: {error}", "Report this")
