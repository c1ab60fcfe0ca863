"""Power modes of a Jetson: what there are, which one is on, and how to change it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from callm_edge.errors import UsageError, UserError
from callm_edge.names import nearest
from callm_jetson.machine import Machine

CONF = "/etc/nvpmodel.conf"
STATUS = "/var/lib/nvpmodel/status"
_MODEL = re.compile(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=([^\s>]+)", re.MULTILINE)
_QUESTION = re.compile(r"reboot required", re.IGNORECASE)


@dataclass(frozen=True)
class Mode:
    """id: what `nvpmodel -m` takes."""

    id: int
    name: str


def modes(machine: Machine) -> list[Mode]:
    """The board's modes in the order of its own file, empty where it has none."""
    return [Mode(int(number), name) for number, name in _MODEL.findall(machine.text(CONF))]


def current(machine: Machine) -> Mode | None:
    """The mode that is on, None where that is not to be found out."""
    found = re.search(r"pmode:\s*(\d+)", machine.text(STATUS))
    if found is None:
        # 'NV Power Mode: 15W' and the number on a line of its own; warnings about the fan come before it.
        _, text = machine.run("nvpmodel", "-q")
        found = re.search(r"NV Power Mode:[^\n]*\n\s*(\d+)", text)
    if found is None:
        return None
    known = {mode.id: mode for mode in modes(machine)}
    number = int(found[1])
    return known.get(number, Mode(number, f"mode {number}"))


def fastest(machine: Machine) -> Mode | None:
    """The mode without a limit (MAXN, MAXN_SUPER), else the one with the most watts in its name; None without modes."""
    found = modes(machine)
    unlimited = [mode for mode in found if mode.name.startswith("MAXN")]
    if unlimited:
        return max(unlimited, key=lambda mode: len(mode.name))

    def watts(mode: Mode) -> int:
        number = re.search(r"(\d+)W", mode.name)
        return int(number[1]) if number else 0

    return max(found, key=watts, default=None)


def by_name(machine: Machine, text: str) -> Mode:
    """The mode with this name or number. Raises UsageError naming those that there are."""
    found = modes(machine)
    for mode in found:
        if text.casefold() == mode.name.casefold() or text == str(mode.id):
            return mode
    if not found:
        raise UsageError("This machine has no power modes", f"there is no {CONF}", "They belong to Jetson boards")
    names = ", ".join(f"{mode.name} ({mode.id})" for mode in found)
    raise UsageError(f"There is no power mode '{text}'", f"modes are {names}", nearest(text, [m.name for m in found]))


def set_mode(machine: Machine, mode: Mode, *, reboot: bool = False) -> None:
    """Switch. reboot: say yes where nvpmodel must start the board anew for it.

    Raises UserError where that is needed and not wanted, or where nvpmodel refuses.
    """
    code, text = machine.run("nvpmodel", "-m", str(mode.id), stdin="yes\n" if reboot else "no\n", timeout_s=60)
    if code == 127:
        raise UserError("nvpmodel is not installed", "it comes with NVIDIA's L4T packages", "Flash the board")
    now = current(machine)
    if _QUESTION.search(text) and not reboot and (now is None or now.id != mode.id):
        raise UserError(
            f"The board must start anew for the mode {mode.name}",
            "some modes switch parts of the GPU on or off",
            f"Run: callm-edge power --mode {mode.name} --reboot",
        )
    if code and not reboot:
        last = (text.strip().splitlines() or [f"exit code {code}"])[-1]
        raise UserError(f"nvpmodel refuses the mode {mode.name}", last, "Run it as root: sudo callm-edge power ...")


def set_clocks(machine: Machine, pinned: bool) -> None:
    """Pin the clocks at their maximum, or give them back to the governors. Raises UserError where that fails."""
    store = "/var/lib/callm-edge/clocks.conf"
    if pinned:
        machine.at(store).parent.mkdir(parents=True, exist_ok=True)
        # What there was before, so that 'off' can give it back; an older file is from before the last start.
        machine.at(store).unlink(missing_ok=True)
        machine.run("jetson_clocks", "--store", str(machine.at(store)), timeout_s=60)
        code, text = machine.run("jetson_clocks", timeout_s=60)
    elif machine.at(store).exists():
        code, text = machine.run("jetson_clocks", "--restore", str(machine.at(store)), timeout_s=60)
    else:
        raise UserError("The clocks are not pinned by callm-edge", f"there is no {store}", "A restart frees them")
    if code == 127:
        raise UserError("jetson_clocks is not installed", "it comes with NVIDIA's L4T packages", "Flash the board")
    if code:
        last = (text.strip().splitlines() or [f"exit code {code}"])[-1]
        raise UserError("jetson_clocks failed", last, "Run it as root: sudo callm-edge power ...")


def clocks_pinned(machine: Machine) -> bool | None:
    """True where every processor's lowest clock is its highest; None where that cannot be read."""
    states = []
    for folder in machine.paths("/sys/devices/system/cpu/cpu[0-9]*/cpufreq"):
        relative = "/" + str(folder.relative_to(machine.root))
        low, high = machine.text(f"{relative}/scaling_min_freq"), machine.text(f"{relative}/scaling_max_freq")
        if low and high:
            states.append(low == high)
    return all(states) if states else None
