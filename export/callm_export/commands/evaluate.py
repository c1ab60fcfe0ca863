"""`callm-edge evaluate`: how well a bundle finds what is labelled in a test set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from callm_export.evaluation import Evaluation


@click.command()
@click.option(
    "--data",
    required=True,
    metavar="FOLDER|plaza",
    help="Test set: a folder with test/<clip>/*.jpg or test/<clip>.mp4, labels.npz and, optionally, masks.npz.",
)
@click.option("--bundle", default="ped2", show_default=True, metavar="NAME|DIR", help="The bundle to judge.")
@click.option(
    "--backend", default="auto", show_default=True, metavar="NAME", help="What computes stage 1; auto is the fastest."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("out/evaluate"),
    show_default=True,
    metavar="DIR",
    help="Folder for the plots roc.png and clips.png.",
)
@click.option(
    "--fps",
    type=click.FloatRange(min=0, min_open=True),
    help="Frames per second of the test set.  [default: a video's own; for images the bundle's, else 25]",
)
@click.option("--cascade", is_flag=True, help="Judge stage 2 too: yes or no about whole clips, and what it says.")
@click.option(
    "--clips", type=click.IntRange(2), default=200, show_default=True, help="Of the plaza, for --cascade; half normal."
)
@click.option("--part", metavar="K/N", help="Of a folder, for --cascade: the K-th of N parts, clip by clip in turn.")
@click.option(
    "--stage2",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Another video-language branch than the bundle's.",
)
@click.option("--only-cascade", is_flag=True, help="Leave the frame-level part out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def evaluate(
    data: str,
    bundle: str,
    backend: str,
    out: Path,
    fps: float | None,
    cascade: bool,
    clips: int,
    part: str | None,
    stage2: Path | None,
    only_cascade: bool,
    as_json: bool,
) -> None:
    """Frame-level AUC by the paper's protocol and live, false alarms, and localisation, with plots.

    Live means as deployed: the bundle's own statistic, smoothing and threshold, and no knowledge of the future.
    With --cascade the bundle's stage 2 judges whole clips: of the plaza, held-out ones; of a folder, those of test/ and
    as many of train/, which are normal.
    """
    import json

    from rich.console import Console

    from callm_edge.bundle import Bundle

    errors = Console(stderr=True, highlight=False)
    report: dict[str, object] = {}
    if not only_cascade:
        report |= _frames(data, bundle, backend, out, fps, errors, as_json)
    if cascade or only_cascade:
        from callm_export.vlm.cascade_report import evaluate_cascade, print_cascade

        folder = stage2 or Bundle.load(bundle).folder / "stage2"
        found = evaluate_cascade(data, bundle, folder, out, clips, part, fps, errors)
        report |= found.to_dict()
        if not as_json:
            print_cascade(found, Console(highlight=False))
    if as_json:
        click.echo(json.dumps(report))


def _frames(
    data: str, bundle: str, backend: str, out: Path, fps: float | None, errors: Console, as_json: bool
) -> dict[str, object]:
    """The frame-level part: tables for people unless `as_json`, plots, and what machines read."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from callm_edge.bundle import Bundle
    from callm_edge.stage1.choose import open_backend
    from callm_export.evaluation import judge, score_clip
    from callm_export.evaluation_plots import plot_clips, plot_roc
    from callm_export.ground_truth import check_frames, labelled_clips

    opened = Bundle.load(bundle)
    clips = labelled_clips(data, fps or opened.manifest.training.get("fps"))
    stage1 = open_backend(opened, backend)
    judged = []
    columns = (
        TextColumn("Scoring {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=errors) as bar:
        task = bar.add_task("", total=sum(clip.frames for clip in clips))
        for clip in clips:
            bar.update(task, description=clip.name.replace("[", r"\["))
            scores = score_clip(clip.source, stage1, fps, clip.name, lambda: bar.advance(task))
            check_frames(clip.name, scores.length, clip.frames)  # before the next clip takes its minutes
            judged.append((scores, clip.truth(scores.peaks, scores.frames, scores.size)))
    dataset = data if data == "plaza" else Path(data).resolve().name
    result = judge(dataset, opened.name, opened.decision, judged)
    plot_roc(out / "roc.png", result)
    plot_clips(out / "clips.png", result)
    if not opened.manifest.calibration:
        errors.print(
            "[yellow]The bundle is not calibrated:[/] its threshold, and with it events and false alarms, says nothing."
            f" Next: callm-edge calibrate --bundle {opened.folder} --source NORMAL_FOOTAGE",
            soft_wrap=True,
        )
    if not as_json:
        print_tables(result, Console(highlight=False))
    errors.print(f"Plots: {out / 'roc.png'} and {out / 'clips.png'}", soft_wrap=True)
    return result.to_dict()


def print_tables(result: Evaluation, console: Console) -> None:
    """The evaluation for people: what was measured, then every clip."""
    from rich.table import Table

    def percent(share: float | None) -> str:
        return "" if share is None else f"{share:.2%}"

    decision = result.decision
    unit = "worst tile" if decision.statistic == "tile" else "frame"
    table = Table(title=f"{result.dataset} with bundle {result.bundle}", title_justify="left")
    table.add_column("Measured")
    table.add_column("Value", justify="right", no_wrap=True)
    table.add_column("How")
    table.add_row("AUC, paper", percent(result.paper.auc), "frame PSNR, min-max per clip, all clips in one")
    table.add_row("AUC, live", percent(result.live.auc), f"{unit} PSNR, mean of {decision.smoothing}, as deployed")
    table.add_row("EER, live", percent(result.live.eer), "as many normal frames flagged as abnormal ones missed")
    table.add_row(
        "False alarms per hour",
        f"{result.false_alarms_per_hour:.2f}",
        f"{result.false_alarms} in {result.normal_hours * 60:.1f} min of normal footage, "
        f"threshold {decision.threshold_psnr_db:.2f} dB",
    )
    table.add_row(
        "Normal frames in events", percent(result.normal_share_in_events), "counting events that found something too"
    )
    table.add_row("Stretches found", f"{result.events_hit} of {result.stretches}", f"by {result.events} events")
    table.add_row(
        "Localisation",
        percent(result.localisation_hit_rate) or "no masks",
        f"peak of the error map on the anomaly, {result.localised_frames} frames",
    )
    table.add_row("Scored frames", f"{result.scored_frames}", f"of {len(result.clips)} clips")
    console.print(table)

    each = Table(title="Clips, live", title_justify="left")
    each.add_column("Clip")
    for heading in ("Frames", "Abnormal", "AUC", "Found", "Events", "False alarms"):
        each.add_column(heading, justify="right")
    for clip in result.clips:
        each.add_row(
            clip.name.replace("[", r"\["),
            f"{len(clip.frames)}",
            f"{clip.labels.sum()}",
            percent(clip.auc) or "one class",
            f"{clip.found} of {clip.stretches}",
            f"{len(clip.events)}",
            f"{clip.false_alarms}",
        )
    console.print(each)
