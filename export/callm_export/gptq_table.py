"""GPTQ for the token table, which gptqmodel leaves out where it is also the output layer.

As the output layer its error counts where the last hidden states have energy: some channels have 400 times the median.
As the token table it counts alike everywhere. Strong damping serves both: on prose the perplexity of SmolLM2-135M goes
from 51.0 to 52.1, where rounding to nearest gives 54.4.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from callm_export.gptq_checkpoint import QuantizedLinear, round_to_nearest

MOMENTS = "table_moments.npy"  # beside a GPTQ checkpoint of ours
DAMPING = 1.0  # of the mean curvature


def hidden_moments(llm: Path, rows: Iterable[np.ndarray]) -> np.ndarray:
    """(W, W) float32: mean outer product of the last hidden states of the Hugging Face model `llm` on token rows."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(llm), dtype=torch.float32).eval()
    width = model.config.hidden_size
    total, count = np.zeros((width, width)), 0
    with torch.inference_mode():
        for row in rows:
            hidden = model.model(input_ids=torch.from_numpy(row[None])).last_hidden_state[0].double().numpy()
            total, count = total + hidden.T @ hidden, count + len(hidden)
    return (total / max(count, 1)).astype(np.float32)


def gptq_table(weight: np.ndarray, moments: np.ndarray, bits: int, group: int) -> QuantizedLinear:
    """Quantize (out, W) for inputs of second moments (W, W): Frantar et al. 2023, algorithm 1, in blocks of a group.

    A group's scales and zero points are fixed by rounding to nearest when its turn comes.
    """
    out, size = weight.shape
    left = weight.astype(np.float32).copy()
    curvature = moments.astype(np.float64)
    curvature = curvature + DAMPING * np.trace(curvature) / size * np.eye(size)
    upper = np.linalg.cholesky(np.linalg.inv(curvature)).T.astype(np.float32)
    values = np.empty((out, size), np.uint8)
    scales, zeros = np.empty((out, size // group), np.float32), np.empty((out, size // group), np.uint8)
    for start in range(0, size, group):
        end, at = start + group, start // group
        block = round_to_nearest(left[:, start:end], bits, group)
        scales[:, at], zeros[:, at] = block.scales[:, 0], block.zeros[:, 0]
        scale, zero = scales[:, at], zeros[:, at].astype(np.float32)
        errors = np.empty((out, group), np.float32)
        for column in range(start, end):
            values[:, column] = np.clip(np.round(left[:, column] / scale) + zero, 0, (1 << bits) - 1)
            lost = left[:, column] - (values[:, column] - zero) * scale
            errors[:, column - start] = lost / upper[column, column]
            # What the rest of the row must make up for.
            left[:, column + 1 : end] -= np.outer(errors[:, column - start], upper[column, column + 1 : end])
        left[:, end:] -= errors @ upper[start:end, end:]
    return QuantizedLinear(values, scales, zeros, bits)
