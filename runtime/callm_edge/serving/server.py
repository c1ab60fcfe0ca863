"""The app behind uvicorn: where it listens, over TLS or not, and how it stops."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callm_edge.errors import UsageError
from callm_edge.serving.auth import Keys, is_loopback


@dataclass(frozen=True)
class Listening:
    """host, port: where; port 0 is any free one. certificate, certificate_key: PEM files, for https.

    drain_s: how long answers that were begun may go on after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    certificate_key: Path | None = None
    drain_s: float = 30.0

    def check(self, keys: Keys | None) -> None:
        """Raises UsageError where others could reach the server without a key, or where TLS is set up in half."""
        if keys is None and not is_loopback(self.host):
            raise UsageError(
                f"Without keys the server does not listen at {self.host}",
                "everybody who can reach this machine could use it",
                "Give --key-file FILE (openssl rand -hex 32 > FILE; chmod 600 FILE), or leave --host away",
            )
        if (self.certificate is None) != (self.certificate_key is None):
            raise UsageError("TLS needs a certificate and its key", "only one of them was given")
        if self.certificate is not None and self.certificate_key is not None:
            _check_pair(self.certificate, self.certificate_key)

    @property
    def scheme(self) -> str:
        return "https" if self.certificate else "http"


def run(app: Any, where: Listening, connections: int, on_listening: Any = lambda url: None) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish what was begun. connections: that may be open at the same time.

    on_listening: hears the address. Raises UsageError where it is taken.
    """
    import uvicorn

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                port = self.servers[0].sockets[0].getsockname()[1]
                host = f"[{where.host}]" if ":" in where.host else where.host
                on_listening(f"{where.scheme}://{host}:{port}")

        async def shutdown(self, sockets: Any = None) -> None:
            for connection in list(self.server_state.connections):
                cycle = getattr(connection, "cycle", None)
                if cycle is None or cycle.response_complete:
                    # TLS ends with a word from either side, and a client that keeps a connection in reserve says none.
                    connection.transport.abort()
            await super().shutdown(sockets)

    config = uvicorn.Config(
        app,
        host=where.host,
        port=where.port,
        ssl_certfile=where.certificate,
        ssl_keyfile=where.certificate_key,
        timeout_graceful_shutdown=max(1, round(where.drain_s)),
        limit_concurrency=connections,
        access_log=False,  # its lines hold addresses with whatever somebody put in them
        log_level="warning",
        server_header=False,
        ws="none",
    )
    # uvicorn raises a signal once more after it has stopped: what was asked for is then done, hence exit code 0.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    server = Server(config)
    try:
        server.run()
    except SystemExit as error:  # uvicorn's way of saying that it could not start
        why = "the address is taken or not this machine's"
        raise UsageError(
            f"The server cannot listen at {where.host}:{where.port}", why, "Give another --port"
        ) from error


def _check_pair(certificate: Path, key: Path) -> None:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:  # SSLError is an OSError
        why = getattr(error, "strerror", None) or type(error).__name__
        raise UsageError(f"{certificate} and {key} are no certificate with its key", why) from error
