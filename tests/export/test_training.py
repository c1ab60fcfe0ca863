"""Training: it learns, survives kill -9, goes on bit by bit, and refuses a checkpoint that is not its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_edge.errors import UserError  # noqa: E402
from callm_export.autoencoder import PRESETS  # noqa: E402
from callm_export.checkpoint import Checkpoint  # noqa: E402
from callm_export.footage import Footage  # noqa: E402
from callm_export.training import Recipe, Training, recipe  # noqa: E402


@pytest.fixture(autouse=True)
def tiny_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", (4, 8, 8, 8))


@pytest.fixture
def footage(walkers: np.ndarray) -> Footage:
    return Footage(("a", "b", "c"), (walkers[:26], walkers[20:46], walkers[34:]), 25.0)


def run(folder: Path, footage: Footage, recipe: Recipe, resume: bool = False) -> Training:
    training = Training(folder, footage, "tiny", recipe, "walkers", resume)
    training.run(lambda step: None, lambda summary: None)
    return training


# A batch of 1 whole frame is 16 squares of 64 pixels.
SHORT = Recipe(epochs=2, batch=1, crop=64, crop_share=0.5, epoch_windows=4, validation_windows=1)


def test_it_learns(tmp_path: Path, footage: Footage) -> None:
    history = run(
        tmp_path, footage, Recipe(epochs=6, batch=1, crop=64, crop_share=1.0, learning_rate=1e-2, validation_windows=1)
    ).progress.history
    assert history[-1]["loss"] < history[0]["loss"] * 0.6
    assert set(history[0]) == {"epoch", "loss", "held_out_psnr_db", "held_out_pseudo_auc"}


@pytest.mark.parametrize("name", ["paper", "pseudo"])
def test_both_recipes_train(tmp_path: Path, footage: Footage, name: str) -> None:
    training = run(tmp_path, footage, recipe(name, epochs=1, epoch_windows=4, validation_windows=1))
    assert training.weights(1).is_file()
    if name == "paper":
        assert training.pseudo is None
        window, target = training.sample(0, 0)
        np.testing.assert_array_equal(window, target)
        assert window.shape == (16, 256, 256)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, footage: Footage) -> None:
    whole = run(tmp_path / "whole", footage, SHORT)

    class PowerCutError(Exception):
        pass

    steps = []

    def cut(step: object) -> None:
        steps.append(step)
        if len(steps) == 2:
            raise PowerCutError

    broken = Training(tmp_path / "broken", footage, "tiny", SHORT, "walkers", False)
    with pytest.raises(PowerCutError):
        broken.run(cut, lambda summary: None)
    again = run(tmp_path / "broken", footage, SHORT, resume=True)
    for key, value in whole.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[key], value, msg=key)
    assert len(again.progress.history) == 2


def test_another_recipe_is_refused(tmp_path: Path, footage: Footage) -> None:
    run(tmp_path, footage, SHORT)
    with pytest.raises(UserError, match="recipe"):
        Training(tmp_path, footage, "tiny", Recipe(epochs=9), "walkers", True)


def test_a_damaged_checkpoint_is_a_sentence(tmp_path: Path, footage: Footage) -> None:
    run(tmp_path, footage, SHORT)
    (tensors,) = tmp_path.glob("state-*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read"):
        Training(tmp_path, footage, "tiny", SHORT, "walkers", True)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Training(tmp_path, footage, "tiny", SHORT, "walkers", True)


def test_the_learning_rate_warms_up_and_falls_to_nothing(tmp_path: Path, footage: Footage) -> None:
    training = Training(tmp_path, footage, "tiny", Recipe(epochs=10), "walkers", False)
    rates = [training.rate(epoch, part) for epoch in range(10) for part in (0.0, 0.5)]
    assert rates[0] < rates[1] / 5
    assert max(rates) <= 1e-3
    assert rates[-1] < 1e-4
    assert rates[1:] == sorted(rates[1:], reverse=True)


def test_the_command_survives_kill_9(tmp_path: Path, walkers: np.ndarray) -> None:
    """Killed in the middle twice and resumed each time, it ends with all epochs and starts none from nothing."""
    for clip, frames in (("a", walkers[:18]), ("b", walkers[20:38])):
        (tmp_path / "data" / clip).mkdir(parents=True)
        for index, frame in enumerate(frames):
            cv2.imwrite(str(tmp_path / "data" / clip / f"{index:03d}.png"), frame)
    out = tmp_path / "run"
    command = [
        sys.executable,
        "-c",
        f"from callm_export.autoencoder import PRESETS; PRESETS['tiny'] = {PRESETS['tiny']}; "
        "from callm_edge.cli import main; main()",
        "train",
        "--data",
        str(tmp_path / "data"),
    ]
    command += ["--preset", "tiny", "--epochs", "4", "--threads", "1", "--out", str(out), "--json", "--resume"]
    for epochs_wanted in (1, 2):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if Checkpoint(out).exists() and Checkpoint(out).record()["epoch"] >= epochs_wanted:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    record = Checkpoint(out).record()
    assert [entry["epoch"] for entry in record["history"]] == [1, 2, 3, 4]
    reported = [json.loads(line)["epoch"] for line in result.stdout.splitlines()]
    assert reported[0] >= 2
    assert reported[-1] == 4
    assert "Going on at epoch" in result.stderr
    refused = subprocess.run([*command[:-1]], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
