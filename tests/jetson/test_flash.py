"""`callm-edge flash` against a fake BSP: what is run, in which order, and what a person reads when it goes wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from callm_edge.errors import UsageError, UserError
from callm_jetson import flash_host
from callm_jetson.commands.flash import flash

MakeBsp = Callable[..., Any]
WriteWheel = Callable[..., Path]
SEED_MEMBERS = ("etc/hostname", "etc/callm-edge/authorized_keys", "etc/ssh/sshd_config.d/50-callm-edge.conf")


def run(bsp: Any, key: Path, *extra: str, board: str = "orin-nano") -> Result:
    arguments = ["--board", board, "--bsp", str(bsp.folder), "--ssh-key", str(key), "--sysfs", str(bsp.sysfs)]
    if "--config" not in extra and "--no-release" not in extra:
        arguments.append("--no-release")
    return CliRunner().invoke(flash, [*arguments, "--accept-license", "--yes", *extra], standalone_mode=False)


def refused(result: Result, kind: type[UserError] = UserError) -> UserError:
    assert isinstance(result.exception, kind), result.output
    return result.exception


def test_a_board_is_flashed_with_all_of_nvidias_steps_in_their_order(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("36.4.3")
    bsp.plug("7523")
    result = run(bsp, public_key, "--no-release", "--json", "--hostname", "gate-1")
    assert result.exception is None, result.output
    scripts = [call[0] for call in bsp.calls()]
    assert scripts == ["./apply_binaries.sh", "./tools/kernel_flash/l4t_initrd_flash.sh"]
    assert f"cwd={bsp.folder}" in bsp.raw_calls()
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["step"] for line in lines if line.get("state") == "ok"] == ["apply-binaries", "seed", "flash"]
    log = Path(lines[-1]["log"]).read_text()
    assert "l4t_initrd_flash.sh at work" in log
    assert "exit code 0" in log
    rootfs = bsp.folder / "rootfs"
    assert (rootfs / "etc/hostname").read_text() == "gate-1\n"
    assert str((rootfs / "etc/systemd/system/default.target").readlink()) == "/lib/systemd/system/multi-user.target"
    wants = rootfs / "etc/systemd/system/multi-user.target.wants/callm-edge-firstboot.service"
    assert str(wants.readlink()) == "/etc/systemd/system/callm-edge-firstboot.service"
    assert "PasswordAuthentication no" in (rootfs / SEED_MEMBERS[2]).read_text()
    assert (rootfs / "etc/sudoers.d/callm-edge").stat().st_mode & 0o777 == 0o440
    assert public_key.read_text() in (rootfs / SEED_MEMBERS[1]).read_text()


def test_drivers_that_are_applied_already_are_not_applied_again(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("39.2.1", applied=True)
    bsp.plug("7026")
    assert run(bsp, public_key, "--no-release", board="agx-thor").exception is None
    assert bsp.calls() == [["./l4t_initrd_flash.sh", "jetson-agx-thor-devkit", "internal"]]


def test_variables_reach_the_script_through_sudo(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("38.4.0", applied=True)
    bsp.plug("7026")
    assert run(bsp, public_key, "--no-release", "--storage", "usb", board="agx-thor").exception is None
    assert "#overlay=BootOrderUsb.dtbo" in bsp.raw_calls()


def test_the_dry_run_prints_every_command_and_runs_none(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("36.4.3")
    result = run(bsp, public_key, "--dry-run", "--wifi", "Gate", "--install-prerequisites")  # no board is connected
    assert result.exception is None
    assert not bsp.calls()
    text = result.stdout
    for part in (
        f"cd {bsp.folder}",
        "./tools/l4t_flash_prerequisites.sh",
        "./apply_binaries.sh",
        "tar --extract",
        "/etc/NetworkManager/system-connections/callm-edge-wifi.nmconnection (mode 600)",
        "--external-device nvme0n1p1 -c tools/kernel_flash/flash_l4t_t234_nvme.xml "
        "-p '-c bootloader/generic/cfg/flash_t234_qspi.xml' --showlogs --network usb0 "
        "jetson-orin-nano-devkit-super internal",
    ):
        assert part in text
    as_json = [json.loads(line) for line in run(bsp, public_key, "--dry-run", "--json").stdout.splitlines()]
    assert [line["step"] for line in as_json if line["type"] == "command"] == ["apply-binaries", "seed", "flash"]


def test_a_bsp_of_the_wrong_line_is_refused_with_the_right_one(make_bsp: MakeBsp, public_key: Path) -> None:
    error = refused(run(make_bsp("38.4.0"), public_key, "--dry-run"))
    assert "L4T 38.4.0, which is not for a orin-nano" in error.what
    assert "36.x (JetPack 6.2) or 39.x (JetPack 7.2)" in error.why


@pytest.mark.parametrize(
    ("plugged", "what", "part"),
    [
        ([], "No board in force recovery mode", "0955:7523"),
        (["7020"], "connected but not in force recovery mode", "has booted"),
        (["7323"], "no orin-nano", "Orin NX 16GB"),
        (["7523", "7523"], "2 boards", "1-3, 1-4"),
    ],
)
def test_no_other_board_than_the_one_meant_is_touched(
    make_bsp: MakeBsp, public_key: Path, plugged: list[str], what: str, part: str
) -> None:
    bsp = make_bsp("36.4.3")
    for at, product in enumerate(plugged):
        bsp.plug(product, f"1-{at + 3}")
    error = refused(run(bsp, public_key, "--no-release"))
    assert what in error.what
    assert part in error.why
    assert error.fix
    assert not bsp.calls()


def test_a_missing_tool_is_named_with_its_package(
    make_bsp: MakeBsp, public_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bsp = make_bsp("36.4.3")
    bsp.plug("7523")
    (bsp.bin / "abootimg").unlink()
    (bsp.bin / "xmllint").unlink()
    monkeypatch.setenv("PATH", f"{bsp.bin}:/bin-of-nowhere")
    monkeypatch.setattr(flash_host, "_found", lambda tool: (bsp.bin / tool).exists() or tool == "python3")
    error = refused(run(bsp, public_key, "--no-release"))
    assert error.why == "not installed: abootimg, libxml2-utils"
    assert "sudo apt-get install abootimg libxml2-utils" in error.fix


def test_too_little_space_and_an_incomplete_bsp_are_seen_before_the_first_step(
    make_bsp: MakeBsp, public_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bsp = make_bsp("36.4.3")
    bsp.plug("7523")
    monkeypatch.setattr(flash_host, "FREE_BYTES", 1 << 60)
    assert "Too little space" in refused(run(bsp, public_key, "--no-release")).what
    (bsp.folder / "tools/kernel_flash/flash_l4t_t234_nvme.xml").unlink()
    assert "flash_l4t_t234_nvme.xml" in refused(run(bsp, public_key, "--no-release")).why
    assert not bsp.calls()


def test_a_failed_step_names_itself_and_resume_goes_on_there(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("36.4.3")
    bsp.plug("7523")
    bsp.fail("l4t_initrd_flash.sh", "Device ping failed after RCM boot")
    error = refused(run(bsp, public_key, "--no-release"))
    assert error.what == "Flashing failed at step 3 of 3, 'flash jetson-orin-nano-devkit-super to nvme'"
    assert "exit code 7, saying 'Error: Device ping failed after RCM boot'" in error.why
    assert "flash.log" in error.why
    assert "force recovery mode again" in error.fix
    assert "--resume" in error.fix
    bsp.mend("l4t_initrd_flash.sh")
    before = len(bsp.calls())
    result = run(bsp, public_key, "--no-release", "--resume", "--json")
    assert result.exception is None
    assert [call[0] for call in bsp.calls()[before:]] == ["./tools/kernel_flash/l4t_initrd_flash.sh"]
    states = [json.loads(line).get("state") for line in result.stdout.splitlines()]
    assert states[:2] == ["skipped", "running"], "the seed is done; the drivers need no step any more"


def test_resume_with_other_settings_starts_from_the_seed_again(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("36.4.3", applied=True)
    bsp.plug("7523")
    bsp.fail("l4t_initrd_flash.sh", "no")
    refused(run(bsp, public_key, "--no-release", "--hostname", "one"))
    bsp.mend("l4t_initrd_flash.sh")
    assert run(bsp, public_key, "--no-release", "--hostname", "two", "--resume").exception is None
    assert (bsp.folder / "rootfs/etc/hostname").read_text() == "two\n"


def test_a_board_that_was_reset_meanwhile_stops_the_flash_step(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("36.4.3")
    bsp.plug("7523")
    script = bsp.folder / "apply_binaries.sh"
    script.write_text(script.read_text() + f"\necho 7020 >{bsp.sysfs}/bus/usb/devices/1-3/idProduct\n")
    error = refused(run(bsp, public_key, "--no-release"))
    assert "not in force recovery mode" in error.what
    assert [call[0] for call in bsp.calls()] == ["./apply_binaries.sh"]


def test_ctrl_c_ends_nvidias_script_and_says_how_to_go_on(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("36.4.3", applied=True)
    bsp.plug("7523")
    (bsp.folder / "hang.l4t_initrd_flash.sh").touch()
    code = "import sys; from callm_jetson import flash_host; flash_host.FREE_BYTES = 1\n"
    code += "from callm_jetson.commands.flash import flash\nfrom callm_edge.errors import UserError\n"
    code += "try: flash.main(sys.argv[1:], standalone_mode=False)\nexcept UserError as e: print(e); sys.exit(1)\n"
    arguments = ["--board", "orin-nano", "--bsp", str(bsp.folder), "--ssh-key", str(public_key), "--no-release"]
    arguments += ["--sysfs", str(bsp.sysfs), "--accept-license", "--yes"]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not (bsp.folder / "hanging").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=25)
    assert process.returncode == 1
    assert "interrupted at step 2 of 2" in out
    assert "--resume" in out


def test_the_licence_and_a_yes_are_asked_for(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("36.4.3")
    bsp.plug("7523")
    base = ["--board", "orin-nano", "--bsp", str(bsp.folder), "--ssh-key", str(public_key), "--no-release"]
    base += ["--sysfs", str(bsp.sysfs)]
    result = CliRunner().invoke(flash, base, standalone_mode=False)
    assert "--accept-license" in refused(result, UsageError).fix
    result = CliRunner().invoke(flash, [*base, "--accept-license"], input="n\n", standalone_mode=False)
    assert isinstance(result.exception, click.Abort)
    assert "Orin Nano 8GB at USB port 1-3" in result.stderr
    assert "will be erased" in result.stderr
    assert not bsp.calls()


def test_the_release_and_the_wifi_travel_in_the_root_file_system_and_no_secret_in_the_log(
    make_bsp: MakeBsp, public_key: Path, tmp_path: Path, write_wheel: WriteWheel
) -> None:
    bsp = make_bsp("36.4.3", applied=True)
    bsp.plug("7523")
    house = tmp_path / "house"
    write_wheel(house, "pip", "99.0", {"pip/__init__.py": ""})
    write_wheel(house, "library", "1.0", {"library.py": ""})
    app = write_wheel(tmp_path, "callm_edge", "0.1.0", {"callm_edge/__init__.py": ""}, ("library",))
    secret = tmp_path / "wifi"
    secret.write_text("correct horse\n")
    config = tmp_path / "gate.env"
    config.write_text("CALLM_EDGE_RUN_SOURCES=csi:0\n")
    result = run(
        bsp, public_key, "--wheelhouse", str(house), "--wheel", str(app), "--config", str(config), "--json",
        "--wifi", "Büro", "--wifi-password-file", str(secret), "--power-mode", "MAXN_SUPER", "--clocks",
    )  # fmt: skip
    assert result.exception is None, result.output
    rootfs = bsp.folder / "rootfs"
    (release,) = (rootfs / "opt/callm-edge/incoming").iterdir()
    manifest = json.loads((release / "release.json").read_text())
    assert (manifest["python"], manifest["machine"]) == ("3.10", "aarch64")
    assert set(manifest["files"]) >= {f"wheels/{name.name}" for name in house.iterdir()}
    assert (release / "config/callm-edge.env").stat().st_mode & 0o777 == 0o600
    settings = (rootfs / "etc/callm-edge/firstboot.env").read_text()
    assert f"RELEASE={release.name}" in settings
    assert "POWER_MODE=MAXN_SUPER" in settings
    assert "CLOCKS=1" in settings
    assert (rootfs / "usr/local/lib/callm-edge/agent.py").is_file()
    network = rootfs / "etc/NetworkManager/system-connections/callm-edge-wifi.nmconnection"
    assert network.stat().st_mode & 0o777 == 0o600
    assert "psk=correct\\shorse" in network.read_text()
    assert "ssid=66;195;188;114;111;" in network.read_text(), "the name as bytes: B, two for the umlaut, r, o"
    log = Path(json.loads(result.stdout.splitlines()[-1])["log"])
    assert "correct" not in log.read_text() + result.output
    assert (log.parent / "seed.tar").stat().st_mode & 0o777 == 0o600
    with tarfile.open(log.parent / "seed.tar") as tar:
        assert {(entry.uid, entry.gid) for entry in tar} == {(0, 0)}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--hostname", "Gate_1"], "no host name"),
        (["--user", "root"], "user's name"),
        (["--storage", "floppy"], "cannot be flashed to 'floppy'"),
        (["--board-config", "jetson-orin-nano-devkit-supper"], "no board configuration"),
        (["--power-mode", "; reboot"], "no power mode"),
    ],
)
def test_what_cannot_be_right_is_refused_by_name(
    make_bsp: MakeBsp, public_key: Path, arguments: list[str], part: str
) -> None:
    assert part in str(refused(run(make_bsp("36.4.3"), public_key, "--dry-run", *arguments), UsageError))


def test_a_device_that_would_not_know_what_to_watch_is_not_flashed(make_bsp: MakeBsp, public_key: Path) -> None:
    bsp = make_bsp("36.4.3")
    arguments = ["--board", "orin-nano", "--bsp", str(bsp.folder), "--ssh-key", str(public_key), "--dry-run"]
    result = CliRunner().invoke(flash, arguments, standalone_mode=False)
    assert "--config FILE.env" in refused(result, UsageError).fix


def test_a_private_key_never_goes_onto_a_board(make_bsp: MakeBsp, tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert "private key" in refused(run(make_bsp("36.4.3"), key, "--dry-run"), UsageError).what


def test_what_is_no_bsp_says_how_to_get_one(make_bsp: MakeBsp, public_key: Path, tmp_path: Path) -> None:
    bsp = make_bsp("36.4.3")
    (tmp_path / "empty").mkdir()
    error = refused(run(SimpleNamespace(folder=tmp_path / "empty", sysfs=bsp.sysfs), public_key), UsageError)
    assert "apply_binaries.sh" in error.why
    assert "Jetson_Linux_R" in error.fix
    (bsp.folder / "nv_tegra/bsp_version").unlink()
    assert "version of the BSP" in refused(run(bsp, public_key)).what
