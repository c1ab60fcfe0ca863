"""Asking a server over HTTP on loopback: the app that `callm-edge serve` runs, and the client that a device runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np

from callm_bench import footage
from callm_bench.setting import Setting
from callm_bench.stage import Call, SkipError, Stage
from callm_edge.stage2.clip_encoder import ClipEncoder
from callm_edge.stage2.pictures import SIDE
from callm_edge.stage2.prompts import NO, QUERIES
from callm_edge.stage2.remote import RemoteBranch, Server
from callm_edge.stage2.spec import Stage2Spec
from callm_edge.stage2.ways import Ways

if TYPE_CHECKING:
    from callm_edge.serving.conversation import Conversation
    from callm_edge.serving.engine import Engine, Reply
    from callm_edge.serving.generation import Piece, Sampling

CLIP_FRAMES = 50
NEVER = 2.0  # a threshold that no probability reaches: only the first question is asked
START_S = 30.0


class AtOnce:
    """An engine that looks at nothing and says no: what is left is the network, the client and the app."""

    width, side = 576, SIDE

    def encode(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See Engine.encode."""
        return [np.zeros((QUERIES, self.width), np.float32) for _ in clips]

    def reply(self, video: np.ndarray, talk: Conversation, sampling: Sampling, cancelled: Callable[[], bool]) -> Reply:
        """See Engine.reply."""
        from callm_edge.serving.engine import Reply
        from callm_edge.serving.generation import Odds, Piece

        def pieces() -> Iterator[Piece]:
            yield Piece(NO, (Odds(NO, 0.0, ((NO, 0.0),)),), 1, "stop")

        return Reply(QUERIES, pieces())


def stages(setting: Setting) -> list[Stage]:
    """The way there and back alone, and with the bundle's branch behind it."""
    folder = setting.bundle.stage2_path
    note = "client and server share this machine and this process"

    def at_once(stack: ExitStack) -> Call:
        return _asking(serve(AtOnce, stack), stack, setting.bundle.ways)

    def whole(private: bool) -> Callable[[ExitStack], Call]:
        def open_(stack: ExitStack) -> Call:
            if folder is None:
                raise SkipError(f"the bundle '{setting.bundle.name}' has no stage 2")
            from callm_edge.serving.engine import DeviceEngine

            path: Path = folder
            url = serve(lambda: DeviceEngine(path, setting.threads), stack)
            return _asking(url, stack, setting.bundle.ways, path, setting.threads if private else 0)

        return open_

    return [
        Stage("offload, way there and back", at_once, "question", note=f"the clip's pictures as JPEG; {note}"),
        Stage("offload, yes or no", whole(False), "question", note=note),
        Stage("offload, yes or no, embeddings only", whole(True), "question", note=note),
    ]


def serve(engine: Callable[[], Engine], stack: ExitStack) -> str:
    """Start the app on a free port of loopback, in a thread, until the stack closes; returns its base URL."""
    try:
        import uvicorn

        from callm_edge.serving.app import create_app
    except ModuleNotFoundError as error:
        raise SkipError(f"the extra 'serve' is not installed ({error.name})") from error
    server = uvicorn.Server(uvicorn.Config(create_app(engine()), port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run, name="bench server")
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join()

    stack.callback(stop)
    end = time.monotonic() + START_S
    while not server.started:
        if time.monotonic() > end:
            raise SkipError(f"the server did not start within {START_S:.0f} s")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    return f"http://127.0.0.1:{port}/v1"


def _asking(url: str, stack: ExitStack, ways: Ways | None, folder: Path | None = None, threads: int = 0) -> Call:
    """Asks yes or no. ways: usual ones of the clip's camera.

    folder: of the branch. threads: of its vision half, whose embeddings are sent; 0: pictures.
    """
    spec = None if folder is None else Stage2Spec.read(folder).model_copy(update={"threshold": 1.0})
    encoder = ClipEncoder(folder, threads=threads) if folder is not None and threads else None
    client = stack.enter_context(httpx.Client(timeout=60))  # closed before the server, which waits for it
    branch = RemoteBranch(Server(url, "mini", threshold=NEVER), spec, encoder, client)
    clip = footage.clip(footage.images(CLIP_FRAMES), ways)
    return lambda: branch.judge(clip)
