"""A release: the folder that is sent to a device. Its name comes from its content: the same is never sent twice.

release.json   what follows with the sha256 of every file, and which wheels are libraries, app and tools
wheels/        every wheel, callm-edge's own among them
bundle/        optional: what to run; else the one that ships inside callm-edge
config/        optional: callm-edge.env and whatever it names
units/         systemd units, udev rules, journal settings
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callm_edge.bundle import Bundle, sha256
from callm_edge.errors import UsageError, UserError
from callm_jetson.device import FOLDER
from callm_jetson.wheelhouse import Target, fingerprint, requirements_of, resolve

SETTINGS = "config/callm-edge.env"
UNIT_SUFFIXES = (".service", ".rules", ".conf", ".logrotate")
_SETTING = re.compile(r"[A-Z][A-Z0-9_]*=.*")


@dataclass(frozen=True)
class Release:
    """folder: its files. manifest: what release.json holds."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def id(self) -> str:
        return self.folder.name

    def to_send(self, present_wheels: dict[str, str], environments: Sequence[str]) -> list[str]:
        """Paths of the files that a device lacks. present_wheels: name -> sha256 of those that it has."""
        files: dict[str, str] = self.manifest["files"]
        app_and_tools = {self.manifest["app"], *self.manifest["tools"]}
        needed = []
        for path, digest in files.items():
            name = path.removeprefix("wheels/")
            if path.startswith("wheels/"):
                if present_wheels.get(name) == digest:
                    continue
                # The libraries are installed already: their wheels would only be thrown away.
                if self.manifest["environment"] in environments and name not in app_and_tools:
                    continue
            needed.append(path)
        return ["release.json", *needed]


def build_release(
    into: Path,
    target: Target,
    app: Path,
    cache: Path,
    *,
    bundle: str | None = None,
    config: Path | None = None,
    extras: Sequence[str] = (),
    wheelhouse: Path | None = None,
    pip_options: Sequence[str] = (),
) -> Release:
    """Gather a release for ``target`` in ``into``.

    app: callm-edge's own wheel. cache: where fetched wheels stay for the next time.
    bundle: folder or name; config: a file of variables for the service. extras: of callm-edge, such as 'gpu'.
    wheelhouse: a folder that holds the wheels already; nothing is fetched then.

    Raises UserError where a wheel, the bundle or the config is not as it must be.
    """
    libraries, tools = _wheels(target, app, cache, extras, wheelhouse, pip_options)
    into.mkdir(parents=True, exist_ok=True)
    staging = into / ".staging"
    shutil.rmtree(staging, ignore_errors=True)
    (staging / "wheels").mkdir(parents=True)
    for path in (*libraries, *tools, app):
        shutil.copyfile(path, staging / "wheels" / path.name)
    if bundle is not None:
        opened = Bundle.load(bundle)
        shutil.copytree(opened.folder, staging / "bundle", ignore=shutil.ignore_patterns("engines", ".*"))
    if config is not None:
        settings = staging / SETTINGS
        settings.parent.mkdir()
        settings.touch(mode=0o600)
        settings.write_text(_settings(config))
    (staging / "units").mkdir()
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in UNIT_SUFFIXES or path.name == "backoff.sh":
            shutil.copyfile(path, staging / "units" / path.name)
    version = app.name.split("-")[1]
    manifest = {
        "version": version,
        "python": target.python,
        "machine": target.machine,
        "environment": fingerprint(libraries),
        "libraries": sorted(path.name for path in libraries),
        "tools": sorted(path.name for path in tools),
        "app": app.name,
        "files": {
            path.relative_to(staging).as_posix(): sha256(path) for path in sorted(staging.rglob("*")) if path.is_file()
        },
    }
    text = json.dumps(manifest, indent=1) + "\n"
    name = f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
    (staging / "release.json").write_text(text)
    shutil.rmtree(into / name, ignore_errors=True)
    staging.rename(into / name)
    return Release(into / name, manifest)


def own_wheel(cache: Path) -> Path:
    """callm-edge's wheel, built from the checkout that this code runs from. Raises UsageError where there is none."""
    top = Path(__file__).resolve().parents[2]
    if not (top / "pyproject.toml").is_file() or 'name = "callm-edge"' not in (top / "pyproject.toml").read_text():
        raise UsageError(
            "There is no checkout to build callm-edge's wheel from",
            "this callm-edge was installed from a wheel itself",
            "Give it: --wheel callm_edge-VERSION-py3-none-any.whl",
        )
    folder = cache / "own"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # The build leaves a folder 'build' and old files in it come back into later wheels: work on a copy.
    with_git = subprocess.run(
        ["git", "-C", str(top), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    source = folder / "source"
    wanted = ("runtime/", "kernels/", "export/", "benchmarks/", "jetson/", "pyproject.toml", "README.md", "LICENSE")
    if with_git.returncode == 0 and with_git.stdout:
        for name in with_git.stdout.splitlines():
            if name.startswith(wanted) and (top / name).is_file():
                (source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(top / name, source / name)
    else:
        ignore = shutil.ignore_patterns("__pycache__", ".*", "build", "*.egg-info")
        for name in wanted:
            path = top / name.rstrip("/")
            if path.is_dir():
                shutil.copytree(path, source / name, ignore=ignore)
            elif path.is_file():
                source.mkdir(exist_ok=True)
                shutil.copyfile(path, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    result = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(source)], capture_output=True, text=True, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        last = (result.stderr.strip().splitlines() or ["pip wheel failed"])[-1]
        raise UserError("callm-edge's wheel could not be built", last, "Build it yourself and give it with --wheel")
    return wheels[0]


def check_wheel(path: Path) -> Path:
    """``path`` if it is a wheel of callm-edge. Raises UsageError else."""
    if not path.is_file() or not path.name.startswith("callm_edge-") or not zipfile.is_zipfile(path):
        raise UsageError(f"{path} is no wheel of callm-edge", "", "Give a file callm_edge-VERSION-py3-none-any.whl")
    return path


def _wheels(
    target: Target,
    app: Path,
    cache: Path,
    extras: Sequence[str],
    wheelhouse: Path | None,
    pip_options: Sequence[str],
) -> tuple[list[Path], list[Path]]:
    """(libraries, tools)."""
    if wheelhouse is not None:
        found = [path for path in sorted(wheelhouse.glob("*.whl")) if not path.name.startswith("callm_edge-")]
        if not any(path.name.startswith("pip-") for path in found):
            raise UserError(f"The wheelhouse {wheelhouse} is incomplete", "it holds no wheel of pip")
    else:
        roots = requirements_of(app, extras)
        wanted = hashlib.sha256("\n".join(sorted(str(root) for root in roots)).encode()).hexdigest()[:10]
        folder = cache / target.key / wanted
        stamp = folder / ".complete"
        if not stamp.exists():
            resolve(roots, target, folder, pip_options=pip_options)
            stamp.touch()
        found = sorted(folder.glob("*.whl"))
    tools = [path for path in found if path.name.startswith("pip-")]
    return [path for path in found if path not in tools], tools


def _settings(config: Path) -> str:
    """The file of variables, checked line by line: a typing error would show only in the device's journal."""
    try:
        text = config.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The config {config} cannot be read", str(error)) from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#") and not _SETTING.fullmatch(line):
            raise UserError(
                f"The config {config} is not understood",
                f"line {number} is no NAME=VALUE",
                "Write options of `callm-edge run` as variables, such as CALLM_EDGE_RUN_SOURCES=csi:0",
            )
    return text if text.endswith("\n") else text + "\n"
