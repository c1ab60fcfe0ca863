"""`callm-edge web`: the page over a stored event database, without cameras."""

from __future__ import annotations

from pathlib import Path

import click

_file = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--listen", default="8080", show_default=True, metavar="[HOST:]PORT", help="Without HOST: this machine alone."
)
@click.option(
    "--store",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the event store.  [default: $CALLM_EDGE_STORE or ~/.local/state/callm-edge]",
)
@click.option("--bundle", metavar="NAME|DIR", help="Whose branch answers questions.  [default: the event's own bundle]")
@click.option(
    "--token-file",
    type=_file,
    metavar="FILE",
    help="Token that opens the page; mode 600.  [default: the variable CALLM_EDGE_WEB_TOKEN]",
)
@click.option("--certificate", type=_file, metavar="FILE", help="Certificate chain (PEM), to serve https.")
@click.option("--certificate-key", type=_file, metavar="FILE", help="Its private key (PEM).")
@click.option("--host-name", "hosts", multiple=True, metavar="NAME", help="A name that people use for this machine.")
def web(
    listen: str,
    folder: Path | None,
    bundle: str | None,
    token_file: Path | None,
    certificate: Path | None,
    certificate_key: Path | None,
    hosts: tuple[str, ...],
) -> None:
    """Show stored events in a browser: clips, verdicts, questions, false alarms."""
    import logging

    from callm_edge.errors import UserError
    from callm_edge.events.store import EventStore, default_store
    from callm_edge.stage2.asking import Asker, device_branch
    from callm_edge.web.listening import Listening
    from callm_edge.web.live import Live
    from callm_edge.web.server import WebServer

    listening = Listening.parse(listen, token_file, certificate, certificate_key, hosts)
    folder = folder or default_store()
    store = EventStore(folder, read_only=True)  # a missing store is not to be made here
    try:
        writable = EventStore(folder)
        store.close()
        store = writable
    except UserError as error:
        logging.getLogger(__name__).debug("%s", error)
        click.echo(f"Note: {folder} can only be read: events cannot be marked.", err=True)
    with store:
        server = WebServer(Live(), store, Asker(lambda name: device_branch(bundle or name)), listening)
        click.echo(f"Events of {folder}: {server.url}", err=True)
        server.serve()
