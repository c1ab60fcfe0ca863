"""`callm-edge quantize`: a language model -> a GPTQ checkpoint and the int4 decoder that the device runs."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--llm",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR|FILE",
    help="Hugging Face folder of a LLaMA-architecture model, or a .gguf file; a GPTQ folder is only exported.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Gets gptq/ (standard checkpoint) and llm/ (what the device reads).",
)
@click.option("--bits", type=click.Choice(["4", "8"]), default="4", show_default=True, help="Of a weight.")
@click.option(
    "--group", type=click.Choice(["32", "64", "128"]), default="64", show_default=True, help="Weights per scale."
)
@click.option("--symmetric", is_flag=True, help="No zero points: 1 MB less, a worse model.")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Texts to calibrate on: .txt (paragraphs) or an instruction .json.  [default: prompts and captions of ours]",
)
@click.option("--samples", type=click.IntRange(1), default=128, show_default=True, help="Calibration sequences.")
@click.option("--length", type=click.IntRange(16), default=256, show_default=True, help="Tokens of each.")
@click.option("--context", type=click.IntRange(16), default=2048, show_default=True, help="Longest sequence.")
@click.option(
    "--table-bits",
    type=click.Choice(["4", "8"]),
    default="4",
    show_default=True,
    help="Of the token table and output layer.",
)
@click.option(
    "--held-out",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Report the perplexity on these texts before and after; repeatable.",
)
@click.option("--threads", type=click.IntRange(0), default=0, show_default="one per core", help="Of the check.")
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object on stdout.")
def quantize(
    llm: Path,
    out: Path,
    bits: str,
    group: str,
    symmetric: bool,
    calibration: Path | None,
    samples: int,
    length: int,
    context: int,
    table_bits: str,
    held_out: tuple[Path, ...],
    threads: int,
    as_json: bool,
) -> None:
    """Quantize a language model with GPTQ and export the decoder for the device."""
    import json

    from rich.console import Console

    from callm_export.decoder_graph import DecoderOptions
    from callm_export.quantize import CALIBRATION, GptqRecipe, read_texts
    from callm_export.quantizing import quantize_and_export

    console = Console(stderr=True, highlight=False)
    report = quantize_and_export(
        llm,
        out,
        read_texts(calibration or CALIBRATION),
        GptqRecipe(bits=int(bits), group=int(group), symmetric=symmetric, samples=samples, length=length),
        DecoderOptions(context=context, table_bits=int(table_bits)),
        {path.name: read_texts(path) for path in held_out},
        threads,
        lambda line: console.print(line, soft_wrap=True),
    )
    if as_json:
        click.echo(json.dumps(report))
