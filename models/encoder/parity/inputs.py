"""Arrays of a fixture enter, in whatever type they are stored; images, and whole numbers one a row, leave."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.encoder.parity.checks import Arrays, MalformedError
from models.encoder.parity.runners import FloatArray, IntArray


def images_of(arrays: Arrays, name: str = "video") -> FloatArray:
    """Return the images called `name` as float32; bytes are shades of 255. Raises KeyError."""
    video = arrays[name]
    images: FloatArray = video.astype(np.float32)
    return images / np.float32(255) if video.dtype == np.uint8 else images


def numbers_of(arrays: Arrays, name: str, count: int) -> IntArray:
    """Return the array called `name` as `count` whole numbers. Raises KeyError, MalformedError."""
    numbers: IntArray = per_row(arrays[name].reshape(-1), count).astype(np.int64)
    return numbers


def per_row(values: NDArray[Any], count: int) -> NDArray[Any]:
    """Repeat values for `count` rows: one for all, or each for the images that share it. Raises MalformedError."""
    if not len(values) or count % len(values):
        raise MalformedError(f"{len(values)} values for {count} rows")
    return np.repeat(values, count // len(values), axis=0)
