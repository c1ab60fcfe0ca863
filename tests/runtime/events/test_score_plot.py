from pathlib import Path

import cv2
import numpy as np
import pytest

from callm_edge.errors import UserError
from callm_edge.events.event import Event
from callm_edge.events.score_plot import _labels, plot_scores

START = 1_772_100_000.0


def event(start: float, end: float, peak_db: float = 15.0) -> Event:
    first = round((start - START if start > START else start) * 10)
    return Event(f"e{first}", "gate", first, first + 10, first + 5, start, end, peak_db, 20.0, (0, 0, 1, 1))


def colours(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    assert image.shape == (500, 1600, 3)
    return image.reshape(-1, 3).astype(int)


def has(pixels: np.ndarray, red_green_blue: str) -> bool:
    red, green, blue = bytes.fromhex(red_green_blue)
    return int((np.abs(pixels - (blue, green, red)).sum(1) < 30).sum()) > 300


@pytest.mark.parametrize("offset", [0.0, START])
def test_size_and_parts(tmp_path: Path, offset: float) -> None:
    times = offset + np.arange(600) / 10
    scores = 25 + np.sin(times)
    scores[:8] = np.nan
    plot_scores(tmp_path / "p.png", times, scores, 20.0, [event(offset + 20, offset + 30)], None, "gate $_{")
    pixels = colours(tmp_path / "p.png")
    assert has(pixels, "0072B2"), "the score"
    assert not has(pixels, "009E73"), "no truth is known"
    plot_scores(tmp_path / "p.png", times, scores, 20.0, [], [(offset + 5, offset + 50)], "gate")
    assert has(colours(tmp_path / "p.png"), "009E73")
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.parametrize("scores", [[], [21.0], [np.nan, np.nan], [21.0, 21.0, 106.0]])
def test_little_or_odd_data(tmp_path: Path, scores: list[float]) -> None:
    plot_scores(tmp_path / "p.png", np.arange(len(scores)), scores, 20.0, [], [], "short")
    colours(tmp_path / "p.png")


def test_labels_never_overlap() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 5), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.06, 0.2, 0.92, 0.6))
    axes.set_xlim(0, 600)
    rng = np.random.default_rng(1)
    _labels(axes, [event(float(at), float(at) + 1, float(rng.uniform(5, 19))) for at in rng.uniform(0, 599, 60)])
    canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) > 10
    # extents carry the line's leading, which two lanes may share; the letters are what must not touch
    tight = [box.shrunk(1.0, 0.8) for box in boxes]
    assert not [1 for i, one in enumerate(tight) for other in tight[:i] if one.overlaps(other)]


def test_lengths_must_agree(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be as many"):
        plot_scores(tmp_path / "p.png", [0, 1], [1.0], 20.0, [], None, "")


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        plot_scores(tmp_path / "file" / "p.png", [0, 1], [1.0, 2.0], 20.0, [], None, "")
