"""The machine enters, the GPU it has leaves: asked of the driver's own library, without importing tensorrt."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Protocol

from models.shared.runtimes.graph import RuntimeUnavailableError

DRIVER_LIBRARY = "libcuda.so.1"
_SUCCESS = 0
_NAME_BYTES = 256
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # CUdevice_attribute CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """The first GPU of the machine: `compute_capability` such as `9.0`, `driver_version` such as 13000."""

    name: str
    compute_capability: str
    memory_bytes: int
    driver_version: int


class LoadLibrary(Protocol):
    """How a shared library is loaded; ctypes.CDLL but in tests. Raises OSError."""

    def __call__(self, name: str, /) -> Any:
        """Load the library called `name`."""
        ...


def probe(load: LoadLibrary = ctypes.CDLL) -> Gpu:
    """Return the first GPU. Raises RuntimeUnavailableError saying what is missing."""
    try:
        driver = load(DRIVER_LIBRARY)
    except OSError as exc:
        raise RuntimeUnavailableError("no NVIDIA driver was found on this machine") from exc
    _call(driver, "cuInit", 0)
    count, device, version = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    _call(driver, "cuDeviceGetCount", ctypes.byref(count))
    if count.value < 1:
        raise RuntimeUnavailableError("the NVIDIA driver knows no GPU")
    _call(driver, "cuDeviceGet", ctypes.byref(device), 0)
    _call(driver, "cuDriverGetVersion", ctypes.byref(version))
    name = ctypes.create_string_buffer(_NAME_BYTES)
    _call(driver, "cuDeviceGetName", name, _NAME_BYTES, device)
    memory = ctypes.c_size_t()
    _call(driver, "cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    major, minor = ctypes.c_int(), ctypes.c_int()
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(major), _CAPABILITY_MAJOR, device)
    _call(driver, "cuDeviceGetAttribute", ctypes.byref(minor), _CAPABILITY_MINOR, device)
    return Gpu(
        name=name.value.decode("ascii", "replace"),
        compute_capability=f"{major.value}.{minor.value}",
        memory_bytes=memory.value,
        driver_version=version.value,
    )


def _call(driver: Any, function: str, *arguments: object) -> None:
    status = getattr(driver, function)(*arguments)
    if status != _SUCCESS:
        raise RuntimeUnavailableError(f"the NVIDIA driver failed in {function} (status {status})")
