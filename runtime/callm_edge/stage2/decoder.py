"""The device's language model: prefill from embeddings, decode with a KV cache, on ONNX Runtime alone.

A folder written by `callm-edge quantize` holds it:
decoder.json (DecoderSpec), decoder.onnx + decoder.bin (the int4 graph), embedding*.npy, tokenizer.json.

The KV cache is allocated once per state, with room for what is to come; the graph reads its past from it and writes its
present into it, so a step copies nothing and dropping the last tokens is setting a number back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from callm_edge.errors import BundleError, UsageError
from callm_edge.stage1.ort_session import cpu_session
from callm_edge.stage2.text import TOKENIZER, EmbeddingTable, Tokenizer

SPEC = "decoder.json"
GRAPH = "decoder.onnx"
WEIGHTS = "decoder.bin"
SCHEMA = 1
ROOM = 256  # tokens that a state can grow by, unless asked otherwise


class DecoderSpec(BaseModel):
    """What decoder.json holds.

    vocabulary, width, layers, kv_heads, head_width: the model's shape. context: longest sequence in tokens.
    eos: ids that end any answer. model: where the weights came from. quantization: how they were made small.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int
    vocabulary: int = Field(gt=0)
    width: int = Field(gt=0)
    layers: int = Field(gt=0)
    kv_heads: int = Field(gt=0)
    head_width: int = Field(gt=0)
    context: int = Field(gt=0)
    eos: tuple[int, ...]
    model: str
    quantization: dict[str, Any]


@dataclass
class Timing:
    """What a state has cost so far. prefill_ms: all prompts; token_ms: each token fed one at a time."""

    prefill_ms: float = 0.0
    token_ms: list[float] = field(default_factory=list)

    @property
    def tokens_per_second(self) -> float:
        """Of decoding; 0 before the first token."""
        return 1000 * len(self.token_ms) / sum(self.token_ms) if self.token_ms else 0.0


class State:
    """A sequence that the model has read: its KV cache and what it says to the next token.

    length: tokens in the cache. capacity: tokens that fit. logits: (vocabulary,) float32 for the next token, or None
    after `truncate` (extend it first). Use from one thread at a time; `Decoder` makes states.
    """

    def __init__(self, session: Any, spec: DecoderSpec, capacity: int) -> None:
        from onnxruntime import OrtValue

        self.length, self.capacity, self.timing = 0, capacity, Timing()
        self.logits: np.ndarray | None = None
        self._session, self._spec = session, spec
        shape = (spec.layers, 2, 1, spec.kv_heads, capacity, spec.head_width)
        self._cache = np.zeros(shape, np.float32)
        self._logits = np.empty((1, spec.vocabulary), np.float32)
        self._embed = np.empty((1, 1, spec.width), np.float32)
        self._past_length, self._total_length = np.empty(1, np.int32), np.empty(1, np.int32)
        # ONNX Runtime reads and writes these arrays in place, hence one binding for every step.
        names = [(f"past.{i}.{kind}", f"present.{i}.{kind}") for i in range(spec.layers) for kind in ("key", "value")]
        caches = [OrtValue.ortvalue_from_numpy(cache) for layer in self._cache for cache in layer]
        self._caches = list(zip(names, caches, strict=True))
        self._outputs = OrtValue.ortvalue_from_numpy(self._logits)
        self._lengths = [OrtValue.ortvalue_from_numpy(a) for a in (self._past_length, self._total_length)]
        self._step = self._bound(self._embed)

    def _bound(self, embeds: np.ndarray) -> Any:
        from onnxruntime import OrtValue

        binding = self._session.io_binding()
        binding.bind_ortvalue_input("embeds", OrtValue.ortvalue_from_numpy(embeds))
        binding.bind_ortvalue_input("last", self._lengths[0])
        binding.bind_ortvalue_input("total", self._lengths[1])
        for (past, present), cache in self._caches:
            binding.bind_ortvalue_input(past, cache)
            binding.bind_ortvalue_output(present, cache)
        binding.bind_ortvalue_output("logits", self._outputs)
        return binding

    def feed(self, embeds: np.ndarray) -> None:
        """Read (T, width) float32 embeddings behind what is there. Raises UsageError where they do not fit."""
        count = len(embeds)
        if embeds.ndim != 2 or embeds.shape[1] != self._spec.width or not count:
            raise UsageError(
                f"The decoder cannot read embeddings of shape {embeds.shape}",
                f"it needs (T, {self._spec.width}) with T of at least 1",
                "Use the Q-Former that was trained for this language model",
            )
        if self.length + count > self.capacity:
            raise UsageError(
                f"{self.length + count} tokens do not fit",
                f"this state holds {self.capacity}",
                "Ask a shorter question, or give prefill more room",
            )
        began = time.perf_counter()
        self._total_length[0] = self.length + count
        self._past_length[0] = self.length + count - 1
        if count == 1:
            self._embed[0] = embeds
            self._session.run_with_iobinding(self._step)
        else:
            self._session.run_with_iobinding(self._bound(np.ascontiguousarray(embeds[None], np.float32)))
        self.length += count
        self.logits = self._logits[0]
        spent_ms = 1000 * (time.perf_counter() - began)
        if count == 1:
            self.timing.token_ms.append(spent_ms)
        else:
            self.timing.prefill_ms += spent_ms

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot truncate {self.length} tokens to {length}")
        if length < self.length:
            self.length, self.logits = length, None

    def fork(self, room: int = ROOM) -> State:
        """A copy with space for `room` more tokens; the two then go their own ways, each with its own timing."""
        capacity = min(self.length + room, self._spec.context)
        other = State(self._session, self._spec, capacity)
        other._cache[..., : self.length, :] = self._cache[..., : self.length, :]
        other.length = self.length
        if self.logits is not None:
            other._logits[:] = self.logits
            other.logits = other._logits[0]
        return other


class Decoder:
    """The language model of a folder. threads: of ONNX Runtime; 0 is half of the cores, at least one.

    Raises BundleError where a file is missing, damaged, or does not fit the others. States of one decoder may be used
    from several threads, one thread each.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        self.spec = _spec(folder)
        self.tokenizer = Tokenizer(folder / TOKENIZER)
        self._table = EmbeddingTable(folder)
        if (self._table.rows, self._table.width) != (self.spec.vocabulary, self.spec.width):
            raise BundleError(
                f"The embedding table in {folder} is {self._table.rows} x {self._table.width}",
                f"{SPEC} says {self.spec.vocabulary} x {self.spec.width}",
                "Copy the folder again",
            )
        if self.tokenizer.size > self.spec.vocabulary:
            raise BundleError(
                f"The tokenizer in {folder} has {self.tokenizer.size} tokens, the model {self.spec.vocabulary}",
                "the tokenizer belongs to another model",
                "Use the model's own tokenizer",
            )
        # Stage 1 works on the same cores, and a product that waits for a descheduled thread, 120 times a token, costs
        # more than the second thread brings (figures in docs/decoder.md).
        self._session = cpu_session(folder / GRAPH, threads or max(1, (os.cpu_count() or 1) // 2))

    def embed(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """(T,) token ids -> (T, width) float32."""
        return self._table(ids)

    def embed_text(self, text: str, special: bool = True) -> np.ndarray:
        """Text -> (T, width) float32. special: see Tokenizer.encode."""
        return self.embed(self.tokenizer.encode(text, special))

    def prefill(self, embeds: np.ndarray, after: State | None = None, room: int = ROOM) -> State:
        """Read a prompt: (T, width) float32, text and video embeddings spliced by the caller.

        after: a state to go on from, such as the system prompt's, which is copied and stays as it is.
        room: how many tokens the state can grow by afterwards. Raises UsageError where the prompt is too long.
        """
        start = after.length if after is not None else 0
        if start + len(embeds) >= self.spec.context:
            raise UsageError(
                f"A prompt of {start + len(embeds)} tokens is too long",
                f"the model reads {self.spec.context}",
                "Ask a shorter question",
            )
        if after is not None:
            state = after.fork(len(embeds) + room)
        else:
            state = State(self._session, self.spec, min(len(embeds) + room, self.spec.context))
        state.feed(embeds)
        return state

    def log_probabilities(self, state: State, ids: Sequence[int]) -> list[float]:
        """Log probability (nats) of each token of `ids` as the next ones. The state grows by all but the last."""
        found = []
        for at, token in enumerate(ids):
            if at:
                state.feed(self.embed([ids[at - 1]]))
            found.append(_log_softmax_at(_next(state), token))
        return found

    def answer_probability(self, state: State, yes_ids: Sequence[int], no_ids: Sequence[int]) -> float:
        """Probability of the answer `yes_ids` against `no_ids`, both token ids: P(yes) / (P(yes) + P(no)).

        An answer's probability is the product of its tokens'. The state is left as it was.
        """
        if not yes_ids or not no_ids:
            raise ValueError("an answer needs at least one token")
        length, logits = state.length, _next(state).copy()
        sums = []
        for ids in (yes_ids, no_ids):
            sums.append(sum(self.log_probabilities(state, ids)))
            state.truncate(length)
            state._logits[0] = logits
            state.logits = state._logits[0]
        return float(1 / (1 + np.exp(np.clip(sums[1] - sums[0], -700, 700))))

    def generate(
        self,
        state: State,
        max_tokens: int = 128,
        stop: Sequence[Sequence[int]] = (),
        cancelled: Callable[[], bool] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """Text pieces as they come, until a stop, `max_tokens`, the end of the state's room, or cancellation.

        stop: token sequences that end the answer (the model's own eos always does); they never show, nor does a part
        of one. cancelled: asked before every token. temperature: 0 is greedy; else tokens are drawn, by `seed`.
        The state ends with what was said, without the stop.
        """
        endings = [tuple(ending) for ending in stop if ending] + [(token,) for token in self.spec.eos]
        rng = np.random.default_rng(seed)
        text = self.tokenizer.stream()
        held: list[int] = []  # said, but perhaps the beginning of a stop
        for _ in range(max_tokens):
            if cancelled is not None and cancelled():
                return
            held.append(_choose(_next(state), temperature, rng))
            ended = next((e for e in endings if tuple(held[-len(e) :]) == e), None)
            if ended is not None:
                free, kept = held[: -len(ended)], len(ended) - 1
                state.truncate(state.length - kept)
            else:
                waiting = _begun(held, endings)
                free, held = held[: len(held) - waiting], held[len(held) - waiting :]
            piece = "".join(text.push(token) for token in free)
            last = held[-1] if held else free[-1]
            if piece:
                yield piece
            if ended is not None:
                return
            if state.length == state.capacity:
                break
            state.feed(self.embed([last]))
        piece = "".join(text.push(token) for token in held)
        if piece:
            yield piece


def _begun(said: list[int], endings: Sequence[tuple[int, ...]]) -> int:
    """Length of the longest tail of `said` with which an ending begins."""
    longest = max(len(ending) for ending in endings) - 1 if endings else 0
    for length in range(min(longest, len(said)), 0, -1):
        if any(ending[:length] == tuple(said[-length:]) for ending in endings):
            return length
    return 0


def _next(state: State) -> np.ndarray:
    if state.logits is None:
        raise ValueError("the state was truncated or is empty: feed it before asking for the next token")
    return state.logits


def _choose(logits: np.ndarray, temperature: float, rng: np.random.Generator) -> int:
    if temperature <= 0:
        return int(np.argmax(logits))
    # Gumbel trick: the largest of logits plus Gumbel noise is a draw from their softmax.
    return int(np.argmax(logits / temperature + rng.gumbel(size=logits.shape)))


def _log_softmax_at(logits: np.ndarray, token: int) -> float:
    shifted = logits.astype(np.float64) - float(logits.max())
    return float(shifted[token] - np.log(np.exp(shifted).sum()))


def _spec(folder: Path) -> DecoderSpec:
    path = folder / SPEC
    try:
        spec = DecoderSpec.model_validate_json(path.read_text())
    except OSError as error:
        raise BundleError(
            f"{folder} holds no language model", f"{SPEC}: {error.strerror}", "Make one: callm-edge quantize"
        ) from error
    except (ValidationError, UnicodeDecodeError) as error:
        raise BundleError(f"{path} cannot be read", str(error), "Copy the folder again") from error
    if spec.schema_version != SCHEMA:
        raise BundleError(
            f"{path} has schema {spec.schema_version}",
            f"this version of callm-edge reads schema {SCHEMA}",
            "Quantize the model again with this version, or update callm-edge",
        )
    return spec
