"""The settings of a run: every key of the configuration file, with its default and its bounds."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from callm_edge.bundle import DEFAULT
from callm_edge.decision.scene_drift import SceneLimits
from callm_edge.decision.schedule import Schedule
from callm_edge.decision.zones import Zones, box
from callm_edge.events.retention import Limits
from callm_edge.web.listening import split_address

Decibels = Annotated[float, Field(allow_inf_nan=False)]
Pixels = Annotated[float, Field(ge=-100_000, le=100_000)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Table(BaseModel):
    """A table of the file. A key that is not here is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Zone(_Table):
    """A part of the picture to ignore, in pixels of the source, with a name for people.

    box: [x, y, width, height]. polygon: [[x, y], ...]. One of the two.
    """

    name: str = ""
    box: tuple[Pixels, Pixels, Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] | None = None
    polygon: Annotated[list[tuple[Pixels, Pixels]], Field(min_length=3, max_length=100)] | None = None

    @model_validator(mode="after")
    def _one_shape(self) -> Zone:
        if (self.box is None) == (self.polygon is None):
            raise ValueError("a zone has either a box or a polygon")
        return self


class DecisionOverrides(_Table):
    """What to change of the bundle's decision; see bundle.Decision."""

    smoothing: int | None = Field(None, ge=1, le=1000)
    release_db: float | None = Field(None, ge=0)
    gap_s: float | None = Field(None, ge=0)
    minimum_s: float | None = Field(None, ge=0)
    maximum_s: float | None = Field(None, gt=0)


class CameraSettings(_Table):
    """One camera. What it does not say, the file says for all.

    source: as --source, or a number as --camera. source_file: holds it, for URLs with a password; mode 600.
    name: in events, topics and metrics; by default the source's, without passwords.
    ignore: zones whose errors do not count. schedule: when events count; always where empty.
    scene: whether its view is watched for drift; off for a camera that is meant to turn.
    """

    source: str | int | None = None
    source_file: Path | None = None
    name: str = Field("", max_length=120)
    bundle: str | None = None
    backend: str | None = None
    threshold: Decibels | None = None
    stride: int | None = Field(None, ge=1, le=16)
    fps: float | None = Field(None, gt=0)
    realtime: bool | None = None
    ignore: list[Zone] = []
    schedule: list[str] = []
    decision: DecisionOverrides = DecisionOverrides()
    scene: bool | None = None

    @field_validator("schedule")
    @classmethod
    def _spans(cls, spans: list[str]) -> list[str]:
        Schedule.parse(spans)
        return spans

    @model_validator(mode="after")
    def _one_source(self) -> CameraSettings:
        if (self.source is None) == (self.source_file is None):
            raise ValueError("a camera has either a source or a source_file")
        return self

    @property
    def zones(self) -> Zones | None:
        """Of `ignore`; None where there are none."""
        shapes = [box(*zone.box) if zone.box else tuple(zone.polygon or ()) for zone in self.ignore]
        return Zones(tuple(shapes)) if shapes else None


class Stage2Settings(_Table):
    """Who judges events; the options --stage2, --remote... of `run`.

    bundle: whose branch; the file's by default. remote_threshold: a clip is abnormal from this probability of 'yes' on,
    by the server's model. remote_read_s: how long each piece of its answer may take. private: no picture is sent.
    queue_events, queue_age_hours: past these, the events that have waited longest are given up.
    """

    use: Literal["auto", "device", "remote", "off"] = "auto"
    bundle: str | None = None
    remote: str | None = None
    remote_model: str = "mini"
    remote_key_file: Path | None = None
    remote_ca: Path | None = None
    remote_threshold: float = Field(0.5, ge=0, le=1)
    remote_read_s: Seconds = 30.0
    private: bool = False
    deadline_s: Seconds = 5.0
    queue_events: int = Field(10_000, ge=1)
    queue_age_hours: float = Field(168.0, gt=0, allow_inf_nan=False)


class SceneSettings(_Table):
    """The scene-drift alarm; see decision.scene_drift.SceneLimits."""

    on: bool = True
    hold_s: Seconds = SceneLimits.hold_s
    settle_s: Seconds = SceneLimits.settle_s
    shift: float = Field(SceneLimits.shift, gt=0, le=0.5)
    light: float = Field(SceneLimits.light, gt=1, le=10)
    detail: float = Field(SceneLimits.detail, gt=0, lt=1)

    def limits(self) -> SceneLimits:
        return SceneLimits(**self.model_dump(exclude={"on"}))


class RetentionSettings(_Table):
    """How much of the store is kept. None is no bound.

    max_mb: of clips and thumbnails; the oldest go first, their events stay in the list. max_days: of everything.
    keep_free_mb: of the disk: below it an event is stored without pictures, and old pictures go.
    """

    max_mb: int | None = Field(4096, ge=1)
    max_days: float | None = Field(None, gt=0)
    keep_free_mb: int = Field(512, ge=0)

    def limits(self) -> Limits:
        """In bytes and seconds."""
        megabyte = 1 << 20
        return Limits(
            max_bytes=self.max_mb * megabyte if self.max_mb is not None else None,
            max_age_s=self.max_days * 86400 if self.max_days is not None else None,
            keep_free_bytes=self.keep_free_mb * megabyte,
        )


class MqttSettings(_Table):
    """A broker; see sinks.mqtt. password_file: mode 600; or the variable CALLM_EDGE_MQTT_PASSWORD."""

    host: str = Field(min_length=1)
    port: Port = 1883
    username: str = ""
    password_file: Path | None = None
    tls: bool = False
    ca: Path | None = None
    topic: str = Field("callm-edge", pattern=r"^[^#+\x00]+$")
    device: str = Field(default_factory=lambda: platform.node() or "edge")
    discovery: str = Field("homeassistant", pattern=r"^[^#+\x00]*$")
    hold_s: float = Field(10.0, ge=0, le=3600)


class WebhookSettings(_Table):
    """An endpoint; see sinks.webhook. url_file, secret_file: mode 600, for what others may not read."""

    url: str | None = None
    url_file: Path | None = None
    secret_file: Path | None = None
    retries: int = Field(8, ge=0, le=100)
    timeout_s: Seconds = 10.0

    @model_validator(mode="after")
    def _one_url(self) -> WebhookSettings:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("a webhook has either a url or a url_file")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("the url of a webhook begins with https:// or http://")
        return self


class PrometheusSettings(_Table):
    """Where metrics are served; by default to this machine alone."""

    host: str = "127.0.0.1"
    port: Port = 9150


class JsonLogSettings(_Table):
    """The log as JSON lines, in a file or on stderr."""

    file: Path | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"


class JsonlSettings(_Table):
    """A file that the lines of `run --json` are appended to."""

    file: Path


class SinkSettings(_Table):
    """Who hears of events, beside the terminal."""

    mqtt: MqttSettings | None = None
    webhook: list[WebhookSettings] = []
    prometheus: PrometheusSettings | None = None
    json_log: JsonLogSettings | None = None
    jsonl: JsonlSettings | None = None


class WebSettings(_Table):
    """The live page; see web.listening. token_file: mode 600; or the variable CALLM_EDGE_WEB_TOKEN.

    listen: [HOST:]PORT. certificate, certificate_key: PEM files, for https. hosts: names that people use for this
    device, beside its addresses and its own name.
    """

    listen: str = "127.0.0.1:8080"
    token_file: Path | None = None
    certificate: Path | None = None
    certificate_key: Path | None = None
    hosts: list[str] = []

    @field_validator("listen")
    @classmethod
    def _address(cls, address: str) -> str:
        split_address(address)
        return address


class RunSettings(_Table):
    """Everything that a run can be told. The keys of the top are the options of `run`, for all cameras."""

    camera: list[CameraSettings] = []
    bundle: str = DEFAULT
    backend: str = "auto"
    threads: int = Field(0, ge=0)
    batch: int = Field(1, ge=1, le=64)
    threshold: Decibels | None = None
    stride: int = Field(1, ge=1, le=16)
    fps: float | None = Field(None, gt=0)
    realtime: bool = False
    record: Path | None = None
    store: Path | None = None
    headless: bool = False
    as_json: bool = Field(False, alias="json")
    stage2: Stage2Settings = Stage2Settings()
    scene: SceneSettings = SceneSettings()
    retention: RetentionSettings = RetentionSettings()
    sinks: SinkSettings = SinkSettings()
    web: WebSettings | None = None

    @field_validator("camera")
    @classmethod
    def _names(cls, cameras: Sequence[CameraSettings]) -> Sequence[CameraSettings]:
        names = [camera.name for camera in cameras if camera.name]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two cameras have the name '{twice[0]}'")
        return cameras


def known_keys(model: Any) -> list[str]:
    """Keys of a table as they stand in the file."""
    return [field.alias or name for name, field in model.model_fields.items()]
