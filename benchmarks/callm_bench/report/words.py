"""Numbers and machines in words."""

from __future__ import annotations

import math
from typing import Any

ENVIRONMENT = {
    "cpu": "processor",
    "cores": "cores",
    "mhz": "MHz",
    "governor": "governor",
    "memory_gb": "memory, GB",
    "gpu": "GPU",
    "power_mode": "power mode",
    "power_meter": "power meter",
    "load": "load before",
    "load_after": "load after",
    "threads": "threads",
    "system": "system",
    "python": "Python",
    "callm_edge": "callm-edge",
    "commit": "commit",
    "when": "measured",
}


def number(value: object) -> str:
    """Two or three digits that count, thousands apart; '' for nothing."""
    if value is None:
        return ""
    if not isinstance(value, (int, float)):
        return str(value)
    if not math.isfinite(value):
        return str(value)
    if isinstance(value, int) or float(value).is_integer():
        return f"{value:,.0f}"
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.1 else 1 - math.floor(math.log10(size))
    return f"{value:,.{min(digits, 6)}f}"


def milliseconds(value: float | None) -> str:
    """With its unit: a page of stages spans six orders of magnitude."""
    if value is None:
        return ""
    if value >= 1000:
        return f"{number(value / 1000)} s"
    return f"{number(value)} ms" if value >= 1 else f"{number(1000 * value)} µs"


def describe(environment: dict[str, Any]) -> str:
    """One line: the machine, versions, commit."""
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    virtual = "virtual machine, " if environment.get("virtual") else ""
    return (
        f"{environment['cpu']}, {environment['cores']} cores, {virtual}load {environment['load']}, "
        f"{environment['gpu'] or 'no GPU'}; {environment['system']}, Python {environment['python']}, {versions}; "
        f"callm-edge {environment['callm_edge']} at {environment['commit']}, {environment['when']}"
    )
