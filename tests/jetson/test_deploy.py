"""`callm-edge deploy` against a real OpenSSH server on loopback. The device is this machine, below a folder that stands
for '/', and systemd a script that writes down its calls; the app is a stand-in but for the last test."""

from __future__ import annotations

import contextlib
import ensurepip
import fcntl
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from callm_jetson import deploying
from callm_jetson.commands.deploy import deploy
from callm_jetson.deploy_report import DeployReport
from callm_jetson.release_cache import ReleaseCache
from callm_jetson.ssh import Device

WriteWheel = Callable[..., Path]
CLI = """import json, sys, time
VERSION, MODE = {version!r}, {mode!r}
def main():
    if sys.argv[1:] == ["--version"]:
        sys.exit(3 if MODE == "dies" else 0)
    assert sys.argv[1] == "run", sys.argv
    time.sleep({slow})
    if MODE == "blind":
        print(json.dumps({{"type": "summary", "windows": 0}}))
    elif MODE == "broken":
        sys.exit("Error: libcuda is of another age")
    else:
        print(json.dumps({{"type": "summary", "windows": 35}}))
"""


class Bench:
    """One device (a folder), its server, and wheels to deploy."""

    def __init__(self, server: Any, folder: Path, write_wheel: WriteWheel) -> None:
        self.server, self.folder, self.prefix = server, folder, folder / "device"
        self._write_wheel = write_wheel
        self.house = folder / "house"
        self.root = self.prefix / "opt/callm-edge"
        (server.bin / "prefix").write_text(str(self.prefix))
        for name in ("systemctl.calls", "state", "restarts"):
            (server.bin / name).unlink(missing_ok=True)
        write_wheel(self.house, "library", "1.0", {"library.py": "# a library\n"})
        shutil.copy(pip_wheel(), self.house)

    def app(self, version: str, mode: str = "good", slow: float = 0.0, ballast: int = 0) -> Path:
        files = {
            "callm_edge/__init__.py": "",
            "callm_edge/cli.py": CLI.format(version=version, mode=mode, slow=slow),
            **({"callm_edge/ballast.txt": str(version) * ballast} if ballast else {}),
        }
        return self._write_wheel(self.folder / "apps", "callm_edge", version, files, ("library",))

    def run(self, *arguments: str, host: str = "", hosts: tuple[str, ...] = ()) -> Result:
        if "--config" not in arguments and "--rollback" not in arguments:
            (self.folder / "settings.env").write_text("CALLM_EDGE_RUN_SOURCES=test:plaza\n")
            arguments += ("--config", str(self.folder / "settings.env"))
        options = [part for option in self.server.options for part in ("--ssh-option", option)]
        command = [*(hosts or (host or self.server.host,)), "--prefix", str(self.prefix), "--health-seconds", "0.2"]
        return CliRunner().invoke(deploy, [*command, "--json", *options, *arguments], standalone_mode=False)

    def deploy(self, app: Path, *arguments: str, host: str = "") -> Result:
        return self.run("--wheel", str(app), "--wheelhouse", str(self.house), *arguments, host=host)

    def current(self) -> str | None:
        with contextlib.suppress(OSError):
            return (self.root / "current").readlink().name
        return None

    def runs(self) -> bool:
        """The release behind `current` starts."""
        launcher = self.root / "current/bin/callm-edge"
        return subprocess.run([launcher, "--version"], check=False, capture_output=True).returncode == 0


def pip_wheel() -> Path:
    """The one that Python bundles."""
    bundled = sorted((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    if not bundled:
        pytest.skip("this Python bundles no pip (Debian's needs python3-pip-whl)")
    return bundled[-1]


@pytest.fixture(scope="module")
def deployed(sshd: Any, write_wheel: WriteWheel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device as a first deploy of release 1.0 leaves it: most tests begin with a copy of it."""
    bench = Bench(sshd, tmp_path_factory.mktemp("first"), write_wheel)
    assert last(bench.deploy(bench.app("1.0")))["ok"]
    return bench.prefix


@pytest.fixture
def fresh(sshd: Any, tmp_path: Path, write_wheel: WriteWheel, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A device without anything."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Bench(sshd, tmp_path, write_wheel)


@pytest.fixture
def bench(fresh: Bench, deployed: Path) -> Bench:
    """A device that runs release 1.0."""
    shutil.copytree(deployed, fresh.prefix, symlinks=True)
    (fresh.server.bin / "prefix").write_text(str(fresh.prefix))
    (fresh.server.bin / "state").write_text("active\n")
    return fresh


def last(result: Result) -> dict[str, Any]:
    assert result.stdout, (result.output, result.exception)
    line: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return line


def steps(result: Result) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return [(line["step"], line["state"]) for line in lines if line["type"] == "step"]


def test_a_first_deploy_installs_starts_and_watches(fresh: Bench, tmp_path: Path) -> None:
    bench = fresh
    config = tmp_path / "gate.env"
    config.write_text("CALLM_EDGE_RUN_SOURCES=rtsp://admin:hunter2@cam/1\n")
    result = bench.deploy(bench.app("1.0"), "--config", str(config))
    assert result.exception is None, result.output
    assert last(result)["ok"]
    assert last(result)["current"] == bench.current()
    assert bench.runs()
    done = [name for name, state in steps(result) if state == "ok"]
    assert done == ["connect", "wheels", "send", "libraries", "install", "health"]
    assert ("engine", "skipped") in steps(result)
    assert [call for call in bench.server.systemctl_calls() if not call.startswith("show")] == [
        "daemon-reload",
        "enable callm-edge.service",
        "restart callm-edge.service",
    ]
    assert (bench.prefix / "etc/systemd/system/callm-edge.service").is_file()
    assert (bench.prefix / "etc/udev/rules.d/70-callm-edge.rules").is_file()
    assert (bench.prefix / "etc/systemd/journald@callm-edge.conf").is_file()
    settings = bench.prefix / "etc/callm-edge/callm-edge.env"
    assert settings.stat().st_mode & 0o777 == 0o600
    assert "hunter2" not in result.output
    assert not (bench.root / "incoming").exists() or not list((bench.root / "incoming").iterdir())


def test_a_device_without_settings_is_not_given_a_service_that_cannot_start(fresh: Bench) -> None:
    releases = ReleaseCache(fresh.folder / "r", fresh.folder / "c", wheel=fresh.app("1.0"), wheelhouse=fresh.house)
    with Device(fresh.server.host, fresh.server.options, str(fresh.prefix)) as device:
        watcher = DeployReport([device.name], as_json=True).watcher(device.name)
        outcome = deploying.deploy(device, releases.get, watcher)
    assert not outcome.ok
    assert "--config FILE.env" in outcome.error
    assert not (fresh.root / "releases").exists()


def test_an_update_sends_only_what_is_new_and_the_same_again_nothing(bench: Bench) -> None:
    update = bench.deploy(bench.app("1.1"))
    assert last(update)["ok"]
    assert sent(update) == ["0.0 MB"], "pip alone would be 2 MB"
    assert ("libraries", "skipped") in steps(update)
    again = bench.deploy(bench.app("1.1"))
    assert last(again)["ok"]
    assert sent(again) == []


def sent(result: Result) -> list[str]:
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return [line["detail"] for line in lines if line.get("step") == "send" and line["state"] == "ok"]


@pytest.mark.parametrize(
    ("mode", "why"),
    [
        ("broken", "libcuda is of another age"),
        ("blind", "its test run scored nothing"),
        ("dies", "its service is failed"),
    ],
)
def test_a_bad_release_is_rolled_back_and_leaves_no_trace(bench: Bench, mode: str, why: str) -> None:
    good = bench.current()
    result = bench.deploy(bench.app("2.0", mode))
    assert isinstance(result.exception, SystemExit)
    assert not last(result)["ok"]
    assert why in last(result)["error"]
    assert f"{good} runs again" in last(result)["error"]
    assert ("rollback", "ok") in steps(result)
    assert bench.current() == good
    assert bench.runs()
    assert (bench.server.bin / "state").read_text().strip() == "active"
    assert [path.name for path in (bench.root / "releases").iterdir()] == [good]


def test_a_first_release_that_is_bad_is_stopped_and_said(fresh: Bench) -> None:
    bench = fresh
    result = bench.deploy(bench.app("1.0", "broken"))
    assert "there is no other to go back to; the service is stopped" in last(result)["error"]
    assert bench.current() is None
    assert (bench.server.bin / "state").read_text().strip() == "inactive"


def test_rollback_by_hand_changes_the_two_and_back(bench: Bench) -> None:
    assert "no earlier release" in last(bench.run("--rollback"))["error"]
    first = bench.current()
    bench.deploy(bench.app("1.1"))
    second = bench.current()
    assert last(bench.run("--rollback")) | {"engine": "", "type": ""} == {
        **{"host": bench.server.host, "ok": True, "current": first, "previous": second},
        **{"error": "", "engine": "", "type": ""},
    }  # fmt: skip
    assert bench.current() == first
    bench.run("--rollback")
    assert bench.current() == second


@contextlib.contextmanager
def cut_after(port: int, limit: int) -> Iterator[tuple[int, threading.Event]]:
    """A port that passes on to ``port`` and cuts every connection once ``limit`` bytes went up, or when told to."""
    cut = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    pairs: list[socket.socket] = []

    def pump(source: socket.socket, target: socket.socket, counted: bool) -> None:
        count = 0
        with contextlib.suppress(OSError):
            while (data := source.recv(65536)) and not cut.is_set():
                count += len(data)
                if counted and count > limit:
                    cut.set()
                    break
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                pairs.extend((client, server))
                threading.Thread(target=pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=pump, args=(server, client, False), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()

    def watch() -> None:
        cut.wait()
        for each in pairs:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield listener.getsockname()[1], cut
    finally:
        cut.set()
        listener.close()
        for each in pairs:
            each.close()


def test_a_connection_cut_while_sending_leaves_the_old_release_running(bench: Bench) -> None:
    old = bench.current()
    heavy = bench.app("2.0", ballast=0)
    heavy.write_bytes(heavy.read_bytes())
    big = bench.folder / "house" / "pip-0.0-py3-none-any.whl"
    big.write_bytes(bytes(range(256)) * 8192)  # 2 MB that do not compress, never installed
    with cut_after(bench.server.port, 600_000) as (port, _):
        result = bench.deploy(heavy, host=f"127.0.0.1:{port}")
    assert not last(result)["ok"]
    assert "the connection was lost while sending the release" in last(result)["error"]
    assert "what ran there goes on running" in last(result)["error"]
    assert bench.current() == old
    assert bench.runs()
    assert (bench.root / "incoming").is_dir(), "the half of it that came"
    big.unlink()
    assert last(bench.deploy(heavy))["ok"], "and the next try, over a whole line, mends everything"
    assert not list((bench.root / "incoming").glob("*"))


@pytest.mark.parametrize("mode", ["good", "broken"])
def test_a_connection_cut_while_switching_still_ends_in_a_healthy_release(bench: Bench, mode: str) -> None:
    old = bench.current()
    slow = bench.app("2.0", mode, slow=1.0)
    with cut_after(bench.server.port, 1 << 40) as (port, cut):
        watching = threading.Thread(target=_cut_at_switch, args=(bench, old, cut))
        watching.start()
        result = bench.deploy(slow, host=f"127.0.0.1:{port}")
        watching.join()
    assert "the connection was lost while switching" in last(result)["error"]
    deadline = time.monotonic() + 15
    while (bench.root / ".switching").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (bench.root / ".switching").exists()
    assert (bench.current() != old) is (mode == "good")
    assert bench.runs()


def _cut_at_switch(bench: Bench, old: str | None, cut: threading.Event) -> None:
    deadline = time.monotonic() + 20
    while bench.current() == old and time.monotonic() < deadline:
        time.sleep(0.01)
    cut.set()


def test_a_switch_that_a_power_cut_ended_is_undone_by_the_next_deploy(bench: Bench) -> None:
    first = bench.current()
    bench.deploy(bench.app("1.1"))
    second = bench.current()
    (bench.root / ".switching").write_text(json.dumps({"from": first, "to": second}))
    result = bench.deploy(bench.app("3.0", "broken"))
    assert ("recover", "ok") in steps(result)
    assert bench.current() == first, "the release that was proven healthy last"


def test_ten_deploys_leave_a_bounded_number_of_everything(bench: Bench) -> None:
    sizes = []
    for number in range(10):
        assert last(bench.deploy(bench.app(f"2.{number}", ballast=100_000)))["ok"]
        sizes.append(sum(path.lstat().st_size for path in bench.prefix.rglob("*") if not path.is_dir()))
    assert len(list((bench.root / "releases").iterdir())) == 3
    assert len(list((bench.root / "environments").iterdir())) == 1
    assert len(list((bench.root / "wheels").glob("callm_edge-*"))) == 3
    assert max(sizes[3:]) < 1.02 * sizes[3], "what the fourth deploy takes, the tenth takes"


def test_several_devices_at_once_and_one_that_is_off(bench: Bench) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        off = f"127.0.0.1:{closed.getsockname()[1]}"
        result = bench.run(
            "--wheel", str(bench.app("1.1")), "--wheelhouse", str(bench.house), hosts=(bench.server.host, off)
        )
    assert isinstance(result.exception, SystemExit)
    outcomes = {
        line["host"]: line for line in map(json.loads, result.stdout.splitlines()) if line["type"] == "deployed"
    }
    assert outcomes[bench.server.host]["ok"]
    assert not outcomes[off]["ok"]
    assert "No connection" in outcomes[off]["error"]
    assert bench.runs()


def test_two_devices_are_served_side_by_side_by_one_release(bench: Bench, tmp_path: Path) -> None:
    config = tmp_path / "gate.env"
    config.write_text("CALLM_EDGE_RUN_SOURCES=csi:0\n")
    releases = ReleaseCache(
        tmp_path / "r", tmp_path / "c", wheel=bench.app("1.1"), wheelhouse=bench.house, config=config
    )
    prefixes = [tmp_path / "one", tmp_path / "two"]
    (bench.server.bin / "prefix").write_text("any")
    outcomes: list[deploying.Outcome] = []

    def one(prefix: Path) -> None:
        with Device(bench.server.host, bench.server.options, str(prefix)) as device:
            watcher = DeployReport([device.name], as_json=True).watcher(device.name)
            outcomes.append(deploying.deploy(device, releases.get, watcher, health_s=0.2))

    for prefix in prefixes:
        shutil.copytree(bench.root / "environments", prefix / "opt/callm-edge/environments", symlinks=True)
    threads = [threading.Thread(target=one, args=(prefix,)) for prefix in prefixes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({outcome.current for outcome in outcomes}) == 1
    assert all(outcome.ok for outcome in outcomes), outcomes


def test_a_second_deploy_to_a_busy_device_is_refused(bench: Bench) -> None:
    with (bench.root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = bench.deploy(bench.app("1.1"))
    assert "another deploy is at work" in last(result)["error"]


def test_what_is_wrong_on_this_side_is_said_before_any_device_is_touched(fresh: Bench, tmp_path: Path) -> None:
    bench = fresh
    for arguments, part in (
        (["--bundle", "nowhere"], "no bundle 'nowhere'"),
        (["--wheel", str(tmp_path / "x.whl")], "no wheel of callm-edge"),
    ):
        result = bench.run(*arguments)
        assert part in str(result.exception)
    bad = tmp_path / "bad.env"
    bad.write_text("source: csi\n")
    result = bench.deploy(bench.app("1.0"), "--config", str(bad))
    assert "line 1 is no NAME=VALUE" in last(result)["error"]
    assert bench.current() is None
    assert not (bench.root / "releases").exists()


@pytest.mark.slow
def test_callm_edge_itself_is_deployed_and_tests_itself(fresh: Bench) -> None:
    """The real wheel, every real library for this machine's Python from the package index, the plaza's bundle."""
    bench = fresh
    result = bench.run("--bundle", "plaza")
    if any(
        part in last(result)["error"] for part in ("package index", "No matching distribution found for setuptools")
    ):
        pytest.skip("no package index can be reached")
    assert last(result)["ok"], result.output
    launcher = bench.root / "current/bin/callm-edge"
    doctor = subprocess.run([launcher, "doctor", "--json"], capture_output=True, text=True, check=False)
    states = {check["name"]: check["state"] for check in json.loads(doctor.stdout)["checks"]}
    assert states["python"] == states["libraries"] == states["bundle"] == "ok"
    python_there = bench.root / "current/environment/bin/python"
    assert python_there.resolve() == Path(sys.executable).resolve()
    torch = subprocess.run(
        [bench.root / "current/environment/bin/python", "-c", "import torch"], check=False, capture_output=True
    )
    assert torch.returncode != 0, "the device never gets torch"
