"""The board table."""

from __future__ import annotations

import pytest

from callm_edge.errors import UsageError
from callm_jetson.boards import BOARDS, board


def test_every_board_has_a_release_whose_python_the_package_supports() -> None:
    assert set(BOARDS) == {"orin-nano", "orin-nx", "agx-orin", "agx-thor"}
    for entry in BOARDS.values():
        assert all(release.python in ("3.10", "3.12") for release in entry.releases)
        assert [release.l4t for release in entry.releases] == sorted(release.l4t for release in entry.releases)


def test_unknown_board_names_the_nearest() -> None:
    assert board("orin-nx").architecture == "sm_87"
    with pytest.raises(UsageError, match="Did you mean 'orin-nano'"):
        board("orin-nani")
