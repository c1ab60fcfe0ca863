"""GPTQ of the token table: less error where the hidden states are, and the same layout as rounding to nearest."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_edge.stage2.decoder import Decoder  # noqa: E402
from callm_export.decoder_graph import DecoderOptions, export_decoder  # noqa: E402
from callm_export.gptq_checkpoint import GptqCheckpoint, round_to_nearest  # noqa: E402
from callm_export.gptq_table import MOMENTS, gptq_table, hidden_moments  # noqa: E402

GOLDENS = Path(__file__).parents[1] / "goldens"
TINY = runpy.run_path(str(GOLDENS / "make_tiny_decoder.py"))


@pytest.fixture
def hidden() -> np.ndarray:
    """(4000, 64) states that share directions and have a few strong channels, as a language model's do."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(4000, 12)) @ rng.normal(size=(12, 64)) + 0.3 * rng.normal(size=(4000, 64))
    states[:, :3] *= 8
    return states.astype(np.float32)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_outputs_err_less_than_by_rounding(hidden: np.ndarray, bits: int) -> None:
    weight = np.random.default_rng(1).normal(size=(200, 64)).astype(np.float32)
    table = gptq_table(weight, hidden.T @ hidden / len(hidden), bits, 32)
    nearest = round_to_nearest(weight, bits, 32)
    assert (table.values.shape, table.scales.shape, table.group) == (nearest.values.shape, nearest.scales.shape, 32)
    errors = [np.square(hidden @ (q.dequantized() - weight).T).mean() for q in (table, nearest)]
    assert errors[0] < 0.6 * errors[1]
    plain = [np.square(q.dequantized() - weight).mean() for q in (table, nearest)]
    assert plain[0] < 2.5 * plain[1], "the token table has to stay near, too"


def test_without_correlation_it_is_rounding_to_nearest() -> None:
    weight = np.random.default_rng(2).normal(size=(50, 64)).astype(np.float32)
    table = gptq_table(weight, np.eye(64, dtype=np.float32), 4, 32)
    np.testing.assert_array_equal(table.values, round_to_nearest(weight, 4, 32).values)


def test_the_moments_beside_a_checkpoint_are_used(tmp_path: Path, hidden: np.ndarray) -> None:
    plain = TINY["make_checkpoint"](tmp_path / "gptq")
    moments = hidden.T @ hidden / len(hidden)
    np.save(tmp_path / "gptq" / MOMENTS, moments)
    export_decoder(GptqCheckpoint(tmp_path / "gptq"), tmp_path / "llm", DecoderOptions(table_group=32))
    expected = gptq_table(plain["model.embed_tokens.weight"], moments, 4, 32).dequantized()
    np.testing.assert_array_equal(Decoder(tmp_path / "llm", threads=1).embed(range(320)), expected)


def test_moments_are_those_of_the_last_hidden_states(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    import torch

    from .test_decoder_weights import save_plain

    TINY["make_checkpoint"](tmp_path / "gptq")
    save_plain(tmp_path / "gptq", GOLDENS / "tiny_decoder", tmp_path / "plain")
    rows = np.random.default_rng(0).integers(0, 271, (3, 16))
    found = hidden_moments(tmp_path / "plain", rows)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "plain").eval()
    with torch.inference_mode():
        # One batch here, one row at a time there.
        states = model(input_ids=torch.from_numpy(rows), output_hidden_states=True).hidden_states[-1]
    states = states.reshape(-1, 64).double().numpy()
    np.testing.assert_allclose(found, states.T @ states / len(states), rtol=1e-4, atol=1e-4)
