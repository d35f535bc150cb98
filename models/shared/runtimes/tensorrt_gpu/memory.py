"""Arrays on the host enter, buffers on the device leave, and back: the few calls of the CUDA runtime that are needed.

`cudart` is the module cuda.bindings.runtime, given from outside; its functions return a status first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from models.shared.runtimes.graph import Array, GraphRunError


class DeviceBuffers:
    """Buffers by tensor name, each grown to the largest size it was asked for, and one stream."""

    def __init__(self, cudart: Any) -> None:
        self._cudart = cudart
        self._buffers: dict[str, tuple[int, int]] = {}
        self.stream = self._call("cudaStreamCreate")

    def upload(self, name: str, array: Array) -> int:
        """Copy a C-contiguous array to the buffer of `name`; returns its device address. Raises GraphRunError."""
        address = self.reserve(name, array.nbytes)
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)
        return address

    def download(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Wait for nothing yet: queue the copy of a float32 output to a new array. Raises GraphRunError."""
        array = np.empty(shape, dtype=np.float32)
        kind = self._cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost
        address, _ = self._buffers[name]
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)
        return array

    def reserve(self, name: str, size_bytes: int) -> int:
        """Return the address of a buffer of at least that size (and one byte). Raises GraphRunError."""
        address, capacity = self._buffers.get(name, (0, 0))
        if capacity < max(size_bytes, 1):
            if address:
                self._call("cudaFree", address)
                del self._buffers[name]
            address = int(self._call("cudaMalloc", max(size_bytes, 1)))
            self._buffers[name] = (address, max(size_bytes, 1))
        return address

    def wait(self) -> None:
        """Wait for all that was queued. Raises GraphRunError."""
        self._call("cudaStreamSynchronize", self.stream)

    def close(self) -> None:
        """Give everything back."""
        for address, _ in self._buffers.values():
            self._call("cudaFree", address)
        self._buffers.clear()
        self._call("cudaStreamDestroy", self.stream)

    def _call(self, function: str, *arguments: object) -> Any:
        status, *results = getattr(self._cudart, function)(*arguments)
        if status != self._cudart.cudaError_t.cudaSuccess:
            raise GraphRunError(runtime="tensorrt", kind=f"{function}: {status}")
        return results[0] if results else None
