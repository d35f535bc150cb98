"""An attention map enters; the place in the image that it points to leaves.

The region of an entity is grown from the peak of its map, always by the strongest neighbouring cell, until it holds a
stated share of the map's mass: connected, and no larger than that share needs from where the growth started.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import isqrt

import numpy as np
from numpy.typing import NDArray

DEFAULT_MASS_SHARE = 0.5
_TOLERANCE = 1e-6  # a float32 map that sums to 1 may miss it by this much


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRegion:
    """A connected set of grid cells and its bounding box.

    `x`, `y`, `width`, `height` are fractions of the model input, from the left and the top, within [0, 1]. `cells` are
    row-major indices in the order of growth; `mass` is the share of the map in them, `box_mass` in the whole box.
    """

    x: float
    y: float
    width: float
    height: float
    cells: tuple[int, ...]
    mass: float
    box_mass: float


def evidence_region(attention: NDArray[np.floating], *, mass_share: float = DEFAULT_MASS_SHARE) -> EvidenceRegion:
    """Grow the region of `attention` ((n,), n a square number, not negative, sums to 1) that holds `mass_share` of it.

    Ties are broken by the lower cell index, so equal input gives equal output. Raises ValueError for a map that is not
    a square, not finite, negative or does not sum to 1, and for a share outside (0, 1].
    """
    side = isqrt(attention.size)
    grid = attention.astype(np.float64).ravel()
    if attention.ndim != 1 or side * side != attention.size or not attention.size:
        raise ValueError(f"attention of shape {attention.shape} is not a flat square grid")
    if not np.isfinite(grid).all() or grid.min() < 0 or abs(grid.sum() - 1) > 1e-3:
        raise ValueError("attention is not a distribution over the grid")
    if not 0 < mass_share <= 1:
        raise ValueError(f"mass share {mass_share} is outside (0, 1]")
    grid /= grid.sum()
    cells = _grow(grid, side, mass_share)
    rows, columns = np.divmod(np.array(cells), side)
    top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    return EvidenceRegion(
        x=float(left / side),
        y=float(top / side),
        width=float((right - left) / side),
        height=float((bottom - top) / side),
        cells=tuple(cells),
        mass=float(grid[cells].sum()),
        box_mass=float(grid.reshape(side, side)[top:bottom, left:right].sum()),
    )


def _grow(grid: NDArray[np.float64], side: int, mass_share: float) -> list[int]:
    start = int(grid.argmax())
    front = [(-grid[start], start)]
    seen = {start}
    taken: list[int] = []
    mass = 0.0
    while front and mass < mass_share - _TOLERANCE:
        weight, cell = heapq.heappop(front)
        taken.append(cell)
        mass -= weight
        for neighbour in _neighbours(cell, side):
            if neighbour not in seen:
                seen.add(neighbour)
                heapq.heappush(front, (-grid[neighbour], neighbour))
    return taken


def _neighbours(cell: int, side: int) -> list[int]:
    row, column = divmod(cell, side)
    steps = ((row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column))
    return [r * side + c for r, c in steps if 0 <= r < side and 0 <= c < side]
