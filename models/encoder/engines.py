"""The name of an engine enters, the runtime of that name leaves, or the sentence why this machine has none."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from models.encoder.selftest import QUESTION_IMAGES
from models.shared.runtimes.graph import Runtime, RuntimeUnavailableError
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.shared.runtimes.openvino_cpu import OpenVinoRuntime
from models.shared.runtimes.tensorrt_gpu.building import Wanted
from models.shared.runtimes.tensorrt_gpu.plan import AxisRange, Ranges
from models.shared.runtimes.tensorrt_gpu.runtime import open_tensorrt

REFERENCE: Final = "onnxruntime"
"""The engine that all others are compared with."""
ENGINES: Final = (REFERENCE, "openvino", "tensorrt")


def open_runtime(name: str, *, threads: int, engine_folder: Path, batch_images: int) -> Runtime:
    """Open the runtime called `name`, one of ENGINES.

    `threads` is for engines on the processor, 0 for one per core; `engine_folder` keeps engines built for a GPU, which
    take up to `batch_images` images at once. Raises RuntimeUnavailableError.
    """
    if name == REFERENCE:
        return OnnxRuntime(threads=threads)
    if name == "openvino":
        return OpenVinoRuntime(threads=threads)
    if name == "tensorrt":
        images = AxisRange(smallest=1, usual=1, largest=max(batch_images, QUESTION_IMAGES))
        return open_tensorrt(engine_folder, Wanted(ranges=Ranges(images=images)))
    raise RuntimeUnavailableError(f"there is no engine called {name}")
