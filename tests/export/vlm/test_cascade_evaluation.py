"""Judging clips: the numbers, with a branch whose answers are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.verdict import Verdict
from callm_export.vlm.cascade_evaluation import CascadeEvaluation, judge_clips

from .conftest import MakeClips


class Told:
    """Says what it was told to say of each clip; nothing means no."""

    name = "told"

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        answer = self.answers.get(clip.event_id, "")
        probability = 0.2 + 0.1 * len(answer) / 40 + 0.5 * bool(answer)
        return Verdict(clip.event_id, bool(answer), probability, answer, self.name, "", {"encode": 2.0, "decode": 4.0})

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        yield ""


KINDS = {"a": "cyclist", "b": "fall", "c": "fall", "d": "runner", "e": None, "f": None}


@pytest.fixture
def judged(make_clips: MakeClips) -> CascadeEvaluation:
    clips = make_clips(KINDS)
    answers = {
        "a": "A cyclist rides across the plaza.",
        "b": "Someone is running.",
        "c": "A person lies on the ground.",
        "f": "Someone has fallen.",
    }
    return judge_clips("set", "bundle", Told(answers), clips, clips.records())


def test_rates(judged: CascadeEvaluation) -> None:
    assert judged.hit_rate == pytest.approx(3 / 4)
    assert judged.false_positive_rate == pytest.approx(1 / 2)
    assert judged.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert judged.auc == pytest.approx(6 / 8)  # of 8 pairs two are ties, and one is the wrong way round
    assert judged.named_right == pytest.approx(2 / 4)
    assert judged.named_right_of_found == pytest.approx(2 / 3)
    assert judged.by_kind() == {"cyclist": (1, 1, 1), "fall": (2, 2, 1), "runner": (1, 0, 0)}
    assert judged.median_ms() == {"encode": 2.0, "decode": 4.0}


def test_the_contract_for_machines(judged: CascadeEvaluation) -> None:
    wanted = {
        "balanced_accuracy",
        "hit_rate",
        "false_positive_rate",
        "auc",
        "named_right",
        "clips",
        "dataset",
        "bundle",
    }
    assert wanted <= judged.to_dict().keys()
    assert judged.to_dict()["clips"] == 6


def test_two_kinds_at_once_name_none(make_clips: MakeClips) -> None:
    clips = make_clips({"a": "cyclist", "b": None})
    answer = {"a": "A cyclist falls to the ground."}
    assert judge_clips("", "", Told(answer), clips, clips.records()).named_right == 0


def test_unknown_kinds_are_not_counted(make_clips: MakeClips) -> None:
    clips = make_clips({"a": "cyclist", "b": None})
    clips.replace([record.model_copy(update={"kind": None}) for record in clips.records()])
    found = judge_clips("", "", Told({"a": "Something."}), clips, clips.records())
    assert (found.named_right, found.hit_rate) == (None, 1.0)


def test_one_class_only(make_clips: MakeClips) -> None:
    clips = make_clips({"a": None})
    with pytest.raises(UserError, match="one class only"):
        judge_clips("set", "", Told({}), clips, clips.records())
