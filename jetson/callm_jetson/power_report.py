"""What `power` shows."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from callm_edge.power_meter import Energy, Ina3221, open_meter
from callm_jetson import nvpmodel, tegrastats
from callm_jetson.machine import Machine
from callm_jetson.thermal import throttling, zones


@dataclass(frozen=True)
class PowerReport:
    """mode: name of the power mode, None where there is none. modes: by id. clocks_pinned: None where unreadable.

    watts: mean over ``seconds`` of what ``meter`` measures, None where nothing is readable. rails: watts now, by rail.
    celsius: by zone. throttling: what holds the board back, in words.
    """

    mode: str | None
    modes: dict[int, str]
    clocks_pinned: bool | None
    meter: str | None
    scope: str | None
    watts: float | None
    seconds: float
    rails: dict[str, float]
    celsius: dict[str, float]
    throttling: list[str]


def measure(machine: Machine, seconds: float) -> PowerReport:
    """Look at everything, and at the power for ``seconds``."""
    sysfs = machine.at("/sys")
    meter = open_meter(sysfs)
    watts, measured, rails = None, 0.0, {}
    name, scope = (meter.name, meter.scope) if meter else (None, None)
    celsius = {zone.name: zone.celsius for zone in zones(machine)}
    if meter is not None:
        with Energy(meter) as energy:
            time.sleep(seconds)
        watts, measured = round(energy.mean_watts, 3), round(energy.seconds, 3)
        if isinstance(meter, Ina3221):
            rails = {rail: round(value, 3) for rail, value in meter.rails().items()}
    elif stats := _tegrastats(machine):
        name, scope, watts = "tegrastats", "module", stats.total_watts
        rails, celsius = stats.watts, celsius or stats.celsius
    current = nvpmodel.current(machine)
    return PowerReport(
        mode=current.name if current else None,
        modes={mode.id: mode.name for mode in nvpmodel.modes(machine)},
        clocks_pinned=nvpmodel.clocks_pinned(machine),
        meter=name if watts is not None else None,
        scope=scope if watts is not None else None,
        watts=watts,
        seconds=measured,
        rails=rails,
        celsius=celsius,
        throttling=throttling(machine),
    )


def print_report(report: PowerReport, console: Console) -> None:
    """For people."""
    table = Table.grid(padding=(0, 2))
    others = ", ".join(f"{name} ({number})" for number, name in report.modes.items() if name != report.mode)
    table.add_row("power mode", f"[bold]{report.mode}[/]" if report.mode else "none: this is no Jetson")
    if others:
        table.add_row("others", others)
    pinned = {True: "pinned at their maximum", False: "free", None: "not readable"}[report.clocks_pinned]
    table.add_row("clocks", pinned)
    if report.watts is not None:
        table.add_row("power", f"[bold]{report.watts:.2f} W[/] ({report.scope}, {report.meter})")
    else:
        table.add_row("power", "not readable: no INA3221, NVML or RAPL sensor that this user may read")
    for rail, watts in report.rails.items():
        table.add_row(f"  {rail}", f"{watts:.2f} W")
    if report.celsius:
        table.add_row("temperatures", ", ".join(f"{name} {value:.0f} °C" for name, value in report.celsius.items()))
    held = "; ".join(report.throttling)
    table.add_row("throttling", f"[yellow]{held}[/]" if held else "none")
    console.print(table)


def _tegrastats(machine: Machine) -> tegrastats.Stats | None:
    # It never ends by itself; its first line comes after one interval.
    _, text = machine.run("tegrastats", "--interval", "200", timeout_s=2)
    found = [stats for line in text.splitlines() if (stats := tegrastats.parse(line))]
    return found[-1] if found else None
