"""LLaMA's tokenizer, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from callm_edge.errors import UserError
from callm_edge.stage2.llama_tokenizer import LlamaTokenizer, load_tokenizer


def test_text_comes_back(llama: LlamaTokenizer) -> None:
    ids = llama.encode("This is abnormal. Someone is running.")
    assert llama.decode([1, *ids, 2, 32000]) == "This is abnormal. Someone is running."


def test_special_tokens_only_where_asked(llama: LlamaTokenizer) -> None:
    assert llama.encode("Yes.</s><s>No.") == [*llama.encode("Yes."), 2, 1, *llama.encode("No.")]
    assert not {1, 2} & set(llama.encode("Yes.</s><s>No.", special=False))


def test_unknown_letters_become_bytes(llama: LlamaTokenizer) -> None:
    assert llama.decode(llama.encode("中\n")) == "中\n"


def test_a_folder_s_own_tokenizer_is_taken(llama_model: Path) -> None:
    assert isinstance(load_tokenizer(llama_model.parent), LlamaTokenizer)


def test_what_is_no_tokenizer_is_named(tmp_path: Path, llama: LlamaTokenizer) -> None:
    with pytest.raises(UserError, match="no such file"):
        LlamaTokenizer(tmp_path / "tokenizer.model")
    (tmp_path / "tokenizer.model").write_bytes(b"no model")
    with pytest.raises(UserError, match="not a sentencepiece model"):
        LlamaTokenizer(tmp_path / "tokenizer.model")
    with pytest.raises(UserError, match="no token '<.im_start.>'"):
        llama.id("<|im_start|>")
    with pytest.raises(UserError, match=r"tokenizer\.json is missing"):
        load_tokenizer(tmp_path / "none")
