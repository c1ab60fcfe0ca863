"""`callm-edge verify`: flags that flip between the FP32 reference and every backend here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from callm_edge.verify import Verification

# Two incidents and an ordinary stretch, none of which the built-in bundles were trained or calibrated on.
PLAZA = (
    "test:plaza?seed=701&anomaly=cyclist&seconds=14",
    "test:plaza?seed=702&anomaly=runner&seconds=14",
    "test:plaza?seed=703&seconds=8",
)


@click.command()
@click.option("--source", "sources", multiple=True, metavar="URI", help="Clips to compare on.  [default: the plaza]")
@click.option("--bundle", default="plaza", show_default=True, metavar="NAME|DIR", help="The bundle to verify.")
@click.option(
    "--backend",
    "names",
    multiple=True,
    metavar="NAME",
    help="shared, tensorrt, tensorrt-int8, cuda; onnxruntime-fp16 and -int8 run the GPU's graphs on the CPU. "
    "Repeatable.  [default: all that are here]",
)
@click.option("--max-flips", type=click.IntRange(0), default=0, show_default=True, help="Flips allowed per backend.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Of each source.")
@click.option(
    "--fps", type=click.FloatRange(min=0, min_open=True), help="Frames per second of a folder of images.  [default: 25]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def verify(
    sources: tuple[str, ...],
    bundle: str,
    names: tuple[str, ...],
    max_flips: int,
    seconds: float | None,
    fps: float | None,
    as_json: bool,
) -> None:
    """Compare every backend with the FP32 reference, flag by flag.

    Exit code 1 where a backend flips more flags than allowed. Give clips with scores near the threshold: far from it
    nothing can flip, and the histogram says how many windows were near.
    """
    import json

    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from callm_edge.bundle import Bundle
    from callm_edge.decision.calibrated_backend import calibration_mismatch
    from callm_edge.errors import UsageError
    from callm_edge.names import nearest
    from callm_edge.sources import open_source
    from callm_edge.stage1.choose import BACKENDS, open_backend, present
    from callm_edge.verify import ON_CPU, REFERENCE, on_cpu
    from callm_edge.verify import verify as run_verify

    opened = Bundle.load(bundle)
    known = [name for name in (*BACKENDS, *ON_CPU) if name not in ("auto", REFERENCE)]
    for name in names:
        if name not in known:
            raise UsageError(
                f"There is no backend '{name}' to verify", f"known are {', '.join(known)}", nearest(name, known)
            )
    feeds = [open_source(uri, fps=fps) for uri in sources or PLAZA]
    here = [name for name in present(opened) if name != REFERENCE]
    chosen = names or (*here, *(name for name in ON_CPU if ON_CPU[name] in opened.manifest.files))
    console = Console(stderr=True, highlight=False)
    backends = {name: on_cpu(opened, name) if name in ON_CPU else open_backend(opened, name) for name in chosen}
    if not backends:
        raise UsageError("There is nothing to verify", "the bundle has no graph but the reference", "Export it again")
    with Progress(
        *Progress.get_default_columns()[:1],
        TextColumn("{task.completed} windows"),
        TimeElapsedColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("Comparing " + ", ".join(backends), total=None)
        found = run_verify(opened, backends, feeds, lambda n: bar.update(task, completed=n), seconds)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        for name, backend in backends.items():
            if name not in ON_CPU and (sentence := calibration_mismatch(opened, backend)):
                console.print(f"[dim]{name}: {sentence}[/]", soft_wrap=True)
        _print(found, Console(highlight=False))
    worst = max(parity.flips for parity in found.parities.values())
    if worst > max_flips:
        console.print(f"[bold red]{worst} flags flip[/], {max_flips} are allowed.")
        raise SystemExit(1)


def _print(found: Verification, console: Console) -> None:
    from rich.table import Table

    decision = found.decision
    console.print(
        f"Bundle [bold]{found.bundle}[/], {decision.statistic} PSNR, threshold {decision.threshold_psnr_db:.2f} dB: "
        f"{len(found.margins_db)} windows, {found.flags} of them flagged by the FP32 reference.",
        soft_wrap=True,
    )
    table = Table("backend", "flips", "frame dB: max", "mean", "tile dB: max", "mean", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, parity in found.parities.items():
        numbers = (
            parity.max_abs_diff_psnr_db,
            parity.mean_abs_diff_psnr_db,
            parity.max_abs_diff_patch_psnr_db,
            parity.mean_abs_diff_patch_psnr_db,
        )
        table.add_row(name, f"[bold]{parity.flips}[/]", *(f"{number:.4f}" for number in numbers))
    console.print(table)
    console.print("\nMargin to the threshold, of the reference (negative is flagged):")
    margins = Table("dB", "windows", "", *(f"flips {name}" for name in found.parities), box=None, pad_edge=False)
    rows = found.histogram()
    most = max(row["windows"] for row in rows)
    for row in rows:
        low, high = row["from_db"], row["to_db"]
        span = f"below {high:g}" if low is None else f"{low:g} and up" if high is None else f"{low:g} to {high:g}"
        bar = "█" * round(16 * row["windows"] / most) or ("▏" if row["windows"] else "")
        margins.add_row(span, str(row["windows"]), bar, *(str(flips or "") for flips in row["flips"].values()))
    console.print(margins)
