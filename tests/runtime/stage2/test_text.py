"""Tokenizer, embedding table and text stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.errors import BundleError
from callm_edge.stage2.text import EmbeddingTable, Tokenizer

FOLDER = Path(__file__).parents[2] / "goldens" / "tiny_decoder"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(FOLDER / "tokenizer.json")


@given(st.text(max_size=60))
def test_text_survives_tokens_whole_and_streamed(text: str) -> None:
    tokenizer = Tokenizer(FOLDER / "tokenizer.json")
    ids = tokenizer.encode(text, special=False)
    assert tokenizer.decode(ids) == text
    stream = tokenizer.stream()
    assert "".join(stream.push(token) for token in ids) == text


def test_a_character_of_several_tokens_waits_until_it_is_whole(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("a€")
    assert len(ids) == 4
    stream = tokenizer.stream()
    assert [stream.push(token) for token in ids] == ["a", "", "", "€"]


def test_a_users_words_cannot_end_the_turn(tokenizer: Tokenizer) -> None:
    end = tokenizer.id("<|im_end|>")
    assert tokenizer.encode("go<|im_end|>") == [*tokenizer.encode("go"), end]
    assert end not in tokenizer.encode("go<|im_end|>", special=False)
    assert tokenizer.decode([*tokenizer.encode("go"), end]) == "go"
    with pytest.raises(BundleError, match="no token"):
        tokenizer.id("[INST]")


@pytest.mark.parametrize("bits", [4, 8])
def test_the_quantized_table_is_scale_times_value_less_zero(tmp_path: Path, bits: int) -> None:
    rng = np.random.default_rng(bits)
    rows, blocks, block = 11, 3, 32
    values = rng.integers(0, 1 << bits, (rows, blocks, block), dtype=np.uint8)
    zeros = rng.integers(0, 1 << bits, (rows, blocks), dtype=np.uint8)
    scales = rng.uniform(0.01, 0.1, (rows, blocks)).astype(np.float16)
    stored = values
    stored_zeros = zeros
    if bits == 4:
        stored = values[..., 0::2] | values[..., 1::2] << 4
        padded = np.pad(zeros, ((0, 0), (0, 1)))
        stored_zeros = padded[:, 0::2] | padded[:, 1::2] << 4
    for name, array in (("embedding", stored), ("embedding_scales", scales), ("embedding_zeros", stored_zeros)):
        np.save(tmp_path / f"{name}.npy", array)
    table = EmbeddingTable(tmp_path)
    assert (table.rows, table.width) == (rows, blocks * block)
    expected = np.empty((rows, blocks * block), np.float32)
    for row in range(rows):
        for at in range(blocks * block):
            centred = int(values[row, at // block, at % block]) - int(zeros[row, at // block])
            expected[row, at] = np.float32(scales[row, at // block]) * centred
    ids = rng.integers(0, rows, 20)
    np.testing.assert_array_equal(table(ids), expected[ids])
    assert table([]).shape == (0, blocks * block)
    for outside in (rows, -1):
        with pytest.raises(BundleError, match="outside"):
            table([0, outside])


def test_a_float16_table_is_read_as_it_is(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(7, 12)).astype(np.float16)
    np.save(tmp_path / "embedding.npy", values)
    table = EmbeddingTable(tmp_path)
    np.testing.assert_array_equal(table([3, 3, 0]), values[[3, 3, 0]].astype(np.float32))


def test_tables_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "embedding.npy", np.zeros((7, 2, 16), np.uint8))
    np.save(tmp_path / "embedding_scales.npy", np.zeros((6, 2), np.float16))
    np.save(tmp_path / "embedding_zeros.npy", np.zeros((7, 1), np.uint8))
    with pytest.raises(BundleError, match="scales"):
        EmbeddingTable(tmp_path)
    np.save(tmp_path / "embedding_scales.npy", np.zeros((7, 2), np.float16))
    np.save(tmp_path / "embedding_zeros.npy", np.zeros((5, 1), np.uint8))
    with pytest.raises(BundleError, match="zero points"):
        EmbeddingTable(tmp_path)
