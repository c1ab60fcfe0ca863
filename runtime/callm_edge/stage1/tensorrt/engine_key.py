"""What an engine depends on. Two engines with the same key are interchangeable; any difference needs a new build."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields

from callm_edge.errors import BundleError


@dataclass(frozen=True)
class BuildFlags:
    """How the engine is built.

    precision: 'fp16' or 'int8', of the convolutions; it comes from the graph, the network being strongly typed.
    outputs: tensors that the engine gives; what only serves others is cut off.
    batch: windows of one execution. workspace_mb: memory that a layer may use while it runs, MiB.
    """

    precision: str = "fp16"
    outputs: tuple[str, ...] = ("reconstruction",)
    batch: int = 1
    workspace_mb: int = 1024


@dataclass(frozen=True)
class EngineKey:
    """onnx_sha256: of the graph. tensorrt: full version. compute_capability: '8.7'. flags: of the build."""

    onnx_sha256: str
    tensorrt: str
    compute_capability: str
    flags: BuildFlags = BuildFlags()

    @property
    def digest(self) -> str:
        """sha256 of everything in the key: the engine's file name."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, other: EngineKey) -> list[str]:
        """Why an engine built for `other` is not one for this key, as phrases; empty where it is."""
        found = []
        for field, phrase in (
            ("onnx_sha256", "another graph ({theirs:.12} instead of {ours:.12})"),
            ("tensorrt", "TensorRT {theirs} instead of {ours}"),
            ("compute_capability", "a GPU of compute capability {theirs} instead of {ours}"),
        ):
            ours, theirs = getattr(self, field), getattr(other, field)
            if ours != theirs:
                found.append(phrase.format(ours=ours, theirs=theirs))
        for flag in fields(BuildFlags):
            ours, theirs = getattr(self.flags, flag.name), getattr(other.flags, flag.name)
            if ours != theirs:
                found.append(f"{flag.name} {_text(theirs)} instead of {_text(ours)}")
        return found

    @classmethod
    def from_dict(cls, values: object) -> EngineKey:
        """The key out of a sidecar. Raises BundleError where it is not one."""
        try:
            assert isinstance(values, dict)
            flags = dict(values["flags"])
            flags["outputs"] = tuple(flags["outputs"])
            return cls(**{**values, "flags": BuildFlags(**flags)})
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise BundleError("The sidecar of an engine has no valid key", str(error)) from error


def _text(value: object) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)
