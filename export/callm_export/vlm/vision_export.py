"""The vision parts of the branch as ONNX, checked against torch: what a bundle's stage2 folder holds of them.

vision.onnx: `pictures` uint8 (N, S, S, 3) RGB -> `features` float32 (N, tokens, width), N free.
former.onnx: `features` float32 (1, pictures, tokens, width + 8 of motion) -> `queries` float32 (1, 32, llm_width).

Both are stored small (small_weights.py): the encoder mostly in 8 bits, since whoever tunes sees through the same file;
the former in half precision.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from callm_edge import atomic
from callm_edge.errors import UserError
from callm_edge.stage1.ort_session import cpu_session
from callm_edge.stage2.spec import FORMER, VISION
from callm_edge.stage2.torch_model import VideoLanguageModel
from callm_edge.stage2.torch_model.video_former import MiniVideoFormer, VideoFormer
from callm_export.vlm.small_weights import shrink

# Of the largest value: of the graph as it comes, and with its weights in 8 bits and in half precision.
TOLERANCE, EIGHT_BITS, HALF = 1e-3, 0.15, 5e-3


def export_encoder(model: VideoLanguageModel, path: Path) -> float:
    """Write vision.onnx; returns the largest difference from torch, relative to the largest feature.

    Raises UserError where ONNX Runtime does not give what torch gives.
    """
    side = model.config.image
    rng = np.random.default_rng(0)
    pictures = torch.from_numpy(rng.integers(0, 256, (2, side, side, 3), dtype=np.uint8))
    _export(model.frame_encoder, path, pictures[:1], "pictures", "features", batched=True)
    _checked(path, model.frame_encoder, "pictures", pictures, TOLERANCE)
    shrink(path, eight_bits=True)
    return _checked(path, model.frame_encoder, "pictures", pictures, EIGHT_BITS)


def export_former(model: VideoLanguageModel, path: Path) -> float:
    """Write former.onnx; see `export_encoder`."""
    encoder = model.frame_encoder
    return write_former(model.video_former, (model.config.pictures, encoder.tokens), path)


def write_former(former: VideoFormer, shape: tuple[int, int], path: Path) -> float:
    """The same of a former alone. shape: of its features, (pictures, tokens)."""
    width = former.WIDTH if isinstance(former, MiniVideoFormer) else former.qformer.config.hidden_size
    features = torch.from_numpy(np.random.default_rng(0).standard_normal((1, *shape, width), np.float32))
    _export(former, path, features, "features", "queries", batched=False)
    _checked(path, former, "features", features, TOLERANCE)
    shrink(path, eight_bits=False)
    return _checked(path, former, "features", features, HALF)


def export_vision(model: VideoLanguageModel, folder: Path) -> dict[str, float]:
    """Write both into `folder`; returns the differences by file."""
    model.eval()
    return {VISION: export_encoder(model, folder / VISION), FORMER: export_former(model, folder / FORMER)}


def _export(module: nn.Module, path: Path, example: Tensor, given: str, wanted: str, batched: bool) -> None:
    with atomic.replacing(path) as temporary, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of each shape that it takes as given, which is wanted
        torch.onnx.export(
            module.eval(),
            (example,),
            str(temporary),
            dynamo=False,
            input_names=[given],
            output_names=[wanted],
            dynamic_axes={given: {0: "batch"}, wanted: {0: "batch"}} if batched else None,
        )


def _checked(path: Path, module: nn.Module, given: str, inputs: Tensor, tolerance: float) -> float:
    session: Any = cpu_session(path, 1)
    with torch.no_grad():
        wanted = module(inputs).numpy()
    found = session.run(None, {given: inputs.numpy()})[0]
    difference = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    if found.shape != wanted.shape or not difference <= tolerance:
        raise UserError(
            f"{path} does not compute what torch computes",
            f"the largest difference is {difference:.1e} of the largest value",
            "Report it with the versions of torch and onnxruntime",
        )
    return difference
