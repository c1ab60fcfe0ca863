"""A TCP link between two programs on this machine that can stall, as radio does: nothing lost, nothing passed."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType

_CHUNK = 1 << 16


class StallingProxy:
    """Passes on what comes to `port` to `target` of loopback, inside of a `with` block; runs in a thread of its own."""

    def __init__(self, target: int) -> None:
        self.port, self._target = 0, target
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> StallingProxy:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def stall(self, stalled: bool) -> None:
        """Hold everything back, connections and data, or let it go on."""
        self._loop.call_soon_threadsafe(self._flows.clear if stalled else self._flows.set)

    async def _run(self) -> None:
        self._loop, self._end, self._flows = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._flows.set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._end.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flows.wait()
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        ways = [asyncio.ensure_future(self._pass(*way)) for way in ((reader, to_writer), (to_reader, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            for end in (writer, to_writer):
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
