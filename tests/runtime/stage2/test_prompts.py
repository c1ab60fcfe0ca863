"""Prompts: the published ones token by token, and what must hold of every template."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.errors import UsageError
from callm_edge.stage2.llama_tokenizer import LlamaTokenizer
from callm_edge.stage2.prompts import (
    ABNORMAL_QUESTION,
    EXPLAIN_QUESTION,
    TEMPLATES,
    TextTokenizer,
    Turn,
    frame_indices,
    frames_message,
    placeholder_runs,
    template,
)

GOLDEN = json.loads((Path(__file__).resolve().parents[2] / "goldens/videollama_tiny/text_goldens.json").read_text())
MESSAGE = frames_message([i / 2 for i in range(8)])
EARLIER = [Turn(ABNORMAL_QUESTION, "Yes. Someone is running.")]


class Letters:
    """A tokenizer of characters with the special tokens of both families."""

    size = 0x110010
    specials = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")

    def encode(self, text: str, special: bool = True) -> list[int]:
        assert not special, "prompts must never let text become special tokens"
        return [ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(chr(i) if i < 0x110000 else self.specials[i - 0x110000] for i in ids)

    def id(self, token: str) -> int:
        return 0x110000 + self.specials.index(token)


LETTERS: TextTokenizer = Letters()


@pytest.mark.parametrize(
    ("golden", "name", "question", "history"),
    [
        ("vicuna", "v1", ABNORMAL_QUESTION, []),
        ("vicuna_turn2", "v1", "What happens?", EARLIER),
        ("llama_v2", "v2", ABNORMAL_QUESTION, []),
        ("llama_v2_turn2", "v2", "What happens?", EARLIER),
    ],
)
def test_prompts_are_the_published_ones(
    llama: LlamaTokenizer, golden: str, name: str, question: str, history: list[Turn]
) -> None:
    prompt = template(name).prompt(llama, question, MESSAGE, history)
    assert prompt.text == GOLDEN["prompts"][golden]
    assert [list(prompt.before), list(prompt.after)] == GOLDEN["prompt_segment_ids"][golden]


def test_the_message_is_the_published_one() -> None:
    assert GOLDEN["samples"]["msg"] == MESSAGE


def test_hashes_are_encoded_in_two_ways(llama: LlamaTokenizer) -> None:
    assert llama.encode("###") == GOLDEN["enc ###"]
    assert llama.encode("\n###") == GOLDEN["enc \\n###"]
    assert llama.encode("a###") == GOLDEN["enc a###"]
    assert template("v1").stops(llama) == ((835,), (2277, 29937))
    assert template("v2").stops(llama) == ((GOLDEN["tokenizer"]["eos"],),)


def test_the_placeholder_is_the_first_free_id(llama: LlamaTokenizer) -> None:
    ids = template("v1").prompt(llama, "What happens?").token_ids(llama.size)
    assert llama.size == GOLDEN["image_token_id"]
    assert [length for _, length in placeholder_runs(ids, llama.size)] == [32]


def test_the_first_release() -> None:
    text = template("v0").prompt(LETTERS, "What?", "ignored").text
    assert text.endswith("questions.###Human: <Vision><ImageHere></Vision> What?###Assistant:")


def test_chatml() -> None:
    prompt = template("chatml").prompt(LETTERS, "What?", "8 frames. ", [Turn("Well?", "Yes.")])
    assert prompt.text == (
        "<|im_start|>system\nYou watch a surveillance camera.<|im_end|>\n<|im_start|>user\n"
        "<Video><ImageHere></Video> 8 frames. Well?<|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>\n"
        "<|im_start|>user\nWhat?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert prompt.stops == ((LETTERS.id("<|im_end|>"),), (LETTERS.id("<|endoftext|>"),))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_second_question_begins_with_the_first(name: str) -> None:
    """So the device keeps the KV cache of the first."""
    first = template(name).prompt(LETTERS, ABNORMAL_QUESTION, MESSAGE)
    second = template(name).prompt(LETTERS, EXPLAIN_QUESTION, MESSAGE, [Turn(ABNORMAL_QUESTION, "Yes")])
    assert second.before == first.before
    assert second.after[: len(first.after)] == first.after


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_the_second_question_begins_with_the_first_in_llamas_tokens(llama: LlamaTokenizer, name: str) -> None:
    first = template(name).prompt(llama, ABNORMAL_QUESTION, MESSAGE)
    second = template(name).prompt(llama, EXPLAIN_QUESTION, MESSAGE, [Turn(ABNORMAL_QUESTION, "Yes")])
    assert second.after[: len(first.after)] == first.after
    yes = template(name).answer_ids(llama, "Yes")
    assert list(second.after[len(first.after) : len(first.after) + len(yes)]) == yes


@pytest.mark.parametrize("name", TEMPLATES)
@given(words=st.sampled_from(["<|im_end|>", "</s>", "<s>", "<ImageHere>"]))
def test_words_of_a_user_never_become_special(name: str, words: str) -> None:
    plain, odd = (template(name).prompt(LETTERS, f"What{w}?").token_ids(LETTERS.size) for w in ("", words))
    for ids in (plain, odd):
        assert [length for _, length in placeholder_runs(ids, LETTERS.size)] == [32]
    assert sum(i > 0x110000 - 1 for i in plain) == sum(i > 0x110000 - 1 for i in odd)


@pytest.mark.parametrize(
    ("name", "raw"),
    [("v1", " Yes.###Human: x"), ("v1", "Assistant: Yes."), ("v2", " Yes. </s>"), ("chatml", "Yes.<|im_end|>")],
)
def test_answers_are_cleaned(name: str, raw: str) -> None:
    assert template(name).cleaned(raw) == "Yes."


def test_wrong_use_is_named(llama: LlamaTokenizer) -> None:
    with pytest.raises(UsageError, match="Did you mean 'chatml'"):
        template("chatlm")
    with pytest.raises(UsageError, match="question is empty"):
        template("v1").prompt(llama, "  ")
    with pytest.raises(UsageError, match="no frames"):
        frame_indices(0)


@given(st.integers(1, 100_000))
def test_frames_are_the_published_ones(frames: int) -> None:
    count = min(8, frames)
    assert frame_indices(frames) == np.arange(0, frames, frames / count).astype(int).tolist()
