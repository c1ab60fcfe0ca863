"""Where something moves before a fixed camera."""

from __future__ import annotations

import numpy as np

from callm_export.vlm.movers import Movers


def test_two_walkers_are_found_the_clearest_first() -> None:
    ground = np.random.default_rng(0).normal(120, 3, (96, 128)).clip(0, 255).astype(np.uint8)
    pictures = []
    for at in range(9):
        picture = ground.copy()
        picture[20:40, 5 + 12 * at : 13 + 12 * at] = 20
        picture[70:80, 100 - 10 * at : 105 - 10 * at] = 200
        pictures.append(picture)
    movers = Movers(pictures)
    for at in (2, 6):
        [(x, y), (other_x, other_y)] = movers.of(pictures[at])
        assert abs(x - (9 + 12 * at)) <= 3
        assert 20 <= y < 40
        assert abs(other_x - (102 - 10 * at)) <= 3
        assert 68 <= other_y < 82
        points = movers.some_of(pictures[at], (256, 192), 3, np.random.default_rng(1))
        assert len(points) == 2, "no more than there are"
        for px, py in ((2 * x, 2 * y), (2 * other_x, 2 * other_y)):
            assert min(np.hypot(point[0] - px, point[1] - py) for point in points) < 3


def test_where_nothing_moves_there_is_a_point_too() -> None:
    picture = np.full((40, 60), 9, np.uint8)
    assert len(Movers([picture]).of(picture)) >= 1
