"""`callm-edge run`: the live cascade over one or more sources."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
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
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds from an event to its explanation.",
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
@click.option("--headless", is_flag=True, help="No status line: events and the summary only.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line on stdout.")
def run(
    sources: tuple[str, ...],
    cameras: tuple[str, ...],
    bundle: str,
    threshold: float | None,
    stride: int,
    backend: str,
    batch: int,
    threads: int,
    fps: float | None,
    stage2: str,
    remote: str | None,
    remote_model: str,
    remote_key_file: Path | None,
    remote_ca: Path | None,
    deadline: float,
    realtime: bool,
    record: Path | None,
    store: Path | None,
    headless: bool,
    as_json: bool,
) -> None:
    """Watch sources and report anomalies as they happen."""
    import os
    import signal

    from rich.console import Console
    from rich.progress import Progress

    from callm_edge.bundle import Bundle
    from callm_edge.cascade import Camera
    from callm_edge.console import JsonReport, TextReport
    from callm_edge.decision.calibrated_backend import calibration_mismatch
    from callm_edge.errors import UsageError
    from callm_edge.events.store import EventStore, default_store
    from callm_edge.reports import Reports
    from callm_edge.sources import open_source
    from callm_edge.stage1.choose import open_backend
    from callm_edge.stage1.tensorrt.progress import ProgressBars
    from callm_edge.stage2.choose import open_branch, remote_server
    from callm_edge.supervision import supervision
    from callm_edge.watch import Report, Watch

    uris = [*cameras, *sources]
    if not uris:
        raise UsageError(
            "There is nothing to watch",
            "no source was named",
            "Try: --camera 0, --source FILE, or --source test:plaza?anomaly=all",
        )
    feeds = [open_source(uri, realtime=realtime, fps=fps) for uri in uris]
    opened = Bundle.load(bundle)
    decision = opened.decision
    if threshold is not None:
        decision = decision.model_copy(update={"threshold_psnr_db": threshold})
    # A service manager's stop ends a run as Ctrl-C does: open events and recordings are still written.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not threads and len(feeds) >= (os.cpu_count() or 1):
        threads = 1  # each camera has a thread of its own, and those fill the cores
    server = remote_server(remote, remote_model, remote_key_file, remote_ca) if remote else None
    with Progress(console=Console(stderr=True), transient=True) as bars:  # shown only while an engine is built
        stage1 = open_backend(opened, backend, threads, ProgressBars(bars), batch)
    if mismatch := calibration_mismatch(opened, stage1):
        click.echo(f"Note: {mismatch}", err=True)
    console: Report = JsonReport() if as_json else TextReport(status_line=not headless)
    manager = supervision()
    report = Reports([console, *([manager] if manager else [])], passes=(BrokenPipeError,))
    watched = [Camera(feed, stage1, decision, stride, opened.hash, opened.name) for feed in feeds]
    with EventStore(store or default_store()) as events:
        branch = open_branch(opened, stage2, threads, server, deadline, lambda: len(events.waiting()))
        failed = Watch(watched, events, record, branch).run(report)
    if failed == len(feeds):
        raise SystemExit(1)
