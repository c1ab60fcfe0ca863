"""`callm-edge train`: the autoencoder, on normal footage."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--data",
    required=True,
    metavar="FOLDER|VIDEO|plaza",
    help="Normal footage: a video, or a folder of images, of videos, or of clip folders (also under train/).",
)
@click.option("--preset", default="edge", show_default=True, help="Size of the network: reference, edge or nano.")
@click.option(
    "--recipe",
    "recipe_name",
    type=click.Choice(["paper", "pseudo"]),
    help="paper: plain reconstruction as published; pseudo: with pseudo-anomalies. [default: paper for reference]",
)
@click.option("--epochs", type=click.IntRange(1), help="Passes over the footage.  [default: 60]")
@click.option("--batch", type=click.IntRange(1), help="Windows of a step.  [default: 4]")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Of Adam.  [default: by recipe]")
@click.option("--seed", type=int, help="Of weights and order.  [default: 0]")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: one per core]")
@click.option(
    "--fps", type=click.FloatRange(min=0, min_open=True), help="Frames per second of folders of images.  [default: 25]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the run.  [default: runs/DATA-PRESET]",
)
@click.option("--resume", is_flag=True, help="Go on where an earlier run in the same folder was interrupted.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per epoch on stdout.")
def train(
    data: str,
    preset: str,
    recipe_name: str | None,
    epochs: int | None,
    batch: int | None,
    learning_rate: float | None,
    seed: int | None,
    threads: int | None,
    fps: float | None,
    out: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Train an autoencoder on normal footage. It can be interrupted at any moment; --resume goes on."""
    import torch
    from rich.console import Console

    from callm_edge.errors import UsageError
    from callm_export.autoencoder import Autoencoder
    from callm_export.checkpoint import Checkpoint
    from callm_export.training import recipe
    from callm_export.workshop import decode_with_progress, train_with_progress

    Autoencoder.preset(preset)
    if threads:
        torch.set_num_threads(threads)
    console = Console(stderr=True, highlight=False)
    folder = out or Path("runs") / f"{Path(data).name}-{preset}"
    if Checkpoint(folder).exists() and not resume:
        raise UsageError(
            f"There is a training run in {folder} already", "", "Give --resume to go on with it, or another --out"
        )
    name = recipe_name or ("paper" if preset == "reference" else "pseudo")
    changes = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    footage = decode_with_progress(data, folder, console, fps=fps)
    weights = train_with_progress(folder, footage, preset, recipe(name, **changes), data, resume, console, as_json)
    console.print(f"Weights: {weights}\nNext: callm-edge export --run {folder} --out BUNDLE", soft_wrap=True)
