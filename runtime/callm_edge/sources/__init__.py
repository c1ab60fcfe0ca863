"""Where frames come from: cameras, streams, files, folders of images and the plaza, all behind one contract."""

from __future__ import annotations

from callm_edge.sources.source import Frame, Source, SourceState
from callm_edge.sources.uri import CameraUri, CsiUri, FileUri, FolderUri, StreamUri, parse_uri

__all__ = ["Frame", "Source", "SourceState", "open_source"]


def open_source(uri: str, *, realtime: bool = False, fps: float | None = None) -> Source:
    """The source that ``uri`` names; nothing is connected before the first frame is asked for.

    uri: a video file, a folder of images, a camera (``0``, ``/dev/video0``, ``csi:0``), an ``rtsp://`` or ``http://``
        URL, or ``test:plaza?seed=7&anomaly=cyclist,runner&seconds=60``.
    realtime: play a file, a folder or the plaza at its own pace, like a camera: the source is then ``live`` and drops
        late frames. Cameras and streams have their own pace and ignore it.

    fps: of a folder of images, which does not say; 25 where it is not given. Everything else knows its own.

    Raises UsageError for text that names nothing, SourceError for a folder without images.
    """
    # One import per branch: a device with a camera never pays for loading FFmpeg.
    target = parse_uri(uri)
    if isinstance(target, CameraUri):
        from callm_edge.sources.camera import CameraSource
        from callm_edge.sources.gstreamer_capture import capture_for

        return CameraSource(target.device, capture=capture_for)
    if isinstance(target, CsiUri):
        from callm_edge.sources.csi import open_csi

        return open_csi(target)
    if isinstance(target, StreamUri):
        from callm_edge.sources.stream import StreamSource

        return StreamSource(target.url)
    if isinstance(target, (FileUri, FolderUri)):
        recorded: Source
        if isinstance(target, FileUri):
            from callm_edge.sources.video import VideoSource

            recorded = VideoSource(target.path, name=target.name)
        else:
            from callm_edge.sources.folder import FolderSource

            recorded = FolderSource(target.path, fps=fps or 25.0, name=target.name)
        if not realtime:
            return recorded
        from callm_edge.sources.paced import PacedSource

        return PacedSource(recorded)
    from callm_edge.sources.plaza import PlazaSource

    return PlazaSource(
        seed=target.seed, anomalies=target.anomalies, seconds=target.seconds, realtime=realtime, name=target.name
    )
