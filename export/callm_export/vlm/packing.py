"""Several instructions about one clip in one sequence: the video is read once, which saves half of a step.

    positions  0 .. prompt .. video .. v | v+1 .. question and answer 1 | v+1 .. question and answer 2 |

Every instruction sees what precedes and the video, but not the other instructions, and its positions go on from the
video: so the language model computes for each what it computes for it alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from callm_edge.stage2.prompts import placeholder_runs
from callm_export.instructions.example import IGNORED, Example


@dataclass(frozen=True)
class Packed:
    """A batch. token_ids, labels, positions: (B, T) int64. weights: (B, T) float32 of the labels, 1 for each answer in
    all. sees: (B, T, T) bool, whether a token (row) sees another.
    """

    token_ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    positions: np.ndarray
    sees: np.ndarray


def pack(clips: Sequence[Sequence[Example]], placeholder: int) -> Packed:
    """Examples of each clip, which have to agree up to the end of the video, in one row a clip; padded on the right.

    Raises ValueError where they do not agree.
    """
    rows = [_row(examples, placeholder) for examples in clips]
    width = max(len(row[0]) for row in rows)
    batch = len(rows)
    ids, labels = np.zeros((batch, width), np.int64), np.full((batch, width), IGNORED, np.int64)
    positions, part = np.zeros((batch, width), np.int64), np.full((batch, width), -1, np.int64)
    for at, (row_ids, row_labels, row_positions, row_part) in enumerate(rows):
        count = len(row_ids)
        ids[at, :count], labels[at, :count] = row_ids, row_labels
        positions[at, :count], part[at, :count] = row_positions, row_part
    # Part 0 is what all see; padding sees itself, since a row without anything to see has no softmax.
    same = (part[:, :, None] == part[:, None, :]) | (part[:, None, :] == 0)
    sees = same & np.tril(np.ones((width, width), bool)) | np.eye(width, dtype=bool)
    return Packed(ids, labels, _weights(labels), positions, sees)


def _weights(labels: np.ndarray) -> np.ndarray:
    """(B, T): a yes or no, of three tokens, is worth as much as a sentence, of a dozen."""
    learnt = np.pad(labels != IGNORED, ((0, 0), (1, 1)))
    weights = np.zeros(labels.shape, np.float32)
    edges = np.diff(learnt.astype(np.int8), axis=1)
    for row, first in np.argwhere(edges == 1):
        end = first + int(np.argmax(edges[row, first:] == -1))
        weights[row, first:end] = 1 / (end - first)
    return weights


def _row(examples: Sequence[Example], placeholder: int) -> tuple[list[int], list[int], list[int], list[int]]:
    [(start, length)] = placeholder_runs(examples[0].token_ids, placeholder)
    shared = start + length
    ids, labels = list(examples[0].token_ids[:shared]), list(examples[0].labels[:shared])
    positions, part = list(range(shared)), [0] * shared
    for number, example in enumerate(examples, 1):
        if example.token_ids[:shared] != examples[0].token_ids[:shared]:
            raise ValueError("the instructions differ before the end of the video")
        rest = example.token_ids[shared:]
        ids += rest
        # What follows the video directly would be learnt from another instruction's last token.
        labels += [IGNORED, *example.labels[shared + 1 :]]
        positions += range(shared, shared + len(rest))
        part += [number] * len(rest)
    return ids, labels, positions, part
