"""`callm-edge run`: the live cascade over one or more sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from callm_edge.watch import Watch


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings (TOML), with what no flag can say: zones, schedules, sinks, retention. Flags win over it.",
)
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="URI",
    help="Video, folder of images, rtsp:// or http:// URL, or test:plaza?seed=7&anomaly=all. Repeatable.",
)
@click.option("--camera", "cameras", multiple=True, metavar="N", help="Camera index. Repeatable.")
@click.option(
    "--bundle",
    default="plaza",
    show_default=True,
    metavar="NAME|DIR",
    help="Model, threshold and settings to run with.",
)
@click.option("--threshold", type=float, metavar="DB", help="Flag below this PSNR instead of the calibrated threshold.")
@click.option("--stride", type=click.IntRange(1, 16), default=1, show_default=True, help="Score every n-th window.")
@click.option(
    "--backend", default="auto", show_default=True, metavar="NAME", help="What computes stage 1; auto is the fastest."
)
@click.option(
    "--batch",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Score windows of so many cameras in one call, on backends that can.",
)
@click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    help="Threads of a stage 1 call; 0: the cores, shared by the cameras.",
)
@click.option(
    "--fps", type=click.FloatRange(min=0, min_open=True), help="Frames per second of a folder of images.  [default: 25]"
)
@click.option(
    "--stage2",
    type=click.Choice(["auto", "device", "remote", "off"]),
    default="auto",
    show_default=True,
    help="Who judges events; auto: this device while it keeps the deadline, else the server.",
)
@click.option("--remote", metavar="URL", help="Server with the OpenAI API, such as https://gpu.local:8000/v1.")
@click.option("--remote-model", default="mini", show_default=True, metavar="NAME", help="Model to ask it for.")
@click.option(
    "--remote-key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Holds its key; mode 600.  [default: the variable CALLM_EDGE_REMOTE_KEY]",
)
@click.option(
    "--remote-ca",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Certificate of your own authority (PEM), to trust the server by.",
)
@click.option(
    "--private",
    is_flag=True,
    help="Send the server no picture, only what the bundle's vision half makes of them; for 'callm-edge serve'.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds from an event to its explanation.",
)
@click.option(
    "--queue-events",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Events that may wait for a verdict; past it the oldest are given up.",
)
@click.option(
    "--queue-age-hours",
    type=click.FloatRange(min=0, min_open=True),
    default=168.0,
    show_default=True,
    help="How long an event may wait for a verdict, in hours that a run goes on.",
)
@click.option(
    "--scene/--no-scene",
    default=True,
    show_default=True,
    help="Alarm where a camera is moved, covered or out of focus, or the light switched.",
)
@click.option("--realtime", is_flag=True, help="Play files and the plaza at their own pace, like a camera.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write annotated video, score plot and score table there.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Event database; default: the user's own.",
)
@click.option("--web", metavar="[HOST:]PORT", help="Serve the live page there; hosts others can reach need a token.")
@click.option(
    "--web-token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Token that opens the page; mode 600.  [default: the variable CALLM_EDGE_WEB_TOKEN]",
)
@click.option("--headless", is_flag=True, help="No status line: events and the summary only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def run(config: Path | None, **flags: Any) -> None:
    """Watch sources and report anomalies as they happen."""
    from contextlib import ExitStack

    from rich.console import Console
    from rich.progress import Progress

    from callm_edge.config.cameras import Cameras
    from callm_edge.config.flags import with_flags
    from callm_edge.config.read import read_settings
    from callm_edge.config.settings import RunSettings
    from callm_edge.console import JsonReport, TextReport
    from callm_edge.errors import UsageError
    from callm_edge.events.retention import Retention
    from callm_edge.events.store import EventStore, default_store
    from callm_edge.memory import share_heaps
    from callm_edge.reports import Reports
    from callm_edge.sinks.choose import open_sinks
    from callm_edge.stage1.tensorrt.progress import ProgressBars
    from callm_edge.stage2.branch import Branch
    from callm_edge.stage2.choose import open_branch, remote_server
    from callm_edge.stage2.verdict_queue import QueueBounds, VerdictQueue
    from callm_edge.supervision import supervision
    from callm_edge.watch import Report, Watch
    from callm_edge.web.choose import open_page

    settings = with_flags(read_settings(config) if config else RunSettings(), *_given(flags))
    if not settings.camera:
        raise UsageError(
            "There is nothing to watch",
            f"{config} names no camera" if config else "no source was named",
            "Try: --camera 0, --source FILE, or --source test:plaza?anomaly=all",
        )
    share_heaps()
    stage2 = settings.stage2
    server = remote_server(stage2)
    terminal = Console(stderr=True)
    # Shown only while an engine is built; into a pipe it would write an empty line.
    with Progress(console=terminal, transient=True, disable=not terminal.is_terminal) as bars:
        opened = Cameras(settings, ProgressBars(bars))
    for note in opened.notes:
        click.echo(f"Note: {note}", err=True)
    console: Report = JsonReport() if settings.as_json else TextReport(status_line=not settings.headless)
    with ExitStack() as stack:
        store = stack.enter_context(EventStore(settings.store or default_store()))
        stack.enter_context(Retention(store, settings.retention.limits()))
        make = open_branch(
            opened.judge,
            stage2.use,
            settings.threads,
            server,
            private=stage2.private,
            deadline_s=stage2.deadline_s,
            waiting=lambda: len(store.waiting()),
            attempt=store.attempt,
        )
        branches: list[Branch] = []

        def open_and_keep() -> Branch:
            assert make is not None
            branches.append(make())
            return branches[0]

        queue = VerdictQueue(store, QueueBounds(stage2.queue_events, 3600 * stage2.queue_age_hours))
        failing: dict[str, int] = {}
        sinks = open_sinks(
            settings.sinks,
            store.source_of,
            lambda: len(store.waiting()),
            lambda: getattr(branches[0], "breaker", None) if branches else None,
            lambda: failing,
            lambda: queue.given_up,
        )
        for sink in sinks:
            stack.callback(sink.close)
        page = open_page(settings, opened, store, make) if settings.web else None
        if page:
            stack.callback(page.server.close)
            page.server.start()
            click.echo(f"Live page: {page.server.url}", err=True)
        manager = supervision()
        # Who pipes a run into `head` wants it to end; a service whose events go elsewhere is not to end with its pipe.
        passes = () if sinks or page else (BrokenPipeError,)
        members: list[Report] = [console, *([manager] if manager else []), *sinks, *([page.live] if page else [])]
        report = Reports(members, passes, failing)
        viewer = page.live if page else None
        watch = Watch(opened.cameras, store, settings.record, open_and_keep if make else None, queue, viewer)
        _stop_on_signals(watch)
        failed = watch.run(report)
    if failed == len(opened.cameras):
        raise SystemExit(1)


def _stop_on_signals(watch: Watch) -> None:
    """A service manager's stop ends a run as Ctrl-C does: open events and recordings are still written."""
    import signal

    def stop(number: int, frame: object) -> None:
        # Whoever presses Ctrl-C again does not want to wait.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        watch.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _given(flags: dict[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """The options that were given, on the command line or by a variable; and the names of the former."""
    from click.core import ParameterSource

    context = click.get_current_context()
    where = {name: context.get_parameter_source(name) for name in flags}
    given = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    typed = {name for name, source in where.items() if source is ParameterSource.COMMANDLINE}
    return {name: flags[name] for name, source in where.items() if source in given}, typed
