"""uvicorn around the page's app: in a thread beside a run, or as all that a process does."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from callm_edge.errors import UsageError, UserError
from callm_edge.web.listening import Listening

if TYPE_CHECKING:
    from callm_edge.events.store import EventStore
    from callm_edge.stage2.asking import Asker
    from callm_edge.web.live import Live

CONNECTIONS = 128  # open at a time; the next is answered 503
STOP_S = 3.0


class WebServer:
    """Listens from the beginning, so that a taken address is known before a camera starts; answers from `start` on.

    url: of the page. Raises UsageError where the address or the certificate cannot be used, and UserError where a
    library is missing.
    """

    def __init__(self, live: Live, store: EventStore, asker: Asker, listening: Listening) -> None:
        try:
            import uvicorn

            from callm_edge.web.app import create_app
        except ModuleNotFoundError as error:
            raise UserError(
                "The live page cannot be served",
                f"the module '{error.name}' is not installed",
                "Run: pip install starlette uvicorn",
            ) from error
        self._live = live
        config = uvicorn.Config(
            create_app(live, store, asker, listening),
            ssl_certfile=listening.certificate,
            ssl_keyfile=listening.certificate_key,
            timeout_graceful_shutdown=2,
            timeout_keep_alive=15,
            limit_concurrency=CONNECTIONS,
            access_log=False,  # its lines hold addresses with whatever somebody put in them
            log_level="warning",
            server_header=False,
            lifespan="off",
            ws="none",
        )
        try:
            config.load()
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{listening.certificate} and {listening.certificate_key} are no certificate with its key", str(error)
            ) from error
        self._server = uvicorn.Server(config)
        self._socket = listening.bind()
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        self.url = f"{listening.scheme}://{host}:{self._socket.getsockname()[1]}"

    def start(self) -> None:
        """Answer in a thread of its own."""
        self._thread.start()

    def serve(self) -> None:
        """Answer until SIGTERM or Ctrl-C."""
        import signal

        stop: Any = self._server.handle_exit

        def handle_exit(number: int, frame: Any) -> None:
            self._live.close()  # streams never end by themselves
            stop(number, frame)

        self._server.handle_exit = handle_exit  # type: ignore[method-assign,assignment]
        # uvicorn raises a signal once more after it has stopped: what was asked for is then done, hence exit code 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, frame: None)
        self._serve()

    def close(self) -> None:
        """Stop. May be called more than once."""
        self._live.close()
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(STOP_S)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])
