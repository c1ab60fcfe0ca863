"""The machine's numbers, from a /proc of our own."""

from __future__ import annotations

from pathlib import Path

from callm_edge.web.machine import Machine


def write(folder: Path, idle: int, busy: int) -> None:
    (folder / "self").mkdir(exist_ok=True)
    (folder / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3 4\n")
    (folder / "self" / "status").write_text("Name:\tx\nVmRSS:\t  204800 kB\n")
    (folder / "meminfo").write_text("MemTotal: 100 kB\nMemAvailable: 1048576 kB\n")


def test_load_is_that_since_the_last_reading(tmp_path: Path) -> None:
    write(tmp_path, 1000, 1000)
    gpu = tmp_path / "load"
    gpu.write_text("437\n")
    machine = Machine(tmp_path, (str(tmp_path / "absent"), str(gpu)))
    write(tmp_path, 1075, 1025)
    first = machine.read()
    assert (first["cpu"], first["gpu"], first["memory_mb"], first["free_mb"]) == (25.0, 43.7, 200.0, 1024.0)
    write(tmp_path, 1075, 1125)
    assert machine.read()["cpu"] == 100.0
    assert machine.read()["cpu"] is None, "no time has passed"


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    read = Machine(tmp_path, ()).read()
    assert [read[name] for name in ("cpu", "gpu", "memory_mb", "free_mb")] == [None] * 4
