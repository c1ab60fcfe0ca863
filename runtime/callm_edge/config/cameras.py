"""From settings to cameras: each bundle is loaded, and each backend opened, once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from callm_edge.bundle import Bundle, Decision
from callm_edge.cascade import Camera
from callm_edge.config.secrets import read_secret
from callm_edge.config.settings import CameraSettings, RunSettings
from callm_edge.decision.calibrated_backend import calibration_mismatch
from callm_edge.decision.schedule import Schedule
from callm_edge.errors import UsageError
from callm_edge.sources import Source, open_source
from callm_edge.sources.uri import redact
from callm_edge.stage1.backend import Backend
from callm_edge.stage1.choose import open_backend

if TYPE_CHECKING:
    from callm_edge.stage1.tensorrt.progress import BuildProgress


class Cameras:
    """The cameras of a run, opened but not connected.

    bundles: those in use, by the name that the settings give them. notes: what a person should know before.
    Raises UsageError, SourceError or BundleError where something is not there.
    """

    def __init__(self, settings: RunSettings, progress: BuildProgress | None = None) -> None:
        self._settings, self._progress = settings, progress
        self._threads = settings.threads
        if not settings.threads and len(settings.camera) >= (os.cpu_count() or 1):
            self._threads = 1  # each camera has a thread of its own, and those fill the cores
        self.bundles: dict[str, Bundle] = {}
        self._backends: dict[tuple[Path, str], Backend] = {}
        self.notes: list[str] = []
        # Sources first: they are where mistakes are made, and a backend may take minutes to open.
        sources = self._sources()
        self.cameras = [self._camera(one, source) for one, source in zip(settings.camera, sources, strict=True)]

    @property
    def judge(self) -> Bundle:
        """The bundle whose stage 2 judges the events of all cameras."""
        settings = self._settings
        name = settings.stage2.bundle or (settings.bundle if settings.bundle in self.bundles else "")
        return self._bundle(name or next(iter(self.bundles)))

    def _sources(self) -> Sequence[Source]:
        sources: list[Source] = []
        names: set[str] = set()
        for camera in self._settings.camera:
            fps = camera.fps if camera.fps is not None else self._settings.fps
            realtime = self._settings.realtime if camera.realtime is None else camera.realtime
            source = open_source(uri_of(camera), realtime=realtime, fps=fps)
            if camera.name:
                source.name = redact(camera.name)
            elif source.name in names:
                # States and topics go by name.
                number = next(n for n in range(2, len(names) + 3) if f"{source.name} ({n})" not in names)
                source.name = f"{source.name} ({number})"
            if source.name in names:
                raise UsageError(f"Two cameras have the name '{source.name}'", "", "Give each a name of its own")
            names.add(source.name)
            sources.append(source)
        return sources

    def _camera(self, camera: CameraSettings, source: Source) -> Camera:
        bundle = self._bundle(camera.bundle or self._settings.bundle)
        backend = self._backend(bundle, camera.backend or self._settings.backend)
        stride = camera.stride or self._settings.stride
        schedule = Schedule.parse(camera.schedule) if camera.schedule else None
        decision = self._decision(camera, bundle)
        wanted = self._settings.scene.on if camera.scene is None else camera.scene
        scene = self._settings.scene.limits() if wanted else None
        which = bundle.hash, bundle.name
        return Camera(source, backend, decision, stride, *which, camera.zones, schedule, scene, bundle.ways)

    def _decision(self, camera: CameraSettings, bundle: Bundle) -> Decision:
        changes = camera.decision.model_dump(exclude_none=True)
        threshold = camera.threshold if camera.threshold is not None else self._settings.threshold
        if threshold is not None:
            changes["threshold_psnr_db"] = threshold
        return bundle.decision.model_copy(update=changes)

    def _bundle(self, name: str) -> Bundle:
        if name not in self.bundles:
            self.bundles[name] = Bundle.load(name)
        return self.bundles[name]

    def _backend(self, bundle: Bundle, name: str) -> Backend:
        key = (bundle.folder, name)
        if key not in self._backends:
            self._backends[key] = open_backend(bundle, name, self._threads, self._progress, self._settings.batch)
            if mismatch := calibration_mismatch(bundle, self._backends[key]):
                self.notes.append(mismatch)
        return self._backends[key]


def uri_of(camera: CameraSettings) -> str:
    """The source that a camera's settings name, from its file where it has one. May hold a password."""
    if camera.source_file is not None:
        return read_secret(camera.source_file, f"the source of {camera.name or 'a camera'}")
    return str(camera.source)
