"""OpenVINO on the CPU: the path of a graph enters, a compiled model leaves.

The precision is held to float32: on processors with bfloat16 OpenVINO would otherwise round, and answers would depend
on the machine.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import openvino

from models.shared.runtimes.graph import Array, FloatArray, GraphOpenError, GraphRunError, all_finite

NAME = "openvino"


class OpenVinoRuntime:
    """`models.shared.runtimes.graph.Runtime` on OpenVINO's CPU plugin. 0 threads = one per core."""

    def __init__(self, *, threads: int = 0) -> None:
        self._core = openvino.Core()
        self._options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = str(threads)

    @property
    def name(self) -> str:
        """What settings call it."""
        return NAME

    def open(self, path: Path) -> OpenVinoGraph:
        """Open the graph at `path`. Raises GraphOpenError."""
        try:
            return OpenVinoGraph(self._core.compile_model(path, "CPU", self._options))
        except RuntimeError as exc:
            raise GraphOpenError(file=path.name, runtime=NAME) from exc


class OpenVinoGraph:
    """One compiled model, with a request for each thread: a request runs one inference at a time."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self._local = threading.local()

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[FloatArray]:
        """Run the graph. Raises GraphRunError."""
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        try:
            request.infer(dict(inputs), share_inputs=True)
            # Copied: the request writes its next answer to the same memory.
            results = [np.array(request.get_tensor(name).data, dtype=np.float32) for name in outputs]
        except RuntimeError as exc:
            raise GraphRunError(runtime=NAME, kind=type(exc).__name__) from exc
        return all_finite(NAME, results)
