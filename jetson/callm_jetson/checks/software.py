"""The machine's software: Python, L4T, and the libraries that the cascade stands on."""

from __future__ import annotations

import importlib
import importlib.metadata
import platform
import re
import sys

from callm_edge.errors import UserError
from callm_jetson.boards import release_of
from callm_jetson.checks.check import Check
from callm_jetson.machine import Machine

LIBRARIES = ("numpy", "onnxruntime", "cv2", "av", "pydantic", "rich")


def python(machine: Machine) -> Check:
    """3.10 to 3.12 are what the wheels of the device install exist for."""
    version = platform.python_version()
    where = f"{version} at {sys.executable}"
    if (3, 10) <= sys.version_info[:2] <= (3, 12):
        return Check("python", "ok", where)
    return Check("python", "warning", where, "Use Python 3.10 to 3.12: what callm-edge is tested with")


def system(machine: Machine) -> Check:
    """Board and L4T, or what else this is."""
    line = machine.text("/etc/nv_tegra_release").split("\n")[0]
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", line)
    if not machine.jetson and not found:
        return Check("system", "ok", f"{platform.system()} on {platform.machine()}, no Jetson")
    if found is None:
        return Check("system", "warning", machine.jetson, "L4T's release file is missing: flash the board")
    text = f"{machine.jetson or 'Jetson'}, L4T {found[1]}.{found[2]}"
    try:
        release = release_of(int(found[1]))
    except UserError as error:
        return Check("system", "warning", text, f"{error.why}: flash one of these")
    return Check("system", "ok", f"{text} (JetPack {release.jetpack} line)")


def libraries(machine: Machine) -> Check:
    """Every library of the base install can be imported: a wheel for the wrong machine shows here."""
    versions, broken = [], []
    for name in LIBRARIES:
        try:
            module = importlib.import_module(name)
            versions.append(f"{name} {getattr(module, '__version__', _version(name))}")
        except Exception as error:
            broken.append(f"{name} ({type(error).__name__}: {error})")
    if broken:
        return Check("libraries", "failed", "; ".join(broken), "Run: pip install --force-reinstall callm-edge")
    return Check("libraries", "ok", ", ".join(versions))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "?"
