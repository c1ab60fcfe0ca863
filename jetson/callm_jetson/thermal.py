"""Temperatures and throttling, from sysfs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from callm_jetson.machine import Machine


@dataclass(frozen=True)
class Zone:
    """celsius: now. throttles_at: the lowest 'passive' trip point, where clocks are cut; None where there is none."""

    name: str
    celsius: float
    throttles_at: float | None


def zones(machine: Machine) -> list[Zone]:
    """Every thermal zone that can be read; a sensor that is off cannot."""
    found = []
    for folder in machine.paths("/sys/class/thermal/thermal_zone*"):
        name, raw = _text(folder / "type").removesuffix("-thermal"), _text(folder / "temp")
        if not raw.lstrip("-").isdigit():
            continue
        celsius = int(raw) / 1000
        if not -40 < celsius < 150:  # -256 degrees is how a sensor without power answers
            continue
        trips = [
            int(value) / 1000
            for kind in folder.glob("trip_point_*_type")
            if _text(kind) == "passive"
            and (value := _text(kind.with_name(kind.name.replace("_type", "_temp")))).lstrip("-").isdigit()
        ]
        found.append(Zone(name, celsius, min(trips, default=None)))
    return found


def throttling(machine: Machine) -> list[str]:
    """Why the board is or was held back: cooling devices at work, and counted over-current events since the start."""
    found = []
    for folder in machine.paths("/sys/class/thermal/cooling_device*"):
        kind, state = _text(folder / "type"), _text(folder / "cur_state")
        # A fan that turns holds nothing back.
        if "fan" not in kind.lower() and state.isdigit() and int(state) > 0:
            found.append(f"{kind} at step {state}")
    for counter in machine.paths("/sys/class/hwmon/hwmon*/oc*_event_cnt"):
        if (count := _text(counter)).isdigit() and int(count) > 0:
            found.append(f"{count} over-current events ({counter.name.removesuffix('_event_cnt')})")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
