"""ONNX Runtime on the CPU: the path of a graph enters, a session on it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from models.shared.runtimes.graph import Array, FloatArray, GraphOpenError, GraphRunError, all_finite

NAME = "onnxruntime"
_ERRORS = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)


class OnnxRuntime:
    """`models.shared.runtimes.graph.Runtime` on ONNX Runtime's CPU provider. 0 threads = one per core."""

    def __init__(self, *, threads: int = 0) -> None:
        self._threads = threads

    @property
    def name(self) -> str:
        """What settings call it."""
        return NAME

    def open(self, path: Path) -> OnnxGraph:
        """Open the graph at `path`. Raises GraphOpenError."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            return OnnxGraph(onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]))
        except _ERRORS as exc:
            raise GraphOpenError(file=path.name, runtime=NAME) from exc


class OnnxGraph:
    """One session; sessions may be run by several threads at once."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> list[FloatArray]:
        """Run the graph. Raises GraphRunError."""
        try:
            results: list[FloatArray] = self._session.run(list(outputs), dict(inputs))
        except _ERRORS as exc:
            raise GraphRunError(runtime=NAME, kind=type(exc).__name__) from exc
        return all_finite(NAME, results)
