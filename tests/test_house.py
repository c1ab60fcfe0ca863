"""The house: rooms depend downwards only, the device imports no torch, and the command answers at once."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]
# callm_bench -> callm_export -> callm_edge -> callm_kernels, callm_jetson -> callm_edge
ROOMS = {
    "kernels/callm_kernels": set(),
    "runtime/callm_edge": {"callm_kernels"},
    "export/callm_export": {"callm_edge", "callm_kernels"},
    "benchmarks/callm_bench": {"callm_export", "callm_edge", "callm_kernels"},
    "jetson/callm_jetson": {"callm_edge", "callm_kernels"},
}


def imported(path: Path) -> set[str]:
    """Top-level names of all modules that a file imports, lazily or not."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    own = Path(room).name
    files = sorted((TOP / room).rglob("*.py"))
    assert files
    for path in files:
        ours = {name for name in imported(path) if name.startswith("callm_")}
        assert ours <= ROOMS[room] | {own}, f"{path.relative_to(TOP)} imports {ours - ROOMS[room] - {own}}"


def test_importing_the_runtime_pulls_in_no_torch() -> None:
    # The torch class of the video-language branch lies behind the door of its package, which is imported here.
    behind = TOP / "runtime/callm_edge/stage2/torch_model"
    modules = [
        ".".join(path.relative_to(TOP / "runtime").with_suffix("").parts)
        for path in (TOP / "runtime" / "callm_edge").rglob("*.py")
        if path.parent != behind or path.stem in ("__init__", "config", "parts")
    ]
    code = (
        "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint('torch' in sys.modules)"
    )
    names = [name.removesuffix(".__init__") for name in modules]
    result = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "False"


def test_the_help_lists_every_command_without_heavy_imports() -> None:
    code = (
        "import sys\nfrom callm_edge.cli import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in sys.argv[1:] if name in sys.modules])"
    )
    heavy = ["numpy", "cv2", "av", "onnxruntime", "matplotlib", "rich", "torch", "pydantic"]
    result = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    for command in ("run", "events", "calibrate", "verify", "train", "export", "evaluate", "learn"):
        assert f"\n  {command} " in result.stdout
    assert result.stdout.splitlines()[-1] == "[]", "the command line must answer in under 0.3 s"


def test_a_test_sets_the_clock_of_one_module_and_never_that_of_the_process() -> None:
    # An event loop in another thread that looks then goes to sleep for as long as the made-up clock says.
    patch = re.compile(r"""setattr\(\s*(time,|\w+\.time,|"[\w.]+\.time\.\w+")""")
    found = [path.name for path in sorted((TOP / "tests").rglob("*.py")) if patch.search(path.read_text())]
    assert found == []


def test_the_top_level_is_as_agreed() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=TOP, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout")
    folders = {line.split("/")[0] for line in tracked if "/" in line}
    assert folders == {"export", "runtime", "kernels", "benchmarks", "tests", "jetson", "docs", ".ci"}
