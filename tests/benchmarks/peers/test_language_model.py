"""The language model's sides: ours is measured everywhere, and what is left out is named."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench.peers import language_model  # noqa: E402
from callm_bench.setting import Setting  # noqa: E402
from callm_edge.bundle import Bundle  # noqa: E402

TINY = Path(__file__).parents[2] / "goldens" / "tiny_decoder"


@pytest.fixture(autouse=True)
def short_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "PROMPT", "the thing")


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["language_model", "--llm", str(TINY), "--rounds", "3", "--tokens", "4", "--threads", "1", "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    language_model.main()
    report = json.loads(capsys.readouterr().out)
    row = report["stages"][language_model.OURS]
    assert row["n"] == 3
    assert row["ours"]
    assert 0 < row["p50_ms"] <= row["p90_ms"]
    assert row["per_second"] == pytest.approx(1000 / row["p50_ms"], rel=0.05)
    assert row["per_second"] <= row["best_per_second"] + 0.1
    assert set(report["stages"]) | set(report["skipped"]) == set(language_model.sides(TINY, None, None, None, 1))
    assert all("not installed" in why or "is named" in why for why in report["skipped"].values())


def test_of_a_bundle(tiny_cascade: Bundle, tmp_path: Path) -> None:
    found = language_model.measure(Setting(tiny_cascade, tmp_path, quick=True, threads=1))
    assert found.rows[language_model.OURS]["per_second"] > 0
    assert language_model.ratios(found.rows) == {}


def test_without_a_branch_no_side_runs(tiny_bundle: Bundle, tmp_path: Path) -> None:
    found = language_model.measure(Setting(tiny_bundle, tmp_path))
    assert found.rows == {}
    assert set(found.skipped.values()) == {"the bundle 'tiny' has no stage 2"}


def test_transformers_is_a_side_where_it_is_installed(tmp_path: Path) -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    run = language_model.in_transformers(tmp_path, "bfloat16", 1)
    prefill_s, decode_s = run([5, 6, 7], 3)
    assert prefill_s > 0
    assert decode_s > 0
