"""Token ids and label masks: the published code's exactly, and what must hold of our own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from callm_edge.errors import UserError
from callm_edge.stage2.llama_tokenizer import LlamaTokenizer
from callm_edge.stage2.prompts import Turn, template
from callm_export.instructions import Instruction, collate, example, read_instructions

TOP = Path(__file__).resolve().parents[3]
GOLDEN = json.loads((TOP / "tests/goldens/videollama_tiny/text_goldens.json").read_text())
CAPTIONS = TOP.parent / "shared/golden/videollama_tiny/caption_path.npz"
ASKED = Instruction("a.mp4", "Video", (Turn("Is it?", "Yes."), Turn("Why?", "Someone runs.")))


class Letters:
    """A tokenizer of characters."""

    size = 0x110010
    specials = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")

    def encode(self, text: str, special: bool = True) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.specials[i - 0x110000] if 0x110000 <= i < self.size else chr(i) for i in ids)

    def id(self, token: str) -> int:
        return 0x110000 + self.specials.index(token)


@pytest.fixture
def published(tmp_path: Path) -> Callable[[str], Instruction]:
    def read(name: str) -> Instruction:
        (tmp_path / "a.json").write_text(json.dumps([GOLDEN["samples"][name]]))
        return read_instructions(tmp_path / "a.json")[0]

    return read


@pytest.mark.parametrize("sample", ["llava", "videochat"])
@pytest.mark.parametrize(("name", "golden"), [("v1", "vicuna"), ("v2", "llama_v2")])
def test_ids_and_labels_are_the_published_ones(
    llama: LlamaTokenizer, published: Callable[[str], Instruction], sample: str, name: str, golden: str
) -> None:
    found = example(published(sample), template(name), llama, GOLDEN["samples"]["msg"])
    wanted = GOLDEN["masks"][f"{sample}_{golden}"]
    assert list(found.token_ids) == wanted["input_ids"]
    assert list(found.labels) == wanted["labels"]


def test_captions_are_wrapped_as_published() -> None:
    """The golden's tokenizer gave every character a number: the text is right if one map of characters explains it."""
    if not CAPTIONS.is_file():
        pytest.skip("the complete goldens are not beside this checkout (../shared/golden/videollama_tiny)")
    wanted = np.load(CAPTIONS)
    letters = Letters()
    dog = Instruction("1", "Image", (Turn("Describe this image in detail.", "A dog."),), caption_only=True)
    found = example(dog, template("v1"), letters)
    start, end = 1 + wanted["before_ids"].size, 1 + wanted["before_ids"].size + 32
    theirs = [*wanted["before_ids"][0], *wanted["after_ids"][0]]
    ours = [*found.token_ids[1:start], *found.token_ids[end : end + wanted["after_ids"].size]]
    assert found.token_ids[start:end] == (letters.size,) * 32
    assert len(set(zip(ours, theirs, strict=True))) == len(set(ours))
    assert letters.decode(list(found.token_ids[end + wanted["after_ids"].size :])) == "A dog.###"
    unlearnt = int((wanted["labels"] == -100).all(axis=0).argmin())
    assert [label == -100 for label in found.labels].index(False) == unlearnt


def test_captions_of_llama_two() -> None:
    letters = Letters()
    dog = Instruction("1", "Image", (Turn("Describe this image in detail.", "A dog."),), caption_only=True)
    found = example(dog, template("v2"), letters)
    text = letters.decode([i for i in found.token_ids if i != letters.size])
    assert text == (
        "<s>[INST] <<SYS>>\n \n<</SYS>>\n\n<Image></Image> Describe this image in detail. [/INST] A dog.</s>"
    )
    assert letters.decode([i for i in found.labels if i != -100]) == "A dog.</s>"


def test_chatml_learns_answers_and_their_ends() -> None:
    letters = Letters()
    found = example(ASKED, template("chatml"), letters, "8 frames. ")
    assert letters.decode([label for label in found.labels if label != -100]) == "Yes.<|im_end|>Someone runs.<|im_end|>"
    assert all(label in (-100, token) for label, token in zip(found.labels, found.token_ids, strict=True))


def test_chatml_trains_what_is_asked_later() -> None:
    """The ids before each answer are those of the prompt that the device will give."""
    letters, chatml = Letters(), template("chatml")
    found = list(example(ASKED, chatml, letters, "8 frames. ").token_ids)
    first = chatml.prompt(letters, "Is it?", "8 frames. ").token_ids(letters.size)
    second = chatml.prompt(letters, "Why?", "8 frames. ", ASKED.turns[:1]).token_ids(letters.size)
    for prompt, answer in ((first, "Yes."), (second, "Someone runs.")):
        assert found[: len(prompt)] == prompt
        assert found[len(prompt) : len(prompt) + len(answer)] == chatml.answer_ids(letters, answer)


@pytest.mark.parametrize("name", ["v1", "v2", "chatml"])
def test_a_cut_that_takes_the_video_or_all_answers_is_named(name: str) -> None:
    letters = Letters()
    for longest in (30, 60):
        with pytest.raises(UserError, match=r"a\.mp4 does not fit"):
            example(
                Instruction("a.mp4", "Video", (Turn("Is it?" * 40, "Yes."),)), template(name), letters, longest=longest
            )
    assert len(example(ASKED, template(name), letters, longest=200).token_ids) <= 200


def test_batches_are_padded_on_the_right() -> None:
    letters, chatml = Letters(), template("chatml")
    short = Instruction("b.mp4", "Video", (Turn("Is it?", "No."),))
    batch = collate([example(ASKED, chatml, letters), example(short, chatml, letters)], padding=7)
    assert batch["token_ids"].shape == batch["labels"].shape == batch["attention_mask"].shape
    count = int(batch["attention_mask"][1].sum())
    assert count < batch["token_ids"].shape[1]
    assert (batch["token_ids"][1, count:] == 7).all()
    assert (batch["labels"][1, count:] == -100).all()
    assert not batch["attention_mask"][1, count:].any()
