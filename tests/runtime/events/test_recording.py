"""What `run --record` leaves behind, and what it knows of the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from callm_edge.bundle import Decision
from callm_edge.cascade import ScoredFrame
from callm_edge.events.recording import Recording
from callm_edge.sources import open_source


def test_the_plaza_tells_when_it_is_abnormal(tmp_path: Path) -> None:
    source = open_source("test:plaza?seed=7&anomaly=cyclist&seconds=14")
    with source:
        ((first, last),) = Recording(tmp_path, source, Decision())._truth() or ()
    assert 8 <= first < last <= 14


def test_other_sources_know_no_truth(tmp_path: Path) -> None:
    (tmp_path / "film").mkdir()
    (tmp_path / "film" / "0.png").write_bytes(b"")
    assert Recording(tmp_path, open_source(str(tmp_path / "film")), Decision())._truth() is None


def test_files_are_named_after_the_source_and_an_interruption_keeps_them(tmp_path: Path) -> None:
    def interrupted() -> None:
        with open_source("test:plaza?seed=1&seconds=0.4") as source, Recording(tmp_path, source, Decision()) as record:
            for frame in source:
                record.frame(ScoredFrame(frame, 30.0, 30.0, np.zeros((128, 128), np.float32), False, False))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".csv", ".mp4", ".png"]
    assert all("plaza" in path.name for path in tmp_path.iterdir())
