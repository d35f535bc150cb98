"""Stand-ins for the modules tensorrt and cuda.bindings.runtime, over ONNX Runtime: they check how they are called.

An engine is the path of its graph as bytes; device memory is host memory. What TensorRT computes is not imitated: that
is for the self-test on a machine with a GPU.
"""

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime

OK = 0
LAYERS = {
    "MATRIX_MULTIPLY": "float32",
    "CONVOLUTION": "float32",
    "NORMALIZATION": "float32",
    "SOFTMAX": "float32",
    "REDUCE": "float32",
    "ELEMENTWISE": "int64",  # arithmetic of shapes
    "UNARY": "float32",
    "ACTIVATION": "float32",
    "SHUFFLE": "float32",
}
"""Layers of every network: their kind and the type of what they give."""


class IProgressMonitor:
    """Base class of monitors."""


class Recorder:
    """The module tensorrt; `calls` tells what was asked of it, in order."""

    __version__ = "10.16.1.11"
    IProgressMonitor = IProgressMonitor
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    BuilderFlag = SimpleNamespace(FP16="fp16", PREFER_PRECISION_CONSTRAINTS="prefer")
    LayerType = SimpleNamespace(**{kind: kind for kind in LAYERS})
    float32 = "float32"
    TensorIOMode = SimpleNamespace(INPUT="input", OUTPUT="output")

    def __init__(self, *, accepts: bool = True, timings_of_this_driver: bool = True) -> None:
        self.calls: list[str] = []
        self.accepts = accepts
        self.timings_of_this_driver = timings_of_this_driver
        self.held: dict[str, set[str]] = {}
        self.Logger = type("Logger", (), {"WARNING": 2, "__init__": lambda self, level: None})
        self.Builder = lambda logger: _Builder(self)
        self.OnnxParser = lambda network, logger: _Parser(self, network)
        self.Runtime = lambda logger: _Runtime(self)

    @staticmethod
    def nptype(kind: str) -> Any:
        """The numpy type of a tensor's type."""
        return {"tensor(float)": np.float32, "tensor(int64)": np.int64}[kind]


class _Layer:
    num_outputs = 1
    precision = ""

    def __init__(self, trt: Recorder, kind: str) -> None:
        self._trt, self.type = trt, kind

    def get_output(self, number: int) -> Any:
        return (SimpleNamespace(dtype=LAYERS[self.type]),)[number]

    def set_output_type(self, number: int, dtype: str) -> None:
        if number or dtype != self.precision:
            raise ValueError("there is one output, of the layer's precision")
        self._trt.held.setdefault(dtype, set()).add(self.type)


class _Network:
    def __init__(self, trt: Recorder) -> None:
        self.path = ""
        self.inputs: list[Any] = []
        self._layers = [_Layer(trt, kind) for kind in LAYERS]
        self.num_layers = len(self._layers)

    def get_layer(self, number: int) -> _Layer:
        return self._layers[number]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, number: int) -> Any:
        return self.inputs[number]


class _Parser:
    def __init__(self, trt: Recorder, network: _Network) -> None:
        self._trt, self._network = trt, network

    def parse_from_file(self, path: str) -> bool:
        self._trt.calls.append("parse")
        if not self._trt.accepts:
            return False
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._network.path = path
        self._network.inputs = [
            SimpleNamespace(name=node.name, shape=[size if isinstance(size, int) else -1 for size in node.shape])
            for node in session.get_inputs()
        ]
        return True


class _Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[Any, Any, Any]] = {}

    def set_shape(self, name: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - names of the real function
        self.shapes[name] = (min, opt, max)


class _Config:
    def __init__(self, trt: Recorder) -> None:
        self._trt = trt
        self.progress_monitor: Any = None
        self.profile: _Profile | None = None

    def set_memory_pool_limit(self, pool: str, size_bytes: int) -> None:
        self._trt.calls.append(f"{pool} {size_bytes}")

    def set_flag(self, flag: str) -> None:
        self._trt.calls.append(flag)

    def add_optimization_profile(self, profile: _Profile) -> None:
        self.profile = profile

    def create_timing_cache(self, content: bytes) -> Any:
        self._trt.calls.append(f"timings {content!r}")
        return None if content == b"+damaged" else SimpleNamespace(content=content, serialize=lambda: content + b"+")

    def set_timing_cache(self, cache: Any, *, ignore_mismatch: bool) -> bool:
        if ignore_mismatch:
            raise ValueError("timings of another device must not be used")
        return not cache.content or self._trt.timings_of_this_driver


class _Builder:
    def __init__(self, trt: Recorder) -> None:
        self._trt = trt

    def create_network(self, flags: int) -> _Network:
        if flags:
            raise ValueError("networks have explicit batch axes since TensorRT 10")
        return _Network(self._trt)

    def create_builder_config(self) -> _Config:
        return _Config(self._trt)

    def create_optimization_profile(self) -> _Profile:
        return _Profile()

    def build_serialized_network(self, network: _Network, config: _Config) -> bytes:
        self._trt.calls.append("build")
        if config.profile is None or set(config.profile.shapes) != {one.name for one in network.inputs}:
            raise ValueError("an input has no profile")
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 20)
        if not all(monitor.step_complete("Building", step) for step in range(20)):
            raise ValueError("cancelled")
        monitor.phase_finish("Building")
        return network.path.encode()


class _Runtime:
    def __init__(self, trt: Recorder) -> None:
        self._trt = trt

    def deserialize_cuda_engine(self, content: bytes) -> Any:
        self._trt.calls.append("deserialize")
        return _Engine(Path(content.decode())) if Path(content.decode()).is_file() else None


class _Engine:
    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self._inputs = {node.name: node for node in self.session.get_inputs()}
        self._nodes = self._inputs | {node.name: node for node in self.session.get_outputs()}
        self.num_io_tensors = len(self._nodes)

    def get_tensor_name(self, number: int) -> str:
        names: list[str] = list(self._nodes)
        return names[number]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name in self._inputs else "output"

    def get_tensor_dtype(self, name: str) -> str:
        return str(self._nodes[name].type)

    def create_execution_context(self) -> "_Context":
        return _Context(self)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = tuple(shape)
        return shape[0] <= 64

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        sizes = {"batch": (self._shapes.get("images") or self._shapes.get("tokens") or (1,))[0]}
        sizes["entities"] = self._shapes.get("entity_rows", (1,))[0]
        (node,) = (node for node in self._engine.session.get_outputs() if node.name == name)
        return tuple(size if isinstance(size, int) else sizes[size] for size in node.shape)

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        inputs = {
            name: _view(self._addresses[name], shape, Recorder.nptype(self._engine.get_tensor_dtype(name)))
            for name, shape in self._shapes.items()
        }
        names = [node.name for node in self._engine.session.get_outputs()]
        for name, result in zip(names, self._engine.session.run(names, inputs), strict=True):
            _view(self._addresses[name], result.shape, np.float32)[...] = result
        return True


def _view(address: int, shape: tuple[int, ...], kind: Any) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype=kind).reshape(shape)


class Cudart:
    """The module cuda.bindings.runtime; `held` counts the buffers not given back."""

    cudaError_t = SimpleNamespace(cudaSuccess=OK)  # noqa: N815 - the real name
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815 - the real name

    def __init__(self, *, memory_bytes: int = 1 << 30) -> None:
        self._buffers: dict[int, Any] = {}
        self._memory_bytes = memory_bytes

    @property
    def held(self) -> int:
        """Buffers that were not given back."""
        return len(self._buffers)

    def cudaMalloc(self, size: int) -> tuple[int, int]:  # noqa: N802 - the real name
        """Allocate."""
        if size > self._memory_bytes:
            return 2, 0
        buffer = ctypes.create_string_buffer(size)
        self._buffers[ctypes.addressof(buffer)] = buffer
        return OK, ctypes.addressof(buffer)

    def cudaFree(self, address: int) -> tuple[int]:  # noqa: N802 - the real name
        """Give back."""
        del self._buffers[address]
        return (OK,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:  # noqa: N802 - the real name
        """Copy at once."""
        ctypes.memmove(target, source, size)
        return (OK,)

    def cudaStreamCreate(self) -> tuple[int, int]:  # noqa: N802 - the real name
        """Make a stream."""
        return OK, 7

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:  # noqa: N802 - the real name
        """Nothing is ever queued here."""
        return (OK,)

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:  # noqa: N802 - the real name
        """Nothing to destroy."""
        return (OK,)
