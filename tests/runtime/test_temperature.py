"""Thermal zones as Linux shows them, sensors that are off included."""

from __future__ import annotations

from pathlib import Path

from callm_edge.temperature import temperatures


def test_zones(tmp_path: Path) -> None:
    for number, (kind, text) in enumerate((("cpu-thermal", "41500\n"), ("cpu-thermal", "-5000\n"), ("gpu", "off"))):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(f"{kind}\n")
        (zone / "temp").write_text(text)
    assert temperatures(tmp_path) == {"cpu": 41.5, "cpu 1": -5.0}
    assert temperatures(tmp_path / "nowhere") == {}
