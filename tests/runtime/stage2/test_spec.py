"""stage2.json, read and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from callm_edge.errors import BundleError
from callm_edge.stage2.spec import SPEC, Stage2Spec


def test_it_comes_back(tmp_path: Path) -> None:
    spec = Stage2Spec(threshold=0.25, message=True, training={"steps": 7})
    spec.write(tmp_path)
    assert Stage2Spec.read(tmp_path) == spec


def test_absent(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no video-language branch"):
        Stage2Spec.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threshold": 1.5}, "threshold"),
        ({"template": "v9"}, "v9"),
        ({"tresholt": 0.5}, "tresholt"),
        ({"schema_version": 2}, "schema 2"),
        ({"explain_question": ""}, "explain_question"),
    ],
)
def test_refused_by_name(tmp_path: Path, change: dict[str, object], told: str) -> None:
    (tmp_path / SPEC).write_text(json.dumps(Stage2Spec().model_dump() | change))
    with pytest.raises(BundleError, match=told):
        Stage2Spec.read(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SPEC).write_bytes(content)
    with pytest.raises(BundleError, match="cannot be read"):
        Stage2Spec.read(tmp_path)
