"""`callm-edge export`: trained weights -> a bundle."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--run", "run_folder", type=click.Path(path_type=Path), metavar="DIR", help="Folder of a training run.")
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Or a weights file, such as a published checkpoint; calibrate the bundle afterwards.",
)
@click.option("--allow-pickle", is_flag=True, help="Load a checkpoint that holds a pickled model: it can run code.")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the bundle.",
)
@click.option("--name", help="Name of the bundle.  [default: that of the folder]")
@click.option(
    "--false-alarms-per-hour",
    "rate",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="What the threshold is calibrated to, on held-out footage.",
)
@click.option(
    "--statistic",
    type=click.Choice(["tile", "frame"]),
    default="tile",
    show_default=True,
    help="PSNR of the worst tile, or of the frame.",
)
def export(
    run_folder: Path | None,
    weights: Path | None,
    allow_pickle: bool,
    out: Path,
    name: str | None,
    rate: float,
    statistic: str,
) -> None:
    """Write a bundle: ONNX graphs checked against torch, and the threshold from held-out footage."""
    from typing import Literal, cast

    from rich.console import Console

    from callm_edge.bundle import Decision
    from callm_edge.errors import UsageError
    from callm_export.exporting import export_stage1, write_bundle
    from callm_export.published import load_autoencoder, preset_of
    from callm_export.workshop import bundle_from_run

    if (run_folder is None) == (weights is None):
        raise UsageError(
            "Give either --run or --weights", "", "--run for a training run of yours, --weights for a file"
        )
    console = Console(stderr=True, highlight=False)
    decision = Decision(statistic=cast(Literal["tile", "frame"], statistic))
    if run_folder is not None:
        bundle_from_run(run_folder, out, name or out.name, rate, decision, console)
        return
    assert weights is not None
    model = load_autoencoder(weights, allow_pickle)
    differences = export_stage1(model, out)
    console.print(f"Exported; largest relative difference from torch: {differences}")
    write_bundle(out, name or out.name, preset_of(model), {"weights": weights.name}, decision, {})
    console.print(
        f"Not calibrated yet. Next: callm-edge calibrate --bundle {out} --source NORMAL_FOOTAGE", soft_wrap=True
    )
