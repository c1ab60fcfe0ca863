"""`callm-edge caption`: clips with weak captions and pseudo-instructions, to tune the video-language branch on."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "--data",
    required=True,
    metavar="FOLDER|plaza",
    help="Footage: a folder as for evaluate (test/ with labels.npz, normal clips in train/), one of normal footage "
    "alone, or plaza.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Gets the clips and instructions.json; what is there already is kept.",
)
@click.option(
    "--split",
    type=click.Choice(["train", "draft", "validation", "held-out"]),
    default="train",
    show_default=True,
    help="Of the plaza: which seeds. Of draft, stage 1 sees nothing: made four times as fast, to learn from first.",
)
@click.option("--clips", type=click.IntRange(2), default=2000, show_default=True, help="Of the plaza: how many.")
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Of the plaza: an anomaly to show, such as against-flow; repeatable, also the same for more of it.  "
    "[default: each of the seven]",
)
@click.option(
    "--first-day",
    type=click.IntRange(0, 90_000),
    default=0,
    show_default=True,
    help="Of the plaza: where in the split to begin, so that two sets share no day.",
)
@click.option("--part", metavar="K/N", help="Of a folder: the K-th of N parts, clip by clip in turn.")
@click.option("--stretches", type=click.IntRange(0), default=8, show_default=True, help="Of a folder: random, of each.")
@click.option("--normal", type=click.IntRange(1), help="Of a folder: normal clips.  [default: as many as in test/]")
@click.option("--bundle", metavar="NAME|DIR", help="Whose stage 1 points at the crops.  [default: plaza, else ped2]")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="Of folders of images.  [default: 25]")
@click.option(
    "--abnormal",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help='What is wrong, by kind or in a sentence: {"test-01": "cyclist"}.',
)
@click.option(
    "--captioner",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="A BLIP-2 or another captioner's Hugging Face folder, asked zero-shot.",
)
@click.option(
    "--form", type=click.Choice(["llava", "videochat"]), default="videochat", show_default=True, help="Of the file."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the wording.")
@click.option("--json", "as_json", is_flag=True, help="What was written as one JSON object on stdout.")
def caption(
    data: str,
    out: Path,
    split: str,
    clips: int,
    kinds: tuple[str, ...],
    first_day: int,
    part: str | None,
    stretches: int,
    normal: int | None,
    bundle: str | None,
    fps: float | None,
    abnormal: Path | None,
    captioner: Path | None,
    form: str,
    seed: int,
    as_json: bool,
) -> None:
    """Cut or draw clips as the cascade would hand them over, and write what is asked and answered about them.

    The plaza knows what happens on it. Of other footage is known whether it is abnormal; a captioner and --abnormal say
    more. Into both the judgement is injected: "This is abnormal. A cyclist should not be there."
    """
    import json

    from rich.console import Console

    from callm_edge.plaza import ANOMALIES
    from callm_export.instructions import write_instructions
    from callm_export.vlm.captioner import Captioner
    from callm_export.vlm.captioning import captioned, read_abnormal, told
    from callm_export.vlm.clip_set import ClipSet
    from callm_export.vlm.clip_work import cut_footage, draw_plaza, with_bar
    from callm_export.vlm.lessons import INSTRUCTIONS, instructions_of

    errors = Console(stderr=True, highlight=False)
    wrong = read_abnormal(abnormal) if abnormal else {}
    model = Captioner(captioner) if captioner else None
    found = ClipSet(out)
    if data == "plaza":
        draw_plaza(found, split, clips, bundle or "plaza", errors, first_day, kinds or ANOMALIES)
    else:
        cut_footage(found, Path(data), part, stretches, normal, bundle or "ped2", fps, errors)
    records = told(found.records(), wrong)
    if model:
        records = with_bar("Captioning", records, lambda record: captioned(found, record, model), errors)
    found.replace(records)
    instructions = instructions_of(records, seed)
    path = out / INSTRUCTIONS
    write_instructions(path, instructions, "llava" if form == "llava" else "videochat")
    report = {
        "clips": len(records),
        "abnormal": sum(record.abnormal for record in records),
        "instructions": len(instructions),
        "path": str(path),
    }
    if as_json:
        click.echo(json.dumps(report))
    errors.print(
        f"{report['clips']} clips, {report['abnormal']} of them abnormal; {len(instructions)} instructions in {path}\n"
        f"Next: callm-edge tune --data {out} --out RUN",
        soft_wrap=True,
    )
