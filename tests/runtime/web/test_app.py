"""What the page's server answers: events, pictures, clips, questions, marks."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from callm_edge.cascade import Camera, ScoredFrame
from callm_edge.errors import UserError
from callm_edge.events.clip import Clip
from callm_edge.events.event import Event
from callm_edge.events.store import EventStore
from callm_edge.events.verdict import Verdict
from callm_edge.stage2.branch import Unreachable
from callm_edge.web import app as app_module
from callm_edge.web.live import Live

Open = Callable[..., Any]


def test_events_are_told_with_all_that_is_known_of_them(open_site: Open, store: EventStore, event: Event) -> None:
    client = open_site().client
    (told,) = client.get("/api/events").json()["events"]
    assert (told["id"], told["source"], told["box"], told["clock"]) == ("e1", "gate", [4, 6, 20, 10], "00:03")
    assert (told["thumbnail"], told["clip"], told["waiting"], told["verdict"]) == (True, True, True, None)
    store.decide(Verdict("e1", True, 0.9, "A bicycle.", "device", "alone", {"decode": 5.0}))
    told = client.get("/api/events/e1").json()
    assert (told["waiting"], told["verdict"]["explanation"], told["verdict"]["ledger_ms"]) == (
        False,
        "A bicycle.",
        {"decode": 5.0},
    )


def test_events_are_listed_newest_first_and_by_source(open_site: Open, store: EventStore, event: Event) -> None:
    for number in range(5):
        later = replace(event, id=f"n{number}", source="yard", start_time=2e9 + number, end_time=2e9 + number)
        store.add(later, None, "edge")
    client = open_site().client
    answer = client.get("/api/events?limit=2").json()
    assert [told["id"] for told in answer["events"]] == ["n4", "n3"]
    assert (answer["total"], answer["sources"]) == (6, ["gate", "yard"])
    assert [told["id"] for told in client.get("/api/events?source=gate").json()["events"]] == ["e1"]
    assert client.get("/api/events?limit=x").status_code == 400


def test_thumbnail_and_clip(open_site: Open) -> None:
    client = open_site().client
    picture = client.get("/api/events/e1/thumbnail")
    assert (picture.status_code, picture.headers["content-type"]) == (200, "image/jpeg")
    clip = client.get("/api/events/e1/clip").json()
    assert (clip["frames"][0], clip["times"][1], clip["scores"][2], clip["threshold_psnr_db"]) == (28, 0.1, 28.0, 20.0)
    assert clip["peaks"][0] == [5.0, 6.0]
    frame = client.get(f"/api/events/e1/clip/{clip['frames'][3]}")
    assert frame.headers["content-type"] == "image/jpeg"
    image = cv2.imdecode(np.frombuffer(frame.content, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (48, 64, 3)
    assert client.get("/api/events/e1/clip/9999").status_code == 409
    assert client.get("/api/events/absent/clip").status_code == 404


def test_what_is_gone_is_said(open_site: Open, store: EventStore) -> None:
    store.pictures.remove("e1")
    client = open_site().client
    for path in ("thumbnail", "clip", "clip/30"):
        answer = client.get(f"/api/events/e1/{path}")
        assert answer.status_code == 404
        assert answer.json()["what"]


def test_a_question_is_answered_piece_by_piece(open_site: Open) -> None:
    site = open_site()
    answer = site.post("/api/events/e1/ask", {"question": " What is it? "})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[-1] == {"done": True}
    said = "".join(line["piece"] for line in lines[:-1])
    assert said.startswith("You asked: What is it? On 12 frames")
    assert site.asked == ["edge"], "the branch of the bundle that found the event"


@pytest.mark.parametrize("body", [{}, {"question": ""}, {"question": "  "}, {"question": 3}, {"question": "x" * 1001}])
def test_no_question_and_too_long_a_one(open_site: Open, body: dict[str, Any]) -> None:
    assert open_site().post("/api/events/e1/ask", body).status_code == 400


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{"])
def test_what_is_no_json_object_is_refused(open_site: Open, content: bytes) -> None:
    client = open_site().client
    for path in ("/api/events/e1/ask", "/api/events/e1/false-alarm", "/api/login"):
        assert client.post(path, content=content, headers={"x-callm-edge": "page"}).status_code == 400


class Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        yield "It "
        raise self._error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unreachable("http://bob:s3cret@gpu/v1 is away"), "http://***@gpu/v1 is away"),
        (UserError("The picture is damaged"), "The picture is damaged"),
    ],
)
def test_an_answer_that_fails_says_so_and_no_password(open_site: Open, error: Exception, text: str) -> None:
    answer = open_site(branch=Failing(error)).post("/api/events/e1/ask", {"question": "?"})
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines[0] == {"piece": "It "}
    assert text in lines[-1]["error"]
    assert "s3cret" not in answer.text


def test_two_questions_at_once_are_one_too_many(open_site: Open) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def ask(self, clip: Clip, question: str) -> Iterator[str]:
            begun.set()
            go_on.wait(20)
            yield "Done."

    site = open_site(branch=Slow())
    first: list[Any] = []
    thread = threading.Thread(target=lambda: first.append(site.post("/api/events/e1/ask", {"question": "?"})))
    thread.start()
    assert begun.wait(20)
    second = site.post("/api/events/e1/ask", {"question": "?"})
    assert "Another question" in json.loads(second.text)["error"]
    go_on.set()
    thread.join(20)
    assert '{"piece": "Done."}' in first[0].text
    assert '{"done": true}' in site.post("/api/events/e1/ask", {"question": "?"}).text, "the next one is answered"


def test_a_false_alarm_is_marked_and_cleared(open_site: Open, store: EventStore) -> None:
    site = open_site()
    assert site.post("/api/events/e1/false-alarm", {"marked": True}).json()["false_alarm_at"] is not None
    assert [stored.event.id for stored in store.false_alarms()] == ["e1"]
    assert site.post("/api/events/e1/false-alarm", {"marked": False}).json()["false_alarm_at"] is None
    assert store.false_alarms() == []
    assert site.post("/api/events/e1/false-alarm", {"marked": "yes"}).status_code == 400
    assert site.post("/api/events/absent/false-alarm", {"marked": True}).status_code == 404


def test_a_store_that_is_only_read_says_so(open_site: Open, store: EventStore) -> None:
    site = open_site()
    site.store.read_only = True
    assert site.client.get("/api/hello").json()["can_mark"] is False
    refused = site.post("/api/events/e1/false-alarm", {"marked": True})
    assert refused.status_code == 409
    assert "read only" in refused.json()["why"]


def test_the_newest_pictures_come_with_their_heat(
    open_site: Open, camera: Callable[..., Camera], scored: Callable[..., ScoredFrame]
) -> None:
    cameras = [camera("gate"), camera("yard")]
    live = Live(cameras)
    client = open_site(live=live).client
    live.frame(cameras[0], scored(40))
    live.frame(cameras[1], scored(50, 12.0, flagged=True, event_active=True))
    live.frame(cameras[1], scored(51, 12.0, width=1920, flagged=True, event_active=True))
    answer = client.get("/api/pictures?seen=0:-1,1:-1").content
    head, _, blobs = answer.partition(b"\n")
    first, second = json.loads(head)
    assert (first["camera"], first["index"], first["active"]) == (0, 40, False)
    assert (second["camera"], second["index"], second["score_db"], second["active"]) == (1, 51, 12.0, True)
    file = io.BytesIO(blobs)
    for told, size in ((first, (48, 64, 3)), (second, (24, 960, 3))):
        assert cv2.imdecode(np.frombuffer(file.read(told["jpeg"]), np.uint8), cv2.IMREAD_COLOR).shape == size
        heat = cv2.imdecode(np.frombuffer(file.read(told["heat"]), np.uint8), cv2.IMREAD_UNCHANGED)
        assert heat.shape == (128, 128, 4)
    assert not file.read()


def test_a_request_for_pictures_ends_without_new_ones(
    open_site: Open,
    camera: Callable[..., Camera],
    scored: Callable[..., ScoredFrame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app_module, "PATIENCE_S", 0.1)
    watched = camera()
    live = Live([watched])
    client = open_site(live=live).client
    live.frame(watched, scored(40))
    client.get("/api/pictures?seen=0:-1")
    for seen in ("0:40", "", "7:1", "nonsense", "0:40,0:99999999999999999999"):
        assert client.get("/api/pictures", params={"seen": seen}).content == b"[]\n"


def test_files_of_the_page_and_no_others(open_site: Open) -> None:
    client = open_site().client
    assert client.get("/static/uplot.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/static/uplot.css").headers["content-type"].startswith("text/css")
    for name in ("absent.js", "..%2Fapp.py", "%2e%2e/app.py", "uplot.LICENSE", "../app.py"):
        assert client.get(f"/static/{name}").status_code == 404


def test_a_page_that_is_not_there_is_404_and_not_a_traceback(open_site: Open) -> None:
    answer = open_site().client.get("/api/nonsense")
    assert (answer.status_code, answer.json()["what"]) == (404, "Not Found")
