"""The soak in seconds: that it runs, flaps and counts; and that it complains of everything that grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from callm_bench import soak
from callm_bench.soak import Bounds, Sample, Soaked


def test_a_short_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    film = [rng.integers(0, 256, (90, 160, 3), np.uint8) for _ in range(30)]
    monkeypatch.setattr(soak, "_film", lambda seconds: film)
    monkeypatch.setattr(soak, "STEADY_FRAMES", (10, 40))
    monkeypatch.setattr(soak, "EVENT_S", 2.0)
    soaked = soak.soak(0.1, 16, tmp_path, every_s=0.2)
    assert soaked.frames == {f"camera {n}": 150 for n in (1, 2, 3, 4)}
    assert soaked.connections > 4
    assert soaked.events == soaked.stored >= 4
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == soaked.events + 1, "and the summary"
    assert len(soaked.samples) > 1
    # In seconds, memory still fills: evidence, models.
    assert soaked.complaints(Bounds(memory_mb=500, threads=9, handles=9)) == []


def sample(at: int, **changes: int) -> Sample:
    return replace(Sample(float(at), 100 * at, 200.0, 12, 30, 2, 0), **changes)


def test_what_grows_is_said() -> None:
    steady = [sample(at) for at in range(60)]
    fine = Soaked(steady, {"camera 1": 100}, 100, 5, 3, 3, 0, {}, 60.0)
    assert fine.complaints(Bounds()) == []
    filling = [sample(at, memory_mb=10 * min(at, 15)) for at in range(60)]
    assert replace(fine, samples=filling).complaints(Bounds()) == [], "buffers fill in the first third"
    for name, bound in (("memory_mb", 24), ("threads", 1), ("handles", 2)):
        leaking = [sample(at, **{name: 100 + 2 * at}) for at in range(60)]
        (complaint,) = replace(fine, samples=leaking).complaints(Bounds())
        assert complaint.startswith(f"{name} grew from ")
        assert complaint.endswith(f"allowed are {bound}")
    for name in ("waiting", "sinks"):
        (complaint,) = replace(fine, samples=[*steady, sample(60, **{name: 999})]).complaints(Bounds())
        assert "999 wait" in complaint
    for broken, words in (
        (replace(fine, frames={"camera 1": 99}), "frames are missing"),
        (replace(fine, stored=2), "3 events were told, 2 are stored"),
        (replace(fine, connections=1), "did not flap"),
        (replace(fine, failed=1), "1 cameras failed"),
        (replace(fine, failures={"Mqtt": 2}), "Mqtt"),
    ):
        (complaint,) = broken.complaints(Bounds())
        assert words in complaint
