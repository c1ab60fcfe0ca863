"""A camera never waits for the page, nothing is encoded for nobody, and what is not shown is counted."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from callm_edge.cascade import Camera, ScoredFrame
from callm_edge.web import camera_view
from callm_edge.web.camera_view import POINTS, CameraView

Scored = Callable[..., ScoredFrame]


@pytest.fixture
def view(camera: Callable[..., Camera]) -> CameraView:
    return CameraView(camera())


def test_nothing_is_encoded_while_nobody_looks(view: CameraView, scored: Scored) -> None:
    for index in range(200):
        view.put(scored(index))
    assert (view.encoded, view.replaced, view.count) == (0, 0, 200)


def test_the_newest_frame_is_shown_once_and_for_all_who_look(view: CameraView, scored: Scored) -> None:
    assert view.picture(-1) is None, "there is none yet"
    view.put(scored(1))
    view.put(scored(2))
    first, second = view.picture(-1), view.picture(-1)
    assert first is second is not None
    assert (first.index, view.encoded) == (2, 1)
    assert view.picture(2) is None, "who has seen it waits for the next"


def test_the_rate_is_bounded_and_what_is_left_out_is_counted(
    view: CameraView, scored: Scored, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(camera_view, "time", SimpleNamespace(monotonic=lambda: now[0]))
    seen = -1
    for index in range(100):  # 4 s of a camera with 25 frames per second, looked at after every one
        view.put(scored(index))
        if (picture := view.picture(seen)) is not None:
            seen = picture.index
        now[0] += 0.04
    assert 30 <= view.encoded <= 41
    assert view.replaced == 99 - (view.encoded - 1)
    before = view.replaced
    now[0] += 10
    view.put(scored(200))
    view.put(scored(201))
    assert view.replaced == before, "nobody looks any more"


def test_taking_a_frame_costs_a_camera_next_to_nothing(view: CameraView, scored: Scored) -> None:
    frame = scored(1, width=1920)
    view.picture(-1)
    began = time.thread_time()
    for _ in range(1000):
        view.put(frame)
    assert time.thread_time() - began < 0.1  # 0.1 ms each: an encoded picture would take ten times that


def test_only_the_last_scores_are_kept(view: CameraView, scored: Scored) -> None:
    for index in range(POINTS + 10):
        view.put(scored(index))
    points, count = view.points(0)
    assert (len(points), count, points[0][0]) == (POINTS, POINTS + 10, 0.4)
    assert view.points(count) == ([], count)
    assert [point[0] for point in view.points(count - 2)[0]] == [round(i / 25, 3) for i in (POINTS + 8, POINTS + 9)]


def test_gray_frames_and_wide_ones(view: CameraView) -> None:
    from dataclasses import replace

    from callm_edge.sources import Frame

    base = ScoredFrame(Frame(3, 0.1, np.zeros((10, 10), np.uint8)), 1.0, 1.0, np.zeros((128, 128)), False, False)
    for index, shape, size in ((3, (1080, 1920), (540, 960)), (4, (40, 30), (40, 30))):
        view._made_at = 0.0
        view.put(replace(base, frame=Frame(index, 0.1, np.zeros(shape, np.uint8))))
        picture = view.picture(-1)
        assert picture is not None
        assert cv2.imdecode(np.frombuffer(picture.jpeg, np.uint8), cv2.IMREAD_COLOR).shape[:2] == size
