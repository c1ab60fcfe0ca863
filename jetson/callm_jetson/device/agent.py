"""Installs, switches and watches releases on the device. Runs there under the system's Python, standard library only.

`deploy` sends this file through SSH and reads JSON lines from it; the first-boot unit runs it from the disk. A switch
goes on to its end, which is a healthy release, old or new, even where the connection that asked for it is gone. One
file, because it travels through a pipe.

    ROOT/releases/ID/{release.json, app/, bundle/, units/, bin/callm-edge, environment -> ../../environments/HASH}
    ROOT/environments/HASH/   the libraries, shared by the releases that want the same ones
    ROOT/wheels/              those that the kept releases name, so that an update sends only what is new
    ROOT/incoming/ID/         on its way; never used until its hashes are checked
    ROOT/current, ROOT/previous -> releases/ID
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import IO, Any

SERVICE = "callm-edge.service"
ACCOUNT = "callm-edge"
UNIT_FOLDERS = {
    ".service": "etc/systemd/system",
    ".rules": "etc/udev/rules.d",
    ".conf": "etc/systemd",
    ".logrotate": "etc/logrotate.d",
}
SELF_TEST = ("run", "--source", "test:plaza?seconds=2", "--headless", "--json")
# It may have to build an engine first, where that was left to it.
SELF_TEST_S = 1200.0
PIP_OPTIONS = ("install", "--quiet", "--no-index", "--no-deps", "--no-cache-dir", "--disable-pip-version-check")
LAUNCHER = """#!/bin/sh
# The release that this file lies in, with the libraries that it was installed with.
here=$(dirname "$(dirname "$(readlink -f "$0")")")
export PYTHONPATH="$here/app" PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1
exec "$here/environment/bin/python" -c 'import sys
from callm_edge.cli import main
sys.argv[0] = "callm-edge"
main()' "$@"
"""
BUILD_ENGINE = """import sys
from callm_edge.bundle import Bundle
from callm_edge.stage1.choose import open_backend
print(open_backend(Bundle.load(sys.argv[1]), "tensorrt").name)
"""


class Failure(Exception):  # noqa: N818 (it is an outcome that people read, not a bug)
    """A sentence for the person at the other end."""


def say(**message: Any) -> None:
    """One JSON line. A reader that went away is no reason to stop half-way."""
    try:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
    except OSError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (it takes the place of stdout)


class Device:
    """prefix: '/' on a device; another folder to try everything out without root."""

    def __init__(self, prefix: Path) -> None:
        self.prefix, self.real = prefix, prefix.resolve() == Path("/")
        self.root = prefix / "opt/callm-edge"
        self.etc = prefix / "etc/callm-edge"
        self.state = prefix / "var/lib/callm-edge"
        self.releases, self.environments = self.root / "releases", self.root / "environments"
        self.wheels, self.incoming = self.root / "wheels", self.root / "incoming"
        self.switching = self.root / ".switching"

    def linked(self, name: str) -> str | None:
        """Id of the release that ROOT/name points to, None without one."""
        try:
            release = (self.root / name).readlink().name
        except OSError:
            return None
        return release if (self.releases / release).is_dir() else None

    def link(self, name: str, release: str) -> None:
        """Point ROOT/name to the release: one rename, so that there is never a moment without a link."""
        temporary = self.root / f".{name}.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path("releases", release))
        temporary.replace(self.root / name)

    def facts(self) -> dict[str, Any]:
        """What the other end needs to know to choose the wheels and to send no more than is missing."""
        there = next(path for path in (self.root, *self.root.parents) if path.exists())
        return {
            "python": ".".join(platform.python_version_tuple()[:2]),
            "machine": platform.machine(),
            "glibc": platform.libc_ver()[1],
            "l4t": text_of(Path("/etc/nv_tegra_release")).split("\n")[0],
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "free_bytes": shutil.disk_usage(there).free,
            "configured": (self.etc / "callm-edge.env").is_file(),
            "current": self.linked("current"),
            "previous": self.linked("previous"),
            "releases": sorted(path.name for path in inside(self.releases)),
            "environments": sorted(path.name for path in inside(self.environments)),
            "wheels": {path.name: sha256(path) for path in inside(self.wheels)},
        }

    # Installing: nothing that runs is touched

    def install(self, release: str) -> None:
        """From incoming/ID to releases/ID, checked."""
        incoming, building = self.incoming / release, self.releases / f".{release}.partial"
        if (self.releases / release).is_dir():
            say(step="install", state="skipped", detail="this release is here already")
            shutil.rmtree(incoming, ignore_errors=True)
            return
        manifest = self._verified(incoming)
        self.wheels.mkdir(parents=True, exist_ok=True)
        for path in inside(incoming / "wheels"):
            path.replace(self.wheels / path.name)
        environment = self._environment(manifest)
        say(step="install", state="running", detail="unpacking the release")
        shutil.rmtree(building, ignore_errors=True)
        (building / "bin").mkdir(parents=True)
        for path in inside(incoming):
            if path.name != "wheels":
                shutil.move(path, building / path.name)
        (building / "environment").symlink_to(Path("..", "..", "environments", environment.name))
        # A wheel of Python files alone is installed by unpacking it; compiled now, since later nobody may write here.
        with zipfile.ZipFile(self.wheels / manifest["app"]) as app:
            app.extractall(building / "app")
        run([str(environment / "bin/python"), "-m", "compileall", "-q", str(building / "app")])
        write(building / "bin" / "callm-edge", LAUNCHER, 0o755)
        write(building / "bin" / "callm-edge-backoff", text_of(building / "units" / "backoff.sh"), 0o755)
        self._engine_store(building / "bundle")
        building.rename(self.releases / release)
        shutil.rmtree(incoming, ignore_errors=True)
        say(step="install", state="ok", detail=release)

    def _verified(self, incoming: Path) -> dict[str, Any]:
        try:
            manifest: dict[str, Any] = json.loads((incoming / "release.json").read_text())
        except (OSError, ValueError) as error:
            raise Failure(f"the release did not arrive whole: {error}") from None
        say(step="verify", state="running", detail=f"{len(manifest['files'])} files")
        for name, digest in manifest["files"].items():
            path = incoming / name
            if name.startswith("wheels/") and not path.exists():
                path = self.root / name  # sent by an earlier deploy
                if not path.exists() and self._not_needed(manifest, path.name):
                    continue
            if not path.exists() or sha256(path) != digest:
                raise Failure(f"the release did not arrive whole: '{name}' is missing or altered")
        return manifest

    def _not_needed(self, manifest: dict[str, Any], wheel: str) -> bool:
        return wheel in manifest["libraries"] and (self.environments / manifest["environment"]).is_dir()

    def _environment(self, manifest: dict[str, Any]) -> Path:
        """The folder of libraries, made where there is none yet."""
        folder = self.environments / str(manifest["environment"])
        if folder.is_dir():
            say(step="libraries", state="skipped", detail="unchanged")
            return folder
        building = folder.with_suffix(".partial")
        shutil.rmtree(building, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        wheels = [str(self.wheels / wheel) for wheel in manifest["libraries"]]
        say(step="libraries", state="running", detail=f"installing {len(wheels)} wheels, offline")
        # Without pip, because Debian splits the part that brings it into a package that may not be installed.
        run([sys.executable, "-m", "venv", "--without-pip", str(building)])
        if wheels:
            run([str(building / "bin/python"), str(self._pip_wheel() / "pip"), *PIP_OPTIONS, *wheels])
        lend_tensorrt(building)
        building.rename(folder)
        say(step="libraries", state="ok", detail=folder.name)
        return folder

    def _pip_wheel(self) -> Path:
        found = sorted(self.wheels.glob("pip-*.whl"))
        if not found:
            raise Failure("the release brought no pip")
        return found[-1]

    def _engine_store(self, bundle: Path) -> None:
        """Engines are built here and outlive a release: they lie apart, by the bundle that they were built from."""
        if not (bundle / "bundle.json").is_file():
            return
        store = self.state / "engines" / sha256(bundle / "bundle.json")[:16]
        store.mkdir(parents=True, exist_ok=True)
        (bundle / "engines").symlink_to(store)

    def engine(self, release: str) -> None:
        """Build the release's TensorRT engine, as the account that will read it."""
        folder = self.releases / release
        if not (folder / "bundle").is_dir():
            raise Failure("the release holds no bundle of its own; its service builds the engine at its first start")
        command = [str(folder / "environment/bin/python"), "-c", BUILD_ENGINE, str(folder / "bundle")]
        if self.real:
            self._own_state()
            command = ["runuser", "-u", ACCOUNT, "--", *command]
        say(step="engine", state="running", detail="minutes, the first time")
        run(command, PYTHONPATH=str(folder / "app"), HOME=str(self.state))

    # Switching

    def activate(self, release: str, health_s: float, keep: int) -> None:
        """Switch to the release, watch it, and go back where it is not healthy. Raises Failure then."""
        if not (self.releases / release).is_dir():
            raise Failure(f"there is no release {release} here")
        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        self._recover()
        old = self.linked("current")
        write(self.switching, json.dumps({"from": old, "to": release}))
        say(step="switch", state="running", detail=f"{old or 'nothing'} -> {release}")
        try:
            self._go(release)
            self._healthy(release, health_s)
        except Failure as failure:
            say(step="health", state="failed", detail=str(failure))
            text = self._back(old, release, f"release {release} is not healthy ({failure})", health_s)
            self.switching.unlink()
            raise Failure(text) from None
        if old and old != release:
            self.link("previous", old)
        self.switching.unlink()
        self.prune(keep)
        say(step="health", state="ok", detail=release)

    def rollback(self, health_s: float) -> None:
        """Switch to the release before; the two change places. Raises Failure where there is none."""
        previous = self.linked("previous")
        if previous is None:
            raise Failure("there is no earlier release to go back to")
        self.activate(previous, health_s, keep=1 << 30)

    def _go(self, release: str) -> None:
        self._put_units(self.releases / release)
        self.link("current", release)
        systemctl("daemon-reload")
        systemctl("enable", SERVICE)
        systemctl("restart", SERVICE)

    def _back(self, old: str | None, bad: str, why: str, health_s: float) -> str:
        """Restore what ran before; returns the sentence that tells all."""
        good = old if old != bad else self.linked("previous")
        if good is None:
            with contextlib.suppress(Failure):
                systemctl("stop", SERVICE)
            if old is None:
                (self.root / "current").unlink(missing_ok=True)
            return f"{why}, and there is no other to go back to; the service is stopped"
        say(step="rollback", state="running", detail=f"{bad} -> {good}")
        try:
            self._go(good)
            self._healthy(good, health_s)
        except Failure as failure:
            say(step="rollback", state="failed", detail=str(failure))
            return f"{why}, and {good}, which is current again, is not either ({failure})"
        if bad not in (self.linked("current"), self.linked("previous")):
            shutil.rmtree(self.releases / bad, ignore_errors=True)
        say(step="rollback", state="ok", detail=good)
        return f"{why}; {good} runs again"

    def _recover(self) -> None:
        """A switch that a power cut ended was not proven healthy: go on from the release before it."""
        try:
            good = json.loads(self.switching.read_text())["from"]
        except (OSError, ValueError, KeyError):
            return
        if good and (self.releases / good).is_dir():
            say(step="recover", state="ok", detail=f"an interrupted switch is undone: {good} is current")
            self.link("current", good)

    def _healthy(self, release: str, health_s: float) -> None:
        """The release sees an empty plaza through, and its service stays up. Raises Failure."""
        say(step="health", state="running", detail="the release tests itself")
        current, scratch = self.root / "current", self.root / ".health"
        command = [str(current / "bin/callm-edge"), *SELF_TEST, "--store", str(scratch)]
        if (current / "bundle").is_dir():
            command += ["--bundle", str(current / "bundle")]
        try:
            summary = json.loads(run(command, timeout=SELF_TEST_S).strip().splitlines()[-1])
        except (ValueError, IndexError):
            raise Failure("its test run ended without a summary") from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if not summary.get("windows"):
            raise Failure("its test run scored nothing")
        say(step="health", state="running", detail=f"watching the service for {health_s:g} s")
        restarts, end = unit_property("NRestarts"), time.monotonic() + health_s
        while True:
            state = unit_property("ActiveState")
            if state not in ("active", "activating", "reloading"):
                raise Failure(f"its service is {state or 'unknown to systemd'}")
            if unit_property("NRestarts") != restarts:
                raise Failure("its service was restarted by systemd")
            if time.monotonic() >= end:
                break
            time.sleep(min(0.5, health_s))
        if state != "active":
            raise Failure(f"its service is still {state}")

    def _put_units(self, release: Path) -> None:
        """Put the release's units, rules and settings where the system looks for them."""
        for path in inside(release / "units"):
            if path.suffix in UNIT_FOLDERS and path.name != "callm-edge-firstboot.service":
                name = path.stem if path.suffix == ".logrotate" else path.name
                write(self.prefix / UNIT_FOLDERS[path.suffix] / name, path.read_text(), 0o644)
        for path in inside(release / "config"):
            # Settings may hold a camera's password: systemd reads them as root, nobody else does.
            write(self.etc / path.name, path.read_text(), 0o600)
        if self.real:
            self._own_state()

    def _own_state(self) -> None:
        ensure_account()
        for folder in (self.state, self.state / "engines", *inside(self.state / "engines")):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.chown(folder, ACCOUNT, ACCOUNT)

    def prune(self, keep: int) -> None:
        """Remove what no kept release needs. keep: releases, counting the current and the previous one."""
        linked = [name for name in (self.linked("current"), self.linked("previous")) if name]
        others = [path for path in inside(self.releases) if path.name not in linked and path.name[0] != "."]
        others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        kept = [self.releases / name for name in linked] + others[: max(0, keep - len(linked))]
        wanted = {self.releases: {path.name for path in kept}, self.incoming: set[str]()}
        wanted |= {self.environments: set[str](), self.wheels: set[str](), self.state / "engines": set[str]()}
        for path in kept:
            manifest = json.loads((path / "release.json").read_text())
            wanted[self.environments].add(manifest["environment"])
            wanted[self.wheels].update([*manifest["libraries"], *manifest["tools"], manifest["app"]])
            wanted[self.state / "engines"].add((path / "bundle/engines").resolve().name)
        for folder, names in wanted.items():
            for path in inside(folder):
                if path.name not in names:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def ensure_account() -> None:
    """The service's own account: no login, no home, and the groups that NVIDIA's device nodes belong to."""
    try:
        pwd.getpwnam(ACCOUNT)
    except KeyError:
        run(["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT])
    for group in ("video", "render"):
        subprocess.run(["usermod", "--append", "--groups", group, ACCOUNT], check=False, capture_output=True)


def lend_tensorrt(environment: Path) -> None:
    """Let the libraries see the system's TensorRT, which no wheel brings, and nothing else of the system's."""
    for site in environment.glob("lib/python3*/site-packages"):
        for found in Path("/usr").glob("lib/python3*/dist-packages/tensorrt*"):
            if not (site / found.name).exists():
                (site / found.name).symlink_to(found)


def systemctl(*arguments: str) -> str:
    return run(["systemctl", *arguments])


def unit_property(name: str) -> str:
    return systemctl("show", "--property", name, "--value", SERVICE).strip()


def run(command: list[str], timeout: float | None = None, **environment: str) -> str:
    """Standard output. Raises Failure with the command's last words."""
    name = Path(command[0]).name
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore", **environment},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{name} took longer than {timeout:g} s") from None
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}") from None
    if result.returncode:
        words = [line.strip() for line in (result.stderr or result.stdout).splitlines() if line.strip()]
        raise Failure(f"{name} {command[1]} ended with {result.returncode}: {' / '.join(words[-3:])[:400]}")
    return result.stdout


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(mode)
    temporary.replace(path)


def text_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def locked(device: Device) -> IO[str]:
    """Hold the device until the file is closed. Raises Failure where another deploy has it."""
    device.root.mkdir(parents=True, exist_ok=True)
    file = (device.root / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise Failure("another deploy is at work on this device") from None
    return file


def main(arguments: list[str]) -> int:
    """Returns the exit code; the last line says what came of it, {"done": ...} or {"error": ...}."""
    parser = argparse.ArgumentParser(prog="callm-edge agent")
    parser.add_argument("--prefix", default="/", type=Path)
    parser.add_argument("--health-seconds", type=float, default=10.0)
    parser.add_argument("--keep", type=int, default=3)
    parser.add_argument("action", choices=["facts", "install", "engine", "activate", "rollback", "prune"])
    parser.add_argument("release", nargs="?", default="")
    options = parser.parse_args(arguments)
    device = Device(options.prefix)
    try:
        if options.action == "facts":
            say(facts=device.facts())
            return 0
        with locked(device):
            if options.action in ("install", "engine"):
                getattr(device, options.action)(options.release)
            elif options.action == "activate":
                device.activate(options.release, options.health_seconds, options.keep)
            elif options.action == "rollback":
                device.rollback(options.health_seconds)
            else:
                device.prune(options.keep)
            say(
                done=options.action,
                current=device.linked("current"),
                previous=device.linked("previous"),
                tensorrt=any(
                    device.releases.glob(f"{options.release or '*'}/environment/lib/python3*/site-packages/tensorrt")
                ),
            )
        return 0
    except Failure as failure:
        say(error=str(failure))
    except OSError as error:
        say(error=f"{error.strerror or error}: {error.filename or ''}")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
