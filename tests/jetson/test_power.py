"""Power modes, clocks and sensors, with stand-ins for NVIDIA's programs that behave as theirs do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.errors import UsageError, UserError
from callm_jetson import nvpmodel, tegrastats
from callm_jetson.commands.power import power
from callm_jetson.machine import Machine
from callm_jetson.power_report import measure

CONF = """< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
"""
# Mode 2 needs a restart, as on boards where it changes the GPU's floorsweeping.
NVPMODEL = """
status={root}/var/lib/nvpmodel/status
if [ "$1" = -q ]; then echo "NVPM WARN: fan mode is not set!"; echo "NV Power Mode: 25W"; echo 1; exit 0; fi
if [ "$2" = 2 ]; then
  echo "NVPM WARN: Reboot required for changing to this power mode: 2"
  echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
  read answer
  if [ "$answer" = yes ]; then echo rebooting >{root}/rebooted; exit 0; fi
  echo "NVPM ERROR: optMask is 1, no request for power mode"; exit 255
fi
echo "pmode:000$2" >$status
"""
LINE = (
    "04-27-2026 15:00:54 RAM 779/7620MB (lfb 2x4MB) SWAP 0/3810MB (cached 0MB) "
    "CPU [12%@1344,0%@1344,off,off,8%@1344,4%@1344] GR3D_FREQ 37% cpu@50.125C soc2@49.125C tj@50.562C "
    "VDD_IN 6626mW/6625mW VDD_CPU_GPU_CV 1228mW/1230mW VDD_SOC 2380mW/2380mW"
)


@pytest.fixture
def board(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path, f"{tmp_path}/bin:/usr/bin:/bin")
    for path, text in (("etc/nvpmodel.conf", CONF), ("var/lib/nvpmodel/status", "pmode:0000")):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "bin").mkdir()
    program(machine, "nvpmodel", NVPMODEL.format(root=tmp_path))
    return machine


def program(machine: Machine, name: str, script: str) -> None:
    path = machine.root / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_modes_by_name_and_number(board: Machine) -> None:
    assert [mode.name for mode in nvpmodel.modes(board)] == ["15W", "25W", "MAXN_SUPER"]
    assert nvpmodel.current(board) == nvpmodel.Mode(0, "15W")
    assert nvpmodel.by_name(board, "maxn_super").id == nvpmodel.by_name(board, "2").id == 2
    assert nvpmodel.fastest(board) == nvpmodel.Mode(2, "MAXN_SUPER")
    with pytest.raises(UsageError, match=r"modes are 15W \(0\), 25W \(1\), MAXN_SUPER \(2\)\. Did you mean '25W'"):
        nvpmodel.by_name(board, "25")
    (board.root / "var/lib/nvpmodel/status").unlink()
    assert nvpmodel.current(board) == nvpmodel.Mode(1, "25W"), "from nvpmodel -q, whose warnings come first"


def test_the_fastest_of_modes_with_watts_only(board: Machine) -> None:
    (board.root / "etc/nvpmodel.conf").write_text(
        "< POWER_MODEL ID=0 NAME=MODE_50W >\n< POWER_MODEL ID=1 NAME=MODE_120W >\n"
    )
    assert nvpmodel.fastest(board) == nvpmodel.Mode(1, "MODE_120W")


def test_a_switch_and_one_that_needs_a_restart(board: Machine) -> None:
    nvpmodel.set_mode(board, nvpmodel.Mode(1, "25W"))
    assert nvpmodel.current(board) == nvpmodel.Mode(1, "25W")
    with pytest.raises(UserError, match="must start anew") as caught:
        nvpmodel.set_mode(board, nvpmodel.Mode(2, "MAXN_SUPER"))
    assert caught.value.fix == "Run: callm-edge power --mode MAXN_SUPER --reboot"
    assert not (board.root / "rebooted").exists()
    nvpmodel.set_mode(board, nvpmodel.Mode(2, "MAXN_SUPER"), reboot=True)
    assert (board.root / "rebooted").exists()


def test_clocks_are_stored_pinned_and_given_back(board: Machine) -> None:
    calls = board.root / "calls"
    program(board, "jetson_clocks", f'echo "$@" >>{calls}; [ "$1" = --store ] && touch "$2"; exit 0')
    with pytest.raises(UserError, match="not pinned by callm-edge"):
        nvpmodel.set_clocks(board, False)
    nvpmodel.set_clocks(board, True)
    nvpmodel.set_clocks(board, False)
    store = f"{board.root}/var/lib/callm-edge/clocks.conf"
    assert calls.read_text().splitlines() == [f"--store {store}", "", f"--restore {store}"]


def test_a_line_of_tegrastats() -> None:
    stats = tegrastats.parse(LINE)
    assert stats is not None
    assert stats.ram_mb == (779, 7620)
    assert stats.cpu_percent == 6.0
    assert stats.gpu_percent == 37
    assert stats.celsius == {"cpu": 50.125, "soc2": 49.125, "tj": 50.562}
    assert stats.watts == {"VDD_IN": 6.626, "VDD_CPU_GPU_CV": 1.228, "VDD_SOC": 2.38}
    assert stats.total_watts == 6.626
    assert tegrastats.parse("no such line") is None


@given(st.dictionaries(st.from_regex(r"\AV[A-Z0-9_]{2,12}\Z"), st.integers(0, 99999), max_size=6))
def test_any_rails_are_read_back(rails: dict[str, int]) -> None:
    text = "RAM 1/2MB " + " ".join(f"{name} {now}mW/{now + 1}mW" for name, now in rails.items())
    stats = tegrastats.parse(text)
    assert stats is not None
    assert stats.watts == {name: now / 1000 for name, now in rails.items()}


def test_the_report_takes_sysfs_first_and_tegrastats_else(board: Machine) -> None:
    program(board, "tegrastats", f"echo '{LINE}'; exec sleep 5")
    report = measure(board, 0.05)
    assert (report.meter, report.scope, report.watts) == ("tegrastats", "module", 6.626)
    assert report.celsius["tj"] == 50.562
    hwmon = board.root / "sys/class/hwmon/hwmon1"
    hwmon.mkdir(parents=True)
    for name, text in (("name", "ina3221"), ("in1_label", "VDD_IN"), ("in1_input", "5000"), ("curr1_input", "1400")):
        (hwmon / name).write_text(text)
    report = measure(board, 0.1)
    assert (report.meter, report.watts, report.rails) == ("INA3221", 7.0, {"VDD_IN": 7.0})
    assert (report.mode, report.modes[2]) == ("15W", "MAXN_SUPER")


def test_the_command_here() -> None:
    result = CliRunner().invoke(power, ["--json", "--seconds", "0.1"], standalone_mode=False)
    report = json.loads(result.stdout)
    assert report["watts"] is None or report["watts"] >= 0
    text = CliRunner().invoke(power, ["--seconds", "0.1"], standalone_mode=False)
    assert "power mode" in text.stdout
    if not Path("/etc/nvpmodel.conf").exists():
        refused = CliRunner().invoke(power, ["--mode", "MAXN"], standalone_mode=False)
        assert isinstance(refused.exception, UsageError)


def test_nothing_is_changed_without_a_yes(monkeypatch: pytest.MonkeyPatch, board: Machine) -> None:
    import callm_jetson.machine

    monkeypatch.setattr(callm_jetson.machine, "Machine", lambda: board)
    result = CliRunner().invoke(power, ["--mode", "25W"], input="n\n", standalone_mode=False)
    assert "Switch from 15W to 25W?" in result.stderr
    assert nvpmodel.current(board) == nvpmodel.Mode(0, "15W")
    CliRunner().invoke(power, ["--mode", "25W", "--yes", "--seconds", "0.1", "--json"], standalone_mode=False)
    assert nvpmodel.current(board) == nvpmodel.Mode(1, "25W")
