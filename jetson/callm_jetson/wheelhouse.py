"""Every wheel that a device needs, for its own Python and machine, fetched here: the device needs no internet.

pip fetches for a foreign Python and machine, but judges the markers of dependencies (`tomli; python_version < "3.11"`)
by the Python that it runs on. So the closure is checked here, against the device's, and completed.
"""

from __future__ import annotations

import email.parser
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from callm_edge.errors import UserError

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.version import Version

# pip itself travels along: Debian's python3 comes without it.
TOOLS = ("pip>=23.1",)
_ROUNDS = 20


@dataclass(frozen=True)
class Target:
    """python: such as '3.10'. machine: as `uname -m`. glibc: version of the C library, whose wheels it can load."""

    python: str
    machine: str
    glibc: tuple[int, int]

    @property
    def key(self) -> str:
        """A name for a folder."""
        return f"cp{self.python.replace('.', '')}-{self.machine}-glibc{self.glibc[0]}.{self.glibc[1]}"

    def pip_options(self) -> list[str]:
        """What makes pip choose wheels for this target instead of the machine that it runs on."""
        options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", self.python]
        # PEP 600: a wheel for an older C library runs on a newer one. 2.17 is the oldest that aarch64 wheels name.
        for minor in range(self.glibc[1], 16, -1):
            options += ["--platform", f"manylinux_2_{minor}_{self.machine}"]
        return [*options, "--platform", f"manylinux2014_{self.machine}", "--platform", f"linux_{self.machine}"]

    def markers(self) -> dict[str, str]:
        """The environment in which markers are judged (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": "",
        }


def requirements_of(wheel: Path, extras: Iterable[str] = ()) -> list[Requirement]:
    """The dependencies that a wheel's metadata names, of the wheel alone and of its ``extras``, markers unjudged."""
    from packaging.requirements import Requirement

    with zipfile.ZipFile(wheel) as archive:
        name = next(entry for entry in archive.namelist() if entry.endswith(".dist-info/METADATA"))
        metadata = email.parser.HeaderParser().parsestr(archive.read(name).decode())
    wanted = {"", *extras}
    found = []
    for text in metadata.get_all("Requires-Dist") or []:
        requirement = Requirement(text)
        named = set(re.findall(r"extra\s*==\s*['\"]([^'\"]+)['\"]", str(requirement.marker or "")))
        if not named or named & wanted:
            found.append(requirement)
    return found


def missing(wheels: Sequence[Path], roots: Sequence[Requirement], target: Target) -> list[Requirement]:
    """What ``roots`` need on ``target``, directly or through others, and no wheel among ``wheels`` brings."""
    from packaging.utils import canonicalize_name, parse_wheel_filename

    have: dict[str, tuple[Version, Path]] = {}
    for path in wheels:
        name, version, _, _ = parse_wheel_filename(path.name)
        have[name] = (version, path)
    environment = target.markers()
    lacking: dict[str, Requirement] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    todo: list[tuple[Requirement, frozenset[str]]] = [(root, frozenset({""})) for root in roots]
    while todo:
        requirement, asked = todo.pop()
        marker = requirement.marker
        # A root's own extra was chosen by whoever made it a root.
        if marker and not any(marker.evaluate({**environment, "extra": extra}) for extra in {*asked, *_extras(marker)}):
            continue
        name = canonicalize_name(requirement.name)
        extras = frozenset({"", *requirement.extras})
        if name not in have:
            lacking[name] = requirement
            continue
        version, path = have[name]
        if not requirement.specifier.contains(version, prereleases=True):
            lacking[name] = requirement
        if (name, extras) not in seen:
            seen.add((name, extras))
            todo += [
                (each, extras)
                for each in requirements_of(path, requirement.extras)
                if not each.marker or any(each.marker.evaluate({**environment, "extra": x}) for x in extras)
            ]
    return list(lacking.values())


def resolve(
    roots: Sequence[Requirement],
    target: Target,
    folder: Path,
    *,
    pip_options: Sequence[str] = (),
    python: str = sys.executable,
) -> list[Path]:
    """Fetch into ``folder`` every wheel that ``roots`` need on ``target``, and pip. Returns them sorted by name.

    Raises UserError naming what has no wheel for this target.
    """
    from packaging.requirements import Requirement

    folder.mkdir(parents=True, exist_ok=True)
    environment = target.markers()
    extra = [root for root in roots if root.marker is None or _holds(root, environment)]
    wanted = [_plain(root) for root in [*extra, *(Requirement(tool) for tool in TOOLS)]]
    for _ in range(_ROUNDS):
        for stale in folder.glob("*.whl"):
            stale.unlink()
        _download([str(each) for each in wanted], target, folder, pip_options, python)
        wheels = sorted(folder.glob("*.whl"))
        lacking = missing(wheels, wanted, target)
        if not lacking:
            return wheels
        wanted += [_plain(each) for each in lacking]
    raise UserError("The wheels for the device do not settle", f"after {_ROUNDS} rounds still: {lacking}")


def fingerprint(wheels: Iterable[Path]) -> str:
    """16 hex digits that stand for this set of wheels."""
    digest = hashlib.sha256()
    for path in sorted(wheels, key=lambda path: path.name):
        digest.update(f"{path.name} {_sha256(path)}\n".encode())
    return digest.hexdigest()[:16]


def _extras(marker: object) -> set[str]:
    return set(re.findall(r"extra\s*==\s*['\"]([^'\"]+)['\"]", str(marker)))


def _holds(requirement: Requirement, environment: dict[str, str]) -> bool:
    assert requirement.marker is not None
    names = {"", *_extras(requirement.marker)}
    return any(requirement.marker.evaluate({**environment, "extra": name}) for name in names)


def _plain(requirement: Requirement) -> Requirement:
    """Without its marker, which was judged for the device already and which pip would judge for this machine."""
    from packaging.requirements import Requirement

    copy = Requirement(str(requirement))
    copy.marker = None
    return copy


def _download(
    requirements: Sequence[str], target: Target, folder: Path, pip_options: Sequence[str], python: str
) -> None:
    command = [python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    result = subprocess.run(
        [*command, *target.pip_options(), *pip_options, *requirements], capture_output=True, text=True, check=False
    )
    if result.returncode == 0:
        return
    lines = [line for line in result.stderr.splitlines() if "ERROR" in line]
    what = f"Not every wheel is to be had for Python {target.python} on {target.machine}"
    why = lines[-1].removeprefix("ERROR: ") if lines else (result.stderr.strip().splitlines() or ["pip failed"])[-1]
    raise UserError(what, why, "Check that this machine reaches a package index, or give --wheelhouse DIR")


def _sha256(path: Path) -> str:
    from callm_edge.bundle import sha256

    return sha256(path)
