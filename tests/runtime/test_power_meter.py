"""Power from copies of sysfs as boards have it, and energy from a meter whose answer is known."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from callm_edge.power_meter import Energy, Ina3221, Rapl, open_meter


def ina3221(sysfs: Path, rails: dict[str, tuple[int, int]], at: int = 0) -> None:
    """rails: name -> (mA, mV)."""
    folder = sysfs / f"class/hwmon/hwmon{at}"
    folder.mkdir(parents=True)
    (folder / "name").write_text("ina3221\n")
    for number, (name, (milliamperes, millivolts)) in enumerate(rails.items(), 1):
        (folder / f"in{number}_label").write_text(f"{name}\n")
        (folder / f"curr{number}_input").write_text(f"{milliamperes}\n")
        (folder / f"in{number}_input").write_text(f"{millivolts}\n")


def test_an_orin_nano_is_measured_at_its_input(tmp_path: Path) -> None:
    ina3221(tmp_path, {"VDD_IN": (1200, 5000), "VDD_CPU_GPU_CV": (300, 5000), "VDD_SOC": (280, 5000)})
    (tmp_path / "class/hwmon/hwmon0/in7_label").write_text("sum of shunt voltages\n")
    meter = Ina3221.find(tmp_path)
    assert meter is not None
    assert meter.rails() == {"VDD_IN": 6.0, "VDD_CPU_GPU_CV": 1.5, "VDD_SOC": 1.4}
    assert meter.watts() == 6.0
    assert open_meter(tmp_path).scope == "module"  # type: ignore[union-attr]


def test_an_agx_orin_has_no_input_rail_and_is_the_sum_of_its_sensors(tmp_path: Path) -> None:
    ina3221(tmp_path, {"VDD_GPU_SOC": (400, 20000), "VDD_CPU_CV": (100, 20000), "VIN_SYS_5V0": (500, 5000)})
    ina3221(tmp_path, {"VDDQ_VDD2_1V8AO": (200, 5000)}, at=1)
    assert Ina3221.find(tmp_path).watts() == pytest.approx(8 + 2 + 2.5 + 1)  # type: ignore[union-attr]


def test_a_machine_without_sensors_has_no_meter(tmp_path: Path) -> None:
    (tmp_path / "class/hwmon/hwmon0").mkdir(parents=True)
    (tmp_path / "class/hwmon/hwmon0/name").write_text("coretemp\n")
    assert Ina3221.find(tmp_path) is None
    assert Rapl.find(tmp_path) is None


def test_a_processors_counter_gives_the_mean_since_the_last_look(tmp_path: Path) -> None:
    counter = tmp_path / "class/powercap/intel-rapl:0/energy_uj"
    counter.parent.mkdir(parents=True)
    (tmp_path / "class/powercap/intel-rapl:0:0").mkdir()
    counter.write_text("1000000\n")
    meter = Rapl.find(tmp_path)
    assert meter is not None
    time.sleep(0.05)
    counter.write_text("1500000\n")
    assert 0 < meter.watts() <= 0.5 / 0.05
    counter.write_text("10\n")  # the counter begins anew
    assert meter.watts() == 0


class Constant:
    name, scope = "test", "module"

    def __init__(self, watts: float) -> None:
        self.value, self.calls = watts, 0

    def watts(self) -> float:
        self.calls += 1
        if self.calls % 3 == 0:
            raise OSError("busy")
        return self.value


def test_energy_is_power_times_time_even_where_the_sensor_is_busy_now_and_then() -> None:
    began = time.monotonic()
    with Energy(Constant(10.0), interval_s=0.005) as energy:
        time.sleep(0.2)
    lasted = time.monotonic() - began
    assert energy.samples >= 2
    assert energy.mean_watts == pytest.approx(10.0)
    assert energy.joules == pytest.approx(10 * energy.seconds)
    assert 0 < energy.seconds <= lasted


def test_a_meter_that_never_answers_gives_nothing() -> None:
    class Broken:
        name, scope = "test", "module"

        def watts(self) -> float:
            raise OSError("gone")

    with Energy(Broken(), interval_s=0.005) as energy:
        time.sleep(0.02)
    assert (energy.joules, energy.mean_watts, energy.samples) == (0.0, 0.0, 0)
