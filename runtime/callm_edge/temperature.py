"""How warm the machine is, where it says so."""

from __future__ import annotations

from pathlib import Path

ZONES = Path("/sys/class/thermal")


def temperatures(folder: Path = ZONES) -> dict[str, float]:
    """Degrees Celsius by the name of the thermal zone; a zone whose sensor is off is left out, and so may be all."""
    found: dict[str, float] = {}
    for zone in sorted(folder.glob("thermal_zone*")):
        try:
            name = (zone / "type").read_text().strip().removesuffix("-thermal")
            celsius = int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):
            continue
        found[f"{name} {zone.name.removeprefix('thermal_zone')}" if name in found else name] = celsius
    return found
