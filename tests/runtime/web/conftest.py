"""A camera that does what a test wants, a store with an event that has a clip, and a client of the page's server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

from callm_edge.bundle import Decision
from callm_edge.cascade import Camera, ScoredFrame
from callm_edge.events.clip import Clip, ClipFrame
from callm_edge.events.event import Event
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.serving.auth import Keys
from callm_edge.sources import Frame, Source
from callm_edge.stage1.scorer import WindowStream
from callm_edge.stage1.scores import Scores, psnr_db
from callm_edge.stage2.asking import Asker
from callm_edge.web.app import create_app
from callm_edge.web.listening import Listening
from callm_edge.web.live import Live

TOKEN = "0123456789abcdef-token"
DECISION = Decision(statistic="frame", threshold_psnr_db=20.0, smoothing=1, release_db=0.0, gap_s=0.2, minimum_s=0.1)
EVENT = Event("e1", "gate", 30, 39, 34, 3.0, 3.9, 12.5, 20.0, (4, 6, 20, 10))
EXPLANATION = "A cyclist <script>window.injected = 1</script> rides across the plaza."


class Stage1:
    """Says that every window has `level_db`, which a test may change at any time, with the error at one place."""

    name = "staged"

    def __init__(self) -> None:
        self.level_db = 30.0

    def stream(self) -> WindowStream:
        return WindowStream(self)

    def score(self, windows: np.ndarray) -> Scores:
        mse = np.array([4 / 10 ** (self.level_db / 10)], np.float32)
        error_map = np.full((1, 128, 128), mse[0] / 100, np.float32)
        error_map[0, 60:80, 60:70] = 1.0
        return Scores(mse, psnr_db(mse), mse, error_map)


class Talker:
    """Says yes and why. waits: called before each piece, so that a test can look in between."""

    name = "talker"

    def __init__(self, waits: Callable[[], object] = lambda: None) -> None:
        self._waits = waits

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        for piece in EXPLANATION.split(" "):
            self._waits()
            say(f"{piece} ")
        ledger = {"pictures": 20.0, "encode": 130.0, "prefill": 240.0, "answer": 15.0, "decode": 600.0}
        return Verdict(clip.event_id, True, 0.97, EXPLANATION, "device", "this device alone is asked", ledger)

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        yield from (
            f"{word} " for word in f"You asked: {question} On {len(clip.frames)} frames I see a bicycle.".split()
        )


class Still(Source):
    """Never read: for tests that hand the frames over themselves."""

    def __init__(self, name: str) -> None:
        self.name, self.fps = name, 25.0

    def __iter__(self) -> Iterator[Frame]:
        return iter(())


def new_camera(name: str = "gate") -> Camera:
    return Camera(Still(name), Stage1(), DECISION, bundle="edge")


def new_scored(index: int, score_db: float = 30.0, width: int = 64, **flags: bool) -> ScoredFrame:
    frame = Frame(index, index / 25, np.full((48, width, 3), index % 256, np.uint8))
    error_map = np.zeros((128, 128), np.float32)
    return ScoredFrame(
        frame, score_db, score_db, error_map, flags.get("flagged", False), flags.get("event_active", False)
    )


def new_clip(event_id: str, count: int = 12) -> Clip:
    jpegs = (cv2.imencode(".jpg", np.full((48, 64, 3), 10 * at, np.uint8))[1].tobytes() for at in range(count))
    frames = (ClipFrame(28 + at, 2.8 + at / 10, jpeg, 30.0 - at, ((5.0, 6.0),)) for at, jpeg in enumerate(jpegs))
    return Clip(event_id, "hash", 20.0, tuple(frames))


@dataclass
class Site:
    """A page's server without a network, and what stands behind it."""

    live: Live
    store: EventStore
    client: TestClient
    asked: list[str] = field(default_factory=list)

    def post(self, path: str, body: object, **headers: str) -> object:
        return self.client.post(path, json=body, headers={"x-callm-edge": "page", **headers})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(tmp_path / "store") as opened:
        thumbnail = cv2.imencode(".jpg", np.full((30, 40, 3), 99, np.uint8))[1].tobytes()
        opened.add(EVENT, thumbnail, "edge", new_clip("e1"), wants_verdict=True)
        yield opened


@pytest.fixture
def open_site(store: EventStore) -> Iterator[Callable[..., Site]]:
    """A server for the store: `token` needed or not, more `hosts`, a `Live` of one's own, another `branch`."""
    opened: list[TestClient] = []

    def make(
        token: bool = False, hosts: tuple[str, ...] = (), live: Live | None = None, branch: object | None = None
    ) -> Site:
        listening = Listening(keys=Keys([TOKEN]) if token else None, hosts=hosts)
        asked: list[str] = []

        def branch_for(bundle: str) -> Callable[[], object]:
            asked.append(bundle)
            return lambda: branch or Talker()

        shown = live or Live([new_camera()])
        app = create_app(shown, store, Asker(branch_for), listening)  # type: ignore[arg-type]
        client = TestClient(app, base_url="http://127.0.0.1:8080")
        opened.append(client)
        return Site(shown, store, client, asked)

    yield make
    for client in opened:
        client.close()


@pytest.fixture
def camera() -> Callable[..., Camera]:
    """See new_camera."""
    return new_camera


@pytest.fixture
def scored() -> Callable[..., ScoredFrame]:
    """See new_scored."""
    return new_scored


@pytest.fixture
def clip() -> Callable[..., Clip]:
    """See new_clip."""
    return new_clip


@pytest.fixture
def event() -> Event:
    return EVENT
