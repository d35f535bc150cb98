"""Tensors of a checkpoint enter; ONNX initialisers whose bytes lie in a data file beside the graph leave.

Each tensor is read, turned and written before the next is touched, so memory is bounded by the largest piece (one
projection, or a slice of the head), whatever the number of layers.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from models.vlm.checkpoint import StoredTensor, as_float32

_ALIGNMENT_BYTES: Final = 4096  # a page, so that a runtime can map each tensor
_PIECE_ROWS: Final = 2048
_HEAD_ROWS: Final = 16384  # of the head, in one initialiser: bounds what a cast makes at run time too
QUANT_BLOCK: Final = 32
_ONNX_TYPE: Final = {
    "F32": TensorProto.FLOAT,
    "F64": TensorProto.FLOAT,
    "F16": TensorProto.FLOAT16,
    "BF16": TensorProto.BFLOAT16,
}


class WeightType(StrEnum):
    """How the large matrices are kept. Arithmetic is float32 in each case but for the rounding of the last two.

    `STORED` keeps the checkpoint's own type, bit for bit, and widens a matrix when it is used. `INT8` and `INT4` round
    blocks of 32 weights to one scale (ONNX Runtime's MatMulNBits).
    """

    STORED = "stored"
    FLOAT32 = "float32"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def bits(self) -> int | None:
        """Bits of a rounded weight; None where nothing is rounded."""
        return {"int8": 8, "int4": 4}.get(self.value)


class DataFile:
    """An ONNX external data file that is being written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def append(
        self, name: str, onnx_type: int, shape: tuple[int, ...], write: Callable[[BinaryIO], object]
    ) -> TensorProto:
        """Let `write` append a tensor's bytes at the next page. Returns the initialiser that points at them."""
        self._file.seek(-self._file.tell() % _ALIGNMENT_BYTES, 1)
        offset = self._file.tell()
        write(self._file)
        tensor = TensorProto(name=name, data_type=onnx_type, dims=shape, data_location=TensorProto.EXTERNAL)
        entries = {"location": self._path.name, "offset": offset, "length": self._file.tell() - offset}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def append_array(self, name: str, onnx_type: int, array: NDArray[Any]) -> TensorProto:
        """Append an array's bytes."""
        held = np.ascontiguousarray(array)
        return self.append(name, onnx_type, held.shape, lambda file: file.write(held.data))


def head_pieces(rows: int) -> list[tuple[int, int]]:
    """Start and stop of the slices in which the head's rows are kept."""
    return [(start, min(start + _HEAD_ROWS, rows)) for start in range(0, rows, _HEAD_ROWS)]


def matrix_type(tensor: StoredTensor, weights: WeightType) -> int:
    """ONNX type in which a matrix that is not rounded is kept."""
    return TensorProto.FLOAT if weights is WeightType.FLOAT32 else _ONNX_TYPE[tensor.dtype]


def write_turned(file: BinaryIO, stored: NDArray[Any], dtype: str, onnx_type: int) -> None:
    """Write a matrix (out, in) as (in, out), a few rows of the result at a time."""
    for start in range(0, stored.shape[1], _PIECE_ROWS):
        piece = np.ascontiguousarray(stored[:, start : start + _PIECE_ROWS].T)
        file.write((as_float32(piece, dtype) if onnx_type == TensorProto.FLOAT else piece).data)


def rounded(values: NDArray[np.float32], bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Round rows (out, in) in blocks of 32 along `in`, around the middle code, to the block's own scale.

    Returns codes (out, blocks, bytes), for 4 bits two in a byte with the lower first, and scales (out, blocks). The
    value of a code is (code - 2 ** (bits - 1)) * scale; the scale's sign puts the largest weight on the lowest code.
    """
    out, inner = values.shape
    padded = np.pad(values, ((0, 0), (0, -inner % QUANT_BLOCK))).reshape(out, -1, QUANT_BLOCK)
    middle = 1 << (bits - 1)
    peak = np.take_along_axis(padded, np.abs(padded).argmax(axis=2, keepdims=True), axis=2)[..., 0]
    scales = (peak / -middle).astype(np.float32)
    inverse = np.divide(1.0, scales, out=np.zeros_like(scales), where=scales != 0)
    codes = np.clip(np.rint(padded * inverse[..., None]) + middle, 0, 2 * middle - 1).astype(np.uint8)
    return (codes if bits == 8 else codes[..., 0::2] | (codes[..., 1::2] << 4)), scales


def inline(name: str, values: NDArray[Any]) -> TensorProto:
    """Make an initialiser that is kept in the graph: constants and vectors."""
    return numpy_helper.from_array(np.ascontiguousarray(values), name)
