"""Streams against real servers: GStreamer's RTSP server, Python's HTTP server, and sockets that misbehave."""

from __future__ import annotations

import contextlib
import functools
import http.server
import logging
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from callm_edge.errors import SourceError
from callm_edge.sources import SourceState, open_source
from callm_edge.sources.backoff import Backoff
from callm_edge.sources.stream import StreamSource

QUICK = Backoff(first_s=0.05, limit_s=0.1)
SERVER = Path(__file__).with_name("rtsp_server.py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@functools.cache
def rtsp_missing() -> str:
    if not Path("/usr/bin/python3").exists():
        return "no system Python"
    check = subprocess.run(["/usr/bin/python3", str(SERVER), "--check"], capture_output=True, text=True)
    return "" if check.returncode == 0 else check.stderr.strip().splitlines()[-1]


@pytest.fixture
def rtsp_server() -> Iterator[Any]:
    """Starts servers; each call gives the process, and all are killed at the end."""
    if why := rtsp_missing():
        pytest.skip(
            f"needs a real RTSP server ({why}): apt install gir1.2-gst-rtsp-server-1.0 gstreamer1.0-rtsp "
            "gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly python3-gi"
        )
    processes: list[subprocess.Popen[str]] = []

    def start(port: int, *credentials: str) -> subprocess.Popen[str]:
        command = ["/usr/bin/python3", str(SERVER), str(port), *credentials]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


@pytest.mark.usefixtures("silent_stderr")
def test_rtsp_comes_back_after_the_server_died(rtsp_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "callm_edge")
    port = free_port()
    # The camera is still booting: its first connections fail, and that is no error.
    source = StreamSource(f"rtsp://user:secret@127.0.0.1:{port}/live", timeout_s=3, backoff=QUICK, stall_s=1)
    states: list[SourceState] = []
    indices: list[int] = []
    times: list[float] = []

    def read() -> None:
        for frame in source:
            assert frame.image.shape == (120, 160, 3)
            assert frame.image.max() > 200  # the ball is white
            indices.append(frame.index)
            times.append(frame.time)

    def reach(state: SourceState, frames: int = 0) -> None:
        wanted = len(indices) + frames
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if source.state is state and len(indices) >= wanted:
                states.append(state)
                return
            time.sleep(0.01)
        pytest.fail(f"not {state.value} with {wanted} frames: {source.state.value}, {len(indices)}\n{caplog.text}")

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    assert source.state is SourceState.CONNECTING
    first = rtsp_server(port)
    reach(SourceState.LIVE, frames=10)
    assert source.live
    assert source.fps == 25
    first.kill()
    first.wait()
    reach_states = {SourceState.STALLED, SourceState.CONNECTING}
    deadline = time.monotonic() + 10
    while source.state not in reach_states and time.monotonic() < deadline:
        time.sleep(0.005)
    assert source.state in reach_states
    rtsp_server(port)
    reach(SourceState.LIVE, frames=10)
    source.close()
    reader.join(5)
    assert not reader.is_alive()
    assert source.state is SourceState.ENDED
    assert indices == sorted(set(indices))
    assert times == sorted(times)
    assert abs(times[-1] - time.time()) < 10
    changes = [r.message.split(": ", 1)[1].split(" (")[0] for r in caplog.records if r.name == "callm_edge.sources"]
    assert changes == ["live", "stalled", "connecting", "live", "ended"]
    assert "secret" not in caplog.text
    assert sum("no connection" in r.message for r in caplog.records if r.levelno >= logging.WARNING) <= 2


@pytest.mark.usefixtures("silent_stderr")
def test_rtsp_with_a_password(rtsp_server: Any) -> None:
    port = free_port()
    rtsp_server(port, "admin", "hunter2")
    with open_source(f"rtsp://admin:hunter2@127.0.0.1:{port}/live") as source:
        assert next(iter(source)).image.shape == (120, 160, 3)
        assert source.name == f"rtsp://***@127.0.0.1:{port}/live"
    with pytest.raises(SourceError, match="refuses us") as caught:
        list(open_source(f"rtsp://admin:hunter3@127.0.0.1:{port}/live"))
    assert "hunter3" not in str(caught.value)
    assert "USER:PASSWORD" in caught.value.fix


@pytest.mark.usefixtures("silent_stderr")
def test_attempts_at_a_dead_rtsp_server_leak_nothing() -> None:
    port = free_port()
    before = open_descriptors()
    source = StreamSource(f"rtsp://u:secret@127.0.0.1:{port}/x", max_attempts=20, backoff=Backoff(0.001, 0.002))
    with pytest.raises(SourceError, match="after 20 attempts: connection refused") as caught:
        list(source)
    assert "secret" not in str(caught.value)
    assert open_descriptors() <= before


def test_a_server_that_says_nothing_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        start = time.monotonic()
        with pytest.raises(SourceError, match=r"no answer within 0\.3 s"):
            list(StreamSource(url, max_attempts=1, timeout_s=0.3))
        assert time.monotonic() - start < 3


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None: ...


@contextlib.contextmanager
def serving(handler: Any) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.usefixtures("silent_stderr")
def test_a_file_behind_http_gives_every_frame_and_ends(make_video: Any) -> None:
    path = make_video(frames=60)
    with serving(functools.partial(QuietHandler, directory=str(path.parent))) as url:
        source = open_source(f"{url}/{path.name}")
        frames = []
        for frame in source:
            frames.append(frame)
            time.sleep(0.001)
        assert len(frames) == 60
        assert [f.time for f in frames] == pytest.approx([i / 25 for i in range(60)], abs=2e-3)
        assert (source.live, source.dropped, source.state) == (False, 0, SourceState.ENDED)
        with pytest.raises(
            SourceError, match="cannot be read: Server returned 404|cannot be read: server returned 404"
        ):
            list(open_source(f"{url}/nothing.mp4"))


class MotionJpeg(http.server.BaseHTTPRequestHandler):
    """An IP camera of the old kind: JPEG after JPEG, six of them, then the line breaks."""

    def do_GET(self) -> None:  # noqa: N802
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
        self.end_headers()
        with contextlib.suppress(OSError):
            for number in range(6):
                jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 40 * number, np.uint8))[1].tobytes()
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.02)

    def log_message(self, *args: object) -> None: ...


@pytest.mark.usefixtures("silent_stderr")
def test_motion_jpeg_is_live_and_connected_again() -> None:
    with serving(MotionJpeg) as url:
        source = StreamSource(f"{url}/video", backoff=QUICK, timeout_s=2)
        for seen, frame in enumerate(source, start=1):
            assert frame.image.shape == (48, 64, 3)
            assert abs(frame.time - time.time()) < 5
            if seen + source.dropped >= 14:
                break
        assert source.live
        source.close()


def test_a_page_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<html>hello</html>" * 50)
    with (
        serving(functools.partial(QuietHandler, directory=str(tmp_path))) as url,
        pytest.raises(SourceError, match="cannot be read"),
    ):
        list(open_source(f"{url}/index.html"))


@pytest.mark.usefixtures("silent_stderr")
def test_a_transfer_that_breaks_off_is_an_error_or_a_short_film_but_never_a_new_start(make_video: Any) -> None:
    content = make_video("film.mkv", frames=100, size=(128, 96)).read_bytes()
    requests = []

    class Cut(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            requests.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])

        def log_message(self, *args: object) -> None: ...

    with serving(Cut) as url:
        times: list[float] = []

        def read() -> None:
            times.extend(f.time for f in StreamSource(f"{url}/film.mkv", timeout_s=2))

        with pytest.raises(SourceError, match="broke off"):
            read()
