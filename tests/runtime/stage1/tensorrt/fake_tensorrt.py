"""A TensorRT that knows only what versions 10.3 and 11 both document of the names stage 1 uses, and fails on the rest.

Names, parameters and enum members are held against both versions' own documentation in test_fakes.py. Attributes that
the documentation does not list can be neither read nor set. Behaviour is as narrow: the parser reads our graphs and
refuses what TensorRT's refuses, an engine is its description in JSON, and running it calls a function of the test.
"""

from __future__ import annotations

import ctypes
import enum
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class ProfilingVerbosity(enum.IntEnum):
    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class LayerInformationFormat(enum.IntEnum):
    ONELINE = 0
    JSON = 1


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0
    TACTIC_SHARED_MEMORY = 5


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    UINT8 = 5


class LayerType(enum.IntEnum):
    CONVOLUTION = 0
    DECONVOLUTION = 8
    ELEMENTWISE = 10
    CAST = 22


class Strict:
    """No attribute beyond `settable` can be set from outside the fake; what is not defined cannot be read anyway."""

    settable: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self.settable:
            raise AttributeError(f"{type(self).__name__} has no attribute '{name}' that both versions document")
        super().__setattr__(name, value)


class ILogger(Strict):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)
    settable = frozenset({"last_error"})  # of the class under test, which derives from this one

    def __init__(self) -> None:
        self._begun = True

    def log(self, severity: int, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor(Strict):
    settable = frozenset({"interrupted"})

    def __init__(self) -> None:
        self._begun = True

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class IHostMemory(bytes):
    """Read through the buffer protocol, like the real one."""

    @property
    def nbytes(self) -> int:
        return len(self)


class ITensor(Strict):
    def __init__(self, name: str, dtype: DataType, shape: tuple[int, ...]) -> None:
        self._values = name, dtype, shape

    @property
    def name(self) -> str:
        return self._values[0]

    @property
    def dtype(self) -> DataType:
        return self._values[1]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values[2]


class ILayer(Strict):
    def __init__(self, name: str, kind: LayerType, output: ITensor) -> None:
        self._values = name, kind, output

    @property
    def name(self) -> str:
        return self._values[0]

    @property
    def type(self) -> LayerType:
        return self._values[1]

    def get_output(self, index: int) -> ITensor | None:
        return self._values[2] if index == 0 else None


class INetworkDefinition(Strict):
    def __init__(self, flags: int) -> None:
        self._flags = flags
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []
        self._layers: list[ILayer] = []

    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))
    num_layers = property(lambda self: len(self._layers))

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]

    def unmark_output(self, tensor: ITensor) -> None:
        self._outputs = [output for output in self._outputs if output is not tensor]


class ParserError(Strict):
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser(Strict):
    """Reads a graph with `onnx`, and refuses uint8 anywhere but in Cast, as the real parser does."""

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        assert logger._begun, "the base class's __init__ was not called"
        self._network = network
        self._errors: list[ParserError] = []

    num_errors = property(lambda self: len(self._errors))

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            proto = onnx.load_from_string(model)
            graph = onnx.shape_inference.infer_shapes(proto).graph
        except Exception as error:  # whatever protobuf raises
            self._errors.append(ParserError(f"Failed to parse ONNX model: {error}"))
            return False
        types = {onnx.TensorProto.FLOAT: DataType.FLOAT, onnx.TensorProto.FLOAT16: DataType.HALF}
        types[onnx.TensorProto.UINT8] = DataType.UINT8

        def tensor(info: onnx.ValueInfoProto) -> ITensor:
            shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in info.type.tensor_type.shape.dim)
            return ITensor(info.name, types.get(info.type.tensor_type.elem_type, DataType.FLOAT), shape)

        known = {info.name: tensor(info) for info in (*graph.input, *graph.value_info, *graph.output)}
        for node in graph.node:
            if node.op_type != "Cast" and any(known[x].dtype == DataType.UINT8 for x in node.input if x in known):
                self._errors.append(ParserError(f"{node.op_type}: UINT8 is not supported"))
                return False
            kinds = {"Conv": LayerType.CONVOLUTION, "ConvTranspose": LayerType.DECONVOLUTION, "Cast": LayerType.CAST}
            kind = kinds.get(node.op_type, LayerType.ELEMENTWISE)
            output = known.get(node.output[0], ITensor(node.output[0], DataType.INT8, ()))
            self._network._layers.append(ILayer(node.name, kind, output))
        self._network._inputs = [known[info.name] for info in graph.input]
        self._network._outputs = [known[info.name] for info in graph.output]
        return True


class IOptimizationProfile(Strict):
    def __init__(self) -> None:
        self._shapes: dict[str, tuple[Any, Any, Any]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - as documented
        self._shapes[input] = tuple(min), tuple(opt), tuple(max)


class ITimingCache(Strict):
    """Entries as JSON; another device's are told by their header."""

    def __init__(self, device: str, entries: set[str]) -> None:
        self._device, self._entries = device, entries

    def serialize(self) -> IHostMemory:
        return IHostMemory(json.dumps([self._device, sorted(self._entries)]).encode())

    def combine(self, input_cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if input_cache._device != self._device and not ignore_mismatch:
            return False
        self._entries |= input_cache._entries
        return True


class IBuilderConfig(Strict):
    settable = frozenset({"profiling_verbosity", "progress_monitor"})

    def __init__(self, device: str) -> None:
        self._device = device
        self._cache: ITimingCache | None = None
        self._profiles: list[IOptimizationProfile] = []
        self._limits: dict[MemoryPoolType, int] = {}
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.progress_monitor: IProgressMonitor | None = None

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._limits[pool] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        if not serialized_timing_cache:
            return ITimingCache(self._device, set())
        try:
            device, entries = json.loads(serialized_timing_cache)
        except ValueError:
            return None
        return ITimingCache(device, set(entries))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._device != self._device and not ignore_mismatch:
            return False
        self._cache = cache
        return True


class Builder(Strict):
    device = "sm_87"
    writes: Callable[[str], str] | None = None  # convolution -> format that the engine really has it in
    fuses_names = False  # whether the builder names fused layers in its own way
    builds = 0
    fails = False

    def __init__(self, logger: ILogger) -> None:
        assert logger._begun, "the base class's __init__ was not called"
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags == 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED), "the network must be strongly typed"
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self.device)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        type(self).builds += 1
        if self.fails:
            self._logger.log(ILogger.ERROR, "no implementation found for the layer")
            return None
        if not _report(config.progress_monitor):
            return None
        shapes = config._profiles[0]._shapes["windows"]
        assert shapes[0] == shapes[1] == shapes[2]
        if config._cache is not None:
            config._cache._entries.add(f"built{self.builds}")
        layers: list[Any] = [
            self._layer(layer)
            for layer in network._layers
            if layer.type in (LayerType.CONVOLUTION, LayerType.DECONVOLUTION)
        ]
        if config.profiling_verbosity != ProfilingVerbosity.DETAILED:
            layers = [layer["Name"] for layer in layers]
        description = {
            "version": VERSION,
            "device": self.device,
            "outputs": [output.name for output in network._outputs],
            "shapes": shapes,
            "information": {"Layers": layers, "Bindings": ["windows", "reconstruction"]},
        }
        return IHostMemory(json.dumps(description).encode())

    def _layer(self, layer: ILayer) -> dict[str, Any]:
        own = "Thirty-two wide channel vectorized row major Int8 format" if layer.name.startswith("int8_") else None
        text = self.writes(layer.name) if self.writes else own or "Channel major FP16 format where channel % 8 == 0"
        tensor = {"Name": "x", "Dimensions": [1, 8, 16, 128, 128], "Format/Datatype": text}
        output = {**tensor, "Format/Datatype": "Row major linear FP16 format" if "Int8" in text else text}
        name = "__myl_fused" if self.fuses_names else f"{layer.name} + leakyrelu"
        return {"Name": name, "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": [output]}


def _report(monitor: IProgressMonitor | None) -> bool:
    """A build of two phases, one in the other, as the documentation describes their calls. False: it was stopped."""
    if monitor is None:
        return True
    assert monitor._begun, "the base class's __init__ was not called"
    monitor.phase_start("Building", None, 2)
    monitor.phase_start("Timing kernels", "Building", 3)
    for step in range(3):
        if not monitor.step_complete("Timing kernels", step):
            return False
    monitor.phase_finish("Timing kernels")
    go_on = monitor.step_complete("Building", 0)
    monitor.phase_finish("Building")  # before its second step: the documentation allows it
    return go_on


class IExecutionContext(Strict):
    # windows (1, 16, 256, 256) uint8 -> reconstruction (256, 256) float16
    network: Callable[[np.ndarray], np.ndarray] = staticmethod(lambda windows: np.zeros((256, 256), np.float16))
    enqueue: Callable[[int, Callable[[], None]], None]  # (stream, work), given by the fake of CUDA

    def __init__(self, description: dict[str, Any]) -> None:
        self._description = description
        self._shape: tuple[int, ...] | None = None
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "windows"
        self._shape = tuple(shape)
        return self._shape == tuple(self._description["shapes"][1])

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert name in ("windows", *self._description["outputs"])
        assert memory % 256 == 0, "TensorRT wants 256-byte alignment"
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self._shape is None or set(self._addresses) != {"windows", *self._description["outputs"]}:
            return False
        source, target, network = self._addresses["windows"], self._addresses["reconstruction"], self.network

        def work() -> None:
            windows = at(source, (1, 16, 256, 256), np.uint8)
            at(target, (256, 256), np.float16)[...] = network(windows.copy())

        type(self).enqueue(stream_handle, work)
        return True


class EngineInspector(Strict):
    settable = frozenset({"execution_context"})

    def __init__(self, description: dict[str, Any]) -> None:
        self._description = description
        self.execution_context: IExecutionContext | None = None

    def get_engine_information(self, format: LayerInformationFormat) -> str:  # noqa: A002 - as documented
        assert format == LayerInformationFormat.JSON
        text = json.dumps(self._description["information"])
        if self.execution_context is None or self.execution_context._shape is None:
            information = json.loads(text)
            for layer in information["Layers"]:
                for tensor in (*layer["Inputs"], *layer["Outputs"]):
                    tensor["Format/Datatype"] = "N/A due to dynamic shapes"
            return json.dumps(information)
        return text


class ICudaEngine(Strict):
    def __init__(self, description: dict[str, Any]) -> None:
        self._description = description

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(self._description)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector(self._description)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert (name, profile_index) == ("windows", 0)
        return [tuple(shape) for shape in self._description["shapes"]]


class Runtime(Strict):
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        try:
            description = json.loads(serialized_engine)
        except ValueError:
            self._logger.log(ILogger.ERROR, "the engine is corrupt")
            return None
        if (description["version"], description["device"]) != (VERSION, Builder.device):
            self._logger.log(ILogger.ERROR, "the engine was built by another version or for another device")
            return None
        return ICudaEngine(description)


VERSION = "10.3.0"
__version__ = VERSION


def at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Memory of the fake GPU as an array."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), dtype).reshape(shape)
