"""A clip comes back as it was, and what is none is refused in a sentence."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from callm_edge.errors import UserError
from callm_edge.events.clip import WAYS, Clip, ClipFrame
from callm_edge.stage2.ways import Ways

JPEG = cv2.imencode(".jpg", np.full((24, 32, 3), 90, np.uint8))[1].tobytes()
CLIP = Clip("abc", "f00d", 21.5, (ClipFrame(7, 0.28, JPEG, 19.25, ((3.5, 4.0), (9.0, 1.5))), ClipFrame(8, 0.32, JPEG)))


def test_a_clip_comes_back_as_it_was(tmp_path: Path) -> None:
    CLIP.save(tmp_path / "abc.zip")
    assert Clip.load(tmp_path / "abc.zip") == CLIP
    assert CLIP.frames[0].image().shape == (24, 32, 3)
    assert CLIP.seconds == pytest.approx(0.04)


def test_of_the_first_schema_a_frame_has_one_peak(tmp_path: Path) -> None:
    CLIP.save(tmp_path / "new.zip")
    with zipfile.ZipFile(tmp_path / "new.zip") as new, zipfile.ZipFile(tmp_path / "old.zip", "w") as old:
        index = json.loads(new.read("clip.json"))
        index["schema_version"] = 1
        for row in index["frames"]:
            row["peak"] = next(iter(row.pop("peaks")), None)
        old.writestr("clip.json", json.dumps(index))
        for name in new.namelist()[1:]:
            old.writestr(name, new.read(name))
    assert [frame.peaks for frame in Clip.load(tmp_path / "old.zip").frames] == [((3.5, 4.0),), ()]


def test_any_program_can_open_it(tmp_path: Path) -> None:
    CLIP.save(tmp_path / "abc.zip")
    with zipfile.ZipFile(tmp_path / "abc.zip") as file:
        assert file.namelist() == ["clip.json", "0000000007.jpg", "0000000008.jpg"]


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no clip"):
        Clip.load(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(UserError, match=r"text\.zip cannot be read"):
        Clip.load(tmp_path / "text.zip")
    CLIP.save(tmp_path / "cut.zip")
    whole = (tmp_path / "cut.zip").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 3):
        (tmp_path / "cut.zip").write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut\.zip cannot be read"):
            Clip.load(tmp_path / "cut.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as file:
        file.writestr("clip.json", '{"schema_version": 1}')
    with pytest.raises(UserError, match="cannot be read"):
        Clip.load(tmp_path / "other.zip")


def test_a_missing_or_damaged_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Frame 3 of the clip is damaged"):
        ClipFrame(3, 0.0, b"no picture").image()
    with pytest.raises(UserError, match="Frame 3 of the clip is damaged"):
        ClipFrame(3, 0.0, b"").image()
    CLIP.save(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as file, zipfile.ZipFile(tmp_path / "b.zip", "w") as less:
        less.writestr("clip.json", file.read("clip.json"))
    with pytest.raises(UserError, match="cannot be read"):
        Clip.load(tmp_path / "b.zip")


def test_it_bears_what_is_usual_where_its_camera_looks(tmp_path: Path) -> None:
    ways = Ways(np.random.default_rng(0).random((27, 48, 5), np.float32))
    replace(CLIP, ways=ways).save(tmp_path / "abc.zip")
    assert Clip.load(tmp_path / "abc.zip").ways == ways
    with zipfile.ZipFile(tmp_path / "abc.zip") as whole, zipfile.ZipFile(tmp_path / "bad.zip", "w") as bad:
        for name in whole.namelist():
            bad.writestr(name, whole.read(name)[:500] if name == WAYS else whole.read(name))
    with pytest.raises(UserError, match=r"bad\.zip cannot be read"):
        Clip.load(tmp_path / "bad.zip")
