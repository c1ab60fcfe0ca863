"""Footage: which clips a text means, decoding once, and the held-out part."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra 'train' is not installed")

from callm_edge.errors import SourceError, UserError  # noqa: E402
from callm_export.footage import ClipSource, Footage, clip_sources, decode, opened  # noqa: E402


def write_clip(folder: Path, frames: int) -> None:
    folder.mkdir(parents=True)
    for index in range(frames):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((24, 32), index, np.uint8))


def test_layouts(tmp_path: Path) -> None:
    write_clip(tmp_path / "data" / "train" / "02", 1)
    write_clip(tmp_path / "data" / "train" / "01", 1)
    write_clip(tmp_path / "data" / "test" / "03", 1)
    assert [name for name, _ in clip_sources(str(tmp_path / "data"))] == ["01", "02"]
    assert [name for name, _ in clip_sources(str(tmp_path / "data" / "train"))] == ["01", "02"]
    assert clip_sources(str(tmp_path / "data" / "train" / "01")) == [("01", str(tmp_path / "data" / "train" / "01"))]
    assert all(uri.startswith("test:plaza?") for _, uri in clip_sources("plaza"))


def test_decoded_once_and_found_again(tmp_path: Path) -> None:
    write_clip(tmp_path / "clips" / "a", 20)
    write_clip(tmp_path / "clips" / "b", 18)
    sources = clip_sources(str(tmp_path / "clips"))
    footage = decode(sources, tmp_path / "run", fps=10)
    assert [len(clip) for clip in footage.clips] == [20, 18]
    assert footage.fps == 10
    assert footage.clips[1][7].max() == footage.clips[1][7].min() == 7
    for path in (tmp_path / "clips" / "a").iterdir():
        path.unlink()
    assert decode(sources, tmp_path / "run", fps=10).frames == 38
    assert opened(tmp_path / "run").names == ("a", "b")
    assert not list((tmp_path / "run").glob(".*")), "no partial files are left behind"


def test_other_settings_decode_again(tmp_path: Path) -> None:
    write_clip(tmp_path / "a", 40)
    sources = [("a", str(tmp_path / "a"))]
    assert decode(sources, tmp_path / "run").frames == 40
    assert decode(sources, tmp_path / "run", limit_seconds=0.8).frames == 21


def test_too_short(tmp_path: Path) -> None:
    write_clip(tmp_path / "a", 15)
    with pytest.raises(SourceError, match="16 frames, the longest clip has 15"):
        decode([("a", str(tmp_path / "a"))], tmp_path / "run")


def test_no_footage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training footage"):
        opened(tmp_path)


def test_the_held_out_part_is_apart_from_the_training_part() -> None:
    clips = tuple(np.full((20, 1, 1), i, np.uint8) for i in range(16))
    train, held = Footage(tuple(map(str, range(16))), clips, 25.0).split()
    assert set(held.names) == {"7", "15"}
    assert set(train.names) | set(held.names) == set(map(str, range(16)))
    assert len(train.clips) == 14


def test_a_single_clip_is_cut() -> None:
    clip = np.arange(100, dtype=np.uint8).reshape(100, 1, 1)
    train, held = Footage(("a",), (clip,), 25.0).split()
    assert len(train.clips[0]) + len(held.clips[0]) == 100
    assert len(held.clips[0]) == 16
    assert train.clips[0][-1] < held.clips[0][0]


def test_too_little_to_split() -> None:
    with pytest.raises(SourceError, match="too little footage"):
        Footage(("a",), (np.zeros((31, 1, 1), np.uint8),), 25.0).split()


def test_a_clip_as_a_source() -> None:
    clip = np.zeros((5, 4, 4), np.uint8)
    frames = list(ClipSource("a", clip, 10.0))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert frames[3].time == pytest.approx(0.3)
