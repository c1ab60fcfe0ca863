"""Packed instructions cost the language model's opinion nothing."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'vlm' is not installed")
pytest.importorskip("transformers", reason="the extra 'vlm' is not installed")

from callm_edge.stage2.prompts import Turn  # noqa: E402
from callm_export.instructions import Instruction, collate, example  # noqa: E402
from callm_export.instructions.example import IGNORED, Example  # noqa: E402
from callm_export.vlm.packing import pack  # noqa: E402
from callm_export.vlm.tuning import packed_loss  # noqa: E402

from .test_tuning import tiny_mini  # noqa: E402

ASKED = (("Is it?", "Yes."), ("What is wrong?", "A cyclist."), ("And?", "A long answer about nothing."))


def examples(count: int) -> list[Example]:
    model = tiny_mini()
    return [
        example(Instruction("a", "Video", (Turn(question, answer),)), model.template, model.tokenizer)
        for question, answer in ASKED[:count]
    ]


def test_the_same_loss_and_gradient_as_one_by_one() -> None:
    model = tiny_mini().eval()
    queries = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    packed = packed_loss(model, queries, pack([examples(3), examples(2)], model.placeholder))
    [gradient] = torch.autograd.grad(packed, queries)

    alone = []
    for row, count in enumerate((3, 2)):
        for one in examples(count):
            batch = {key: torch.from_numpy(value) for key, value in collate([one]).items()}
            alone.append(model.loss(queries[row : row + 1], batch["token_ids"], batch["labels"]))
    mean = torch.stack(alone).mean()
    assert packed.item() == pytest.approx(mean.item(), abs=1e-5)
    [wanted] = torch.autograd.grad(mean, queries)
    assert torch.allclose(gradient, wanted, atol=1e-6)


def test_each_answer_counts_alike() -> None:
    model = tiny_mini()
    turns = tuple(Turn(question, answer) for question, answer in ASKED)
    talk = example(Instruction("a", "Video", turns), model.template, model.tokenizer)
    packed = pack([[talk], examples(1)], model.placeholder)
    assert packed.weights.sum(1).tolist() == pytest.approx([3, 1])
    assert np.array_equal(packed.weights > 0, packed.labels != IGNORED)
    shares = np.unique(packed.weights[packed.weights > 0])
    assert len(shares) == 3, "a token of a short answer counts for more"


def test_it_is_shorter() -> None:
    one_by_one = sum(len(one.token_ids) for one in examples(3))
    assert pack([examples(3)], tiny_mini().placeholder).token_ids.shape[1] < 0.7 * one_by_one


def test_clips_with_different_prompts_do_not_mix() -> None:
    model = tiny_mini()
    other = example(Instruction("a", "Image", (Turn("Is it?", "Yes."),)), model.template, model.tokenizer)
    with pytest.raises(ValueError, match="differ"):
        pack([[examples(1)[0], other]], model.placeholder)
