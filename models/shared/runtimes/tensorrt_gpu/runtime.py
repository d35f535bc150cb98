"""TensorRT as a `Runtime`: the path of a graph enters, an engine, built for this GPU or kept from before, leaves."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.shared.runtimes.graph import (
    Array,
    FloatArray,
    GraphOpenError,
    GraphRunError,
    RuntimeUnavailableError,
    all_finite,
)
from models.shared.runtimes.tensorrt_gpu.building import NAME, EngineBuilder, Wanted
from models.shared.runtimes.tensorrt_gpu.cache import EngineCache
from models.shared.runtimes.tensorrt_gpu.memory import DeviceBuffers
from models.shared.runtimes.tensorrt_gpu.plan import PlanError, engine_key, timing_key, weights_digest
from models.shared.runtimes.tensorrt_gpu.probe import Gpu, probe

logger = logging.getLogger(__name__)


def open_tensorrt(cache_folder: Path, wanted: Wanted | None = None) -> TensorRtRuntime:
    """Find the GPU, then import tensorrt. Raises RuntimeUnavailableError saying what is missing."""
    gpu = probe()
    try:
        trt = importlib.import_module("tensorrt")  # only here: without a GPU its runtime ends the process
        cudart = importlib.import_module("cuda.bindings.runtime")
    except ImportError as exc:
        raise RuntimeUnavailableError("a GPU was found, but requirements-gpu.txt is not installed") from exc
    return TensorRtRuntime(trt, cudart, gpu, EngineCache(cache_folder), wanted or Wanted())


class TensorRtRuntime:
    """`models.shared.runtimes.graph.Runtime` on TensorRT."""

    def __init__(self, trt: Any, cudart: Any, gpu: Gpu, cache: EngineCache, wanted: Wanted) -> None:
        self._trt = trt
        self._cudart = cudart
        self._gpu = gpu
        self._cache = cache
        self._wanted = wanted
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))

    @property
    def name(self) -> str:
        """What settings call it."""
        return NAME

    @property
    def gpu(self) -> Gpu:
        """The GPU it runs on."""
        return self._gpu

    def open(self, path: Path) -> TensorRtGraph:
        """Take the engine from the cache, or build it, which takes minutes. Raises GraphOpenError."""
        try:
            builder = EngineBuilder(self._trt, path, self._wanted)
        except PlanError as exc:
            raise GraphOpenError(file=path.name, runtime=NAME) from exc
        version = str(self._trt.__version__)
        key = engine_key(weights=weights_digest(path), plan=builder.plan, gpu=self._gpu, tensorrt_version=version)
        engine = self._deserialized(self._cache.engine(key))
        if engine is None:
            timings = timing_key(gpu=self._gpu, tensorrt_version=version)
            built = builder.build(self._cache.timings(timings))
            self._cache.keep_timings(timings, built.timings)
            self._cache.keep_engine(key, built.engine)
            engine = self._deserialized(built.engine)
        if engine is None:
            raise GraphOpenError(file=path.name, runtime=NAME)
        logger.info("engine.opened", extra={"graph": path.name, "key": key})
        return TensorRtGraph(self._trt, engine, DeviceBuffers(self._cudart))

    def _deserialized(self, content: bytes | None) -> Any:
        """Return the engine; None where there is none, or TensorRT will not have it any more."""
        return None if content is None else self._runtime.deserialize_cuda_engine(content)


class TensorRtGraph:
    """One engine with one context: calls take turns."""

    def __init__(self, trt: Any, engine: Any, buffers: DeviceBuffers) -> None:
        self._engine = engine
        self._context = engine.create_execution_context()
        self._buffers = buffers
        self._turn = threading.Lock()
        self._input_types = {
            name: np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            for name in (engine.get_tensor_name(number) for number in range(engine.num_io_tensors))
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        }

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[FloatArray]:
        """Run the engine. Raises GraphRunError, also for sizes outside those it was built for."""
        with self._turn:
            held = {name: np.ascontiguousarray(array, dtype=self._input_types[name]) for name, array in inputs.items()}
            for name, array in held.items():
                self._bind(name, array)
            for number in range(self._engine.num_io_tensors):
                name = self._engine.get_tensor_name(number)
                if name not in inputs:
                    size = int(np.prod(self._context.get_tensor_shape(name))) * np.dtype(np.float32).itemsize
                    self._context.set_tensor_address(name, self._buffers.reserve(name, size))
            if not self._context.execute_async_v3(self._buffers.stream):
                raise GraphRunError(runtime=NAME, kind="execute_async_v3")
            shapes = [tuple(self._context.get_tensor_shape(name)) for name in outputs]
            results = [self._buffers.download(name, shape) for name, shape in zip(outputs, shapes, strict=True)]
            self._buffers.wait()
        return all_finite(NAME, results)

    def _bind(self, name: str, array: Array) -> None:
        if not self._context.set_input_shape(name, array.shape):
            raise GraphRunError(runtime=NAME, kind=f"{name}: size outside what the engine was built for")
        self._context.set_tensor_address(name, self._buffers.upload(name, array))
