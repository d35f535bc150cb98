"""Scanned slices of one series enter; their Volume leaves: decoded, in order, in the patient's coordinates."""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models.shared.pixels import PixelError, PixelErrorCode, PixelLimits, read_file_values
from models.shared.volumes.errors import VolumeError, VolumeErrorCode
from models.shared.volumes.headers import SliceHeader
from models.shared.volumes.limits import DEFAULT_LIMITS, VolumeLimits
from models.shared.volumes.resampling import resampled_plane, taps_at
from models.shared.volumes.stacking import Stack, stack_slices
from models.shared.volumes.volume import FloatVolume, NoteCode, Volume, VolumeNote

AIR_HU = -1000.0
_DEFAULT_PIXEL_LIMITS = PixelLimits()


def read_volume(
    slices: Sequence[SliceHeader],
    modality: str,
    *,
    limits: VolumeLimits = DEFAULT_LIMITS,
    pixel_limits: PixelLimits = _DEFAULT_PIXEL_LIMITS,
) -> Volume:
    """Read the largest coherent stack of a series as a volume.

    Parameters
    ----------
    slices
        Headers of the series' images, in any order, each with its path (`scan_series`).
    modality
        "CT": values leave in Hounsfield units, padding as air. Anything else: the scanner's values, padding as 0.

    Raises
    ------
    VolumeError
        What `stack_slices` raises; not-hounsfield; no-slices where no slice can be decoded.
    OSError
        A file cannot be opened or read.
    """
    remaining = list(slices)
    damaged: dict[SliceHeader, PixelErrorCode] = {}
    same_pixels = _SamePixels(pixel_limits)
    while True:
        # A slice that cannot be decoded is a missing slice: the gap it leaves is judged, and the rest read without it.
        remaining = [header for header in remaining if header not in damaged]
        if damaged and not remaining:
            raise VolumeError(VolumeErrorCode.NO_SLICES, pixels=next(iter(damaged.values())).value)
        stack = stack_slices(remaining, same_pixels, limits=limits)
        if modality == "CT" and not all(header.is_hounsfield for header in stack.slices):
            raise VolumeError(VolumeErrorCode.NOT_HOUNSFIELD)
        voxels, failures = _decoded(stack.slices, AIR_HU if modality == "CT" else 0.0, pixel_limits)
        if not failures:
            break
        damaged |= failures
    notes = stack.notes
    if damaged:
        notes = (*notes, VolumeNote(code=NoteCode.UNREADABLE_LEFT, count=len(damaged)))
    if not np.isfinite(voxels).all():
        raise VolumeError(VolumeErrorCode.NOT_FINITE)
    _straighten(voxels, stack, AIR_HU if modality == "CT" else 0.0)
    return Volume(voxels=voxels, geometry=stack.geometry, modality=modality, notes=notes)


def _decoded(
    slices: Sequence[SliceHeader], padding_value: float, limits: PixelLimits
) -> tuple[FloatVolume, Mapping[SliceHeader, PixelErrorCode]]:
    """Decode slices into one array, each file opened once; those that cannot be decoded are named with the reason."""
    voxels = np.empty((len(slices), slices[0].rows, slices[0].columns), dtype=np.float32)
    failures: dict[SliceHeader, PixelErrorCode] = {}
    of_file: dict[Path, list[int]] = defaultdict(list)
    for position, header in enumerate(slices):
        of_file[_path(header)].append(position)
    for path, positions in of_file.items():
        frames = read_file_values(path, [slices[k].source.frame_index for k in positions], limits=limits)
        done = 0
        try:
            for position, frame in zip(positions, frames, strict=True):
                voxels[position] = np.where(frame.padding, np.float32(padding_value), frame.values)
                done += 1
        except PixelError as exc:
            failures |= dict.fromkeys((slices[k] for k in positions[done:]), exc.code)
    return voxels, failures


def _path(header: SliceHeader) -> Path:
    if header.path is None:
        raise VolumeError(VolumeErrorCode.NO_SLICES)
    return header.path


def _straighten(voxels: FloatVolume, stack: Stack, outside_value: float) -> None:
    """Shift tilted slices in place, so that one column of voxels runs along the normal; linear, outside is filled."""
    rows, columns = voxels.shape[1], voxels.shape[2]
    for plane, (row_shift, column_shift) in zip(voxels, stack.geometry.source_shift_px.tolist(), strict=True):
        if row_shift == column_shift == 0:
            continue
        at_rows, at_columns = np.arange(rows) + row_shift, np.arange(columns) + column_shift
        shifted = resampled_plane(plane, taps_at(at_rows, rows), taps_at(at_columns, columns))
        shifted[(at_rows < -0.5) | (at_rows > rows - 0.5)] = outside_value
        shifted[:, (at_columns < -0.5) | (at_columns > columns - 0.5)] = outside_value
        plane[...] = shifted


class _SamePixels:
    """Whether two slices hold the same pixels, by the digest of their values; each is read at most once."""

    def __init__(self, limits: PixelLimits) -> None:
        self._limits = limits
        self._digests: dict[SliceHeader, bytes] = {}

    def __call__(self, one: SliceHeader, other: SliceHeader) -> bool:
        return self._digest(one) == self._digest(other)

    def _digest(self, header: SliceHeader) -> bytes:
        if header not in self._digests:
            try:
                (frame,) = read_file_values(_path(header), [header.source.frame_index], limits=self._limits)
                content = frame.values.tobytes()
            except PixelError:
                content = repr(header.source).encode()  # what cannot be read equals nothing but itself
            self._digests[header] = hashlib.sha256(content).digest()
        return self._digests[header]
