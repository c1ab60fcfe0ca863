"""Wheels for a foreign Python and machine: the closure is judged by the device's Python, not by the one here."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

from callm_edge.errors import UserError
from callm_jetson.device import FOLDER
from callm_jetson.wheelhouse import Target, fingerprint, missing, requirements_of, resolve

WriteWheel = Callable[..., Path]
SCRIPT = FOLDER.parents[1] / "scripts" / "wheelhouse.py"
JETPACK_6, JETPACK_7 = Target("3.10", "aarch64", (2, 35)), Target("3.12", "aarch64", (2, 39))


def test_what_pip_is_told_of_a_device() -> None:
    options = JETPACK_6.pip_options()
    assert options[:5] == ["--only-binary=:all:", "--implementation", "cp", "--python-version", "3.10"]
    platforms = [options[at + 1] for at, option in enumerate(options) if option == "--platform"]
    assert platforms[0] == "manylinux_2_35_aarch64"
    assert "manylinux_2_36_aarch64" not in platforms
    assert platforms[-3:] == ["manylinux_2_17_aarch64", "manylinux2014_aarch64", "linux_aarch64"]


@given(st.integers(17, 60), st.sampled_from(["aarch64", "x86_64"]))
def test_every_older_glibc_is_allowed_and_no_newer(minor: int, machine: str) -> None:
    options = Target("3.12", machine, (2, minor)).pip_options()
    assert f"manylinux_2_{minor}_{machine}" in options
    assert f"manylinux_2_{minor + 1}_{machine}" not in options
    assert all(f"manylinux_2_{older}_{machine}" in options for older in range(17, minor))


def test_the_closure_is_judged_by_the_devices_python(tmp_path: Path, write_wheel: WriteWheel) -> None:
    app = write_wheel(
        tmp_path,
        "app",
        "1.0",
        {},
        (
            'backport; python_version < "3.11"',
            "library[fast]>=1",
            'heavy; extra == "train"',
            'mac; sys_platform == "darwin"',
        ),
    )
    library = write_wheel(tmp_path, "library", "1.2", {}, ('speed; extra == "fast"', 'slow; extra == "other"'))
    roots = [Requirement("app")]
    assert {r.name for r in missing([app, library], roots, JETPACK_6)} == {"backport", "speed"}
    assert {r.name for r in missing([app, library], roots, JETPACK_7)} == {"speed"}
    assert {r.name for r in missing([app, library], [Requirement("app[train]")], JETPACK_7)} == {"speed", "heavy"}
    assert [str(r) for r in missing([app], [Requirement("app>=2")], JETPACK_7)][0] == "app>=2"
    assert [r.name for r in requirements_of(app)] == ["backport", "library", "mac"]
    assert [r.name for r in requirements_of(app, ["train"])] == ["backport", "library", "heavy", "mac"]


def test_the_fingerprint_is_of_the_content(tmp_path: Path, write_wheel: WriteWheel) -> None:
    one, two = write_wheel(tmp_path, "one", "1.0", {}), write_wheel(tmp_path, "two", "1.0", {})
    assert fingerprint([one, two]) == fingerprint([two, one])
    assert fingerprint([one]) != fingerprint([one, two])
    before = fingerprint([one])
    write_wheel(tmp_path, "one", "1.0", {"one.py": "1"})
    assert fingerprint([one]) != before


def test_what_has_no_wheel_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-thing-for-callm-edge") as caught:
        resolve([Requirement("no-such-thing-for-callm-edge")], JETPACK_6, tmp_path, pip_options=["--no-index"])
    assert "Python 3.10 on aarch64" in caught.value.what


def test_the_light_form_of_the_script_resolves_both_jetpacks() -> None:
    result = subprocess.run([sys.executable, str(SCRIPT), "--light"], capture_output=True, text=True, check=False)
    if result.returncode and "Not every wheel" in result.stderr:
        pytest.skip("no package index can be reached")
    assert result.returncode == 0, result.stderr
    parts = result.stdout.split("JetPack ")[1:]
    assert [part.splitlines()[0].split(",")[0] for part in parts] == ["6.2: Python 3.10", "7.2: Python 3.12"]
    assert "tomli-" in parts[0], "needed below Python 3.11, whatever Python this runs on"
    assert "tomli-" not in parts[1]
    for part in parts:
        for name in part.splitlines()[1:]:
            tags = parse_wheel_filename(name.strip())[3]
            assert Tag("py3", "none", "any") in tags or any("aarch64" in tag.platform for tag in tags)


def test_the_script_can_be_imported_without_doing_anything() -> None:
    spec = importlib.util.spec_from_file_location("wheelhouse_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
