"""A grid and a width enter; the constant sinusoidal position table leaves, float32, one row per cell, row-major."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@lru_cache(maxsize=8)
def sinusoidal_positions(rows: int, columns: int, width: int) -> NDArray[np.float32]:
    """Interleaved sine and cosine of the row, then of the column: (rows * columns, width), read-only.

    A grid smaller than the model's takes the first rows of the model's table, not a table of its own.
    """
    axis_width = 2 * math.ceil(width / 4)
    frequencies = 10000.0 ** (-np.arange(0, axis_width, 2) / axis_width)
    by_row = np.broadcast_to(_axis(rows, frequencies)[:, None], (rows, columns, axis_width))
    by_column = np.broadcast_to(_axis(columns, frequencies)[None], (rows, columns, axis_width))
    both = np.concatenate((by_row, by_column), axis=-1)[..., :width]
    table = np.ascontiguousarray(both, dtype=np.float32).reshape(rows * columns, width)
    table.setflags(write=False)
    return table


def _axis(count: int, frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    angles = np.arange(count)[:, None] * frequencies
    return np.stack((np.sin(angles), np.cos(angles)), axis=-1).reshape(count, -1)
