"""The trained part read back from a bundle's former.onnx, so that tuning can go on from any branch that ships.

The graph holds every weight, but the exporter names matrices by number and turns some of them. So a former whose values
are known is exported beside it: the weights come in the same order, and its own tell which is which.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from callm_edge.bundle import Bundle
from callm_edge.errors import UserError
from callm_edge.stage2.spec import FORMER, Stage2Spec
from callm_edge.stage2.torch_model import MiniConfig, VideoLanguageModel
from callm_edge.stage2.torch_model.video_former import MiniVideoFormer
from callm_export.vlm.vision_export import write_former

ELSE = "start from a video_former.safetensors"
STD, CLOSE = 0.05, 1e-3  # of the known values; what half precision may do to them


def load_start(model: VideoLanguageModel, start: str) -> None:
    """Fill the trained part of `mini` with what tuning goes on from.

    start: a video_former.safetensors of an earlier run, or a bundle's name or folder. Raises UserError.
    """
    if Path(start).is_file():
        model.load_trained(Path(start), to_begin_with=True)
        return
    stage2 = Bundle.load(start).stage2_path
    if stage2 is None:
        raise UserError(f"The bundle '{start}' has no stage 2 to go on from", "", "Name another, such as plaza")
    load_former(model, stage2)


def load_former(model: VideoLanguageModel, stage2: Path) -> None:
    """Fill the trained part of `mini` from the stage2 folder of a bundle, whatever number of crops that was taught.

    To a branch that was never told of motion it says nothing as yet.
    Raises UserError where the folder's graph cannot be read or is another network.
    """
    path, crops = stage2 / FORMER, Stage2Spec.read(stage2).crops
    try:
        found = _weights(path)
    except Exception as error:  # onnx and protobuf raise what they like
        raise UserError(f"{path} cannot be read", str(error), "Name the stage2 folder of a bundle") from error
    former = copy.deepcopy(model.video_former)
    assert isinstance(former, MiniVideoFormer)
    assert isinstance(model.config, MiniConfig)
    former.crops = crops
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in former.parameters():
            parameter.copy_(STD * torch.randn(parameter.shape, generator=generator))
    encoder = model.frame_encoder
    shape = model.config.frames * (1 + crops), encoder.tokens
    with tempfile.TemporaryDirectory() as folder:
        write_former(former, shape, Path(folder) / FORMER)
        known = _weights(Path(folder) / FORMER)
    state = former.state_dict()
    of_motion: set[str] = set()
    if len(found) < len(known):  # of a branch from before motion was told
        of_motion = {name for name in state if "motion" in name or name.startswith("to_queries")}
        known = [mark for mark in known if not any(_same(state[name].t(), mark) for name in of_motion)]
    if [values.shape for values in found] != [values.shape for values in known]:
        raise UserError(f"{path} is of another network", "its weights have other shapes", f"Export it anew, or {ELSE}")
    read: dict[str, Tensor] = {}
    for values, mark in zip(found, known, strict=True):
        for name, value in state.items():
            if _same(value, mark):
                read[name] = values
            elif mark.ndim == 2 and _same(value, mark.t()):
                read[name] = values.t()
    # Motion then says nothing until it is learnt: a branch whose threshold alone is fitted shall answer as before.
    fresh = model.video_former.state_dict()
    read |= {
        name: fresh[name] if name.startswith("to_queries") else torch.zeros_like(fresh[name]) for name in of_motion
    }
    if missing := sorted(state.keys() - read.keys()):
        raise UserError(f"{path} lacks weights", f"missing: {', '.join(missing)}", f"Export it anew, or {ELSE}")
    model.video_former.load_state_dict(read)


def _weights(path: Path) -> list[Tensor]:
    """All weights of a graph, in order, in float32."""
    arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer]
    return [torch.from_numpy(array.astype(np.float32)) for array in arrays if array.dtype.kind == "f"]


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=CLOSE, atol=STD * CLOSE)
