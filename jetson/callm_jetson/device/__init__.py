"""What goes onto the device: units, rules, scripts, and the agent that installs releases there."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def device_file(name: str) -> Path:
    """The file ``name`` among those for the device."""
    return FOLDER / name
