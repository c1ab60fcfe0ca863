"""A deploy to one device: from what is there, over what is sent, to a healthy release, old or new."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from callm_edge.errors import UserError
from callm_jetson.release import SETTINGS, Release
from callm_jetson.ssh import ConnectionLostError, Device
from callm_jetson.wheelhouse import Target

_ROOM = 3  # a wheel unpacks to about this many times its size, and both lie there for a while
_RESERVE_BYTES = 200 << 20


@dataclass(frozen=True)
class Outcome:
    """What came of it. current, previous: release ids on the device; error: what failed, empty where all is well."""

    host: str
    ok: bool
    current: str | None
    previous: str | None
    error: str = ""
    engine: str = "skipped"


class Watcher(Protocol):
    """Who is told of one device's progress."""

    def step(self, name: str, state: str, detail: str = "") -> None:
        """name: connect, send, verify, libraries, install, switch, health, rollback, engine."""

    def sent(self, done: int, total: int) -> None:
        """Bytes of the release that are over there."""


def target_of(facts: dict[str, Any]) -> Target:
    """What wheels a device can load. Raises UserError for one that callm-edge does not run on."""
    python = tuple(int(part) for part in facts["python"].split("."))
    if python < (3, 10):
        raise UserError(f"Its Python is {facts['python']}", "callm-edge needs 3.10", "Flash JetPack 6 or later")
    try:
        major, minor = (int(part) for part in facts["glibc"].split(".")[:2])
    except ValueError:
        raise UserError("Its C library is not glibc", "the wheels are built for glibc") from None
    return Target(facts["python"], facts["machine"], (major, minor))


def deploy(
    device: Device,
    release_for: Callable[[Target], Release],
    watcher: Watcher,
    *,
    health_s: float = 10.0,
    keep: int = 3,
    engine: bool = True,
) -> Outcome:
    """Send, install and switch to the release that ``release_for`` gives for this device's Python and machine.

    health_s: seconds that the service is watched after the switch. keep: releases that stay on the device.
    engine: build the TensorRT engine there before the switch, where it has TensorRT.

    Raises nothing for what goes wrong with the device: that is in the Outcome.
    """
    stage = "connecting"
    facts: dict[str, Any] = {}
    try:
        watcher.step("connect", "running")
        device.become_root()
        facts = device.agent("facts")["facts"]
        target = target_of(facts)
        watcher.step("connect", "ok", f"Python {target.python}, {target.machine}")
        stage = "gathering the wheels"
        watcher.step("wheels", "running", target.key)
        release = release_for(target)
        watcher.step("wheels", "ok", release.id)
        _check_settings(release, facts)
        if release.id not in facts["releases"]:
            stage = "sending the release"
            _send(device, release, facts, watcher)
        stage = "installing the release"
        # For a release that is there already this only looks whether TensorRT is, too.
        there = device.agent("install", release.id, told=_teller(watcher))
        stage = "building the engine"
        # Before the switch: the old release watches on for the minutes that it takes.
        built = _build_engine(device, release, watcher, bool(there.get("tensorrt"))) if engine else "skipped"
        stage = "switching"
        last = device.agent(
            "--health-seconds", str(health_s), "--keep", str(keep), "activate", release.id, told=_teller(watcher)
        )
        return Outcome(device.name, True, last.get("current"), last.get("previous"), engine=built)
    except UserError as error:
        return _failed(device, error, stage, facts)


def roll_back(device: Device, watcher: Watcher, *, health_s: float = 10.0) -> Outcome:
    """Switch the device back to the release before."""
    try:
        watcher.step("connect", "running")
        device.become_root()
        last = device.agent("--health-seconds", str(health_s), "rollback", told=_teller(watcher))
        return Outcome(device.name, True, last.get("current"), last.get("previous"))
    except UserError as error:
        return _failed(device, error, "rolling back", {})


def _check_settings(release: Release, facts: dict[str, Any]) -> None:
    if not facts["configured"] and SETTINGS not in release.manifest["files"]:
        raise UserError(
            "It has no settings yet",
            "its service would not know what to watch",
            "Give --config FILE.env with a line such as CALLM_EDGE_RUN_SOURCES=csi:0",
        )


def _send(device: Device, release: Release, facts: dict[str, Any], watcher: Watcher) -> None:
    files = release.to_send(facts["wheels"], facts["environments"])
    total = sum((release.folder / name).stat().st_size for name in files)
    needed = _ROOM * total + _RESERVE_BYTES
    if facts["free_bytes"] < needed:
        raise UserError(
            "Its disk is too full",
            f"{facts['free_bytes'] >> 20} MiB free, {needed >> 20} MiB needed",
            "Free some there, or deploy with --keep 2",
        )
    watcher.step("send", "running", f"{total / 1e6:.1f} MB in {len(files)} files")
    into = posixpath.join(device.prefix, "opt/callm-edge/incoming", release.id)
    device.send(release.folder, files, into, sent=lambda done: watcher.sent(done, total))
    watcher.step("send", "ok", f"{total / 1e6:.1f} MB")


def _build_engine(device: Device, release: Release, watcher: Watcher, has_tensorrt: bool) -> str:
    """Engines are built where they run. A device without TensorRT, or a release that cannot, is no failure."""
    if not has_tensorrt:
        watcher.step("engine", "skipped", "no TensorRT on the device: stage 1 runs without it")
        return "skipped"
    watcher.step("engine", "running", "building the TensorRT engine; minutes the first time")
    try:
        device.agent("engine", release.id, told=_teller(watcher))
    except ConnectionLostError:
        raise
    except UserError as error:
        watcher.step("engine", "failed", error.why or error.what)
        return "failed"
    watcher.step("engine", "ok")
    return "built"


def _teller(watcher: Watcher) -> Callable[[dict[str, Any]], None]:
    def told(message: dict[str, Any]) -> None:
        if "step" in message:
            watcher.step(message["step"], message["state"], message.get("detail", ""))

    return told


def _failed(device: Device, error: UserError, stage: str, facts: dict[str, Any]) -> Outcome:
    text = ": ".join(part for part in (error.what, error.why) if part)
    if isinstance(error, ConnectionLostError) and stage != "connecting":
        # What the device does without us: see the agent. Before the switch nothing of the old release is touched.
        after = (
            "the device finishes the switch, or undoes it, by itself"
            if stage == "switching"
            else "what ran there goes on running"
        )
        text = f"the connection was lost while {stage} ({error.why}); {after}. Run the same command again"
    elif error.fix:
        text += f". {error.fix}"
    return Outcome(device.name, False, facts.get("current"), facts.get("previous"), text)


def every(outcomes: Sequence[Outcome]) -> bool:
    """True where all devices are well."""
    return all(outcome.ok for outcome in outcomes)
