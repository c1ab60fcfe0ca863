"""`callm-edge replay`: a recorded event once more, through any bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from callm_edge.events.export import Recorded
    from callm_edge.events.verdict import Verdict


@click.command()
@click.argument("recording", metavar="FILE|ID")
@click.option("--bundle", metavar="NAME|DIR", help="What to score it with.  [default: the bundle that found the event]")
@click.option("--threshold", type=float, metavar="DB", help="Flag below this PSNR instead of the bundle's threshold.")
@click.option("--backend", default="auto", show_default=True, metavar="NAME", help="What computes stage 1.")
@click.option("--threads", type=click.IntRange(0), default=0, help="Threads of stage 1; 0 is one per core.")
@click.option("--judge", is_flag=True, help="Ask the bundle's stage 2 again, too.")
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Where ID is looked up; default: the user's own event store.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def replay(
    recording: str,
    bundle: str | None,
    threshold: float | None,
    backend: str,
    threads: int,
    judge: bool,
    store: Path | None,
    as_json: bool,
) -> None:
    """Score a recorded event again and say what changed.

    FILE is an export of 'events export' or a clip of an event store; ID is an event in the store.
    """
    import json

    from callm_edge import replay as replaying
    from callm_edge.bundle import Bundle
    from callm_edge.errors import UsageError, UserError
    from callm_edge.stage1.choose import open_backend
    from callm_edge.stage2.branch import Unreachable
    from callm_edge.stage2.choose import open_branch

    recorded = _recorded(recording, store)
    name = bundle or recorded.bundle
    if name is None:
        raise UsageError("It is not known which bundle found this", "the file is a bare clip", "Name one: --bundle")
    opened = Bundle.load(name)
    decision = opened.decision
    if threshold is not None:
        decision = decision.model_copy(update={"threshold_psnr_db": threshold})
    stage1 = open_backend(opened, backend, threads)
    source = recorded.event.source if recorded.event else "clip"
    found = replaying.replay(recorded.clip, stage1, decision, opened.hash, source)
    verdict: Verdict | None = None
    if judge:
        make = open_branch(opened, "device", threads)
        assert make is not None
        try:
            verdict = make().judge(found.clip)
        except Unreachable as why:
            raise UserError("Nobody answers", str(why)) from None
    same = recorded.clip.bundle_hash == opened.hash
    if as_json:
        line = {
            "type": "replay",
            "event_id": recorded.clip.event_id,
            "source": source,
            "bundle": opened.name,
            "bundle_hash": opened.hash,
            "recorded_bundle_hash": recorded.clip.bundle_hash,
            "same_bundle": same,
            "backend": stage1.name,
            **found.to_json(),
        }
        if verdict is not None:
            then = recorded.verdict
            line["verdict_then"] = json.loads(then.to_json()) if then else None
            line["verdict_now"] = json.loads(verdict.to_json())
        click.echo(json.dumps(line))
        return
    numbers = found.to_json()
    which = "the one that recorded it" if same else f"another than recorded it ({recorded.clip.bundle_hash[:8]})"
    lines = [("event", f"{recorded.clip.event_id} of {source}")]
    lines.append(("bundle", f"{opened.name} {opened.hash[:8]}, {which}; {stage1.name}"))
    if found.compared:
        lines += [
            (
                "scores",
                f"{found.compared} of {numbers['frames']} frames compared: "
                f"{numbers['mean_diff_db']:+.3f} dB on average, {numbers['max_abs_diff_db']:.3f} dB at most",
            ),
            ("lowest", f"{numbers['lowest_then_db']:.2f} dB then, {numbers['lowest_now_db']:.2f} dB now"),
        ]
    else:
        lines.append(("scores", f"none of {numbers['frames']} frames can be compared"))
    lines += [
        ("threshold", f"{numbers['threshold_then_db']:.2f} dB then, {numbers['threshold_now_db']:.2f} dB now"),
        ("flagged", f"{found.flagged[0]} frames then, {found.flagged[1]} now; {found.flips} flip"),
        ("events", ", ".join(f"frames {first} to {last}" for first, last in numbers["events"]) or "none now"),
    ]
    if verdict is not None:
        lines += [("then", _said(recorded.verdict)), ("now", _said(verdict))]
    for title, text in lines:
        click.echo(f"{click.style(f'{title:<11}', bold=True)}{text}")


def _recorded(recording: str, store: Path | None) -> Recorded:
    from callm_edge.errors import UserError
    from callm_edge.events.clip import Clip
    from callm_edge.events.export import Recorded, load
    from callm_edge.events.store import EventStore, default_store

    if Path(recording).is_file():
        return load(Path(recording))
    if recording.endswith(".zip"):
        raise UserError(f"There is no file {recording}")
    with EventStore(store or default_store(), read_only=True) as events:
        stored = events.get(recording)
    if stored.clip is None:
        raise UserError(f"Event {stored.event.id} cannot be replayed", stored.failed or "its clip is gone")
    return Recorded(Clip.load(stored.clip), stored.event, stored.verdict, stored.bundle)


def _said(verdict: Verdict | None) -> str:
    if verdict is None:
        return "no verdict"
    sure = verdict.probability if verdict.abnormal else 1 - verdict.probability
    return f"{'abnormal' if verdict.abnormal else 'normal'}, {sure:.0%}. {verdict.explanation}".rstrip()
