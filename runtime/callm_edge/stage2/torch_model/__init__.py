"""The video-language branch in torch: one class for `video-llama` and `mini`, shared by tuning and GPU serving.

A door that opens lazily: the device path imports this package without torch. Asking it for a name imports torch and
transformers, and says which extra is missing where they are absent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callm_edge.errors import MissingExtraError

if TYPE_CHECKING:
    from callm_edge.stage2.torch_model.config import MiniConfig, VideoLlamaConfig
    from callm_edge.stage2.torch_model.model import VideoLanguageModel
    from callm_edge.stage2.torch_model.published import PublishedFiles

__all__ = ["MiniConfig", "PublishedFiles", "VideoLanguageModel", "VideoLlamaConfig"]

_MODULES = {"MiniConfig": "config", "VideoLlamaConfig": "config", "PublishedFiles": "published"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    try:
        module = import_module(f"{__name__}.{_MODULES.get(name, 'model')}")
    except ModuleNotFoundError as error:
        root = (error.name or "").split(".")[0]
        if root in ("torch", "transformers", "safetensors"):
            raise MissingExtraError("vlm", "The video-language branch in torch", root) from error
        raise
    return getattr(module, name)
