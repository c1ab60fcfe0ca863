"""Sentences name their kind, and only theirs."""

from __future__ import annotations

import pytest

from callm_edge.plaza import ANOMALIES as PLAZA_KINDS
from callm_export.instructions import ANOMALIES
from callm_export.vlm.wording import NORMAL, NOTHING_WRONG, WRONG, named_kinds


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [(kind, sentence) for table in (WRONG, ANOMALIES) for kind, sentences in table.items() for sentence in sentences],
)
def test_each_names_its_kind(kind: str, sentence: str) -> None:
    assert named_kinds(sentence) == (kind,)


@pytest.mark.parametrize("sentence", [*NORMAL, *NOTHING_WRONG, ""])
def test_normal_ones_name_none(sentence: str) -> None:
    assert named_kinds(sentence) == ()


def test_the_plaza_is_covered() -> None:
    assert set(WRONG) == set(PLAZA_KINDS)


def test_the_second_word_tells_the_kind() -> None:
    second = {kind: {sentence.split()[1].strip(",") for sentence in sentences} for kind, sentences in WRONG.items()}
    assert all(len(words) == 1 for words in second.values())
    assert len(set.union(*second.values())) == len(WRONG)
    assert {sentence.split()[0] for sentences in WRONG.values() for sentence in sentences} == {"A"}
