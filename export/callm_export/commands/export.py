"""`callm-edge export`: trained weights -> a bundle; int8 graph and TensorRT engines of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console


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
@click.option(
    "--stage2",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="DIR",
    help="Put in this video-language branch, stage2/ of callm-edge tune --decoder.",
)
@click.option(
    "--int8",
    "footage",
    multiple=True,
    metavar="URI",
    help="Add an int8 graph, quantized on this normal footage, if it flips no flag of it. Repeatable.",
)
@click.option(
    "--ways",
    "normal",
    multiple=True,
    metavar="URI",
    help="Put in the ways that are usual in this normal footage, which stage 2 is told. Repeatable.",
)
@click.option("--max-flips", type=click.IntRange(0), default=0, show_default=True, help="Flips that --int8 may cause.")
@click.option("--engine", is_flag=True, help="Build the TensorRT engines of the bundle for the GPU here.")
def export(
    run_folder: Path | None,
    weights: Path | None,
    allow_pickle: bool,
    out: Path,
    name: str | None,
    rate: float,
    statistic: str,
    stage2: Path | None,
    footage: tuple[str, ...],
    normal: tuple[str, ...],
    max_flips: int,
    engine: bool,
) -> None:
    """Write a bundle: ONNX graphs checked against torch, and the threshold from held-out footage.

    With --engine, --int8, --stage2 or --ways and neither --run nor --weights, --out is a bundle that is there already.
    """
    from rich.console import Console

    from callm_edge.errors import UsageError

    if (
        run_folder is not None
        and weights is not None
        or not (run_folder or weights or engine or footage or stage2 or normal)
    ):
        raise UsageError(
            "Give either --run or --weights", "", "--run for a training run of yours, --weights for a file"
        )
    console = Console(stderr=True, highlight=False)
    if run_folder is not None or weights is not None:
        _export(run_folder, weights, allow_pickle, out, name, rate, statistic, console)
    if stage2 is not None:
        from callm_edge.bundle import Bundle
        from callm_edge.stage2.device import DeviceBranch

        DeviceBranch(stage2, 1)  # whole, and its parts fit each other
        Bundle.load(out).with_stage2(stage2)
        console.print(f"{out} answers now; try: callm-edge run --bundle {out} --source …", soft_wrap=True)
    if normal:
        _learn_ways(out, normal, console)
    if footage:
        from callm_export.int8_export import add_int8

        add_int8(out, footage, max_flips, console)
    if engine:
        _build_engines(out, console)


def _learn_ways(out: Path, sources: tuple[str, ...], console: Console) -> None:
    from callm_edge.bundle import Bundle
    from callm_edge.errors import UserError
    from callm_edge.sources import open_source
    from callm_edge.stage2.ways_seen import WaysSeen
    from callm_export.vlm.clip_work import with_bar

    bundle, seen = Bundle.load(out), WaysSeen()

    def watch(uri: str) -> None:
        with open_source(uri, fps=bundle.manifest.training.get("fps")) as source:
            for frame in source:
                seen.push(frame.time, frame.image)

    with_bar("Watching footage", sources, watch, console)
    ways = seen.ways()
    if ways is None:
        raise UserError(
            "The footage is too short to show what is usual",
            f"it gave {seen.flows} pairs of frames that are near enough",
            "Give at least 40 s with five frames a second or more",
        )
    bundle.with_ways(ways)
    console.print(f"{out} knows the usual ways now, from {seen.flows} pairs of frames", soft_wrap=True)


def _build_engines(out: Path, console: Console) -> None:
    """Needs no torch: it runs on the device as well."""
    from rich.progress import Progress

    from callm_edge.bundle import AUTOENCODER_FP16, AUTOENCODER_INT8, Bundle
    from callm_edge.errors import BundleError
    from callm_edge.stage1.tensorrt.open import GRAPHS, engine_of
    from callm_edge.stage1.tensorrt.progress import ProgressBars

    bundle = Bundle.load(out)
    if AUTOENCODER_FP16 not in bundle.manifest.files:
        raise BundleError(f"The bundle {out} has no graph for the GPU", f"no '{AUTOENCODER_FP16}'", "Export it again")
    for precision in ("fp16", *(["int8"] if AUTOENCODER_INT8 in bundle.manifest.files else [])):
        with Progress(console=console, transient=True) as bars:
            ready = engine_of(bundle, precision, ProgressBars(bars))
        console.print(
            f"{'Built' if ready.built else 'Found'} {ready.path} from {GRAPHS[precision]} for compute capability "
            f"{ready.key.compute_capability}, TensorRT {ready.key.tensorrt}; "
            f"{len(ready.proof)} convolutions proven to run in half precision or int8",
            soft_wrap=True,
        )


def _export(
    run_folder: Path | None,
    weights: Path | None,
    allow_pickle: bool,
    out: Path,
    name: str | None,
    rate: float,
    statistic: str,
    console: Console,
) -> None:
    from typing import Literal, cast

    from callm_edge.bundle import Decision
    from callm_export.exporting import export_stage1, write_bundle
    from callm_export.published import load_autoencoder, preset_of
    from callm_export.workshop import bundle_from_run

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
