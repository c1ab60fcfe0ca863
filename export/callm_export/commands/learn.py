"""`callm-edge learn`: from a camera to a bundle for it, in one command."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--source", metavar="URI", help="The camera, stream or footage to learn from.")
@click.option("--camera", metavar="N", help="Camera index, for short.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="How much normal footage to collect.",
)
@click.option("--preset", default="edge", show_default=True, help="Size of the network: reference, edge or nano.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the footage.  [default: 60]")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the bundle; the training run stands beside it, in DIR.run.",
)
@click.option(
    "--false-alarms-per-hour",
    "rate",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="What the threshold is calibrated to.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run.")
def learn(
    source: str | None,
    camera: str | None,
    minutes: float,
    preset: str,
    epochs: int | None,
    out: Path,
    rate: float,
    resume: bool,
) -> None:
    """Collect normal footage, train, calibrate, and write a bundle for this camera.

    What is seen meanwhile counts as normal: choose a time when nothing abnormal happens.
    """
    from rich.console import Console

    from callm_edge.bundle import Decision
    from callm_edge.errors import UsageError
    from callm_export.autoencoder import Autoencoder
    from callm_export.checkpoint import Checkpoint
    from callm_export.training import recipe
    from callm_export.workshop import bundle_from_run, decode_with_progress, train_with_progress

    if (source is None) == (camera is None):
        raise UsageError("Give either --source or --camera")
    uri = source or camera or ""
    Autoencoder.preset(preset)
    console = Console(stderr=True, highlight=False)
    run = out.with_name(f"{out.name}.run")
    if Checkpoint(run).exists() and not resume:
        raise UsageError(
            f"There is a training run in {run} already", "", "Give --resume to go on with it, or another --out"
        )
    footage = decode_with_progress(uri, run, console, minutes * 60)
    train_with_progress(run, footage, preset, recipe("pseudo", epochs=epochs), uri, resume, console, as_json=False)
    bundle_from_run(run, out, out.name, rate, Decision(), console)
