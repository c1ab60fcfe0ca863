"""Cameras that share calls get the scores that they would have had alone."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from callm_edge.stage1.batched import Batched
from callm_edge.stage1.scores import Scores, psnr_db


class MeanScorer:
    """mse is the mean of the window; it notes how many windows came at once."""

    name = "mean"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def score(self, windows: np.ndarray) -> Scores:
        self.sizes.append(len(windows))
        if (windows == 13).all(axis=(1, 2, 3)).any():
            raise RuntimeError("an unlucky window")
        time.sleep(0.002)
        mse = windows.mean(axis=(1, 2, 3)).astype(np.float32)
        return Scores(mse, psnr_db(mse), mse, np.repeat(mse[:, None, None], 4, axis=1))


def together(backend: Batched, tones: list[list[int]]) -> list[list[float]]:
    """One thread for each camera, each scoring its windows in turn."""
    results: list[list[float]] = [[] for _ in tones]
    ready = threading.Barrier(len(tones))

    def watch(camera: int) -> None:
        ready.wait()
        for tone in tones[camera]:
            scores = backend.score(np.full((1, 16, 4, 4), tone, np.uint8))
            results[camera].append(float(scores.mse[0]))
            assert scores.error_map.shape == (1, 4, 1)

    threads = [threading.Thread(target=watch, args=(camera,)) for camera in range(len(tones))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return results


@pytest.mark.parametrize(("cameras", "most"), [(1, 4), (4, 4), (5, 2), (3, 8)])
def test_everyone_gets_their_own_scores(cameras: int, most: int) -> None:
    scorer = MeanScorer()
    tones = [[20 * camera + step for step in range(12)] for camera in range(cameras)]
    tones = [[tone if tone != 13 else 14 for tone in row] for row in tones]
    assert together(Batched(scorer, most, wait_s=0.05), tones) == [[float(tone) for tone in row] for row in tones]
    assert max(scorer.sizes) <= most
    assert sum(scorer.sizes) == 12 * cameras


def test_cameras_share_calls() -> None:
    scorer = MeanScorer()
    together(Batched(scorer, 4, wait_s=0.2), [[20 + step for step in range(6)]] * 4)
    assert max(scorer.sizes) == 4
    assert len(scorer.sizes) < 24


def test_one_camera_alone_waits_no_longer_than_it_must() -> None:
    backend = Batched(MeanScorer(), 4, wait_s=0.01)
    together(backend, [[50, 51]])
    assert backend.calls == 2


def test_a_failed_call_fails_for_those_in_it_and_the_next_works() -> None:
    backend = Batched(MeanScorer(), 2, wait_s=0.01)
    with pytest.raises(RuntimeError, match="unlucky"):
        backend.score(np.full((1, 16, 4, 4), 13, np.uint8))
    assert float(backend.score(np.full((1, 16, 4, 4), 20, np.uint8)).mse[0]) == 20


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Batched(MeanScorer(), 0)
