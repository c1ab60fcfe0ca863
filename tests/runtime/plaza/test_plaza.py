"""The synthetic plaza: the same bits for the same arguments, and labels that agree with the pictures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from callm_edge.errors import UsageError
from callm_edge.plaza import ANOMALIES, FPS, HEIGHT, WIDTH, Plaza, Truth
from callm_edge.plaza.light import Light
from callm_edge.plaza.plaza import _draw
from callm_edge.plaza.scene import scene


def frames(plaza: Plaza, count: int) -> list[tuple[np.ndarray, Truth]]:
    return list(itertools.islice(plaza, count))


def test_same_arguments_give_the_same_bits() -> None:
    first, second = (frames(Plaza(4, ["runner"], 12.0), 30) for _ in range(2))
    for (image, truth), (again, truth_again) in zip(first, second, strict=True):
        assert image.shape == (HEIGHT, WIDTH, 3)
        assert image.dtype == np.uint8
        assert np.array_equal(image, again)
        assert truth == truth_again


def test_one_plaza_can_be_read_twice_and_side_by_side_with_another() -> None:
    plaza, other = Plaza(2, ["cyclist"], 12.0), Plaza(9, ["vehicle"], 12.0)
    alone = frames(plaza, 20)
    mixed = [one for one, _ in zip(itertools.islice(plaza, 20), itertools.islice(other, 20), strict=True)]
    for (image, truth), (again, truth_again) in zip(alone, mixed, strict=True):
        assert np.array_equal(image, again)
        assert truth == truth_again


def test_frames_drawn_alone_are_the_frames_of_the_footage() -> None:
    wanted = {3, 4, 40}
    whole = [item for index, item in enumerate(Plaza(4, ("runner",), 2.0)) if index in wanted]
    alone = list(Plaza(4, ("runner",), 2.0).frames_at(wanted))
    assert len(alone) == 3
    for (picture, truth), (other, other_truth) in zip(whole, alone, strict=True):
        np.testing.assert_array_equal(picture, other)
        assert truth == other_truth


def test_frames_belong_to_the_caller() -> None:
    reader = iter(Plaza(0, (), 1.0))
    first, _ = next(reader)
    kept = first.copy()
    next(reader)
    assert np.array_equal(first, kept)
    first[:] = 0
    assert scene().background.any()


def test_seeds_change_people_but_not_the_scene() -> None:
    stills = []
    for seed in (0, 1):
        stack = np.stack([image for image, _ in frames(Plaza(seed, (), 5.0), 125)][::25])
        stills.append((stack[0], np.median(stack, axis=0)))
    (one, scene_one), (two, scene_two) = stills
    assert not np.array_equal(one, two)
    # What stays after the median over time is the scene: light may differ a little, structure may not.
    assert np.corrcoef(scene_one.ravel(), scene_two.ravel())[0, 1] > 0.93
    assert {seed: Plaza(seed, ["runner"], 30).schedule for seed in (0, 1)}[0] != Plaza(1, ["runner"], 30).schedule


def test_length_and_rate() -> None:
    plaza = Plaza(0, (), 0.5)
    assert (plaza.fps, plaza.width, plaza.height, plaza.frames) == (FPS, WIDTH, HEIGHT, 12)
    assert len(list(plaza)) == plaza.frames


def test_normal_footage_is_never_labelled_and_is_peopled() -> None:
    plaza = Plaza(6, (), 4.0)
    assert plaza.schedule == ()
    for _, truth in plaza:
        assert not truth.anomalous
        assert truth.boxes == ()
        assert truth.caption == "Several people walk across the plaza."


@pytest.mark.parametrize("kind", ANOMALIES)
def test_labels_and_schedule_agree(kind: str) -> None:
    plaza = Plaza(3, [kind], 40.0)
    name, start, end = plaza.schedule[0]
    assert name == kind
    assert 8 * FPS <= start < 9 * FPS
    labelled = set()
    for index in range(plaza.frames):
        for box_kind, x, y, w, h in plaza.boxes(index):
            labelled.add(index)
            assert box_kind == kind
            assert min(w, h) >= 4
            assert min(x, y) >= 0
            assert x + w <= WIDTH
            assert y + h <= HEIGHT
    assert labelled == {index for _, first, last in plaza.schedule for index in range(first, last)}


def test_footage_carries_the_labels_of_the_schedule() -> None:
    plaza = Plaza(7, ["runner"], 10.0)
    ((_, start, end),) = plaza.schedule
    for index, (_, truth) in enumerate(plaza):
        assert truth.anomalous == (start <= index < end) == bool(truth.boxes)
        assert ("runs" in truth.caption) == truth.anomalous


@pytest.mark.parametrize("kind", ANOMALIES)
def test_boxes_hold_what_is_drawn(kind: str) -> None:
    """With nothing else on the plaza, the picture differs from the empty one inside the boxes far more than outside."""
    plaza = Plaza(5, [kind], 40.0)
    _, start, end = plaza.schedule[0]
    light = Light(0, scene())
    for index in (start + (end - start) // 4, (start + end) // 2):
        about = [actor for actor in plaza._incidents if actor.start <= index < actor.end]
        picture, _ = _draw([actor for actor in about if actor.labelled[0] <= index < actor.labelled[1]], index, light)
        change = np.abs(picture.astype(int) - scene().background.astype(int)).mean(axis=2)
        inside = np.zeros(change.shape, bool)
        for _, x, y, w, h in plaza.boxes(index):
            inside[y : y + h, x : x + w] = True
            assert change[y : y + h, x : x + w].max() > 20
        # Shadows fall outside the boxes, hence not zero.
        assert change[inside].mean() > 10 * change[~inside].mean()


def test_anomalies_follow_in_order_repeat_and_keep_their_distance() -> None:
    plaza = Plaza(1, ["runner", "cyclist"], 90.0)
    assert [kind for kind, _, _ in plaza.schedule[:4]] == ["runner", "cyclist", "runner", "cyclist"]
    for (_, _, end), (_, start, _) in itertools.pairwise(plaza.schedule):
        assert start - end >= 8 * FPS
    assert plaza.schedule[-1][2] <= plaza.frames


@pytest.mark.parametrize("seed", range(12))
def test_every_seed_gives_every_anomaly_room_and_a_start_after_eight_seconds(seed: int) -> None:
    plaza = Plaza(seed, ANOMALIES, 260.0)
    assert [kind for kind, _, _ in plaza.schedule[: len(ANOMALIES)]] == list(ANOMALIES)
    assert all(end - start >= FPS for _, start, end in plaza.schedule)


def test_normal_people_follow_the_one_way_walkway() -> None:
    from callm_edge.plaza.crowd import crowd
    from callm_edge.plaza.person import X, Y
    from callm_edge.plaza.scene import lane_y

    seen = 0
    for actor in crowd(11, 60 * FPS, ()):
        rows = actor.rows
        on_lane = np.abs(rows[:, Y] - np.asarray(lane_y(rows[:, X]))) < 0.9
        if on_lane.mean() > 0.8:
            seen += 1
            assert rows[-1, X] > rows[0, X] + 5
    assert seen >= 3


def test_unknown_anomaly_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'cyclist'"):
        Plaza(0, ["cylist"])


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_length_is_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="no frame"):
        Plaza(0, (), seconds)
