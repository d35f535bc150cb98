"""The decoder's graph and the embedding table enter; `models.vlm.decoding.Decoder` on ONNX Runtime leaves.

Keys and values stay in the runtime's own buffers from step to step. The table is mapped, not read: a prompt touches the
rows of its tokens only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.vlm.checkpoint import as_float32
from models.vlm.engine import FloatArray, IntArray, VlmFailureError

_STORED: Final = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
RUNTIME_ERRORS: Final = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)


class EmbeddingTable:
    """Rows of a table that stays on disk."""

    def __init__(self, path: Path, *, dtype: str, shape: tuple[int, int]) -> None:
        """`dtype` as safetensors spells it. Raises KeyError for an unknown one, ValueError for a wrong file size."""
        self._dtype = dtype
        if path.stat().st_size != shape[0] * shape[1] * np.dtype(_STORED[dtype]).itemsize:
            raise ValueError(f"{path.name} does not hold {shape[0]} x {shape[1]} of {dtype}")
        self._rows: NDArray[Any] = np.memmap(path, dtype=_STORED[dtype], mode="r", shape=shape)

    def __getitem__(self, token_ids: IntArray) -> FloatArray:
        """Rows (..., d) float32, a copy."""
        return np.array(as_float32(np.asarray(self._rows[token_ids]), self._dtype))


class OnnxDecoder:
    """The text stack in ONNX Runtime on CPU. Safe to call from several threads, each with its own state."""

    def __init__(self, session: onnxruntime.InferenceSession, table: EmbeddingTable) -> None:
        self._session = session
        self._table = table

    def embed(self, token_ids: IntArray) -> FloatArray:
        """Rows (..., d) of the embedding table."""
        return self._table[token_ids]

    def start(self) -> OnnxState:
        """Begin with an empty cache."""
        return OnnxState(self._session)


class OnnxState:
    """Sequences in progress; see `models.vlm.decoding.DecoderState`."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._past_names = [node.name for node in session.get_inputs() if node.name.startswith("past_")]
        _, self._kv_heads, _, self._width = session.get_inputs()[-1].shape
        self._outputs = ["logits", *(name.replace("past_", "present_") for name in self._past_names)]
        self._past: list[onnxruntime.OrtValue] = []

    def step(
        self, embeds: FloatArray, attention_mask: IntArray, position_ids: IntArray, logit_columns: IntArray
    ) -> FloatArray:
        """Append `embeds`; returns logits (b, r, v). Raises VlmFailureError."""
        if not self._past:
            empty = np.zeros((len(embeds), self._kv_heads, 0, self._width), dtype=np.float32)
            self._past = [_ort_value(empty) for _ in self._past_names]
        feeds = {
            "embeds": _ort_value(embeds),
            "attention_mask": _ort_value(attention_mask),
            "position_ids": _ort_value(position_ids),
            "logit_columns": _ort_value(logit_columns),
            **dict(zip(self._past_names, self._past, strict=True)),
        }
        try:
            found, *self._past = self._session.run_with_ort_values(self._outputs, feeds)
        except RUNTIME_ERRORS as exc:
            raise VlmFailureError("the runtime failed on valid input") from exc
        logits: FloatArray = found.numpy()
        if not np.isfinite(logits).all():
            raise VlmFailureError("the decoder gave what is not a number")
        return logits

    def keep_rows(self, rows: IntArray) -> None:
        """Keep these rows of the batch, in this order."""
        self._past = [_ort_value(value.numpy()[rows]) for value in self._past]


def open_session(path: Path, *, intra_op_threads: int = 0, keep_narrow: bool = False) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU provider. 0 threads = one per core.

    `keep_narrow`: do not widen weights that are kept in 16 bits when the graph is opened (it would double them), but
    each time one is used. Raises what `RUNTIME_ERRORS` names.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    left_out = ["ConstantFolding"] if keep_narrow else []
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"], disabled_optimizers=left_out)


def _ort_value(array: NDArray[Any]) -> onnxruntime.OrtValue:
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
