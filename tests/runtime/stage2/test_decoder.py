"""The device's decoder against what transformers said of the same weights (tests/goldens/make_tiny_decoder.py)."""

from __future__ import annotations

import json
import math
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from callm_edge.errors import BundleError, UsageError
from callm_edge.stage2.decoder import Decoder, State

FOLDER = Path(__file__).parents[2] / "goldens" / "tiny_decoder"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
TOKENS: list[int] = EXPECTED["tokens"]


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder(FOLDER, threads=1)


@pytest.fixture
def prompt() -> np.ndarray:
    return np.load(FOLDER / "prompt.npy")


@pytest.fixture
def state(decoder: Decoder, prompt: np.ndarray) -> State:
    return decoder.prefill(prompt)


def greedy(decoder: Decoder, state: State, steps: int) -> list[int]:
    tokens = []
    for _ in range(steps):
        assert state.logits is not None
        tokens.append(int(state.logits.argmax()))
        state.feed(decoder.embed([tokens[-1]]))
    return tokens


def test_prefill_gives_the_logits_of_transformers(state: State) -> None:
    assert state.length == 24
    np.testing.assert_allclose(state.logits, EXPECTED["logits"], atol=2e-5)


def test_greedy_decoding_follows_transformers_token_for_token(decoder: Decoder, state: State) -> None:
    assert len(set(TOKENS)) > 20, "a sequence that repeats itself would prove little"
    assert greedy(decoder, state, len(TOKENS)) == TOKENS


@pytest.mark.parametrize("cuts", [(24,), (1, 24), (7, 8, 24), tuple(range(1, 25))])
def test_a_prompt_may_come_in_parts(decoder: Decoder, prompt: np.ndarray, cuts: tuple[int, ...]) -> None:
    state = decoder.prefill(prompt[: cuts[0]])
    for start, end in pairwise(cuts):
        state.feed(prompt[start:end])
    np.testing.assert_allclose(state.logits, EXPECTED["logits"], atol=2e-5)
    assert greedy(decoder, state, 10) == TOKENS[:10]


def test_a_shared_prefix_is_read_once_and_stays(decoder: Decoder, prompt: np.ndarray) -> None:
    prefix = decoder.prefill(prompt[:9], room=0)
    assert prefix.capacity == 9
    for _ in range(2):
        state = decoder.prefill(prompt[9:], after=prefix)
        assert greedy(decoder, state, 10) == TOKENS[:10]
        assert prefix.length == 9


def test_the_steps_write_into_the_cache_that_was_allocated(decoder: Decoder, state: State) -> None:
    assert not state._cache[..., 24:, :].any()
    assert np.abs(state._cache[..., :24, :]).sum(axis=-1).all()
    greedy(decoder, state, 2)
    assert np.abs(state._cache[..., :26, :]).sum(axis=-1).all()
    assert not state._cache[..., 26:, :].any()


def test_truncated_states_go_on_as_if_nothing_had_been_said(decoder: Decoder, state: State) -> None:
    greedy(decoder, state, 9)
    state.truncate(24)
    with pytest.raises(ValueError, match="truncated"):
        next(decoder.generate(state))
    state.feed(decoder.embed(TOKENS[:1]))
    assert greedy(decoder, state, 10) == TOKENS[1:11]


def test_text_streams_and_the_state_holds_what_was_said(decoder: Decoder, state: State) -> None:
    pieces = list(decoder.generate(state, max_tokens=12))
    # Byte tokens that make no character come out as the replacement character, in both.
    assert "".join(pieces).rstrip("\ufffd") == decoder.tokenizer.decode(TOKENS[:12]).rstrip("\ufffd")
    assert len(pieces) > 1
    assert state.length == 24 + 12
    assert greedy(decoder, state, 4) == TOKENS[12:16]


@pytest.mark.parametrize("ending", [TOKENS[3:4], TOKENS[3:5], TOKENS[2:6]])
def test_stops_end_the_answer_and_never_show(
    decoder: Decoder, state: State, ending: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = spy(decoder, monkeypatch)
    start = next(at for at in range(40) if TOKENS[at : at + len(ending)] == ending)
    list(decoder.generate(state, max_tokens=40, stop=[[319, 318], ending]))
    assert shown == TOKENS[:start]
    assert state.length == 24 + start
    state.feed(decoder.embed(ending))
    assert greedy(decoder, state, 3) == TOKENS[start + len(ending) :][:3]


def test_the_beginning_of_a_stop_that_does_not_come_is_shown(
    decoder: Decoder, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = spy(decoder, monkeypatch)
    near_miss = [*TOKENS[3:6], 319]
    list(decoder.generate(state, max_tokens=8, stop=[near_miss]))
    assert shown == TOKENS[:8]
    shown.clear()
    state.truncate(24)
    state.feed(decoder.embed(TOKENS[:1]))
    list(decoder.generate(state, max_tokens=3, stop=[[*TOKENS[3:4], 319]]))
    assert shown == TOKENS[1:4], "what is held back when the tokens run out is said in the end"


def test_the_models_own_end_of_text_ends_it(decoder: Decoder, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "spec", decoder.spec.model_copy(update={"eos": (TOKENS[5],)}))
    shown = spy(decoder, monkeypatch)
    list(decoder.generate(state, max_tokens=40))
    assert shown == TOKENS[:5]


def test_cancelling_ends_before_the_next_token(decoder: Decoder, state: State) -> None:
    asked = iter([False, False, True])
    list(decoder.generate(state, max_tokens=40, cancelled=lambda: next(asked)))
    assert state.length == 24 + 2


def test_generation_ends_where_the_room_does(decoder: Decoder, prompt: np.ndarray) -> None:
    state = decoder.prefill(prompt, room=5)
    list(decoder.generate(state, max_tokens=40))
    assert state.length == state.capacity == 29


def test_sampling_is_repeatable_and_not_greedy(decoder: Decoder, prompt: np.ndarray) -> None:
    texts = [
        "".join(decoder.generate(decoder.prefill(prompt), 30, temperature=5.0, seed=seed)) for seed in (1, 1, 2, 3)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 3


def test_answer_probability_is_that_of_the_tokens_and_leaves_no_trace(decoder: Decoder, state: State) -> None:
    yes, no = [TOKENS[0], 17, 25], [9, 300]
    sums = []
    for ids in (yes, no):
        copy = state.fork()
        total = 0.0
        for token in ids:
            logits = np.asarray(copy.logits, np.float64)
            total += logits[token] - np.log(np.exp(logits).sum())
            copy.feed(decoder.embed([token]))
        sums.append(total)
    expected = math.exp(sums[0]) / (math.exp(sums[0]) + math.exp(sums[1]))
    assert decoder.answer_probability(state, yes, no) == pytest.approx(expected, rel=1e-5)
    assert decoder.answer_probability(state, no, yes) == pytest.approx(1 - expected, rel=1e-5)
    assert state.length == 24
    assert greedy(decoder, state, 10) == TOKENS[:10]


def test_times_are_kept_for_the_ledger(decoder: Decoder, state: State) -> None:
    assert state.timing.prefill_ms > 0
    assert state.timing.token_ms == []
    assert state.timing.tokens_per_second == 0
    list(decoder.generate(state, max_tokens=5))
    assert len(state.timing.token_ms) == 5
    assert state.timing.tokens_per_second == pytest.approx(5000 / sum(state.timing.token_ms))


def test_too_long_and_misshapen_prompts_are_named(decoder: Decoder, state: State, prompt: np.ndarray) -> None:
    with pytest.raises(UsageError, match="too long"):
        decoder.prefill(np.zeros((decoder.spec.context, 64), np.float32))
    with pytest.raises(UsageError, match="do not fit"):
        state.feed(np.zeros((state.capacity, 64), np.float32))
    for wrong in (prompt[:, :60], prompt[:0], prompt[0]):
        with pytest.raises(UsageError, match="shape"):
            decoder.prefill(wrong)
    with pytest.raises(BundleError, match="outside"):
        decoder.embed([320])


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FOLDER, tmp_path / "llm"))


@pytest.mark.parametrize(
    "name", ["decoder.json", "decoder.onnx", "decoder.bin", "embedding.npy", "embedding_scales.npy", "tokenizer.json"]
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_damaged_folders_are_refused_by_name(copied: Path, name: str, damage: str) -> None:
    path = copied / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    with pytest.raises(BundleError) as error:
        Decoder(copied, threads=1)
    assert name.split(".")[0].split("_")[0] in str(error.value)


def test_a_tokenizer_or_table_of_another_model_is_refused(copied: Path) -> None:
    spec = json.loads((copied / "decoder.json").read_text())
    (copied / "decoder.json").write_text(json.dumps({**spec, "vocabulary": 319}))
    with pytest.raises(BundleError, match="320 x 64"):
        Decoder(copied)
    (copied / "decoder.json").write_text(json.dumps({**spec, "schema_version": 99}))
    with pytest.raises(BundleError, match="schema 99"):
        Decoder(copied)
    (copied / "decoder.json").write_text(json.dumps(spec))
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {f"word{at}": at for at in range(271, 330)}
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(BundleError, match="another model"):
        Decoder(copied)


def spy(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens that reach the text."""
    shown: list[int] = []
    original = decoder.tokenizer.stream

    class Recorder:
        def __init__(self) -> None:
            self._stream = original()

        def push(self, token: int) -> str:
            shown.append(token)
            return self._stream.push(token)

    monkeypatch.setattr(decoder.tokenizer, "stream", Recorder)
    return shown
