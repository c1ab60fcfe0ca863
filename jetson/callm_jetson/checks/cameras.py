"""Cameras: what is connected and which formats each one gives."""

from __future__ import annotations

import os
import re

from callm_jetson.checks.check import Check
from callm_jetson.machine import Machine

_FORMAT = re.compile(r"\[\d+\]: '(\w+)'")
_SIZE = re.compile(r"Size: Discrete (\d+)x(\d+)")
_GOOD = ("MJPG", "H264", "HEVC")


def cameras(machine: Machine) -> list[Check]:
    """One line for each camera; one that says there is none."""
    nodes = [path for path in machine.paths("/dev/video*") if path.name[len("video") :].isdigit()]
    found = [_camera(machine, f"/dev/{path.name}") for path in nodes]
    lines = [line for line in found if line is not None]
    csi = _csi(machine)
    if csi is not None:
        lines.append(csi)
    if lines:
        return lines
    return [Check("camera", "warning", "none is connected", "Plug one in, or use a stream: --source rtsp://...")]


def _camera(machine: Machine, device: str) -> Check | None:
    """None for a node that is no camera: metadata of one, or a hardware codec."""
    name = f"camera {device}"
    if not os.access(machine.at(device), os.R_OK | os.W_OK):
        return Check(name, "failed", "no permission", "Run: sudo usermod -aG video $USER, and log in again")
    if not machine.has("v4l2-ctl"):
        return Check(name, "warning", "its formats are unknown", "Run: sudo apt-get install v4l-utils")
    code, text = machine.run("v4l2-ctl", "-d", str(machine.at(device)), "--list-formats-ext")
    formats = list(dict.fromkeys(_FORMAT.findall(text)))
    if code or not formats:
        return None
    sizes = [(int(w), int(h)) for w, h in _SIZE.findall(text)]
    largest = max(sizes, default=(0, 0))
    detail = ", ".join(formats) + (f", up to {largest[0]}x{largest[1]}" if sizes else "")
    raw_sensor = all(re.match(r"(RG|BG|GB|GR|BA)", name) for name in formats)
    if raw_sensor:
        return Check(name, "ok", f"{detail}: a raw sensor, read it as csi:N")
    if not set(formats) & set(_GOOD):
        fix = "Use a camera with MJPG where several share one USB 2 port: raw pictures fill it"
        return Check(name, "warning", f"{detail}: only uncompressed", fix)
    return Check(name, "ok", detail)


def _csi(machine: Machine) -> Check | None:
    """NVIDIA's camera daemon, without which no CSI camera gives pictures. None where this is no Jetson."""
    if not machine.jetson:
        return None
    state = machine.run("systemctl", "is-active", "nvargus-daemon")[1].strip()
    if state == "active":
        return Check("csi", "ok", "nvargus-daemon is running")
    return Check(
        "csi", "warning", f"nvargus-daemon is {state or 'unknown'}", "Run: sudo systemctl restart nvargus-daemon"
    )
