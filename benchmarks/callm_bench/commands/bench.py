"""`callm-edge bench`: latency and throughput, measured side by side in one run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from callm_bench.setting import Setting

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command()
@click.option("--quick", is_flag=True, help="Within a minute on two cores: fewer rounds, slow sides left out by name.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="NAME",
    help="stages, peers, scaling, accuracy or limits. Repeatable.  [default: all]",
)
@click.option(
    "--preset", "presets", multiple=True, metavar="NAME", help="Of stage 1. Repeatable.  [default: edge; all]"
)
@click.option("--bundle", default="plaza", show_default=True, metavar="NAME|DIR", help="What is deployed.")
@click.option("--rounds", type=click.IntRange(1), help="More make the figures surer.  [default: 20; with --quick 5]")
@click.option("--threads", type=click.IntRange(1), help="Of one computation.  [default: the cores]")
@click.option("--data", type=FOLDER, help="Labelled test set for the accuracy, such as UCSD Ped2.")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Of that data.  [default: 10]")
@click.option("--gptq", type=FOLDER, help="The language model's GPTQ checkpoint, for gptqmodel.")
@click.option("--hf", type=FOLDER, help="The language model before quantization, for transformers.")
@click.option("--gguf", type=FILE, help="A 4-bit GGUF file of it, for llama.cpp and transformers.")
@click.option("--against", type=FILE, metavar="OLD.json", help="Compare with an older report; exit code 1 if slower.")
@click.option("--out", type=FILE, metavar="FILE.json", help="Keep the report there.")
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write report.html, report.json and charts (PNG) there.",
)
@click.option("--history", is_flag=True, help="Write the report down as this release's, in benchmarks/history.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
@click.option("--kernels", "alone", flag_value="kernels", help="Only the CUDA kernels, on the GPU of this machine.")
@click.option("--roofline", "alone", flag_value="roofline", help="Only computed bounds of the kernels on Jetsons.")
def bench(alone: str | None, rounds: int | None, as_json: bool, **options: Any) -> None:
    """Measure every stage of the cascade, beside other ways of running the same networks.

    Latency, throughput, processor time, memory, and joules where this machine can read its power. All sides take turns
    within one run. Without --quick it takes a quarter of an hour or so on two cores.
    """
    import json
    import tempfile

    from rich.console import Console

    if alone is not None:
        from callm_bench import kernels

        flags = ["--rounds", str(rounds or 100)] if alone == "kernels" else ["--roofline"]
        kernels.main([*flags, *(["--json"] if as_json else [])])
        return
    from callm_bench import bench as benchmark
    from callm_bench.compare import compare, read_report
    from callm_bench.report.table import print_report

    old = read_report(options["against"]) if options["against"] else None
    terminal = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        setting = _setting(Path(folder), rounds, options)
        with terminal.status("starting") as status:
            report = benchmark.run(setting, lambda what: status.update(what))
    if old is not None:
        report["comparison"] = compare(old, report).to_dict()
    _keep(report, options["out"], options["report"], options["history"])
    if as_json:
        click.echo(json.dumps(report))
    else:
        print_report(report, Console(highlight=False))
    if report.get("comparison", {}).get("regressions"):
        raise SystemExit(1)


def _setting(folder: Path, rounds: int | None, options: dict[str, Any]) -> Setting:
    """What the options ask for. Raises UsageError for an unknown part, preset or bundle."""
    from callm_bench.setting import PARTS, Setting, cores
    from callm_edge.bundle import Bundle
    from callm_export.autoencoder import PRESETS

    quick, fps = options["quick"], options["fps"]
    return Setting(
        bundle=Bundle.load(options["bundle"]),
        folder=folder,
        presets=_known("preset", options["presets"], PRESETS) or (("edge",) if quick else tuple(PRESETS)),
        parts=_known("part", options["parts"], PARTS) or PARTS,
        quick=quick,
        rounds=rounds or (5 if quick else 20),
        threads=options["threads"] or cores(),
        data=options["data"],
        fps=fps or (10.0 if options["data"] else None),
        gptq=options["gptq"],
        hf=options["hf"],
        gguf=options["gguf"],
    )


def _known(what: str, names: tuple[str, ...], known: Any) -> tuple[str, ...]:
    from callm_edge.errors import UsageError
    from callm_edge.names import nearest

    for name in names:
        if name not in known:
            raise UsageError(f"There is no {what} '{name}'", f"known are {', '.join(known)}", nearest(name, known))
    return names


def _keep(report: dict[str, Any], file: Path | None, folder: Path | None, release: bool) -> None:
    import json

    from callm_bench import history
    from callm_edge import atomic
    from callm_edge.errors import UserError

    try:
        if release:
            history.add(report)
        if file is not None:
            atomic.write_text(file, json.dumps(report, indent=1) + "\n")
        if folder is not None:
            from callm_bench.report.write import write_report

            write_report(report, folder)
    except OSError as error:
        raise UserError(
            f"The report cannot be written to {file or folder}", error.strerror or str(error), "Name another place"
        ) from error
