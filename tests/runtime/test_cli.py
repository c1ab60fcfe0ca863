"""What a user meets: exit codes, one sentence for a mistake, and no traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def callm_edge(*arguments: str, **options: str) -> subprocess.CompletedProcess[str]:
    code = "from callm_edge.cli import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--help"], 0, "Commands:"),
        (["--version"], 0, "callm-edge"),
        (["rnu"], 2, "Did you mean 'run'?"),
        (["run", "--no-such-option"], 2, "No such option"),
        (["run"], 2, "nothing to watch"),
        (["run", "--source", "test:plaza?seconds=1", "--bundle", "nowhere"], 2, "no bundle 'nowhere'"),
        (["run", "--source", "no-such-file.mp4"], 2, "no-such-file.mp4"),
        (["events", "show", "0"], 1, "Error"),
        (["export", "--out", "x"], 2, "--run or --weights"),
        (["train", "--data", "plaza", "--preset", "egde"], 2, "Did you mean 'edge'?"),
        (["calibrate", "--bundle", "plaza", "--source", "test:plaza?seconds=1"], 2, "--out"),
    ],
)
def test_exit_codes_and_sentences(
    arguments: list[str], code: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if arguments[0] in ("train", "export"):
        pytest.importorskip("torch", reason="the extra 'train' is not installed")
    monkeypatch.setenv("CALLM_EDGE_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    result = callm_edge(*arguments)
    assert result.returncode == code, result.stderr
    assert text in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_a_missing_extra_is_named() -> None:
    # The workshop without torch: as on a device where somebody types the wrong command.
    code = "import sys; sys.modules['torch'] = None\nfrom callm_edge.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "train", "--data", "plaza"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "pip install 'callm-edge[train]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_path_in_an_error_is_printed_as_it_was_given() -> None:
    result = callm_edge("run", "--source", "../no-such-file.mp4")
    assert "../no-such-file.mp4" in result.stderr.splitlines()[0]
