"""`callm-edge tune`: the trained part of the video-language branch, on clips with instructions."""

from __future__ import annotations

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=FOLDER,
    metavar="DIR",
    help="Clips with instructions.json, of callm-edge caption; repeatable.",
)
@click.option(
    "--validation",
    multiple=True,
    type=FOLDER,
    metavar="DIR",
    help="Clips that the threshold is calibrated on; of normal ones alone it lets 90 % pass. Repeatable.",
)
@click.option("--out", required=True, type=FOLDER, metavar="DIR", help="Folder of the run.")
@click.option("--llm", type=FOLDER, metavar="DIR", help="Language model's folder.  [default: SmolLM2-135M-Instruct]")
@click.option(
    "--decoder",
    type=FOLDER,
    metavar="DIR",
    help="The same as the device runs it (callm-edge quantize): its weights are learnt with, its answers set the "
    "threshold, and it completes stage2/.",
)
@click.option(
    "--start",
    metavar="BUNDLE|FILE",
    help="Go on from a bundle's branch, such as plaza, or a run's video_former.safetensors, without the epochs that an "
    "untrained one needs.",
)
@click.option(
    "--keep",
    type=click.FloatRange(0, 1, max_open=True),
    metavar="SHARE",
    help="Of the weights of --start in those at the end, so that what was known of other scenes stays known.  "
    "[default: 0]",
)
@click.option(
    "--crops",
    type=click.IntRange(0, 3),  # as many as clips keep peaks
    default=3,
    show_default=True,
    help="Of each frame that is looked at; 0 is full frames alone.",
)
@click.option("--head-epochs", type=click.IntRange(0), help="Passes before the language model is asked.  [default: 20]")
@click.option("--epochs", type=click.IntRange(0), help="Passes through the language model.  [default: 4]")
@click.option("--batch", type=click.IntRange(1), help="Clips of a step through the language model.  [default: 8]")
@click.option("--instructions", type=click.IntRange(1), help="Of each clip in such a step.  [default: 3]")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Of AdamW.  [default: 5e-4]")
@click.option(
    "--gray",
    type=click.FloatRange(0, 1),
    default=0.33,
    show_default=True,
    help="Share of the clips to learn from that are seen in gray.",
)
@click.option("--message/--no-message", default=None, help="Tell the model when the frames were taken.  [default: no]")
@click.option(
    "--dtype",
    type=click.Choice(["bfloat16", "float32"]),
    help="Of the frozen language model.  [default: bfloat16 where the processor multiplies in it]",
)
@click.option("--seed", type=int, help="Of weights and order.  [default: 0]")
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: one per core]")
@click.option("--resume", is_flag=True, help="Go on where an earlier run in the same folder was interrupted.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per epoch and one at the end on stdout.")
def tune(
    data: tuple[Path, ...],
    validation: tuple[Path, ...],
    out: Path,
    llm: Path | None,
    decoder: Path | None,
    start: str | None,
    keep: float | None,
    crops: int,
    head_epochs: int | None,
    epochs: int | None,
    batch: int | None,
    instructions: int | None,
    learning_rate: float | None,
    gray: float,
    message: bool | None,
    dtype: str | None,
    seed: int | None,
    threads: int | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Tune `mini`: video Q-Former, queries, frame positions and projection; encoder and language model stay frozen.

    It can be interrupted at any moment; --resume goes on. The folder's stage2/ then holds vision.onnx, former.onnx and
    stage2.json of a bundle.
    """
    import json

    import torch
    from rich.console import Console

    from callm_edge.errors import UsageError
    from callm_edge.stage2.torch_model import MiniConfig, VideoLanguageModel
    from callm_export.checkpoint import Checkpoint
    from callm_export.decoder_weights import fill_from_decoder
    from callm_export.mini import smollm2_folder
    from callm_export.vlm.former_weights import load_start
    from callm_export.vlm.tune_run import finish, prepared, tune_with_progress, write_encoder
    from callm_export.vlm.tuning import Tuning, frozen_dtype, speak_up, tune_recipe

    if Checkpoint(out).exists() and not resume:
        raise UsageError(
            f"There is a tuning run in {out} already", "", "Give --resume to go on with it, or another --out"
        )
    if keep and not start:
        raise UsageError(
            "--keep says how much of a branch stays", "there is none to start from", "Name it with --start"
        )
    if threads:
        torch.set_num_threads(threads)
    errors = Console(stderr=True, highlight=False)
    folder = llm or smollm2_folder()
    torch.manual_seed(seed or 0)
    model = VideoLanguageModel.mini(folder, config=MiniConfig(crops=crops), dtype=frozen_dtype(dtype))
    if decoder:
        fill_from_decoder(model.llm, decoder)
    if start:
        load_start(model, start)
    else:
        speak_up(model.video_former)
    vision = write_encoder(model, out)
    lessons = prepared(data, vision, threads or 0, gray, errors)
    held = prepared(validation, vision, threads or 0, 0.0, errors)
    recipe = tune_recipe(
        head_epochs=0 if start and head_epochs is None else head_epochs,
        epochs=epochs,
        batch=batch,
        instructions=instructions,
        learning_rate=learning_rate,
        message=message,
        kept=keep,
        seed=seed,
    )
    tuning = Tuning(out, model, lessons, held, recipe, resume)
    tune_with_progress(tuning, errors, as_json)
    report = finish(tuning, [path.name for path in data], folder.name, errors, decoder)
    if as_json:
        click.echo(json.dumps({"type": "summary", **report}))
    errors.print(
        f"Threshold {report['threshold']:.4f} by {report['validation_clips']} validation clips\n"
        + (
            f"Next: callm-edge export --stage2 {report['stage2']} --out BUNDLE"
            if decoder
            else f"{report['stage2']} lacks the language model: repeat with --resume --decoder (callm-edge quantize)"
        ),
        soft_wrap=True,
    )
