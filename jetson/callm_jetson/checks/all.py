"""Every check, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from callm_jetson.checks import cameras, cascade, gpu, network, resources, software
from callm_jetson.checks.check import Check, guarded
from callm_jetson.machine import Machine

_OF_MACHINE: tuple[tuple[str, Callable[[Machine], Check]], ...] = (
    ("python", software.python),
    ("system", software.system),
    ("libraries", software.libraries),
    ("driver", gpu.driver),
    ("cuda", gpu.cuda),
    ("tensorrt", gpu.tensorrt),
    ("architecture code", gpu.architecture),
    ("kernel launch", gpu.kernel),
)
_RESOURCES: tuple[tuple[str, Callable[[Machine], Check]], ...] = (
    ("disk", resources.disk),
    ("memory", resources.memory),
    ("power mode", resources.power_mode),
    ("clocks", resources.clocks),
    ("temperature", resources.temperature),
    ("service", cascade.service),
)


def all_checks(machine: Machine, bundle: str, broker: str | None, server: str | None) -> Iterator[Check]:
    """One by one, so that a reader sees the first while a slow one still runs."""
    for name, look in _OF_MACHINE:
        yield guarded(name, lambda look=look: look(machine))  # type: ignore[misc]
    yield guarded("bundle", lambda: cascade.bundle(bundle))
    try:
        yield from cameras.cameras(machine)
    except Exception as error:
        yield Check("camera", "failed", f"the check itself failed: {error}", "Report this")
    for name, look in _RESOURCES:
        yield guarded(name, lambda look=look: look(machine))  # type: ignore[misc]
    yield guarded("broker", lambda: network.broker(broker))
    yield guarded("server", lambda: network.server(server))
