"""`callm-edge doctor`: each check against a copy of the files that boards have, and the command on this machine."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from callm_jetson.checks import cameras, cascade, gpu, network, resources, software
from callm_jetson.checks.check import Check, guarded
from callm_jetson.commands.doctor import doctor
from callm_jetson.machine import Machine

Program = Callable[[str, str], None]
STATES = {"ok", "warning", "failed", "skipped"}


@pytest.fixture
def board(tmp_path: Path) -> Machine:
    """An Orin Nano at rest, as files."""
    machine = Machine(tmp_path / "root", str(tmp_path / "bin"))
    put(machine, "/proc/device-tree/model", "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0")
    put(machine, "/etc/nv_tegra_release", "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic, EABI: aarch64\n")
    put(
        machine,
        "/etc/nvpmodel.conf",
        "< PM_CONFIG DEFAULT=1 >\n< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    )
    put(machine, "/var/lib/nvpmodel/status", "pmode:0002")
    put(machine, "/proc/meminfo", "MemTotal: 7990000 kB\nMemFree: 100000 kB\nMemAvailable: 6000000 kB\n")
    for cpu in (0, 1):
        put(machine, f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_min_freq", "729600")
        put(machine, f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_max_freq", "1728000")
    put(machine, "/sys/class/thermal/thermal_zone0/type", "tj-thermal\n")
    put(machine, "/sys/class/thermal/thermal_zone0/temp", "52000\n")
    put(machine, "/sys/class/thermal/thermal_zone0/trip_point_1_type", "passive\n")
    put(machine, "/sys/class/thermal/thermal_zone0/trip_point_1_temp", "99000\n")
    put(machine, "/sys/class/thermal/thermal_zone1/type", "cv0-thermal\n")
    put(machine, "/sys/class/thermal/thermal_zone1/temp", "-256000\n")  # a sensor without power
    (tmp_path / "bin").mkdir()
    return machine


def put(machine: Machine, path: str, text: str) -> None:
    machine.at(path).parent.mkdir(parents=True, exist_ok=True)
    machine.at(path).write_text(text)


def program(machine: Machine, name: str, script: str) -> None:
    path = Path(machine.path) / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_healthy_board(board: Machine) -> None:
    assert software.system(board).state == "ok"
    assert "L4T 36.4.3 (JetPack 6.2 line)" in software.system(board).detail
    assert resources.power_mode(board) == Check("power mode", "ok", "MAXN_SUPER")
    assert resources.memory(board).detail == "5.7 of 7.6 GiB available", "MemAvailable, not MemFree"
    assert resources.temperature(board) == Check("temperature", "ok", "tj at 52 °C")
    assert resources.clocks(board).detail.startswith("free")


def test_a_board_in_a_slow_mode_is_told_the_command(board: Machine) -> None:
    put(board, "/var/lib/nvpmodel/status", "pmode:0000 fmode:quiet")
    check = resources.power_mode(board)
    assert (check.state, check.detail) == ("warning", "15W, not the fastest")
    assert check.fix == "Run: sudo callm-edge power --mode MAXN_SUPER"


def test_a_hot_or_starved_board_is_told_so(board: Machine) -> None:
    put(board, "/sys/class/thermal/thermal_zone0/temp", "96500")
    assert resources.temperature(board).detail == "tj at 96 °C, throttles at 99 °C"
    put(board, "/sys/class/hwmon/hwmon2/oc3_event_cnt", "4")
    put(board, "/sys/class/thermal/cooling_device0/type", "pwm-fan")
    put(board, "/sys/class/thermal/cooling_device0/cur_state", "3")
    put(board, "/sys/class/thermal/cooling_device1/type", "gpu-throttle-alert")
    put(board, "/sys/class/thermal/cooling_device1/cur_state", "1")
    check = resources.temperature(board)
    assert check.state == "warning"
    assert "gpu-throttle-alert at step 1, 4 over-current events (oc3)" in check.detail
    assert "fan" not in check.detail


def test_little_memory(board: Machine) -> None:
    put(board, "/proc/meminfo", "MemTotal: 7990000 kB\nMemFree: 5000000 kB\nMemAvailable: 400000 kB\n")
    assert resources.memory(board).state == "failed"
    put(board, "/proc/meminfo", "MemTotal: 7990000 kB\nMemAvailable: 1500000 kB\n")
    assert resources.memory(board).state == "warning"


def test_an_unknown_l4t_names_those_that_are_known(board: Machine) -> None:
    put(board, "/etc/nv_tegra_release", "# R35 (release), REVISION: 6.1, GCID: 1\n")
    check = software.system(board)
    assert check.state == "warning"
    assert "36.x, 38.x, 39.x" in check.fix


def test_a_board_without_a_driver_is_broken_and_a_pc_without_a_gpu_is_not(
    board: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu, "_driver", lambda: (None, "libcuda.so.1 cannot be loaded"))
    assert gpu.driver(board).state == "failed"
    assert "--openrm" in gpu.driver(board).fix
    plain = Machine(tmp_path / "pc")
    for look in (gpu.driver, gpu.cuda, gpu.tensorrt, gpu.architecture, gpu.kernel):
        assert look(plain).state == "skipped"


def test_a_kernel_that_fails_says_what_and_how_to_mend_it(board: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from callm_kernels.errors import NoCodeError

    def failing() -> str:
        raise NoCodeError("No code for sm_87", "only sm_80 was built", "Run: make kernels")

    monkeypatch.setattr(gpu, "_driver", lambda: (SimpleNamespace(gpus=(), version=(12, 6)), ""))
    monkeypatch.setattr(gpu.importlib, "import_module", lambda name: SimpleNamespace(check=failing))
    assert gpu.kernel(board) == Check(
        "kernel launch", "failed", "No code for sm_87: only sm_80 was built", "Run: make kernels"
    )
    monkeypatch.setattr(
        gpu.importlib, "import_module", lambda name: SimpleNamespace(check=lambda: "psnr on Orin: 3e-7 off")
    )
    assert gpu.kernel(board) == Check("kernel launch", "ok", "psnr on Orin: 3e-7 off")

    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(gpu.importlib, "import_module", absent)
    assert gpu.kernel(board).state == "skipped"


V4L2 = """cat <<'X'
ioctl: VIDIOC_ENUM_FMT
	Type: Video Capture

	[0]: '{first}' (Motion-JPEG, compressed)
		Size: Discrete 1280x720
			Interval: Discrete 0.033s (30.000 fps)
	[1]: '{second}' (YUYV 4:2:2)
		Size: Discrete 1920x1080
X"""


@pytest.mark.parametrize(
    ("formats", "state", "part"),
    [
        (("MJPG", "YUYV"), "ok", "MJPG, YUYV, up to 1920x1080"),
        (("YUYV", "UYVY"), "warning", "only uncompressed"),
        (("RG10", "RG10"), "ok", "read it as csi:N"),
    ],
)
def test_camera_formats(board: Machine, formats: tuple[str, str], state: str, part: str) -> None:
    put(board, "/dev/video0", "")
    program(board, "v4l2-ctl", V4L2.format(first=formats[0], second=formats[1]))
    program(board, "systemctl", "echo active")
    usb, csi = cameras.cameras(board)
    assert (usb.name, usb.state) == ("camera /dev/video0", state)
    assert part in usb.detail
    assert csi == Check("csi", "ok", "nvargus-daemon is running")


def test_without_cameras_or_v4l2ctl(board: Machine, tmp_path: Path) -> None:
    (only,) = cameras.cameras(Machine(tmp_path / "pc", str(tmp_path)))
    assert (only.state, only.fix[:11]) == ("warning", "Plug one in")
    put(board, "/dev/video0", "")
    assert "v4l-utils" in cameras.cameras(board)[0].fix
    program(board, "systemctl", "echo inactive; exit 3")
    assert cameras.cameras(board)[-1] == Check(
        "csi", "warning", "nvargus-daemon is inactive", "Run: sudo systemctl restart nvargus-daemon"
    )


def test_the_service(board: Machine) -> None:
    assert cascade.service(board).state == "skipped"
    put(board, cascade.UNIT, "[Unit]")
    program(board, "systemctl", "echo failed; exit 3")
    check = cascade.service(board)
    assert (check.state, check.detail) == ("failed", "failed")
    assert "journalctl --namespace callm-edge" in check.fix


@contextmanager
def answering(codes: dict[str, int]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(codes.get(self.path, 404))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.mark.parametrize(
    ("codes", "state", "part"),
    [
        ({"/readyz": 200}, "ok", "answers /readyz"),
        ({"/v1/models": 200}, "ok", "answers /v1/models"),
        ({"/readyz": 503}, "warning", "not ready"),
        ({"/readyz": 401}, "failed", "refuses us"),
        ({}, "failed", "neither"),
    ],
)
def test_a_server(codes: dict[str, int], state: str, part: str) -> None:
    with answering(codes) as url:
        check = network.server(url + "/v1")
    assert check.state == state
    assert part in check.detail


def test_a_server_or_broker_that_is_away_and_no_password_in_sight() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        for check in (
            network.server(f"http://bob:hunter2@127.0.0.1:{port}"),
            network.broker(f"mqtt://bob:hunter2@127.0.0.1:{port}"),
        ):
            assert check.state == "failed"
            assert "hunter2" not in check.detail + check.fix
            assert check.fix
        assert network.server("ftp://x").state == "failed"
        assert network.broker(None).state == network.server(None).state == "skipped"
        closed.listen()
        assert network.broker(f"127.0.0.1:{port}").state == "ok"


def test_a_check_that_breaks_is_a_finding_and_hides_nothing() -> None:
    def broken() -> Check:
        raise KeyError("x")

    assert guarded("disk", broken).state == "failed"


def test_the_command_names_every_part_and_a_fix_for_what_is_not_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLM_EDGE_STORE", str(tmp_path))
    result = CliRunner().invoke(doctor, ["--json"], standalone_mode=False)
    checks = json.loads(result.stdout)["checks"]
    names = [check["name"] for check in checks]
    for name in (
        "python", "system", "libraries", "driver", "cuda", "tensorrt", "architecture code", "kernel launch", "bundle",
        "disk", "memory", "power mode", "clocks", "temperature", "broker", "server",
    ):  # fmt: skip
        assert name in names
    assert all(set(check) == {"name", "state", "detail", "fix"} and check["state"] in STATES for check in checks)
    assert all(check["fix"] for check in checks if check["state"] in ("warning", "failed"))
    text = CliRunner().invoke(doctor, ["--bundle", "nowhere"], standalone_mode=False)
    assert isinstance(text.exception, SystemExit)
    assert "no bundle 'nowhere'" in text.stdout
    assert " failed, " in text.stdout
