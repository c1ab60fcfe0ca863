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
