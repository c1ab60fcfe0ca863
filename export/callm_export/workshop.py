"""The steps that the commands share: decode, train with a progress bar, and turn a run into a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from callm_edge import __version__
from callm_edge.bundle import SHARED, Bundle, Decision
from callm_edge.decision.calibrated_backend import graph_sha256
from callm_edge.decision.calibration import calibrate
from callm_edge.decision.measure import measure
from callm_edge.errors import UserError
from callm_edge.stage1.shared import SharedWork
from callm_edge.stage2.ways import Ways
from callm_edge.stage2.ways_seen import WaysSeen
from callm_export.autoencoder import WINDOW
from callm_export.checkpoint import Checkpoint
from callm_export.exporting import export_stage1, write_bundle
from callm_export.footage import ClipSource, Footage, clip_sources, decode, opened
from callm_export.published import load_autoencoder
from callm_export.training import Recipe, Step, Training


def decode_with_progress(
    data: str, folder: Path, console: Console, limit_seconds: float | None = None, fps: float | None = None
) -> Footage:
    """Decode a user's data text into `folder` behind a progress line."""
    with Progress(
        TextColumn("Decoding {task.description}"),
        TextColumn("{task.fields[frames]} frames"),
        TimeElapsedColumn(),
        console=console,
    ) as bar:
        task = bar.add_task(data, total=limit_seconds, frames=0)
        return decode(
            clip_sources(data),
            folder,
            limit_seconds,
            fps,
            lambda frames, seconds: bar.update(task, completed=seconds, frames=frames),
        )


def train_with_progress(
    folder: Path,
    footage: Footage,
    preset: str,
    recipe: Recipe,
    data: str,
    resume: bool,
    console: Console,
    as_json: bool,
) -> Path:
    """Train to the end; the bar shows loss and time left. Returns the final weights."""
    training = Training(folder, footage, preset, recipe, data, resume)
    if training.progress.epoch or training.progress.step:
        console.print(f"Going on at epoch {training.progress.epoch + 1}, step {training.progress.step + 1}")
    columns = (
        TextColumn("Epoch {task.fields[epoch]}/{task.fields[epochs]}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%  loss {task.fields[loss]:.5f}  {task.fields[left]} left"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=1.0, epoch=1, epochs=recipe.epochs, loss=0.0, left="?")

        def on_step(step: Step) -> None:
            bar.update(task, completed=step.done, epoch=step.epoch + 1, loss=step.loss, left=_minutes(step.left_s))

        def on_epoch(summary: dict[str, float]) -> None:
            if as_json:
                click.echo(json.dumps({"type": "epoch", **summary}))
            else:
                console.print("  ".join(f"{key} {value:.4g}" for key, value in summary.items()))

        return training.run(on_step, on_epoch)


def bundle_from_run(
    run: Path, out: Path, name: str, false_alarms_per_hour: float, decision: Decision, console: Console
) -> Bundle:
    """Export the last weights of a training run and calibrate them on its held-out footage."""
    record = Checkpoint(run).record()
    epoch = int(record["epoch"])
    if epoch == 0:
        raise UserError(
            f"The run in {run} has not finished an epoch",
            "there are no weights yet",
            "Let it train on: callm-edge train --resume",
        )
    footage = opened(run)
    _, held_out = footage.split()
    model = load_autoencoder(run / "weights" / f"epoch-{epoch:03d}.safetensors")
    longest = max(held_out.clips, key=len)
    starts = np.linspace(0, len(longest) - WINDOW, 4).astype(int)
    differences = export_stage1(model, out, np.stack([longest[s : s + WINDOW] for s in starts]))
    console.print(f"Exported; largest relative difference from torch: {differences}")
    backend = SharedWork(out / SHARED)
    traces = [
        measure(ClipSource(clip_name, clip, held_out.fps), backend, decision)
        for clip_name, clip in zip(held_out.names, held_out.clips, strict=True)
    ]
    found = calibrate(traces, decision, false_alarms_per_hour)
    clips = [f"held-out training clip {clip}" for clip in held_out.names]
    calibration = found.record(backend.name, graph_sha256(backend, out), clips, false_alarms_per_hour)
    training: dict[str, Any] = {
        key: record[key] for key in ("data", "frames", "clips", "held_out_clips", "channels", "recipe")
    }
    training |= {
        "fps": held_out.fps,
        "epochs": epoch,
        "history": record["history"],
        "made_with": f"callm-edge {__version__}",
    }
    decision = decision.model_copy(update={"threshold_psnr_db": round(found.threshold_psnr_db, 4)})
    bundle = write_bundle(out, name, record["preset"], training, decision, calibration)
    ways = _ways(footage)
    if ways is not None:
        bundle = bundle.with_ways(ways)
    note = " (extrapolated: the held-out footage is shorter than the rate asks for)" if found.extrapolated else ""
    console.print(
        f"Threshold {decision.threshold_psnr_db:.2f} dB for {false_alarms_per_hour:g} false alarms per hour{note}"
    )
    console.print(f"Bundle written to [bold]{out}[/]; try: callm-edge run --bundle {out} --source …", soft_wrap=True)
    return bundle


def _ways(footage: Footage) -> Ways | None:
    """Usual ones, from all of it: they are learnt, not judged by."""
    seen = WaysSeen()
    for clip in footage.clips:
        for number, frame in enumerate(clip):
            seen.push(number / footage.fps, frame)
    return seen.ways()


def _minutes(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
