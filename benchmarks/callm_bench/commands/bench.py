"""`callm-edge bench`: latency and throughput, measured side by side in one run."""

from __future__ import annotations

import click


@click.command()
@click.option("--kernels", "part", flag_value="kernels", help="The CUDA kernels, on the GPU of this machine.")
@click.option(
    "--roofline", "part", flag_value="roofline", help="Computed bounds of the kernels on Jetsons; no GPU needed."
)
@click.option(
    "--preset", "presets", multiple=True, default=("edge",), show_default=True, help="Of stage 1. Repeatable."
)
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True, help="More make the figures surer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def bench(part: str | None, presets: tuple[str, ...], rounds: int, as_json: bool) -> None:
    """Measure the way of a frame through stage 1, beside the usual ways of running the same network.

    Joules per window stand beside the times where this machine can read its power.
    """
    from callm_edge.errors import UsageError
    from callm_edge.names import nearest

    if part is not None:
        from callm_bench import kernels

        flags = ["--rounds", str(rounds)] if part == "kernels" else ["--roofline"]
        kernels.main([*flags, *(["--json"] if as_json else [])])
        return
    from callm_bench import stage1
    from callm_export.autoencoder import PRESETS

    for preset in presets:
        if preset not in PRESETS:
            known = ", ".join(PRESETS)
            raise UsageError(f"There is no preset '{preset}'", f"presets are {known}", nearest(preset, PRESETS))
    stage1.main(["--rounds", str(rounds), "--presets", *presets, *(["--json"] if as_json else [])])
