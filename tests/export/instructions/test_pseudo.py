"""Injected judgements: both questions of the cascade for every clip, and nothing said that is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from callm_edge.errors import UsageError
from callm_edge.plaza.incidents import BUILDERS
from callm_edge.stage2.prompts import ABNORMAL_QUESTION, EXPLAIN_QUESTION
from callm_export.instructions import ANOMALIES, Clip, pseudo_instructions, read_instructions, write_instructions

CLIPS = [
    Clip("a.mp4", ("a man riding a bike",), True, "cyclist"),
    Clip("b.mp4", ("people walk across a plaza", "a plaza"), False),
    Clip("c.mp4", (), True, sentence="a person falls"),
]


def test_the_two_questions_and_a_judgement() -> None:
    found = list(pseudo_instructions(CLIPS, own_words=1))
    assert [instruction.media for instruction in found] == ["a.mp4", "a.mp4", "b.mp4", "b.mp4", "c.mp4", "c.mp4"]
    asked, judged = found[:2]
    assert [turn.question for turn in asked.turns] == [ABNORMAL_QUESTION, EXPLAIN_QUESTION]
    assert asked.turns[0].answer == "Yes."
    assert asked.turns[1].answer in ANOMALIES["cyclist"]
    assert judged.caption == f"A man riding a bike. This is abnormal. {asked.turns[1].answer}"
    assert [turn.answer for turn in found[2].turns] == ["No."]
    assert found[3].caption in ("People walk across a plaza. This is normal.", "A plaza. This is normal.")
    assert found[5].caption == "This is abnormal. A person falls."


def test_the_same_seed_gives_the_same() -> None:
    clips = CLIPS * 20
    assert list(pseudo_instructions(clips, 3)) == list(pseudo_instructions(clips, 3))
    assert list(pseudo_instructions(clips, 3)) != list(pseudo_instructions(clips, 4))


def test_the_question_is_asked_in_several_ways() -> None:
    asked = [instruction.turns[0].question for instruction in pseudo_instructions(CLIPS * 100) if instruction.turns]
    assert len(set(asked)) > 4
    share = asked.count(ABNORMAL_QUESTION) / (len(asked) / 2)
    assert 0.5 < share < 0.8  # half, and a quarter of the rest


def test_every_kind_of_the_plaza_has_its_words() -> None:
    assert BUILDERS.keys() <= ANOMALIES.keys()


def test_they_fit_a_videochat_file(tmp_path: Path) -> None:
    found = list(pseudo_instructions(CLIPS))
    write_instructions(tmp_path / "a.json", found, "videochat")
    assert read_instructions(tmp_path / "a.json") == found


def test_what_is_not_known_is_not_made_up() -> None:
    with pytest.raises(UsageError, match="Did you mean 'cyclist'"):
        list(pseudo_instructions([Clip("a.mp4", (), True, "cyclyst")]))
    with pytest.raises(UsageError, match=r"a\.mp4 is abnormal"):
        list(pseudo_instructions([Clip("a.mp4", (), True)]))
