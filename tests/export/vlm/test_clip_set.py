"""Clip sets: written, read, refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_export.vlm.clip_set import ClipSet, seen

from .conftest import MakeClips


def test_what_was_written(make_clips: MakeClips) -> None:
    clips = make_clips({"b": None, "a": "cyclist"})
    assert [(record.name, record.abnormal) for record in clips.records()] == [("a", True), ("b", False)]
    images, peaks, times = seen(Clip.load(clips.path("a")))
    assert [image.shape for image in images] == [(48, 64, 3)] * 8
    assert peaks[:2] == [((50.0, 40.0),), ()]
    assert times == pytest.approx(list(clips.records()[0].times_s))


def test_what_is_known_changes(make_clips: MakeClips) -> None:
    clips = make_clips({"a": None, "b": None})
    clips.replace([record.model_copy(update={"captions": (record.name,)}) for record in clips.records()])
    assert [record.captions for record in clips.records()] == [("a",), ("b",)]


def test_a_group_without_its_records_is_not_there(make_clips: MakeClips) -> None:
    clips = make_clips({"a": None, "b": None})
    (clips.folder / "records" / "a.json").unlink()
    assert clips.groups() == {"b"}


def test_damaged_records_are_named(make_clips: MakeClips) -> None:
    clips = make_clips({"a": None})
    (clips.folder / "records" / "a.json").write_text("[{}]")
    with pytest.raises(UserError, match="a.json"):
        clips.records()


def test_an_empty_folder(tmp_path: Path) -> None:
    assert ClipSet(tmp_path / "none").records() == []
