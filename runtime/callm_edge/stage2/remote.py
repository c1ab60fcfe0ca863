"""The branch on a server: any that speaks the OpenAI chat-completions API, such as vLLM, Ray Serve LLM, or `serve`."""

from __future__ import annotations

import base64
import json
import logging
import math
import random
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import cv2
import httpx
import numpy as np

from callm_edge.errors import UsageError, UserError
from callm_edge.events.clip import Clip
from callm_edge.events.verdict import Verdict
from callm_edge.stage2.branch import Unreachable
from callm_edge.stage2.clip_encoder import ClipEncoder
from callm_edge.stage2.ledger import Ledger
from callm_edge.stage2.prompts import NO, YES, Turn
from callm_edge.stage2.spec import Stage2Spec
from callm_edge.stage2.view import ClipView

_logger = logging.getLogger(__name__)

JPEG_QUALITY = 90
TOP = 20  # log probabilities asked for: 'Yes', 'yes' and ' Yes' may all be among them
_AGAIN = frozenset({408, 429, 500, 502, 503, 504})  # the server's state, not the request, is to blame
_CLIP_REFUSED = frozenset({400, 413, 415, 422})

Part = dict[str, Any]  # of a message


@dataclass(frozen=True)
class Server:
    """Where to ask.

    base_url: with the version, such as https://gpu.local:8000/v1. model: as the server lists it. key: bearer token, or
    empty. threshold: a clip is abnormal from this probability of 'yes' on. connect_s, read_s: deadlines, the second for
    each piece of an answer. retries: after the first attempt. certificates: of a CA of your own, a PEM file.
    """

    base_url: str
    model: str
    key: str = ""
    threshold: float = 0.5
    connect_s: float = 3.0
    read_s: float = 30.0
    retries: int = 2
    certificates: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"'{self.base_url}' is no server", "it is no http:// or https:// URL with a host")
        if parts.username or parts.password:
            raise UsageError("The server's URL holds a password", "", "Give the key apart: CALLM_EDGE_REMOTE_KEY")

    @property
    def name(self) -> str:
        """Host and port, as verdicts name it."""
        return urlsplit(self.base_url).netloc


class RemoteBranch:
    """See Branch. Pictures go as JPEG, the frames and then the crops.

    spec: of this device's own bundle, whose questions are asked. encoder: its vision half: no picture is sent then, but
    the 32 embeddings that it makes of them, to a server that says it reads such, and the spec's threshold counts, since
    the model behind the server is this bundle's too. client: for tests; made from `server` otherwise.
    Asking is safe to repeat: a server keeps nothing of a question.
    """

    def __init__(
        self,
        server: Server,
        spec: Stage2Spec | None = None,
        encoder: ClipEncoder | None = None,
        client: httpx.Client | None = None,
    ) -> None:
        self._server, self._spec, self._encoder = server, spec or Stage2Spec(), encoder
        self._crops = encoder.crops if encoder else self._spec.crops
        self._threshold = self._spec.threshold if encoder else server.threshold
        self._reads_embeddings = False  # found out before the first are sent
        self.name = f"remote:{server.name}"
        timeout = httpx.Timeout(server.read_s, connect=server.connect_s)
        self._client = client or httpx.Client(timeout=timeout, verify=_trust(server.certificates))
        self._headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}

    def judge(self, clip: Clip, say: Callable[[str], None] = lambda piece: None) -> Verdict:
        """See Branch.judge."""
        ledger = Ledger()
        seen = self._see(clip, ledger)
        answer = self._complete(seen, self._spec.abnormal_question, max_tokens=1, logprobs=True, top_logprobs=TOP)
        probability = yes_probability(answer)
        ledger.step("network")
        abnormal = probability >= self._threshold
        pieces: list[str] = []
        if abnormal:
            said, question = self._spec.answered_yes, self._spec.explain_question
            for piece in self._stream(seen, question, said, max_tokens=96):
                pieces.append(piece)
                say(piece)
            ledger.step("explanation")
        explanation, reason = "".join(pieces).strip(), "the server alone is asked"
        return Verdict(clip.event_id, abnormal, round(probability, 6), explanation, self.name, reason, ledger.steps)

    def ask(self, clip: Clip, question: str) -> Iterator[str]:
        """See Branch.ask."""
        if not question.strip():
            raise UsageError("The question is empty", "", "Ask something, such as: what is in his hand?")
        return self._stream(self._see(clip, Ledger()), question, max_tokens=192)

    def _see(self, clip: Clip, ledger: Ledger) -> list[Part]:
        """What of the clip goes to the server."""
        view = ClipView(clip, self._crops)
        pictures = view.pictures()
        if self._encoder is None:
            parts = [{"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in pictures]
            ledger.step("pictures")
            return parts
        ledger.step("pictures")
        self._check_embeddings(self._encoder.width)
        ledger.step("network")
        motion = view.motion() if self._encoder.moving else None
        ledger.step("motion")
        features = self._encoder.features(pictures, motion)
        ledger.step("encode")
        part = embeddings_part(self._encoder.queries(features))
        ledger.step("qformer")
        return [part]

    def _check_embeddings(self, width: int) -> None:
        """Raises Unreachable where the server does not say that it reads embeddings of this width.

        Asked beforehand, since a server may also skip a part that it does not know, and answer about nothing.
        """
        if self._reads_embeddings:
            return
        name = self._server.name
        url = f"{self._server.base_url.rstrip('/')}/models/{quote(self._server.model, safe='')}"
        try:
            response = self._client.get(url, headers=self._headers)
            found = response.json() if response.is_success else None
        except (ValueError, httpx.HTTPError) as error:
            raise Unreachable(f"{name}: {_short(error)}") from error
        if found is None and response.status_code != httpx.codes.NOT_FOUND:
            raise Unreachable(f"{name} answered {response.status_code}")
        reads = found.get("video_embeddings_width") if isinstance(found, dict) else None
        if reads is None:
            raise Unreachable(f"{name} reads no embeddings, and --private sends no pictures")
        if reads != width:
            raise Unreachable(
                f"{name} reads embeddings {reads} wide, this bundle's are {width}: it answers with another bundle"
            )
        self._reads_embeddings = True

    def _request(self, seen: Sequence[Part], question: str, said: Turn | None, **settings: Any) -> dict[str, Any]:
        """said: the turn before the question, if any."""
        first = {"type": "text", "text": said.question if said else question}
        messages: list[dict[str, Any]] = [{"role": "user", "content": [*seen, first]}]
        if said:
            messages += [{"role": "assistant", "content": said.answer}, {"role": "user", "content": question}]
        return {"model": self._server.model, "messages": messages, "temperature": 0, **settings}

    def _complete(self, seen: Sequence[Part], question: str, **settings: Any) -> dict[str, Any]:
        with closing(self._answer(self._request(seen, question, None, **settings))) as response:
            try:
                found = json.loads(response.read())
            except (ValueError, httpx.HTTPError) as error:
                raise Unreachable(f"{self._server.name} answered something else than JSON ({error})") from error
        if not isinstance(found, dict):
            raise Unreachable(f"{self._server.name} answered something else than an object")
        return found

    def _stream(self, seen: Sequence[Part], question: str, said: Turn | None = None, **settings: Any) -> Iterator[str]:
        with closing(self._answer(self._request(seen, question, said, stream=True, **settings))) as response:
            try:
                for line in response.iter_lines():
                    if not line.startswith("data:"):
                        continue
                    data = line[len("data:") :].strip()
                    if data == "[DONE]":
                        return
                    choices = json.loads(data).get("choices") or [{}]
                    if piece := (choices[0].get("delta") or {}).get("content"):
                        yield str(piece)
            except (ValueError, AttributeError, httpx.HTTPError) as error:
                raise Unreachable(f"{self._server.name} broke off ({_short(error)})") from error

    def _answer(self, body: dict[str, Any]) -> httpx.Response:
        """The response, its body still to be read, and to be closed, which gives the connection back."""
        why = ""
        for attempt in range(self._server.retries + 1):
            wait_s = 0.25 * 2**attempt * (1 + random.random())
            try:
                request = self._client.build_request(
                    "POST", f"{self._server.base_url.rstrip('/')}/chat/completions", json=body, headers=self._headers
                )
                response = self._client.send(request, stream=True)
            except httpx.HTTPError as error:
                why = f"{self._server.name}: {_short(error)}"
            else:
                if response.status_code == httpx.codes.OK:
                    return response
                why = self._refusal(response)
                if response.status_code not in _AGAIN:
                    break
                wait_s = max(wait_s, min(_retry_after(response), self._server.read_s))
            if attempt < self._server.retries:
                time.sleep(wait_s)
        raise Unreachable(why)

    def _refusal(self, response: httpx.Response) -> str:
        """Why the server refused, in its own words. Raises UserError where it is this clip that it will not have.

        Embeddings are all of one shape: a server that will not have some is not ours any more, and the event waits.
        """
        try:
            response.read()
            said = response.json()["error"]["message"]
        except (ValueError, KeyError, TypeError, httpx.HTTPError):
            said = response.reason_phrase
        finally:
            response.close()
        why = f"{self._server.name} answered {response.status_code}: {str(said)[:300]}"
        if response.status_code in _CLIP_REFUSED and self._encoder is not None:
            self._reads_embeddings = False
        elif response.status_code in _CLIP_REFUSED:
            raise UserError("The server refuses the clip", why, "See its log; it may allow fewer or smaller pictures")
        return why


def embeddings_part(video: np.ndarray) -> Part:
    """(32, width) float as the part of a message that `callm-edge serve` reads.

    Raises UserError where a number is none, or more than half precision holds: the server would refuse it.
    """
    with np.errstate(over="ignore"):
        half = video.astype("<f2")
    if not np.isfinite(half).all():
        raise UserError("The clip cannot be encoded", "its embeddings hold numbers that are none")
    data = base64.b64encode(half.tobytes()).decode()
    return {"type": "video_embeddings", "video_embeddings": {"data": data, "dtype": "float16", "width": half.shape[1]}}


def yes_probability(answer: dict[str, Any]) -> float:
    """P(yes) / (P(yes) + P(no)) of a completion's first token, from its log probabilities where there are some.

    A server that gives none has answered by its first word. Raises Unreachable for what is no completion, and UserError
    for an answer that is neither: the same model would say the same again.
    """
    try:
        choice = answer["choices"][0]
        text = str((choice.get("message") or {}).get("content") or "")
        tokens = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs") or []
        weights = {YES: 0.0, NO: 0.0}
        for token in tokens:
            word = str(token["token"]).strip().capitalize()
            if word in weights:
                weights[word] += math.exp(float(token["logprob"]))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Unreachable(f"the answer is no chat completion ({type(error).__name__})") from error
    if sum(weights.values()) > 0:
        return weights[YES] / sum(weights.values())
    word = text.strip().capitalize()
    if word.startswith((YES, NO)):
        return float(word.startswith(YES))
    if not word:
        raise Unreachable("the answer is empty")
    why = f"the answer is neither yes nor no, but '{text[:60]}'"
    raise UserError("The server's model cannot judge the clip", why, "See that --remote-model names a model that can")


def _trust(certificates: str | None) -> ssl.SSLContext | bool:
    if certificates is None:
        return True
    try:
        return ssl.create_default_context(cafile=certificates)
    except OSError as error:  # of which ssl.SSLError is one
        raise UsageError(f"The certificate {certificates} cannot be used", str(error), "Give a PEM file") from error


def _data_url(picture: np.ndarray) -> str:
    done, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    assert done
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def _retry_after(response: httpx.Response) -> float:
    try:
        return max(0.0, float(response.headers.get("Retry-After", "0")))
    except ValueError:  # a date, which servers of this kind do not send
        return 0.0


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
