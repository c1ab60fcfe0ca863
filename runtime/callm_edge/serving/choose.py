"""Which model a server answers with."""

from __future__ import annotations

from pathlib import Path

from callm_edge.errors import BundleError
from callm_edge.serving.engine import DeviceEngine, Engine


def open_engine(bundle: str, folder: Path | None = None, threads: int = 0) -> Engine:
    """The branch of a bundle or, where `folder` names one, a model in torch. threads: of one computation, 0 for all.

    Raises BundleError where the bundle has no branch, and what loading a model raises.
    """
    if folder is not None:
        from callm_edge.serving.torch_engine import TorchEngine

        return TorchEngine.load(folder)
    from callm_edge.bundle import Bundle

    opened = Bundle.load(bundle)
    if opened.stage2_path is None:
        raise BundleError(
            f"The bundle '{opened.name}' has no stage 2",
            "it only scores frames",
            "Take a bundle with a video-language branch: callm-edge tune makes one",
        )
    return DeviceEngine(opened.stage2_path, threads)
