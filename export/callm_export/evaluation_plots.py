"""The pictures of an evaluation. matplotlib's figure API only: no state shared with whoever else plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from callm_edge.atomic import replacing
from callm_edge.errors import UserError
from callm_export.evaluation import ClipResult, Evaluation
from callm_export.metrics import Roc, stretches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
# Okabe and Ito's palette: told apart by everyone, and in gray by their lightness or dashes.
PAPER, LIVE, EVENT, TRUTH, INK, FAINT = "#E69F00", "#0072B2", "#D55E00", "#009E73", "#222222", "#dddddd"


def plot_roc(path: Path, result: Evaluation) -> None:
    """ROC of both protocols as a PNG, with the EER of the live one. Raises UserError where it cannot be written."""
    with _figure(path, 7.2, 6.8) as figure:
        axes = figure.add_axes((0.11, 0.1, 0.85, 0.81))
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
        axes.annotate(
            "chance", (0.93, 0.93), xytext=(0, -16), textcoords="offset points", color="#777777", ha="center", va="top"
        )
        _roc(axes, result.paper, PAPER, "--", "paper's protocol")
        _roc(axes, result.live, LIVE, "-", "live")
        eer = result.live.eer
        axes.plot(
            [eer],
            [1 - eer],
            "o",
            color=LIVE,
            markersize=9,
            markeredgecolor="white",
            zorder=5,
            label=f"live EER {eer:.2%}",
        )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set_xlabel("normal frames flagged")
        axes.set_ylabel("abnormal frames flagged")
        axes.legend(loc="lower right", frameon=False)
        _tidy(axes, "both")
        title = f"{result.dataset} with bundle {result.bundle}: {result.scored_frames:,} frames"
        axes.set_title(title, loc="left", fontweight="bold", parse_math=False)


def plot_clips(path: Path, result: Evaluation) -> None:
    """A PNG with the live score of every clip, its threshold, the truth, and the events. Raises UserError."""
    count = len(result.clips)
    columns = min(count, 3 if count <= 15 else 4 if count <= 32 else 6)
    rows = -(-count // columns)
    width, height = 4.4 * columns + 0.5, 1.95 * rows + 1.35
    with _figure(path, max(width, 9.0), height) as figure:
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        figure.subplots_adjust(
            left=0.62 / max(width, 9.0),
            right=1 - 0.2 / max(width, 9.0),
            bottom=0.6 / height,
            top=1 - 1.0 / height,
            hspace=0.5,
            wspace=0.07,
        )
        low, high = _limits(result)
        for axes, clip in zip(grid.flat, result.clips, strict=False):
            _clip(axes, clip, result.decision.threshold_psnr_db)
            axes.set_ylim(low, high)
        for axes in grid.flat[count:]:
            axes.set_axis_off()
        unit = "worst tile" if result.decision.statistic == "tile" else "frame"
        figure.supylabel(f"PSNR of the {unit} (dB)", x=0.008, fontsize=12)
        figure.supxlabel("frame", y=0.1 / height, fontsize=12)
        figure.text(
            0.62 / max(width, 9.0),
            1 - 0.28 / height,
            f"{result.dataset} with bundle {result.bundle}: live score of every clip",
            fontweight="bold",
            fontsize=13,
            va="center",
            parse_math=False,
        )
        _clips_legend(figure, 0.62 / max(width, 9.0), 1 - 0.6 / height)


def plot_auc_over_epochs(path: Path, epochs: Sequence[int], paper: Sequence[float], live: Sequence[float]) -> None:
    """AUC (0..1) on a test set after each of `epochs`, by both protocols, as a PNG. Raises UserError, ValueError."""
    from matplotlib.ticker import MaxNLocator

    if not len(epochs) == len(paper) == len(live) or not len(epochs):
        raise ValueError(f"{len(epochs)} epochs, {len(paper)} and {len(live)} AUCs")
    with _figure(path, 8.4, 4.8) as figure:
        axes = figure.add_axes((0.09, 0.13, 0.75, 0.75))
        ends = _apart([100 * paper[-1], 100 * live[-1]], 0.055 * max(1.0, 100 * float(np.ptp([*paper, *live]))))
        for values, end, colour, dashes, mark, name in (
            (paper, ends[0], PAPER, "--", "s", "paper"),
            (live, ends[1], LIVE, "-", "o", "live"),
        ):
            percent = 100 * np.asarray(values, np.float64)
            axes.plot(epochs, percent, color=colour, linestyle=dashes, marker=mark, markersize=4.5, linewidth=1.8)
            axes.annotate(
                f"{name} {percent[-1]:.1f}",
                (1, end),
                xycoords=("axes fraction", "data"),
                xytext=(8, 0),
                textcoords="offset points",
                color=INK if colour == PAPER else colour,
                va="center",
                fontweight="bold",
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("AUC (%)")
        _tidy(axes, "y")
        axes.set_title("AUC on the test set while training", loc="left", fontweight="bold")


def _roc(axes: Axes, roc: Roc, colour: str, dashes: str, name: str) -> None:
    label = f"{name}, AUC {roc.auc:.2%}"
    axes.plot(roc.fpr, roc.tpr, color=colour, linestyle=dashes, linewidth=2.2, label=label)


def _clip(axes: Axes, clip: ClipResult, threshold_db: float) -> None:
    frames = clip.frames
    for first, last in stretches(clip.labels):
        axes.axvspan(frames[first] - 0.5, frames[last] + 0.5, color=TRUTH, alpha=0.2, linewidth=0)
    axes.axhline(threshold_db, color=INK, linewidth=1.2, dashes=(5, 3))
    axes.plot(frames, clip.score_db, color=LIVE, linewidth=1.3)
    for event in clip.events:
        # Along the lower edge, so that neither curve nor shading hides it.
        axes.plot(
            [event.start_frame - 0.5, event.end_frame + 0.5],
            [0.035, 0.035],
            transform=axes.get_xaxis_transform(),
            color=EVENT,
            linewidth=5,
            solid_capstyle="butt",
        )
    axes.set_xlim(frames[0] - 0.5, frames[-1] + 0.5)
    said = f"AUC {clip.auc:.1%}" if clip.auc is not None else "all abnormal" if clip.labels.all() else "all normal"
    axes.set_title(clip.name, loc="left", fontsize=11, fontweight="bold", pad=4, parse_math=False)
    axes.set_title(said, loc="right", fontsize=10, pad=4)
    _tidy(axes, "y")


def _limits(result: Evaluation) -> tuple[float, float]:
    """One scale for all clips: whole at the low end, which matters; a few still frames (106 dB) must not flatten it."""
    scores = np.concatenate([clip.score_db for clip in result.clips])
    low, high = float(scores.min()), float(np.percentile(scores, 99.5))
    threshold = result.decision.threshold_psnr_db
    # A threshold far away, as an uncalibrated bundle has it, would flatten the curves too.
    if low - (high - low) < threshold < high + (high - low):
        low, high = min(low, threshold), max(high, threshold)
    room = max(0.2, (high - low) * 0.1)
    return low - 1.6 * room, high + room


def _clips_legend(figure: Figure, left: float, height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure.legend(
        handles=[
            Line2D([], [], color=LIVE, linewidth=2, label="score"),
            Line2D([], [], color=INK, linewidth=1.4, dashes=(4, 2.5), label="threshold"),
            Patch(color=TRUTH, alpha=0.3, linewidth=0, label="labelled abnormal"),
            Line2D([], [], color=EVENT, linewidth=5, solid_capstyle="butt", label="event found"),
        ],
        loc="center left",
        bbox_to_anchor=(left - 0.004, height),
        ncols=4,
        frameon=False,
        fontsize=11,
        borderpad=0,
    )


def _apart(values: list[float], least: float) -> list[float]:
    """Two heights for labels, moved apart evenly where they are nearer than `least`."""
    short = max(0.0, least - abs(values[0] - values[1])) / 2
    up = 1 if values[0] >= values[1] else -1
    return [values[0] + up * short, values[1] - up * short]


def _tidy(axes: Axes, grid: str) -> None:
    axes.grid(axis=grid, color=FAINT, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


@contextmanager
def _figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of so many inches, written atomically to `path` when the block ends well."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": 11, "agg.path.chunksize": 20000}):
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        try:
            with replacing(path) as temporary:
                figure.savefig(temporary, format="png", dpi=DPI)
        except OSError as error:
            raise UserError(
                f"The plot {path} cannot be written",
                error.strerror or str(error),
                "Name a folder that you may write to",
            ) from error
