"""What is done to features for learning, so that a clip looks like one of elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callm_edge.events.clip import ClipFrame
from callm_edge.stage2.motion import Motion
from callm_edge.stage2.ways import Ways
from callm_export.vlm.features import elsewhere, mirrored


@pytest.fixture
def features() -> np.ndarray:
    """(8, 53, 338): the encoder's, and some motion in a tenth of the cells."""
    rng = np.random.default_rng(0)
    found = rng.normal(0.5, 2, (8, 53, 338)).astype(np.float32)
    found[..., 320:] = np.abs(rng.normal(0, 0.5, (8, 53, 18))) * (rng.random((8, 53, 1)) < 0.1)
    found[:, 49:, 320:] = 0
    return found


def test_twice_mirrored_is_as_before(features: np.ndarray) -> None:
    once = mirrored(features)
    assert not np.array_equal(once, features)
    assert np.array_equal(mirrored(once), features)
    assert np.array_equal(once[:, 49:], features[:, 49:]), "what is of the whole picture stays"


def test_mirrored_motion_is_that_of_mirrored_pictures() -> None:
    ground = cv2.GaussianBlur(np.random.default_rng(0).integers(60, 200, (180, 320), dtype=np.uint8), (0, 0), 2)
    pair = [ground.copy() for _ in range(2)]
    for at, image in enumerate(pair):
        image[40:88, 60 + 4 * at : 92 + 4 * at] = ground[110:158, 200:232]

    usual = np.zeros((27, 48, 5), np.float32)
    usual[:, :, 0], usual[:, :, 4] = 0.01, 0.001
    usual[:, :20, 0] = 0
    mirror = usual[:, ::-1][..., [2, 1, 0, 3, 4]]

    def moved(images: list[np.ndarray], usual: np.ndarray) -> np.ndarray:
        """(1, 49, 338), nothing seen but motion, which is strange on the left."""
        jpegs = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for image in images]
        found = np.zeros((1, 49, 338), np.float32)
        frames = [ClipFrame(at, at / 12.5, jpeg) for at, jpeg in enumerate(jpegs)]
        found[0, :, 320:] = Motion(frames, [0], images[:1], Ways(usual)).frame(0)
        return found

    straight = moved(pair, usual)
    turned = moved([np.ascontiguousarray(image[:, ::-1]) for image in pair], np.ascontiguousarray(mirror))
    assert straight[..., 320:328].max() > 0.5, "somebody walks to the right"
    assert straight[..., 333].max() > 0.2, "as nobody does there"
    everywhere = usual.copy()
    everywhere[:, :, 0] = 0.01
    assert moved(pair, everywhere)[..., 333].max() < 0.02, "where all do so it is not strange"
    assert np.corrcoef(mirrored(straight).ravel(), turned.ravel())[0, 1] > 0.95
    assert np.corrcoef(straight.ravel(), turned.ravel())[0, 1] < 0.5


def test_elsewhere_looks_as_it_does_everywhere_in_the_clip(features: np.ndarray) -> None:
    """A channel is scaled and shifted as one: what differs within the clip differs still."""
    found = elsewhere(features, 0.4, np.random.default_rng(1))
    assert found.shape == features.shape
    assert found.dtype == np.float32
    for channel in (0, 100, 319):
        before, after = features[..., channel].ravel(), found[..., channel].ravel()
        assert abs(np.corrcoef(before, after)[0, 1]) > 0.999
    moved = np.abs(found[..., :320].mean((0, 1)) - features[..., :320].mean((0, 1)))
    assert 0.2 < np.median(moved / features[..., :320].std((0, 1))) < 0.4, "of a normal, the median is 0.67 of 0.4"


@given(far=st.floats(0, 1), seed=st.integers(0, 100))
def test_what_lies_still_does_so_elsewhere(far: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(0, 1, (2, 53, 338)).astype(np.float16)
    features[..., 320:] = np.abs(features[..., 320:]) * (rng.random((2, 53, 1)) < 0.2)
    given = features.copy()
    found = elsewhere(features, far, rng)
    assert np.array_equal(features, given), "the cached ones stay"
    assert np.array_equal(found[..., 320:] == 0, features[..., 320:] == 0)
    assert (found[..., 320:] >= 0).all()
    if far == 0:
        assert np.allclose(found, features, atol=1e-5)
