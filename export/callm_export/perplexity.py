"""Perplexity of a language model on texts, before quantization (torch) and after (the device's decoder).

exp of the mean negative log likelihood (nats) over every token but each text's first; texts do not see each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from callm_edge.stage2.decoder import Decoder
from callm_edge.stage2.text import TOKENIZER, Tokenizer


def torch_perplexity(folder: Path, texts: Sequence[str]) -> float:
    """Of a Hugging Face folder, in float32."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    tokenizer = Tokenizer(folder / TOKENIZER)
    total, count = 0.0, 0
    with torch.inference_mode():
        for text in texts:
            ids = torch.tensor([tokenizer.encode(text)])
            logits = model(input_ids=ids).logits[0, :-1]
            found = torch.log_softmax(logits, dim=-1).gather(1, ids[0, 1:, None])
            total, count = total - float(found.sum()), count + len(found)
    return math.exp(total / max(count, 1))


def decoder_perplexity(decoder: Decoder, texts: Sequence[str]) -> float:
    """Of the device's decoder, token by token: the very steps that decode."""
    total, count = 0.0, 0
    for text in texts:
        ids = decoder.tokenizer.encode(text)[: decoder.spec.context]
        state = decoder.prefill(decoder.embed(ids[:1]), room=len(ids))
        found = decoder.log_probabilities(state, ids[1:])
        total, count = total - sum(found), count + len(found)
    return math.exp(total / max(count, 1))
