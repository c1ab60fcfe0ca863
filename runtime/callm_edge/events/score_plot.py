"""The picture of a whole stretch of footage: PSNR over time, threshold, events, and the truth where known."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from callm_edge.atomic import replacing
from callm_edge.errors import UserError
from callm_edge.events.clock import clock_text, is_unix_time
from callm_edge.events.event import Event

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT, DPI = 1600, 500, 100
# Okabe and Ito's palette; letters this large still read when the picture is shown at half its size.
SCORE, LIMIT, EVENT, TRUTH, INK = "#0072B2", "#333333", "#D55E00", "#009E73", "#222222"
LETTERS, SMALL = 16, 14
LANES = 2  # rows of labels above the curve


def plot_scores(
    path: Path,
    times: Sequence[float] | np.ndarray,
    scores_db: Sequence[float] | np.ndarray,
    threshold_db: float,
    events: Sequence[Event],
    truth: Sequence[tuple[float, float]] | None,
    title: str,
) -> None:
    """Write a PNG of 1600 x 500 pixels to `path`, atomically.

    times: (N,) seconds, as in Frame.time. scores_db: (N,) PSNR; NaN leaves a gap.
    truth: first and last second of every abnormal stretch; None where it is not known, empty where all is normal.
    Raises UserError where the file cannot be written, ValueError where the two lengths differ.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    x, y = np.asarray(times, np.float64), np.asarray(scores_db, np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"times {x.shape} and scores {y.shape} must be as many")

    # Chunks, because Agg refuses a path of millions of points; no pyplot, because its state is shared by all threads.
    with matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": SMALL, "agg.path.chunksize": 20000}):
        figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        beneath = 0.03 if truth is not None else 0.0
        left, right, bottom, top = 0.062, 0.985, 0.165, 0.785
        axes = figure.add_axes((left, bottom + 1.6 * beneath, right - left, top - bottom - 1.6 * beneath))
        _curve(axes, x, y, threshold_db, events)
        figure.text(left, 0.935, title, fontsize=LETTERS, fontweight="bold", color=INK, va="center", parse_math=False)
        _legend(axes, has_events=bool(events), has_truth=truth is not None)
        _labels(axes, events)
        lowest = axes
        if truth is not None:
            lowest = figure.add_axes((left, bottom, right - left, beneath), sharex=axes)
            _truth(lowest, truth)
            axes.tick_params(axis="x", bottom=False, labelbottom=False)
        _time_axis(lowest, x)
        try:
            with replacing(path) as temporary:
                figure.savefig(temporary, format="png", dpi=DPI)
        except OSError as error:
            raise UserError(
                f"The plot {path} cannot be written",
                error.strerror or str(error),
                "Name a folder that you may write to",
            ) from error


def _curve(axes: Axes, x: np.ndarray, y: np.ndarray, threshold_db: float, events: Sequence[Event]) -> None:
    span = (float(x[0]), float(x[-1])) if len(x) else (0.0, 1.0)
    thinnest = (span[1] - span[0]) / 800  # two pixels: a short event in a long day must not vanish
    for event in events:
        more = max(0.0, thinnest - (event.end_time - event.start_time)) / 2
        axes.axvspan(event.start_time - more, event.end_time + more, color=EVENT, alpha=0.18, linewidth=0)
    axes.plot(x, y, color=SCORE, linewidth=1.4)
    axes.axhline(threshold_db, color=LIMIT, linewidth=1.5, dashes=(6, 4))
    if events:
        axes.plot(
            [_peak_time(event) for event in events],
            [event.peak_psnr_db for event in events],
            "v",
            color=EVENT,
            markersize=9,
            markeredgecolor="white",
            markeredgewidth=1,
            zorder=5,
        )
    # The low end is what matters and is always shown whole; a few identical frames (up to 106 dB) must not flatten it.
    finite = y[np.isfinite(y)]
    low = min([threshold_db, *(event.peak_psnr_db for event in events), *([finite.min()] if len(finite) else [])])
    high = max([threshold_db, *([np.percentile(finite, 99.5)] if len(finite) else [])])
    room = max(1.0, 0.08 * (high - low))
    axes.set_ylim(low - room, high + room)
    axes.set_xlim(span[0], span[1] if span[1] > span[0] else span[0] + 1)
    axes.set_ylabel("PSNR (dB)", fontsize=LETTERS, color=INK)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _peak_time(event: Event) -> float:
    """Seconds of the peak frame, which the event gives as a number between its first and last frame."""
    share = (event.peak_frame - event.start_frame) / max(1, event.end_frame - event.start_frame)
    return event.start_time + share * (event.end_time - event.start_time)


def _legend(axes: Axes, has_events: bool, has_truth: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries: list[Line2D | Patch] = [
        Line2D([], [], color=SCORE, linewidth=2, label="score"),
        Line2D([], [], color=LIMIT, linewidth=1.5, dashes=(5, 3), label="threshold"),
    ]
    if has_events:
        entries.append(Patch(color=EVENT, alpha=0.35, linewidth=0, label="event"))
    if has_truth:
        entries.append(Patch(color=TRUTH, linewidth=0, label="truth"))
    axes.figure.legend(
        handles=entries,
        loc="center right",
        bbox_to_anchor=(0.99, 0.935),
        ncols=len(entries),
        frameon=False,
        fontsize=SMALL,
        handlelength=1.6,
        columnspacing=1.4,
    )


def _labels(axes: Axes, events: Sequence[Event]) -> None:
    """Peak values above the curve. The deepest events choose first; one without room keeps only its marker."""
    taken: list[list[tuple[float, float]]] = [[] for _ in range(LANES)]
    low, high = axes.get_xlim()
    pixels = axes.get_window_extent().width / (high - low)
    half = 0.62 * SMALL * DPI / 72 * len("00.0 dB") / 2 + 6  # DejaVu Sans is at most this wide
    for event in sorted(events, key=lambda event: event.peak_psnr_db - event.threshold_psnr_db):
        x = (_peak_time(event) - low) * pixels
        if not 0 <= x <= (high - low) * pixels:
            continue
        x = min(max(x, half), (high - low) * pixels - half)
        for lane, spans in enumerate(taken):
            if all(x + half <= first or last <= x - half for first, last in spans):
                spans.append((x - half, x + half))
                axes.annotate(
                    f"{event.peak_psnr_db:.1f} dB",
                    (low + x / pixels, 1),
                    xycoords=("data", "axes fraction"),
                    xytext=(0, 3 + lane * SMALL * 1.35),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=SMALL,
                    color="#A04000",
                )
                break


def _truth(axes: Axes, truth: Sequence[tuple[float, float]]) -> None:
    axes.set_facecolor("#eeeeee")
    for first, last in truth:
        axes.axvspan(first, last, color=TRUTH, linewidth=0)
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _time_axis(axes: Axes, x: np.ndarray) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    live = len(x) > 0 and is_unix_time(float(x[0]))
    low, high = axes.get_xlim()
    days = live and (high - low) > 86400

    def text(value: float, _position: int | None = None) -> str:
        if live:
            return datetime.fromtimestamp(value).strftime("%d %b %H:%M" if days else "%H:%M:%S")
        return clock_text(value, decimals=1 if high - low < 5 else 0)

    # Steps of the clock: 15 s or 5 min, where decimal steps would give 00:16:40.
    steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400]
    step = next((step for step in steps if (high - low) / step <= 10), None)
    if step is None or high - low < 5:
        axes.xaxis.set_major_locator(MaxNLocator(8))
    else:
        offset = datetime.fromtimestamp(low).astimezone().utcoffset() if live else None
        shift = offset.total_seconds() if offset else 0.0  # whole hours of the local clock
        first = np.ceil((low + shift) / step) * step - shift
        axes.set_xticks(np.arange(first, high + 1e-9, step))
    axes.xaxis.set_major_formatter(FuncFormatter(text))
    axes.set_xlim(low, high)
    axes.set_xlabel("local time" if live else "time in the footage", fontsize=LETTERS, color=INK)
