"""Text, probabilities and ends, against a model that says what the test wrote."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.serving.generation import Piece, Sampling, choose, generate

END = 256


class Bytes:
    """A tokenizer whose tokens are bytes, and END."""

    size = 257

    def encode(self, text: str, special: bool = True) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token for token in ids if token < END).decode(errors="replace")

    def id(self, token: str) -> int:
        raise AssertionError(token)


class Script:
    """Says `said` and then END, for as long as there is room."""

    def __init__(self, said: bytes, room: int = 10**6) -> None:
        self._tokens, self.room = [*said, END], room

    @property
    def logits(self) -> np.ndarray:
        logits = np.zeros(257, np.float32)
        logits[self._tokens[0]] = 9
        return logits

    def push(self, token: int) -> None:
        assert token == self._tokens.pop(0)
        self.room -= 1


def said(
    text: str | bytes, room: int = 10**6, endings: Sequence[Sequence[int]] = ((END,),), **how: object
) -> list[Piece]:
    script = Script(text.encode() if isinstance(text, str) else text, room)
    return list(generate(script, Bytes(), Sampling(**{"max_tokens": 1000, **how}), endings))  # type: ignore[arg-type]


@given(st.text(max_size=30), st.lists(st.text("ab#\n", min_size=1, max_size=3), max_size=3))
def test_pieces_are_the_text_up_to_the_first_stop_whatever_it_is(text: str, stops: list[str]) -> None:
    pieces = said(text, stop=tuple(stops))
    # The stop that is complete first ends the answer, as no later token is ever drawn.
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    heard = text[: min(ends)] if ends else text
    cut = min((heard.find(stop) for stop in stops if stop in heard), default=len(heard))
    assert "".join(piece.text for piece in pieces) == heard[:cut]
    assert [piece.finish for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    assert all("\ufffd" not in piece.text for piece in pieces) or "\ufffd" in text


def test_an_ending_of_several_tokens_never_shows() -> None:
    pieces = said("Yes.###Human", endings=((END,), tuple(b"###")))
    assert "".join(piece.text for piece in pieces) == "Yes."
    assert not any("#" in piece.text for piece in pieces)
    assert "".join(piece.text for piece in said("No ##", endings=((END,), tuple(b"###")))) == "No ##"


@pytest.mark.parametrize(("settings", "text"), [({"max_tokens": 3}, "abc"), ({"room": 2}, "abc")])
def test_an_answer_that_is_cut_says_so(settings: dict, text: str) -> None:
    pieces = said("abcdef", **settings)
    assert "".join(piece.text for piece in pieces) == text
    assert (pieces[-1].finish, pieces[-1].tokens) == ("length", 3)


def test_half_a_character_at_the_end_is_shown_as_what_it_is() -> None:
    assert "".join(piece.text for piece in said("aé".encode()[:-1])) == "a\ufffd"


def test_the_odds_of_every_token_are_there_once() -> None:
    pieces = said("aéb", top_logprobs=2)
    odds = [one for piece in pieces for one in piece.odds]
    assert [one.token for one in odds][0::3] == ["a", "b"]
    assert len(odds) == 4
    likeliest = math.log(math.exp(9) / (math.exp(9) + 256))
    assert odds[0].logprob == pytest.approx(likeliest)
    assert odds[0].top[0] == ("a", pytest.approx(likeliest))
    assert len(odds[0].top) == 2
    assert all(piece.odds == () for piece in said("ab"))


def test_cancelling_ends_it_at_the_next_token() -> None:
    heard: list[str] = []
    for piece in generate(Script(b"abcdef"), Bytes(), Sampling(100), ((END,),), lambda: len(heard) == 2):
        heard.append(piece.text)
    assert heard == ["a", "b"]


def test_draws_follow_the_probabilities_and_the_seed() -> None:
    logits = np.log(np.array([0.6, 0.3, 0.1], np.float32))
    rng = np.random.default_rng(0)
    draws = [choose(logits, Sampling(1, temperature=1), rng) for _ in range(3000)]
    assert np.bincount(draws) / 3000 == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    most = {choose(logits, Sampling(1, temperature=1, top_p=0.6), rng) for _ in range(200)}
    more = {choose(logits, Sampling(1, temperature=1, top_p=0.61), rng) for _ in range(200)}
    assert (most, more) == ({0}, {0, 1})
    assert choose(logits, Sampling(1), rng) == 0


def test_a_seed_repeats_an_answer() -> None:
    class Even(Script):
        def push(self, token: int) -> None:
            self.room -= 1

    def text(seed: int) -> str:
        how = Sampling(20, temperature=2, seed=seed)
        return "".join(piece.text for piece in generate(Even(b"a"), Bytes(), how, ((END,),)))

    assert text(-5) == text(-5) != text(6)
