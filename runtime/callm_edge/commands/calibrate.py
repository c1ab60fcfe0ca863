"""`callm-edge calibrate`: the threshold of a bundle from normal footage of the camera it watches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_KEPT = ". The bundle keeps those it had: if they are of another camera, calibrate on more footage"
_TOO_FEW = "Which ways are usual was not learnt: it takes 40 s of footage with five frames a second or more"


@click.command()
@click.option("--source", "sources", multiple=True, required=True, metavar="URI", help="Normal footage. Repeatable.")
@click.option("--bundle", required=True, metavar="NAME|DIR", help="The bundle to calibrate.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write the calibrated bundle there; default: into the bundle itself.",
)
@click.option(
    "--false-alarms-per-hour",
    "rate",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How many a user accepts.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Event store: what was marked there as a false alarm counts, too, and can only lower the threshold.",
)
@click.option(
    "--watched-hours",
    type=click.FloatRange(min=0, min_open=True),
    help="With --store: hours that were watched for its events.  [default: from the first to the last of them]",
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after so much of each source.")
@click.option(
    "--backend", default="auto", show_default=True, metavar="NAME", help="What computes stage 1; auto is the fastest."
)
@click.option(
    "--fps", type=click.FloatRange(min=0, min_open=True), help="Frames per second of a folder of images.  [default: 25]"
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def calibrate(
    sources: tuple[str, ...],
    bundle: str,
    out: Path | None,
    rate: float,
    store: Path | None,
    watched_hours: float | None,
    minutes: float | None,
    backend: str,
    fps: float | None,
    as_json: bool,
) -> None:
    """Choose the threshold that gives the asked rate of false alarms on normal footage, and learn its usual ways.

    Give footage without anomalies: whatever is in it counts as normal. Where it is shorter than the asked rate
    needs, the threshold is extrapolated, and the output says so. Events that people marked as false alarms
    ('callm-edge events mark', or the live page) are normal footage, too: name their store.
    """
    import json
    import shutil

    from rich.console import Console
    from rich.progress import Progress, TaskID, TextColumn, TimeElapsedColumn

    from callm_edge.bundle import BUILT_IN, Bundle
    from callm_edge.decision.calibrated_backend import graph_sha256
    from callm_edge.decision.calibration import calibrate as threshold_from
    from callm_edge.decision.calibration import event_peaks
    from callm_edge.decision.marked import marked_events
    from callm_edge.decision.measure import measure
    from callm_edge.errors import UsageError
    from callm_edge.events.store import EventStore
    from callm_edge.sources import open_source
    from callm_edge.stage1.choose import open_backend
    from callm_edge.stage2.ways_seen import WaysSeen

    feeds = [open_source(uri, fps=fps) for uri in sources]
    opened = Bundle.load(bundle)
    if out is None and opened.folder.is_relative_to(BUILT_IN):
        raise UsageError(
            f"The bundle '{bundle}' ships with the package and stays as it is",
            "",
            "Give --out DIR for the calibrated copy",
        )
    if watched_hours is not None and store is None:
        raise UsageError("--watched-hours says nothing without a store", "", "Name it with --store DIR")
    stage1 = open_backend(opened, backend)
    console = Console(stderr=True)
    traces, seen = [], WaysSeen()
    with Progress(
        *Progress.get_default_columns()[:1],
        TextColumn("{task.fields[windows]} windows"),
        TimeElapsedColumn(),
        console=console,
    ) as bar:
        for source in feeds:
            task = bar.add_task(source.name, total=None, windows=0)
            seconds = minutes * 60 if minutes else None

            def on_window(windows: int, task: TaskID = task) -> None:
                bar.update(task, windows=windows)

            traces.append(measure(source, stage1, opened.decision, None, on_window, seconds, seen))
            bar.update(task, total=1, completed=1)
    marked = None
    if store is not None:
        with EventStore(store, read_only=True) as events:
            marked = marked_events(events, opened, stage1, watched_hours)
    found = threshold_from(traces, opened.decision, rate, marked.false_alarms if marked else None)
    record = found.record(stage1.name, graph_sha256(stage1, opened.folder), sources, rate)
    if out is not None:
        shutil.copytree(opened.folder, out, dirs_exist_ok=True)
        opened = Bundle.load(out)
    ways = seen.ways()
    if ways is not None:
        opened = opened.with_ways(ways)
    record["ways_from"] = seen.flows if ways else 0
    decision = opened.decision.model_copy(update={"threshold_psnr_db": round(found.threshold_psnr_db, 4)})
    if marked:
        still = sum(bool(event_peaks(trace, decision)) for trace in marked.false_alarms.traces)
        record["false_alarms"] = {
            "marked": len(marked.false_alarms.traces),
            "unused": marked.unused,
            "watched_hours": round(marked.false_alarms.hours, 4),
            "lowered_db": round(found.lowered_db, 4),
            "would_alarm_again": still,
        }
    opened.with_decision(decision, record)
    if as_json:
        click.echo(
            json.dumps({"bundle": str(opened.folder), "threshold_psnr_db": decision.threshold_psnr_db, **record})
        )
        return
    console.print(
        f"Threshold {decision.threshold_psnr_db:.2f} dB for {rate:g} false alarms per hour, "
        f"from {found.hours * 60:.1f} minutes of footage"
        + (" (extrapolated: more footage makes it surer)" if found.extrapolated else "")
        + f". Written to {opened.folder}"
    )
    if ways is None:
        console.print(f"{_TOO_FEW}{_KEPT if opened.ways else ''}")
    if marked:
        console.print(_of_marks(record["false_alarms"], rate))


def _of_marks(about: dict[str, Any], rate: float) -> str:
    marked, hours = about["marked"], about["watched_hours"]
    if not marked:
        return f"No event that this bundle found is marked as a false alarm ({about['unused']} cannot be used)"
    text = f"{marked} events marked as false alarms in {hours:.1f} h of watching "
    if about["lowered_db"]:
        text += f"lowered it by {about['lowered_db']:.2f} dB"
    else:
        text += f"are no more than {rate:g} per hour and leave it; ask for fewer with --false-alarms-per-hour"
    text += f". {about['would_alarm_again']} of them would alarm again"
    return text + (f"; {about['unused']} more cannot be used" if about["unused"] else "")
