"""From the numbers a language model gives for the next token to text in pieces, with probabilities and an end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from callm_edge.stage2.prompts import TextTokenizer

_BROKEN = "\ufffd"  # what a character decodes to whose last bytes have not come yet
_LONGEST_BROKEN = 3


class Continuation(Protocol):
    """A sequence that a model has read. logits: (vocabulary,) float32 for the next token. room: tokens it can grow by.

    Used from one thread at a time.
    """

    @property
    def logits(self) -> np.ndarray: ...

    @property
    def room(self) -> int: ...

    def push(self, token: int) -> None:
        """Read one more token, after which `logits` are new. Only with room left."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn. temperature 0 is greedy. seed: None for one that nobody knows. stop: texts that end it.

    top_logprobs: how many other tokens to report beside each; None reports no probabilities at all.
    """

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None


@dataclass(frozen=True)
class Odds:
    """A token and its log probability (nats), before temperature. top: the likeliest ones, falling."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Piece:
    """Text to show. odds: of the tokens behind it. tokens: said so far. finish: set in the last piece alone."""

    text: str
    odds: tuple[Odds, ...]
    tokens: int
    finish: Literal["stop", "length"] | None = None


def generate(
    sequence: Continuation,
    tokenizer: TextTokenizer,
    sampling: Sampling,
    endings: Sequence[Sequence[int]],
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Piece]:
    """Pieces as they come; the last has its `finish`, unless it was cancelled.

    endings: token sequences of which each ends an answer. No piece holds a part of an ending, of a stop text, or of a
    character.
    """
    final = {ending[0] for ending in endings if len(ending) == 1}
    stops = [*sampling.stop, *(text for ending in endings if len(ending) > 1 and (text := tokenizer.decode(ending)))]
    rng = np.random.default_rng(None if sampling.seed is None else sampling.seed % 2**64)
    said: list[int] = []
    odds: list[Odds] = []
    text, shown = "", 0
    finish: Literal["stop", "length"] = "length"
    for count in range(1, sampling.max_tokens + 1):
        if cancelled():
            return
        logits = sequence.logits
        token = choose(logits, sampling, rng)
        said.append(token)
        if token in final:
            finish = "stop"
            break
        if sampling.top_logprobs is not None:
            odds.append(_odds(logits, token, sampling.top_logprobs, tokenizer))
        text = tokenizer.decode(said)
        found = [at for stop in stops if (at := text.find(stop)) >= 0]
        if found:
            text, finish = text[: min(found)], "stop"
            break
        safe = len(text) - _unfinished(text, stops)
        if safe > shown:
            yield Piece(text[shown:safe], tuple(odds), count)
            shown = safe
            odds.clear()
        if count == sampling.max_tokens or not sequence.room:
            break
        sequence.push(token)
    yield Piece(text[shown:], tuple(odds), len(said), finish)


def choose(logits: np.ndarray, sampling: Sampling, rng: np.random.Generator) -> int:
    """The next token: the likeliest, or one drawn from the smallest set that holds `top_p` of the probability."""
    if sampling.temperature <= 0:
        return int(np.argmax(logits))
    scaled = logits.astype(np.float64) / sampling.temperature
    if sampling.top_p < 1:
        order = np.argsort(-scaled)
        weights = np.exp(scaled[order] - scaled[order[0]])
        before = np.cumsum(weights) - weights  # of those likelier
        scaled[order[before >= sampling.top_p * weights.sum()]] = -np.inf
    # Gumbel trick: the largest of logits plus Gumbel noise is a draw from their softmax.
    return int(np.argmax(scaled + rng.gumbel(size=scaled.shape)))


def _odds(logits: np.ndarray, token: int, top: int, tokenizer: TextTokenizer) -> Odds:
    shifted = logits.astype(np.float64) - float(logits.max())
    logprobs = shifted - np.log(np.exp(shifted).sum())
    best = np.argpartition(-logprobs, min(top, len(logprobs) - 1))[:top]
    best = best[np.argsort(-logprobs[best], kind="stable")]
    likeliest = tuple((tokenizer.decode([int(at)]), float(logprobs[at])) for at in best)
    return Odds(tokenizer.decode([token]), float(logprobs[token]), likeliest)


def _unfinished(text: str, stops: Sequence[str]) -> int:
    """How many of the last characters may still become something else: a character, or the beginning of a stop."""
    broken = min(len(text) - len(text.rstrip(_BROKEN)), _LONGEST_BROKEN)
    begun = (n for stop in stops for n in range(1, min(len(stop), len(text) + 1)) if text.endswith(stop[:n]))
    return max(broken, max(begun, default=0))
