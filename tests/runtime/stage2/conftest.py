"""Tokenizers for the tests of stage 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callm_edge.stage2.llama_tokenizer import LlamaTokenizer

GOLDEN = Path(__file__).resolve().parents[2] / "goldens" / "videollama_tiny"
VOCABULARY, FIRST_PIECE = 32000, 259


@pytest.fixture(scope="session")
def llama_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `tokenizer.model` that cuts the golden texts exactly as LLaMA's own.

    It holds each of LLaMA's pieces that occurs in those texts, at its id and rank, and fillers at the other ids: byte
    pair encoding can only ever use pieces that occur in the text.
    """
    pytest.importorskip("sentencepiece", reason="the extra 'vlm' is not installed")
    proto = pytest.importorskip("sentencepiece.sentencepiece_model_pb2", reason="protobuf is not installed")
    pieces = {int(at): piece for at, piece in json.loads((GOLDEN / "llama_pieces.json").read_text()).items()}
    model = proto.ModelProto()
    unknown, control, byte = 2, 3, 6
    for at in range(VOCABULARY):
        if at < 3:
            model.pieces.add(piece=("<unk>", "<s>", "</s>")[at], score=0, type=control if at else unknown)
        elif at < FIRST_PIECE:
            model.pieces.add(piece=f"<0x{at - 3:02X}>", score=0, type=byte)
        else:
            piece = pieces.get(at, f"\ue000{at}")
            # LLaMA merges runs of spaces last of all, so that a word keeps the space before it.
            model.pieces.add(piece=piece, score=-1e9 if set(piece) == {"▁"} and len(piece) > 1 else FIRST_PIECE - at)
    model.trainer_spec.model_type, model.trainer_spec.vocab_size = 2, VOCABULARY
    model.trainer_spec.byte_fallback = True
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.remove_extra_whitespaces = False
    path = tmp_path_factory.mktemp("llama") / "tokenizer.model"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture(scope="session")
def llama(llama_model: Path) -> LlamaTokenizer:
    return LlamaTokenizer(llama_model)
