"""What the cascade lives on: disk, memory, clocks, power mode, temperature."""

from __future__ import annotations

import re
import shutil

from callm_edge.events.store import default_store
from callm_jetson import nvpmodel
from callm_jetson.checks.check import Check
from callm_jetson.machine import Machine
from callm_jetson.thermal import throttling, zones

_GIB = 1 << 30
DISK_WARN, DISK_FAIL = 5 * _GIB, _GIB // 2
# Stage 1 needs 0.3 GiB; the language model on the device some more.
MEMORY_WARN, MEMORY_FAIL = 2 * _GIB, _GIB // 2


def disk(machine: Machine) -> Check:
    """Where events are stored."""
    store = default_store()
    there = next(path for path in (store, *store.absolute().parents) if path.exists())
    usage = shutil.disk_usage(there)
    detail = f"{usage.free / _GIB:.1f} of {usage.total / _GIB:.1f} GiB free at {there}"
    fix = "Free some, or keep events elsewhere: CALLM_EDGE_STORE=DIR"
    if usage.free < DISK_FAIL:
        return Check("disk", "failed", detail, fix)
    return Check("disk", "warning", detail, fix) if usage.free < DISK_WARN else Check("disk", "ok", detail)


def memory(machine: Machine) -> Check:
    """MemAvailable, not MemFree: CPU and GPU of a Jetson share it, and the page cache can be given back."""
    values = dict(re.findall(r"^(\w+):\s+(\d+) kB", machine.text("/proc/meminfo"), re.MULTILINE))
    if "MemAvailable" not in values:
        return Check("memory", "skipped", "this system does not tell")
    available, total = (int(values[key]) << 10 for key in ("MemAvailable", "MemTotal"))
    detail = f"{available / _GIB:.1f} of {total / _GIB:.1f} GiB available"
    fix = "Stop the desktop (sudo systemctl set-default multi-user.target) and what else is not needed"
    if available < MEMORY_FAIL:
        return Check("memory", "failed", detail, fix)
    return Check("memory", "warning", detail, fix) if available < MEMORY_WARN else Check("memory", "ok", detail)


def power_mode(machine: Machine) -> Check:
    """The board's fastest mode, unless somebody wants less."""
    modes = nvpmodel.modes(machine)
    if not modes:
        return Check("power mode", "skipped", "this machine has no nvpmodel")
    now, best = nvpmodel.current(machine), nvpmodel.fastest(machine)
    if now is None:
        return Check("power mode", "warning", "not readable", "Run: sudo nvpmodel -q")
    if best is not None and now.id != best.id:
        return Check(
            "power mode", "warning", f"{now.name}, not the fastest", f"Run: sudo callm-edge power --mode {best.name}"
        )
    return Check("power mode", "ok", now.name)


def clocks(machine: Machine) -> Check:
    """Free clocks are slower to answer after a quiet minute; that is a choice, not a fault."""
    if not machine.jetson:
        return Check("clocks", "skipped", "this is no Jetson")
    pinned = nvpmodel.clocks_pinned(machine)
    if pinned is None:
        return Check("clocks", "warning", "not readable", "Run: sudo jetson_clocks --show")
    if pinned:
        return Check("clocks", "ok", "pinned at their maximum")
    return Check("clocks", "ok", "free (steadier latency with: sudo callm-edge power --clocks on)")


def temperature(machine: Machine) -> Check:
    """How far from throttling, and whether the board is held back now."""
    found = zones(machine)
    if not found:
        return Check("temperature", "skipped", "no thermal zones")
    hottest = max(found, key=lambda zone: zone.celsius)
    detail = f"{hottest.name} at {hottest.celsius:.0f} °C"
    held = throttling(machine) if machine.jetson else []
    if held:
        fix = "Cool the board better, give it a stronger supply, or choose a lower power mode"
        return Check("temperature", "warning", f"{detail}; {', '.join(held)}", fix)
    near = [zone for zone in found if zone.throttles_at is not None and zone.celsius > zone.throttles_at - 5]
    if near:
        worst = near[0]
        text = f"{worst.name} at {worst.celsius:.0f} °C, throttles at {worst.throttles_at:.0f} °C"
        return Check("temperature", "warning", text, "Cool the board better: check the fan and the case")
    return Check("temperature", "ok", detail)
