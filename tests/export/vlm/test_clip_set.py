"""Clip sets: written, read, refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.stage2.motion import follower
from callm_edge.stage2.pictures import shown
from callm_edge.stage2.view import ClipView
from callm_export.vlm.clip_set import ClipSet, held

from .conftest import MakeClips


def test_what_was_written(make_clips: MakeClips) -> None:
    clips = make_clips({"b": None, "a": "cyclist"})
    assert [(record.name, record.abnormal) for record in clips.records()] == [("a", True), ("b", False)]
    view = ClipView(Clip.load(clips.path("a")))
    assert [image.shape for image in view.images] == [(48, 64, 3)] * 8
    assert view.peaks[:2] == [((50.0, 40.0),), ()]
    assert view.times_s == pytest.approx(list(clips.records()[0].times_s))


@given(st.integers(1, 300), st.floats(1, 60))
def test_a_file_shows_stage_2_what_the_whole_stretch_would(count: int, fps: float) -> None:
    kept = held(count, fps)
    assert kept == sorted(set(kept))
    assert kept[-1] < count
    assert [kept[at] for at in shown(len(kept))] == shown(count)
    times = [at / fps for at in range(count)]
    for at, number in zip(shown(len(kept)), shown(count), strict=True):
        after, wanted = follower([times[one] for one in kept], at), follower(times, number)
        assert (after is None) == (wanted is None)
        if after is not None and wanted is not None:
            distance = abs(times[kept[after]] - times[number])
            assert distance == pytest.approx(abs(times[wanted] - times[number]), abs=1.01 / fps)


def test_a_file_holds_16_frames_of_a_long_stretch() -> None:
    assert held(104, 25.0) == [at for first in range(0, 104, 13) for at in (first, first + 2)]
    assert held(20, 25.0) == list(range(20))


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
