"""Reading weights safely, and holding them against what a network needs: all that does not fit, in one error."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from callm_edge.errors import UserError

LISTED = 40  # tensors named of each kind; a wrong file would otherwise fill the screen


@dataclass
class Misfits:
    """Tensors that do not fit, gathered over several files."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misshapen: list[str] = field(default_factory=list)

    def compare(self, name: str, wanted: Mapping[str, tuple[int, ...]], found: Mapping[str, Tensor]) -> None:
        """Add what differs between the shapes `wanted` and the tensors `found` in the file `name`."""
        self.missing += [f"{key} ({name})" for key in wanted if key not in found]
        self.unexpected += [f"{key} ({name})" for key in found if key not in wanted]
        for key, shape in wanted.items():
            if key in found and tuple(found[key].shape) != shape:
                self.misshapen.append(f"{key} is {_size(found[key].shape)}, not {_size(shape)} ({name})")

    def check(self, what: str) -> None:
        """Raises UserError that names them all, where there are any."""
        kinds = (("missing", self.missing), ("unexpected", self.unexpected), ("misshapen", self.misshapen))
        problems = [f"{kind}: {_listed(keys)}" for kind, keys in kinds if keys]
        if problems:
            raise UserError(f"The files do not fit {what}", "; ".join(problems), "Check that they belong together")


def read_checkpoint(path: Path, under: str | None = None) -> dict[str, Tensor]:
    """Tensors of a .safetensors file or a torch checkpoint, on the CPU, mapped where the file allows it.

    under: key that holds them in a torch checkpoint; a checkpoint without it is taken as it is.
    Only weights are unpickled. Raises UserError for a file that is absent, damaged, or more than weights.
    """
    if not path.is_file():
        raise UserError(f"There are no weights at {path}", "no such file")
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    content: Any
    try:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # a file of torch before 1.6 cannot be mapped
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than weights",
            "loading it would run code from that file",
            "Get the published file, or save it again as safetensors where you trust it",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a torch checkpoint", first_line(error), "Copy it again") from error
    if under and isinstance(content, Mapping) and under in content:
        content = content[under]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path} holds no weights that this program knows", f"no tensors, nor any under '{under}'")
    return dict(content)


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a .safetensors file. Raises UserError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            keys = file.keys()
            return {key: file.get_tensor(key) for key in keys}, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} cannot be read as safetensors", first_line(error), "Copy it again") from error


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def without(state: Mapping[str, Tensor], ignored: Callable[[str], bool]) -> dict[str, Tensor]:
    """The tensors whose names are not `ignored`."""
    return {key: value for key, value in state.items() if not ignored(key)}


def first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _listed(keys: Iterable[str]) -> str:
    keys = list(keys)
    more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
    return ", ".join(keys[:LISTED]) + more


def _size(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "a scalar"
