"""A film's pixels enter; the film as another room or window might have given it leaves.

Never mirrored: sides matter.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FloatImage = NDArray[np.float32]

_CHANCE: Final = 0.5  # of each change of grey
_CONTRAST: Final = (0.85, 1.15)
_BRIGHTNESS: Final = 0.1
_GAMMA: Final = (0.8, 1.25)
_NOISE: Final = 0.02
_ROTATION_DEG: Final = 10.0
_SCALE: Final = (0.9, 1.1)
_SHIFT: Final = 0.06  # of the side, along each axis


def vary(image: FloatImage, generator: np.random.Generator) -> FloatImage:
    """Vary the geometry, then the grey values of `image` (S, S) in [0, 1]; same shape and range, zeros outside."""
    return _vary_grey(_vary_geometry(image, generator), generator)


def _vary_geometry(image: FloatImage, generator: np.random.Generator) -> FloatImage:
    side = image.shape[0]
    angle = np.deg2rad(generator.uniform(-_ROTATION_DEG, _ROTATION_DEG))
    scale = generator.uniform(*_SCALE)
    shift = generator.uniform(-_SHIFT, _SHIFT, 2) * side
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    centre = side / 2
    x_offset = centre - cosine * (centre + shift[0]) - sine * (centre + shift[1])
    y_offset = centre + sine * (centre + shift[0]) - cosine * (centre + shift[1])
    turned = Image.fromarray(image).transform(
        (side, side),
        Image.Transform.AFFINE,
        (cosine, sine, x_offset, -sine, cosine, y_offset),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(turned, dtype=np.float32)


def _vary_grey(image: FloatImage, generator: np.random.Generator) -> FloatImage:
    happens = generator.random(4) < _CHANCE
    grey = image.astype(np.float64)
    if happens[0]:
        grey = (grey - 0.5) * generator.uniform(*_CONTRAST) + 0.5
    if happens[1]:
        grey += generator.uniform(-_BRIGHTNESS, _BRIGHTNESS)
    if happens[2]:
        grey = np.clip(grey, 0, 1) ** generator.uniform(*_GAMMA)
    if happens[3]:
        grey += generator.normal(0, _NOISE, grey.shape)
    return np.clip(grey, 0, 1).astype(np.float32)
