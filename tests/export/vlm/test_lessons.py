"""Instructions of clips, and clips with their instructions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from callm_edge.errors import UsageError, UserError
from callm_edge.stage2.prompts import ABNORMAL_QUESTION, EXPLAIN_QUESTION
from callm_export.instructions import write_instructions
from callm_export.vlm.crops import crops_that_show
from callm_export.vlm.lessons import INSTRUCTIONS, instructions_of, pictures_of, read_lessons
from callm_export.vlm.wording import named_kinds

from .conftest import MakeClips, record_of


def test_answers_agree_with_the_truth() -> None:
    records = [record_of("a", "cyclist"), record_of("b", None)]
    for instruction in instructions_of(records, seed=3, each=20):
        for turn in instruction.turns:
            words = turn.answer or ""
            if "yes or no" in turn.question:
                assert words == ("Yes." if instruction.media == "a" else "No.")
            elif instruction.media == "a":
                assert named_kinds(words) == ("cyclist",)
            else:
                assert named_kinds(words) == ()


def test_the_device_s_own_questions_are_learnt_most() -> None:
    asked = Counter(
        turn.question
        for instruction in instructions_of([record_of("a", "fall")], each=40)
        for turn in instruction.turns
    )
    assert {question for question, _ in asked.most_common(2)} == {ABNORMAL_QUESTION, EXPLAIN_QUESTION}


def test_what_is_wrong_is_asked_in_the_cascade_s_words_only_after_a_yes() -> None:
    records = [record_of("a", "fall"), record_of("b", None)]
    asked = [i for i in instructions_of(records, each=40) if i.turns[-1].question == EXPLAIN_QUESTION]
    assert {instruction.media for instruction in asked} == {"a"}
    assert sum(instruction.turns[0].answer == "Yes." for instruction in asked) > len(asked) / 2


def test_the_judgement_is_injected() -> None:
    told = [i.turns[-1].answer or "" for i in instructions_of([record_of("a", "runner")]) if len(i.turns) == 1]
    assert any(text.startswith("People walk by. This is abnormal. ") for text in told)


def test_a_sentence_instead_of_a_kind() -> None:
    record = record_of("a", None).model_copy(update={"abnormal": True, "captions": ("A dog runs loose.",)})
    answers = {turn.answer for i in instructions_of([record]) for turn in i.turns if "yes or no" not in turn.question}
    assert "A dog runs loose." in answers
    with pytest.raises(UsageError, match="nothing says how"):
        instructions_of([record.model_copy(update={"captions": ()})])


def test_read_with_their_clips(make_clips: MakeClips) -> None:
    clips = make_clips({"a": "cyclist", "b": None})
    write_instructions(clips.folder / INSTRUCTIONS, instructions_of(clips.records()), "videochat")
    lessons = read_lessons(clips)
    assert [lesson.record.name for lesson in lessons] == ["a", "b"]
    assert all(len(lesson.instructions) == 8 for lesson in lessons)


def test_a_clip_that_is_not_there(make_clips: MakeClips) -> None:
    clips = make_clips({"a": "cyclist"})
    write_instructions(clips.folder / INSTRUCTIONS, instructions_of([record_of("z", None)]), "llava")
    with pytest.raises(UserError, match="'z'"):
        read_lessons(clips)


def test_guided_crops_take_their_labels_along() -> None:
    record = record_of("a", "cyclist")
    features = np.arange(40, dtype=np.float16).reshape(40, 1, 1)
    plain, before = pictures_of(features, record, np.random.default_rng(0), 0.0)
    assert plain.ravel().tolist() == list(range(32))
    assert before.tolist() == crops_that_show(record).tolist()
    seen = set()
    for seed in range(60):
        rows, showing = pictures_of(features, record, np.random.default_rng(seed), 1.0)
        guided = (rows.ravel()[8:] >= 32).reshape(3, 8)
        seen.add(tuple(guided[:, 0].tolist()))
        assert not guided[:, 2:].any(), "in these frames another crop shows it"
        assert guided.sum(axis=0).max() <= 1
        assert (showing == before | guided).all()
    none, ranks = (False, False, False), [tuple(bool(v) for v in row) for row in np.eye(3)]
    assert seen == {none, *ranks}
