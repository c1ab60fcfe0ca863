"""The command line and the variables over the file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from callm_edge.config.settings import CameraSettings, RunSettings, Stage2Settings, WebSettings

_TOP = (
    "bundle",
    "backend",
    "threads",
    "batch",
    "threshold",
    "stride",
    "fps",
    "realtime",
    "record",
    "store",
    "headless",
)
_PER_CAMERA = ("bundle", "backend", "threshold", "stride", "fps", "realtime")
_STAGE2 = {
    "stage2": "use",
    "remote": "remote",
    "remote_model": "remote_model",
    "remote_key_file": "remote_key_file",
    "remote_ca": "remote_ca",
    "private": "private",
    "deadline": "deadline_s",
    "queue_events": "queue_events",
    "queue_age_hours": "queue_age_hours",
}
_WEB = {"web": "listen", "web_token_file": "token_file"}


def with_flags(settings: RunSettings, flags: Mapping[str, Any], typed: Collection[str] = ()) -> RunSettings:
    """`settings` with the options of `run` that were given. Sources that are named there are watched instead.

    flags: by the names of the command's parameters; the command has checked their values.
    typed: those that stand on the command line, which win over what a camera says for itself. A variable does not: it
        is the device's setting for all cameras, as the top of the file is.
    """
    cameras = settings.camera
    if uris := [*flags.get("cameras", ()), *flags.get("sources", ())]:
        cameras = [CameraSettings(source=uri) for uri in uris]
    cleared = {key: None for key in (*_PER_CAMERA, "scene") if key in typed}
    changes: dict[str, Any] = {key: flags[key] for key in _TOP if key in flags}
    changes["camera"] = [camera.model_copy(update=cleared) for camera in cameras]
    if "as_json" in flags:
        changes["as_json"] = flags["as_json"]
    stage2 = {ours: flags[theirs] for theirs, ours in _STAGE2.items() if theirs in flags}
    if "scene" in flags:
        changes["scene"] = settings.scene.model_copy(update={"on": flags["scene"]})
    changes["stage2"] = Stage2Settings.model_validate({**settings.stage2.model_dump(), **stage2})
    web = {ours: flags[theirs] for theirs, ours in _WEB.items() if theirs in flags}
    if web:
        changes["web"] = WebSettings.model_validate({**(settings.web.model_dump() if settings.web else {}), **web})
    return settings.model_copy(update=changes)
