"""Writes what an installed TensorRT documents of the names that stage 1 uses, as JSON:

    python tests/runtime/stage1/tensorrt/dump_api.py > 10.3.0.json

The fakes are held against such files of the oldest and the newest supported version (tests/goldens/tensorrt_api).
`tensorrt-cu12-bindings` or `tensorrt-cu13-bindings` suffice, given libraries that export the handful of symbols that
the bindings import; no GPU is needed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re

CLASSES = (
    *("Builder", "IBuilderConfig", "INetworkDefinition", "IOptimizationProfile", "ITimingCache", "IHostMemory"),
    *("OnnxParser", "ParserError", "Runtime", "ICudaEngine", "IExecutionContext", "EngineInspector"),
    *("IProgressMonitor", "ILogger", "ILayer", "ITensor"),
)
ENUMS = (
    *("NetworkDefinitionCreationFlag", "ProfilingVerbosity", "LayerInformationFormat", "MemoryPoolType"),
    *("DataType", "LayerType", "BuilderFlag"),
)


def parameters(doc: str, name: str) -> list[list[str]]:
    """Names of the parameters after self, for each overload that a pybind11 docstring lists."""
    found = []
    for line in doc.splitlines():
        signature = re.match(rf"(?:\d+\. )?{name}\(self: [\w.]+(?:, (.*))?\) -> ", line.strip())
        if signature:
            found.append(re.findall(r"(?:^|, )(\w+): ", signature.group(1) or ""))
    return found


def describe(kind: type) -> dict[str, object]:
    """Method -> parameters by overload; attribute -> None."""
    members: dict[str, object] = {}
    for name in dir(kind):
        if name.startswith("_") and name != "__init__":
            continue
        member = inspect.getattr_static(kind, name)
        is_method = callable(getattr(kind, name)) and not isinstance(member, property)
        members[name] = parameters(getattr(kind, name).__doc__ or "", name) if is_method else None
    return members


def main() -> None:
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError:
        trt = importlib.import_module("tensorrt_bindings")
    print(
        json.dumps(
            {
                "version": trt.__version__,
                "classes": {name: describe(getattr(trt, name)) for name in CLASSES},
                "enums": {name: sorted(getattr(trt, name).__members__) for name in ENUMS},
            },
            indent=1,
            sort_keys=True,
        )
    )


if __name__ == "__main__":
    main()
