"""The decoder benchmark measures ours everywhere, and names what it leaves out."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_bench import decoders  # noqa: E402

TINY = Path(__file__).parents[1] / "goldens" / "tiny_decoder"


@pytest.fixture
def short_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "PROMPT", "the thing")


@pytest.mark.usefixtures("short_prompt")
def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["decoders", "--llm", str(TINY), "--rounds", "3", "--tokens", "4", "--threads", "1", "--json"]
    monkeypatch.setattr(sys, "argv", arguments)
    decoders.main()
    report = json.loads(capsys.readouterr().out)
    row = report["stages"]["onnxruntime int4 (ours)"]
    assert row["n"] == 3
    assert 0 < row["p50_ms"] <= row["p90_ms"]
    assert row["per_second"] == pytest.approx(1000 / row["p50_ms"], rel=0.05)
    assert row["per_second"] <= row["best_per_second"]
    assert set(report["stages"]) | set(report["absent"]) == set(decoders.sides(options()))
    assert all("not installed" in why or "names no" in why for why in report["absent"].values())


@pytest.mark.usefixtures("short_prompt")
def test_transformers_is_a_side_where_it_is_installed(tmp_path: Path) -> None:
    if importlib.util.find_spec("transformers") is None:
        pytest.skip("transformers is not installed")
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=320, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    run = decoders.in_transformers(tmp_path, "bfloat16", 1)
    prefill_s, decode_s = run([5, 6, 7], 3)
    assert prefill_s > 0
    assert decode_s > 0


def options() -> argparse.Namespace:
    return argparse.Namespace(llm=TINY, gptq=None, hf=None, gguf=None, threads=1)
