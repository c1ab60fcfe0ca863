"""Electric power, where the machine can say it: a Jetson's INA3221 sensors, an NVIDIA GPU, an Intel or AMD package.

`bench` and `power` take joules from here: per window, per verdict, per anything that is counted in between.
"""

from __future__ import annotations

import ctypes
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol

SYSFS = Path("/sys")
# The rail that feeds all others: Orin Nano and NX, Thor. AGX Orin has none, there the sum of all is the module's power.
_TOTAL_RAILS = ("VDD_IN", "VIN")
_NVML_SUCCESS = 0


class PowerMeter(Protocol):
    """name: what is measured, for a report. scope: 'module', 'gpu' or 'package', since they must not be compared."""

    name: str
    scope: str

    def watts(self) -> float:
        """Power now, W. Raises OSError where the sensor fails."""


class Ina3221:
    """The rails of a Jetson module.

    current (mA) times voltage (mV) of each channel, as NVIDIA's "Software-based power consumption modeling" chapter
    of the Jetson Linux Developer Guide names them.
    """

    name, scope = "INA3221", "module"

    def __init__(self, channels: dict[str, tuple[Path, Path]]) -> None:
        self._channels = channels

    @classmethod
    def find(cls, sysfs: Path = SYSFS) -> Ina3221 | None:
        """The sensors of this machine, None without any."""
        channels: dict[str, tuple[Path, Path]] = {}
        for hwmon in sorted((sysfs / "class" / "hwmon").glob("hwmon*")):
            if _text(hwmon / "name") != "ina3221":
                continue
            for label in sorted(hwmon.glob("in*_label")):
                number = label.name[len("in") : -len("_label")]
                current, voltage = hwmon / f"curr{number}_input", hwmon / f"in{number}_input"
                # NVIDIA labels the channel that adds up the others 'sum of shunt voltages': no rail.
                if current.exists() and voltage.exists() and "sum" not in _text(label):
                    channels[_text(label)] = (current, voltage)
        return cls(channels) if channels else None

    def rails(self) -> dict[str, float]:
        """Watts by rail. Raises OSError, ValueError where a sensor fails."""
        return {
            name: int(_read(current)) * int(_read(voltage)) / 1e6 for name, (current, voltage) in self._channels.items()
        }

    def watts(self) -> float:
        rails = self.rails()
        for name in _TOTAL_RAILS:
            if name in rails:
                return rails[name]
        return sum(rails.values())


class Rapl:
    """The processor packages' own energy counters (root only on most systems): mean power since the last call."""

    name, scope = "RAPL", "package"

    def __init__(self, counters: list[Path]) -> None:
        self._counters = counters
        self._last = (time.monotonic(), self._microjoules())

    @classmethod
    def find(cls, sysfs: Path = SYSFS) -> Rapl | None:
        """The counters that this process may read, None without any."""
        # Only whole packages: 'intel-rapl:0:0' is a part of 'intel-rapl:0'.
        found = [p / "energy_uj" for p in (sysfs / "class" / "powercap").glob("intel-rapl:*") if p.name.count(":") == 1]
        try:
            return cls(sorted(found)) if found else None
        except (OSError, ValueError):
            return None

    def watts(self) -> float:
        now, energy = time.monotonic(), self._microjoules()
        then, before = self._last
        self._last = (now, energy)
        # A counter that wrapped around counts for nothing once, instead of for minus the whole range.
        return max(energy - before, 0) / 1e6 / max(now - then, 1e-6)

    def _microjoules(self) -> int:
        return sum(int(_read(path)) for path in self._counters)


class Nvml:
    """The board power of the first NVIDIA GPU, through the driver's management library."""

    name, scope = "NVML", "gpu"

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

    @classmethod
    def find(cls) -> Nvml | None:
        """None without a driver, or on a GPU that does not measure (Jetson's own does not)."""
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return None
        handle = ctypes.c_void_p()
        if library.nvmlInit_v2() != _NVML_SUCCESS:
            return None
        if library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)) != _NVML_SUCCESS:
            return None
        meter = cls(library, handle)
        try:
            meter.watts()
        except OSError:
            return None
        return meter

    def watts(self) -> float:
        milliwatts = ctypes.c_uint()
        if self._library.nvmlDeviceGetPowerUsage(self._handle, ctypes.byref(milliwatts)) != _NVML_SUCCESS:
            raise OSError("the GPU does not tell its power")
        return milliwatts.value / 1000


def open_meter(sysfs: Path = SYSFS) -> PowerMeter | None:
    """The meter with the widest scope that can be read here, None without any."""
    return Ina3221.find(sysfs) or Nvml.find() or Rapl.find(sysfs)


class Energy:
    """Adds up power over the time that it is entered.

    joules: trapezoids between samples. seconds: measured time. samples: how many; below 2 nothing can be said.
    """

    def __init__(self, meter: PowerMeter, interval_s: float = 0.05) -> None:
        self.joules = 0.0
        self.seconds = 0.0
        self.samples = 0
        self._meter, self._interval_s = meter, interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="power meter", daemon=True)
        self._last: tuple[float, float] | None = None

    @property
    def mean_watts(self) -> float:
        """0 before there are two samples."""
        return self.joules / self.seconds if self.seconds else 0.0

    def __enter__(self) -> Energy:
        self._take()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._take()

    def _sample(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._take()

    def _take(self) -> None:
        try:
            watts = self._meter.watts()
        except (OSError, ValueError):
            return  # a sensor that is busy once; the trapezoid spans the gap
        now = time.monotonic()
        if self._last is not None:
            then, before = self._last
            self.joules += (watts + before) / 2 * (now - then)
            self.seconds += now - then
        self._last = (now, watts)
        self.samples += 1


def _read(path: Path) -> str:
    return path.read_text().strip()


def _text(path: Path) -> str:
    try:
        return _read(path)
    except OSError:
        return ""
