"""`callm-edge events`: what was found so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from callm_edge.events.store import EventStore

SHORTEST_ID = 8  # characters of an id that a list shows, more where two events share them

_store_option = click.option(
    "--store",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Folder of the event store.  [default: $CALLM_EDGE_STORE or ~/.local/state/callm-edge]",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object per event, for programs.")


@click.group()
def events() -> None:
    """List and show the events that were found."""


@events.command("list")
@_store_option
@click.option("--source", metavar="NAME", help="Only events of this source.")
@click.option("--since", metavar="TIME", help="Only from here on: 30m, 2h, 3d ago, or a date such as 2026-03-01T14:00.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most.")
@_json_option
def list_events(folder: str | None, source: str | None, since: str | None, limit: int, as_json: bool) -> None:
    """List events, newest first."""
    from callm_edge.errors import UserError
    from callm_edge.events.clock import clock_text, parse_moment
    from callm_edge.names import nearest

    begin = parse_moment(since) if since is not None else None
    with _open(folder) as store:
        found = store.list(source=source, since=begin, limit=limit + 1)  # one more shows whether there are more
        if not found:
            if not len(store):
                raise UserError(
                    f"There are no events in {store.folder}", "", "Watch a camera or a file with 'callm-edge run' first"
                )
            known = store.sources()
            if source is not None and source not in known:
                hint = nearest(source, known) or f"Sources with events: {', '.join(known[:8])}"
                raise UserError(f"There are no events of a source '{source}'", "", hint)
            of = f" of '{source}'" if source is not None else ""
            after = f" since {clock_text(begin)}" if begin is not None else ""
            raise UserError(f"There are no events{of}{after}", "", "Look further back with --since")
        if as_json:
            for stored in found[:limit]:
                click.echo(stored.event.to_json())
            return
        short = _short_ids(store.ids())

    from rich import box
    from rich.console import Console
    from rich.table import Table

    rows = [
        (
            short[stored.event.id],
            stored.event.source,
            clock_text(stored.event.start_time),
            f"{stored.event.start_frame}-{stored.event.end_frame}",
            f"{stored.event.peak_psnr_db:.1f} dB",
            f"{stored.event.threshold_psnr_db - stored.event.peak_psnr_db:.1f} dB",
        )
        for stored in found[:limit]
    ]
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 400  # a pipe has no edge to cut names at
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    titles = ("id", "source", "when", "frames", "peak", "below threshold")
    for title, cells in zip(titles, zip(*rows, strict=True), strict=True):
        if title == "source":  # the only one that may be cut: a cut number or id would be a wrong one
            table.add_column(title, overflow="ellipsis")
            continue
        words = title.split() if console.is_terminal else [title]
        width = max(len(text) for text in (*cells, *words))
        table.add_column(title, width=width, justify="left" if title in ("id", "when") else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if len(found) > limit:
        click.echo(f"\nOnly the newest {limit}; see more with --limit.", err=True)


@events.command("show")
@click.argument("event_id", metavar="ID")
@_store_option
@_json_option
def show_event(event_id: str, folder: str | None, as_json: bool) -> None:
    """Show one event. ID may be its first characters, as many as tell it apart."""
    from callm_edge.events.clock import clock_text, is_unix_time

    with _open(folder) as store:
        stored = store.get(event_id)
    event = stored.event
    if as_json:
        click.echo(event.to_json())
        if stored.verdict is not None:
            click.echo(stored.verdict.to_json())
        return
    live = is_unix_time(event.start_time)
    x, y, width, height = event.box
    end = clock_text(event.end_time, decimals=1)
    if live and end[:10] == clock_text(event.start_time)[:10]:
        end = end[11:]  # the day is said once
    below = event.threshold_psnr_db - event.peak_psnr_db
    lines = [
        ("id", event.id),
        ("source", event.source),
        ("when", f"{clock_text(event.start_time, decimals=1)} to {end}{'' if live else ' in the footage'}"),
        ("length", f"{event.end_time - event.start_time:.1f} s"),
        ("frames", f"{event.start_frame} to {event.end_frame}, peak at {event.peak_frame}"),
        (
            "peak",
            f"{event.peak_psnr_db:.2f} dB, {below:.2f} dB below the threshold of {event.threshold_psnr_db:.2f} dB",
        ),
        ("where", f"{width} x {height} pixels at x {x}, y {y}"),
        ("bundle", stored.bundle),
        ("stored", clock_text(stored.stored_at)),
        ("thumbnail", str(stored.thumbnail) if stored.thumbnail else "none"),
        ("clip", str(stored.clip) if stored.clip else "none"),
    ]
    if (verdict := stored.verdict) is not None:
        sure = verdict.probability if verdict.abnormal else 1 - verdict.probability
        lines += [
            (
                "verdict",
                f"{'abnormal' if verdict.abnormal else 'normal'}, {sure:.0%}, answered by {verdict.answered_by}",
            ),
            ("because", verdict.explanation or "-"),
            ("took", ", ".join(f"{step} {ms:.0f} ms" for step, ms in verdict.ledger_ms.items())),
        ]
    elif stored.failed:
        lines.append(("verdict", f"none: {stored.failed}"))
    if stored.false_alarm_at is not None:
        lines.append(("marked", f"false alarm, {clock_text(stored.false_alarm_at)}"))
    for name, text in lines:
        click.echo(f"{click.style(f'{name:<11}', bold=True)}{text}")


@events.command("ask")
@click.argument("event_id", metavar="ID")
@click.argument("question")
@_store_option
@click.option("--bundle", metavar="NAME|DIR", help="Whose branch answers.  [default: the bundle that found the event]")
@_json_option
def ask_event(event_id: str, question: str, folder: str | None, bundle: str | None, as_json: bool) -> None:
    """Ask anything about one event: events ask 9056d88f "what is in his hand?"."""
    import json

    from callm_edge.stage2.asking import Asker, device_branch

    with _open(folder) as store:
        stored = store.get(event_id)
    pieces = []
    for piece in Asker(lambda name: device_branch(bundle or name)).ask(stored, question):
        pieces.append(piece)
        if not as_json:
            click.echo(piece, nl=False)
    if as_json:
        click.echo(json.dumps({"event_id": stored.event.id, "question": question, "answer": "".join(pieces).strip()}))
    else:
        click.echo()


@events.command("mark")
@click.argument("event_id", metavar="ID")
@click.option(
    "--false-alarm/--clear", "marked", default=None, help="Nothing was wrong; or take that back. 'calibrate' uses it."
)
@_store_option
def mark_event(event_id: str, marked: bool | None, folder: str | None) -> None:
    """Say that an event was a false alarm. 'callm-edge calibrate --store' learns from it."""
    from pathlib import Path

    from callm_edge.errors import UsageError
    from callm_edge.events.store import EventStore, default_store

    if marked is None:
        raise UsageError("There is nothing to say of the event", "", "Give --false-alarm or --clear")
    with _open(folder) as store:  # a missing store is not to be made here
        found = store.get(event_id).event.id
    with EventStore(Path(folder) if folder is not None else default_store()) as store:
        store.mark_false_alarm(found, marked)
    click.echo(f"Event {found} is {'marked as a false alarm' if marked else 'no longer marked'}")


@events.command("export")
@click.argument("event_id", metavar="ID")
@click.option(
    "--output", "-o", metavar="FILE", type=click.Path(dir_okay=False), help="Where to.  [default: event-ID.zip here]"
)
@_store_option
def export_event(event_id: str, output: str | None, folder: str | None) -> None:
    """Write one event to a zip file: clip, scores, verdict, bundle hash. 'callm-edge replay' takes it."""
    from pathlib import Path

    from callm_edge.events.export import export

    with _open(folder) as store:
        stored = store.get(event_id)
    path = Path(output or f"event-{stored.event.id[:SHORTEST_ID]}.zip")
    export(stored, path)
    click.echo(str(path))


def _open(folder: str | None) -> EventStore:
    from pathlib import Path

    from callm_edge.events.store import EventStore, default_store

    return EventStore(Path(folder) if folder is not None else default_store(), read_only=True)


def _short_ids(ids: Sequence[str]) -> dict[str, str]:
    """Every id (given in alphabetical order) with its shortest beginning that no other shares."""
    from os.path import commonprefix

    short = {}
    for at, name in enumerate(ids):
        beside = [*ids[max(at - 1, 0) : at], *ids[at + 1 : at + 2]]
        needed = max((len(commonprefix([name, other])) + 1 for other in beside), default=0)
        short[name] = name[: max(needed, SHORTEST_ID)]
    return short
