"""Linear interpolation axis by axis: coordinates enter as taps, resampled planes leave one at a time.

Trilinear interpolation is separable, so each axis is a sparse matrix of a few taps a row; two interpolations in
succession are the product of their matrices, which is exact. Only the planes that the output needs are computed, in
float64, so that memory stays at a few planes whatever the volume's size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Taps:
    """One axis: output i is the sum over k of weight[i, k] * input[index[i, k]]. Both (outputs, taps)."""

    index: NDArray[np.intp]
    weight: FloatArray

    @property
    def outputs(self) -> int:
        """Length of the axis after the interpolation."""
        return int(self.index.shape[0])

    def part(self, start: int, stop: int) -> "Taps":
        """Taps of outputs `start` up to `stop` alone."""
        return Taps(index=self.index[start:stop], weight=self.weight[start:stop])

    def flipped(self, size: int) -> "Taps":
        """Taps that read an input of `size` from its far end."""
        return Taps(index=size - 1 - self.index, weight=self.weight)

    def matrix(self, size: int) -> FloatArray:
        """Dense (outputs, size) form, for small inputs."""
        dense = np.zeros((self.outputs, size))
        np.add.at(dense, (np.arange(self.outputs)[:, None], self.index), self.weight)
        return dense


def taps_at(coordinates: NDArray[np.floating], size: int) -> Taps:
    """Taps of linear interpolation at index coordinates (n,); outside 0 .. size - 1 the border value is taken."""
    inside = np.clip(coordinates, 0, size - 1)
    lower = np.minimum(np.floor(inside).astype(np.intp), max(size - 2, 0))
    upper = np.minimum(lower + 1, size - 1)
    fraction = inside - lower
    return Taps(index=np.stack([lower, upper], axis=1), weight=np.stack([1 - fraction, fraction], axis=1))


def half_pixel_taps(size: int, outputs: int) -> Taps:
    """Taps that resize an axis of `size` to `outputs` with half-pixel centres (corners not aligned)."""
    return taps_at((np.arange(outputs) + 0.5) * (size / outputs) - 0.5, size)


def composed(second: Taps, first: Taps) -> Taps:
    """Taps of `first` and then `second`: the same as interpolating twice."""
    index = first.index[second.index]
    weight = second.weight[:, :, None] * first.weight[second.index]
    return Taps(index=index.reshape(second.outputs, -1), weight=weight.reshape(second.outputs, -1))


def resampled_planes(
    plane_at: Callable[[int], NDArray[np.floating]], slices: Taps, rows: Taps, columns: Taps
) -> Iterator[FloatArray]:
    """Yield the planes of a volume after interpolation on its three axes.

    `plane_at` gives input plane i; each is asked for once where the taps go on or back steadily. What is yielded is
    (rows.outputs, columns.outputs) float64.
    """
    kept: dict[int, FloatArray] = {}
    for index, weight in zip(slices.index, slices.weight, strict=True):
        share: dict[int, float] = {}
        for plane, part in zip(index.tolist(), weight.tolist(), strict=True):
            if part:
                share[plane] = share.get(plane, 0.0) + part
        kept = {
            plane: kept[plane] if plane in kept else resampled_plane(plane_at(plane), rows, columns) for plane in share
        }
        yield _blended(kept, share)


def resampled_plane(plane: NDArray[np.floating], rows: Taps, columns: Taps) -> FloatArray:
    """Interpolate one plane (rows, columns) on both its axes; float64."""
    return _down(columns, _down(rows, plane).T).T


def _down(taps: Taps, lines: NDArray[np.floating]) -> FloatArray:
    """Interpolate along the first axis; whole lines are taken at once, which is fast where they are contiguous."""
    taken: FloatArray = np.zeros((taps.outputs, lines.shape[1]))
    source = np.ascontiguousarray(lines, dtype=np.float64)
    for index, weight in zip(taps.index.T, taps.weight.T, strict=True):
        if weight.any():
            part = source.take(index, axis=0)
            part *= weight[:, None]
            taken += part
    return taken


def _blended(planes: dict[int, FloatArray], share: dict[int, float]) -> FloatArray:
    blended: FloatArray | None = None
    for plane, part in share.items():
        blended = planes[plane] * part if blended is None else blended + planes[plane] * part
    if blended is None:
        raise ValueError("an output slice has no weight")
    return blended
