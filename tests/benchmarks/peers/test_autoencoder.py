"""The peers compute what we compute: else their times would say nothing."""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

import torch  # noqa: E402

from callm_bench.peers import autoencoder  # noqa: E402
from callm_bench.setting import Setting  # noqa: E402
from callm_bench.stage import Stage  # noqa: E402
from callm_bench.stages import stage1  # noqa: E402
from callm_bench.timing import measure  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402
from callm_edge.stage1.scorer import OrtScorer  # noqa: E402
from callm_export.autoencoder import Autoencoder  # noqa: E402


@pytest.fixture
def setting(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """The tiny bundle, whose network (see conftest) the peers run too."""
    torch.manual_seed(0)
    model = Autoencoder((2, 2, 2, 2)).eval()
    monkeypatch.setattr(stage1, "network", lambda preset: model)
    return Setting(tiny_bundle, tmp_path, presets=("2-2-2-2",), quick=True, rounds=2, threads=1)


def sides(setting: Setting) -> dict[str, Stage]:
    return {stage.name.removeprefix("2-2-2-2, "): stage for stage in autoencoder.stages(setting)}


@pytest.mark.parametrize("side", [autoencoder.PLAIN, autoencoder.FULL, autoencoder.OPENVINO, autoencoder.OPENVINO_OURS])
def test_a_side_gives_our_score(setting: Setting, side: str) -> None:
    if "OpenVINO" in side and importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed")
    ours = float(OrtScorer(setting.bundle.score_path, 1).score(autoencoder.window()[None]).psnr_db[0])
    with ExitStack() as stack:
        said: Any = sides(setting)[side].open(stack)()
    if side == autoencoder.PLAIN:
        theirs = said
    elif side == autoencoder.FULL:
        theirs = float(said.psnr_db[0])
    else:
        theirs = next(float(value[0]) for output, value in said.items() if "psnr_db" in output.names)
    assert theirs == pytest.approx(ours, abs=2e-3)


def test_sides_in_turn_and_their_ratios_to_ours(setting: Setting) -> None:
    stages = [sides(setting)[autoencoder.PLAIN], sides(setting)[autoencoder.FULL], *stage1.stages(setting)[:2]]
    measured = measure(stages, 2, 0.0)
    ratios = autoencoder.ratios(measured.rows, setting.presets)
    assert set(ratios) == {
        "2-2-2-2: plain torch loop / shared",
        "2-2-2-2: ONNX Runtime, full graph / shared",
        "2-2-2-2: onnxruntime / shared",
    }
    rows = measured.rows
    of_rounds = np.divide(rows["2-2-2-2, plain torch loop"]["rounds_ms"], rows["stage 1, 2-2-2-2, shared"]["rounds_ms"])
    assert ratios["2-2-2-2: plain torch loop / shared"] == pytest.approx(float(np.median(of_rounds)), abs=0.01)


def test_threads_are_set_back(setting: Setting) -> None:
    before = torch.get_num_threads()
    with ExitStack() as stack:
        sides(replace(setting, threads=before + 1))[autoencoder.PLAIN].open(stack)
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_what_is_left_out_says_why(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(autoencoder.importlib.util, "find_spec", lambda name: None)
    absent = [sides(setting)[side] for side in (autoencoder.COMPILED, autoencoder.OPENVINO)]
    skipped = measure(absent, 1, 0.0).skipped
    assert "--quick" in skipped["2-2-2-2, torch.compile"]
    assert "pip install openvino" in skipped["2-2-2-2, OpenVINO, full graph"]
