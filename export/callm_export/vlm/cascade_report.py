"""`callm-edge evaluate --cascade`: the clips of a data set, judged by a branch on this device, and the table."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from callm_edge import atomic
from callm_edge.bundle import Bundle
from callm_edge.stage2.device import DeviceBranch
from callm_export.vlm.cascade_evaluation import CascadeEvaluation, Judged, judge_clips
from callm_export.vlm.clip_set import ClipSet
from callm_export.vlm.clip_work import cut_footage, draw_plaza
from callm_export.vlm.plaza_clips import balanced


def evaluate_cascade(
    data: str,
    bundle: str,
    stage2: Path,
    out: Path,
    count: int,
    part: str | None,
    fps: float | None,
    console: Console,
) -> CascadeEvaluation:
    """Make the clips, with the crops that the bundle's stage 1 points at, and judge them; verdicts.jsonl goes to `out`.

    stage2: folder of the branch. The clips stay in `out`, by bundle, and are not made again.
    """
    branch = DeviceBranch(stage2)  # first: clips take minutes, and a damaged branch shall not wait for them
    opened = Bundle.load(bundle)
    dataset = data if data == "plaza" else Path(data).resolve().name
    clips = ClipSet(out / "clips" / f"{dataset}-{opened.name}{'-' + part.replace('/', '-') if part else ''}")
    if data == "plaza":
        draw_plaza(clips, "held-out", count, bundle, console)
        records = balanced(clips.records(), count)
    else:
        cut_footage(clips, Path(data), part, 0, None, bundle, fps, console)
        records = clips.records()
    columns = (TextColumn("Judging clips"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    lines: list[str] = []
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=len(records))

        def judged(one: Judged) -> None:
            lines.append(one.verdict.to_json())
            bar.advance(task)

        found = judge_clips(dataset, opened.name, branch, clips, records, judged)
    atomic.write_text(out / "verdicts.jsonl", "\n".join(lines) + "\n")
    return found


def print_cascade(result: CascadeEvaluation, console: Console) -> None:
    """The evaluation for people."""

    def percent(share: float | None) -> str:
        return "kinds unknown" if share is None else f"{share:.2%}"

    table = Table(title=f"Stage 2 on {len(result.clips)} clips of {result.dataset}", title_justify="left")
    table.add_column("Measured")
    table.add_column("Value", justify="right", no_wrap=True)
    table.add_column("How")
    table.add_row("Balanced accuracy", percent(result.balanced_accuracy), "mean of hits and of normal clips let pass")
    table.add_row("Hit rate", percent(result.hit_rate), "abnormal clips judged abnormal")
    table.add_row("False positives", percent(result.false_positive_rate), "normal clips judged abnormal")
    table.add_row("AUC", percent(result.auc), "of the probability of yes, whatever the threshold")
    table.add_row("Named right", percent(result.named_right), "abnormal clips whose explanation names the kind")
    table.add_row("Named right of hits", percent(result.named_right_of_found), "the same among the hits")
    steps = result.median_ms()
    table.add_row("Time", f"{sum(steps.values()):.0f} ms", ", ".join(f"{name} {ms:.0f}" for name, ms in steps.items()))
    console.print(table)
    kinds = Table(title="Abnormal clips by kind", title_justify="left")
    kinds.add_column("Kind")
    for heading in ("Clips", "Found", "Named right"):
        kinds.add_column(heading, justify="right")
    for kind, (many, hits, named) in result.by_kind().items():
        kinds.add_row(kind, f"{many}", f"{hits}", f"{named}")
    console.print(kinds)
