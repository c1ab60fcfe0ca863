"""Data sets on disk: what is read from a good one, and what is said about a broken one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.errors import UserError
from callm_export import ground_truth
from callm_export.ground_truth import box_distance, labelled_clips, mask_distance, plaza_clips

WIDTH, HEIGHT, FRAMES = 45, 30, 20  # a width that is no multiple of 8


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Two clips of 20 small pictures; clip 'b' is abnormal in frames 10..14, where pixels (20..23, 5..8) are marked."""
    folder = tmp_path / "set"
    for clip in ("a", "b"):
        (folder / "test" / clip).mkdir(parents=True)
        for index in range(FRAMES):
            cv2.imwrite(str(folder / "test" / clip / f"{index:03d}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    masks = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    masks[10:15, 5:9, 20:24] = 1
    write_labels(folder, a=np.zeros(FRAMES, np.uint8), b=masks.reshape(FRAMES, -1).max(axis=1))
    np.savez(folder / "masks.npz", b=np.packbits(masks, axis=-1))
    return folder


def write_labels(folder: Path, **labels: np.ndarray) -> None:
    np.savez(folder / "labels.npz", **labels)  # type: ignore[arg-type]


def test_reads_clips_labels_and_masks(data_set: Path) -> None:
    a, b = labelled_clips(str(data_set), fps=10)
    assert (a.name, b.name, b.frames, b.source.fps) == ("a", "b", FRAMES, 10)
    assert len(list(b.source)) == FRAMES
    points = np.array([[21.5, 6.5], [30.0, 6.5], [0.5, 0.5]])
    truth = b.truth(points, np.array([12, 14, 15]), (WIDTH, HEIGHT))
    assert np.flatnonzero(truth.labels).tolist() == [10, 11, 12, 13, 14]
    assert truth.distances is not None
    np.testing.assert_allclose(truth.distances, np.array([0, 6, np.nan]))
    assert a.truth(points, np.array([8, 9, 10]), (WIDTH, HEIGHT)).distances is None


def test_masks_are_optional(data_set: Path) -> None:
    (data_set / "masks.npz").unlink()
    clips = labelled_clips(str(data_set))
    assert [clip.truth(np.zeros((0, 2)), np.zeros(0, int), (1, 1)).distances for clip in clips] == [None, None]


def test_clips_may_be_videos_and_stand_in_natural_order(data_set: Path) -> None:
    shutil.rmtree(data_set / "test" / "a")
    shutil.move(data_set / "test" / "b", data_set / "test" / "10")
    writer = cv2.VideoWriter(str(data_set / "test" / "9.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 12, (64, 48))
    for _ in range(FRAMES):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    write_labels(data_set, **{"9": np.eye(FRAMES)[9], "10": np.zeros(FRAMES)})
    nine, ten = labelled_clips(str(data_set), fps=10)
    assert [nine.name, ten.name] == ["9", "10"]
    assert len(list(nine.source)) == FRAMES
    assert nine.source.fps == pytest.approx(12), "a video knows its own rate"


def remove_test(folder: Path) -> None:
    shutil.rmtree(folder / "test")


def empty_test(folder: Path) -> None:
    shutil.rmtree(folder / "test")
    (folder / "test").mkdir()


def remove_labels(folder: Path) -> None:
    (folder / "labels.npz").unlink()


def damage_labels(folder: Path) -> None:
    (folder / "labels.npz").write_bytes(b"PK\x03\x04 not really")


def label_one_clip(folder: Path) -> None:
    write_labels(folder, a=np.zeros(FRAMES))


def label_absent_clip(folder: Path) -> None:
    write_labels(folder, a=np.zeros(FRAMES), b=np.eye(FRAMES)[12], c=np.zeros(FRAMES))


def label_too_many(folder: Path) -> None:
    write_labels(folder, a=np.zeros(FRAMES), b=np.ones(FRAMES + 1))


def label_one_class(folder: Path) -> None:
    # frame 3 is abnormal, but no window scores it
    write_labels(folder, a=np.zeros(FRAMES), b=np.eye(FRAMES)[3])


def label_twos(folder: Path) -> None:
    write_labels(folder, a=np.zeros(FRAMES), b=np.full(FRAMES, 2))


def shorten(folder: Path) -> None:
    for index in range(15, FRAMES):
        (folder / "test" / "b" / f"{index:03d}.png").unlink()
    write_labels(folder, a=np.zeros(FRAMES), b=np.ones(15))


def twice(folder: Path) -> None:
    (folder / "test" / "a.mp4").touch()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (remove_test, r"no test footage.*test/<clip>/\*\.jpg"),
        (empty_test, r"holds no clips.*test/<clip>"),
        (remove_labels, r"labels\.npz is missing.*test/<clip>"),
        (damage_labels, r"labels\.npz cannot be read"),
        (label_one_clip, r"no labels for 'b'"),
        (label_absent_clip, r"labels for 'c'"),
        (label_too_many, r"'b' has 20 frames and 21 labels"),
        (label_one_class, r"one class only: all 10 scored frames are normal"),
        (label_twos, r"clip 'b'.*not labels"),
        (shorten, r"'b' is too short"),
        (twice, r"'a' is there twice"),
    ],
)
def test_says_what_is_wrong(data_set: Path, spoil: Callable[[Path], None], said: str) -> None:
    spoil(data_set)
    with pytest.raises(UserError, match=said):
        labelled_clips(str(data_set))


def test_an_absent_folder_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder") as caught:
        labelled_clips(str(tmp_path / "absent"))
    assert caught.value.exit_code == 2


def test_masks_of_another_size_are_refused(data_set: Path) -> None:
    clip = labelled_clips(str(data_set))[1]
    with pytest.raises(UserError, match="clip 'b'.*do not fit"):
        clip.truth(np.zeros((1, 2)), np.array([12]), (WIDTH, HEIGHT + 1))


def test_plaza_clips_are_fixed_and_show_every_anomaly() -> None:
    from callm_edge.plaza import ANOMALIES

    clips = plaza_clips()
    assert [clip.name for clip in clips] == [str(seed) for seed in range(20_000, 20_020)]
    assert {clip.frames for clip in clips} == {1000}
    shown = [[kind for kind, _, _ in clip.source.plaza.schedule] for clip in clips]  # type: ignore[attr-defined]
    assert all(shown)
    assert {kind for kinds in shown for kind in kinds} == set(ANOMALIES)


def test_plaza_knows_its_truth() -> None:
    clip = plaza_clips(1, 10)[0]
    with clip.source as source:
        known = [frame.truth for frame in source]  # type: ignore[attr-defined]
    first = next(i for i, truth in enumerate(known) if truth.anomalous)
    _, x, y, width, height = known[first].boxes[0]
    points = np.array([[x + width / 2, y + height / 2], [x + width / 2, y + height / 2]])
    truth = clip.truth(points, np.array([first, first - 1]), (640, 360))
    assert len(truth.labels) == len(known) == clip.frames == 250
    assert not truth.labels[first - 1]
    assert truth.labels[first]
    np.testing.assert_array_equal(truth.distances, [0, np.nan])


@given(
    st.integers(0, 20),
    st.integers(0, 20),
    st.integers(1, 6),
    st.integers(1, 6),
    st.floats(-5, 35, allow_subnormal=False),
    st.floats(-5, 35, allow_subnormal=False),
)
def test_a_mask_and_a_box_of_the_same_pixels_are_equally_far(
    x: int, y: int, width: int, height: int, px: float, py: float
) -> None:
    mask = np.zeros((30, 30), np.uint8)
    mask[y : y + height, x : x + width] = 1
    point = np.array([px, py])
    assert mask_distance(mask, point) == pytest.approx(box_distance((x, y, width, height), point), abs=1e-9)


def test_distances() -> None:
    assert box_distance((10, 10, 5, 5), np.array([12, 12])) == 0
    assert box_distance((10, 10, 5, 5), np.array([18, 19])) == pytest.approx(5)
    assert np.isnan(mask_distance(np.zeros((4, 4)), np.array([1, 1])))


def test_real_data_set_fits_together(ped2: Path) -> None:
    clips = ground_truth.labelled_clips(str(ped2), fps=10)
    assert len(clips) == 12
    assert sum(clip.frames for clip in clips) == 2010
    assert sum(clip.frames - 15 for clip in clips) == 1830
    points = np.full((clips[0].frames, 2), 0.5)
    truth = clips[0].truth(points, np.arange(clips[0].frames), (360, 240))
    assert truth.distances is not None
    np.testing.assert_array_equal(np.isfinite(truth.distances), truth.labels)
