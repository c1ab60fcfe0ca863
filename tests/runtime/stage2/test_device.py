"""The branch on the device, whole, with tiny parts: two questions, a ledger, and sane answers to odd clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from callm_edge.errors import BundleError, UserError
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.stage2.device import DeviceBranch, one_line
from callm_edge.stage2.ledger import Ledger
from callm_edge.stage2.prompts import Turn
from callm_edge.stage2.spec import FORMER, VISION, Stage2Spec


def clip(count: int = 20, tone: int = 90, jpeg: bytes | None = None) -> Clip:
    data = jpeg if jpeg is not None else cv2.imencode(".jpg", np.full((60, 80, 3), tone, np.uint8))[1].tobytes()
    return Clip("e1", "h", 20.0, tuple(ClipFrame(i, i / 25, data, 18.0, ((5.0, 6.0),)) for i in range(count)))


def with_threshold(folder: Path, threshold: float) -> DeviceBranch:
    Stage2Spec.read(folder).model_copy(update={"threshold": threshold}).write(folder)
    return DeviceBranch(folder, threads=1)


def test_yes_brings_an_explanation_and_the_steps_it_took(branch_folder: Path) -> None:
    said: list[str] = []
    verdict = with_threshold(branch_folder, 0.0).judge(clip(), said.append)
    assert verdict.abnormal
    assert (verdict.event_id, verdict.answered_by, verdict.reason) == ("e1", "device", "this device alone is asked")
    assert verdict.explanation == "".join(said).strip() != ""
    assert list(verdict.ledger_ms) == ["pictures", "motion", "encode", "qformer", "prefill", "answer", "decode"]
    assert all(ms >= 0 for ms in verdict.ledger_ms.values())


def test_why_is_asked_after_the_yes_in_one_conversation(branch_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read of the first question is gone on from, and that is the same as reading all anew."""
    branch = with_threshold(branch_folder, 0.0)
    read = []
    monkeypatch.setattr(branch, "_generate", lambda state, tokens: read.append(state.fork()) or iter(()))
    branch.judge(clip())
    prompt = branch._template.prompt(branch._decoder.tokenizer, "Why?", "", [Turn("Odd?", "Yes.")])
    anew = branch._decoder.prefill(branch._decoder.embed(prompt.after), after=branch._see(clip(), Ledger()).state)
    assert read[0].length == anew.length
    np.testing.assert_allclose(read[0].logits, anew.logits, atol=1e-4)


def test_no_brings_none(branch_folder: Path) -> None:
    verdict = with_threshold(branch_folder, 1.0).judge(clip(), pytest.fail)
    assert not verdict.abnormal
    assert verdict.explanation == ""
    assert 0 < verdict.probability < 1
    assert "decode" not in verdict.ledger_ms


def test_the_probability_depends_on_what_is_seen_and_on_nothing_else(branch_folder: Path) -> None:
    branch = DeviceBranch(branch_folder, threads=1)
    dark, bright, again = (branch.judge(clip(tone=tone)).probability for tone in (10, 240, 10))
    assert dark == again
    assert dark != bright


@pytest.mark.parametrize("count", [1, 3, 8])
def test_short_and_black_clips_get_a_sane_verdict(branch_folder: Path, count: int) -> None:
    verdict = DeviceBranch(branch_folder, threads=1).judge(clip(count, tone=0))
    assert 0 <= verdict.probability <= 1


def test_a_damaged_picture_is_named(branch_folder: Path) -> None:
    with pytest.raises(UserError, match="Frame 0 of the clip is damaged"):
        DeviceBranch(branch_folder, threads=1).judge(clip(jpeg=b"no picture"))


@pytest.mark.parametrize(
    ("pieces", "wanted"),
    [
        (["A cyc", "list.", "\n\nThe vid", "eo"], "A cyclist."),
        (["\n", " A cyclist", " rides.\nHe"], "A cyclist rides."),
        (["A cyclist"], "A cyclist"),
        (["\n", "\n"], ""),
    ],
)
def test_an_explanation_is_one_line(pieces: list[str], wanted: str) -> None:
    coming = iter(pieces)
    assert "".join(one_line(coming)) == wanted
    assert not any("\n" in piece for piece in coming), "what follows the line is not even decoded"


def test_any_question_can_be_asked(branch_folder: Path) -> None:
    branch = DeviceBranch(branch_folder, threads=1)
    assert "".join(branch.ask(clip(), "Who?"))
    with pytest.raises(UserError, match="question is empty"):
        list(branch.ask(clip(), "  "))


def test_parts_that_do_not_fit_are_refused(
    tmp_path: Path, branch_folder: Path, write_branch: Callable[..., Path]
) -> None:
    with pytest.raises(BundleError, match="gives 48 numbers"):
        DeviceBranch(write_branch(tmp_path / "other", width=48))
    former = onnx.load(str(branch_folder / FORMER))
    former.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 8  # made for frames alone
    onnx.save(former, str(branch_folder / FORMER))
    with pytest.raises(BundleError, match=r"reads 8 pictures, stage2\.json says 16"):
        DeviceBranch(branch_folder)
    (branch_folder / VISION).write_bytes(b"cut")
    with pytest.raises(BundleError, match="vision.onnx"):
        DeviceBranch(branch_folder)
