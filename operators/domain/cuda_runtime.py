"""Make `import holoscan` and `import monai` work on a machine without a GPU.

Holoscan links libcudart, the CUDA runtime, but needs no driver. The wheel nvidia-cuda-runtime puts the library where
the loader does not search, so it is loaded here, once, before the first import of holoscan or of monai (which imports
monai.deploy by itself and fails with a misleading message).
"""

import ctypes
import importlib.util
import resource
from functools import cache
from pathlib import Path

from operators.domain.errors import PrerequisiteMissingError

_LIBRARY = "libcudart.so.13"
_STACK_BYTES = 32 * 2**20


@cache
def preload() -> None:
    """Load the CUDA runtime library into the process, and allow threads the stack that Holoscan asks for.

    Raises PrerequisiteMissingError when the wheel nvidia-cuda-runtime is not installed.
    """
    _allow_stack()
    for folder in _wheel_folders():
        for path in sorted(folder.glob(f"**/{_LIBRARY}*")):
            ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
            return
    raise PrerequisiteMissingError(f"{_LIBRARY} was not found: install the packages of requirements.txt")


def _allow_stack() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = _STACK_BYTES if hard == resource.RLIM_INFINITY else min(_STACK_BYTES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))


def _wheel_folders() -> tuple[Path, ...]:
    spec = importlib.util.find_spec("nvidia")
    locations = spec.submodule_search_locations if spec is not None else None
    return tuple(Path(location) for location in locations or ())
