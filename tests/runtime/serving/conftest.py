"""A server on loopback with the tiny branch behind it, or with whatever engine a test brings."""

from __future__ import annotations

import base64
import importlib.util
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from callm_edge.serving.auth import Keys
from callm_edge.serving.engine import DeviceEngine, Engine
from callm_edge.serving.limits import Limits

KEY = "0123456789abcdef-first"
TINY = Path(__file__).resolve().parents[2] / "tiny_branch.py"


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("tiny_branch", TINY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.write_branch(tmp_path_factory.mktemp("serving") / "stage2", width=64)


@pytest.fixture(scope="session")
def engine(tiny_folder: Path) -> DeviceEngine:
    return DeviceEngine(tiny_folder, threads=1)


class Served:
    """A running server. url: without /v1."""

    def __init__(self, engine: Engine, keys: list[str] | None, limits: Limits) -> None:
        pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
        import uvicorn

        from callm_edge.serving.app import create_app
        from callm_edge.serving.gate import Load

        self.load = Load()
        app = create_app(engine, "mini", Keys(keys) if keys else None, limits, self.load)
        config = uvicorn.Config(app, port=0, log_level="critical", ws="none", timeout_graceful_shutdown=5)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        eventually(lambda: self._server.started)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., None]:
    return eventually


@pytest.fixture
def serve(engine: DeviceEngine) -> Iterator[Callable[..., Served]]:
    """Starts servers, which end with the test. engine: the tiny branch unless given."""
    running: list[Served] = []

    def start(engine: Engine = engine, keys: list[str] | None = None, **limits: Any) -> Served:
        running.append(Served(engine, keys, Limits(**{"max_tokens": 8, **limits})))
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def shared_server(engine: DeviceEngine) -> Iterator[Served]:
    """For tests that leave no trace in it. Its key is KEY."""
    server = Served(engine, [KEY, "another-key-0123456789"], Limits(max_tokens=8, body_bytes=1 << 20))
    yield server
    server.stop()


def jpeg(tone: int = 90, width: int = 80, height: int = 60, kind: str = ".jpg") -> bytes:
    return cv2.imencode(kind, np.full((height, width, 3), tone, np.uint8))[1].tobytes()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.fixture
def picture() -> Callable[..., bytes]:
    """A JPEG of one tone."""
    return jpeg


@pytest.fixture
def images() -> Callable[..., list[dict[str, Any]]]:
    """`image_url` parts. tones: one for each picture."""

    def parts(*tones: int) -> list[dict[str, Any]]:
        urls = [f"data:image/jpeg;base64,{encoded(jpeg(tone))}" for tone in tones]
        return [{"type": "image_url", "image_url": {"url": url}} for url in urls]

    return parts


@pytest.fixture
def film() -> Callable[..., bytes]:
    """An MP4 whose frame i has the tone 10 i."""
    import av

    def make(frames: int = 20, width: int = 64, height: int = 48) -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for number in range(frames):
                image = np.full((height, width, 3), 10 * number % 250, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
            container.mux(stream.encode())
        return file.getvalue()

    return make
