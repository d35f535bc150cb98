"""Slices in any order enter; the one coherent stack of them, in order along their normal, leaves with what was left.

Pure: headers and a function that compares images enter, no file is read. The place of a slice is Image Position
(Patient) along the slices' normal; file order, instance numbers and slice location play no part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.shared.volumes.errors import VolumeError, VolumeErrorCode
from models.shared.volumes.headers import SliceHeader
from models.shared.volumes.limits import DEFAULT_LIMITS, VolumeLimits
from models.shared.volumes.volume import FloatArray, NoteCode, VolumeGeometry, VolumeNote

_SAME_PLACE_MM = 0.01
_SAME_DIRECTION_COSINE = 0.9998  # 1.1 degrees
_SAME_SPACING_SHARE = 0.005
_MISSING_FROM_STEPS = 1.75  # a step this many times the usual one has slices missing in it
_EVEN_SHARE = 0.02  # steps that differ by less are rounding in the headers
_SHIFT_PX = 0.05  # a smaller sideways shift is rounding in the headers

SameImage = Callable[[SliceHeader, SliceHeader], bool]
"""Whether two images at one place hold the same pixels."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stack:
    """Slices of one volume in order, its geometry, and what is worth saying about it."""

    slices: tuple[SliceHeader, ...]
    geometry: VolumeGeometry
    notes: tuple[VolumeNote, ...]


def stack_slices(
    headers: Sequence[SliceHeader], same_image: SameImage, *, limits: VolumeLimits = DEFAULT_LIMITS
) -> Stack:
    """Find the largest coherent stack of a series.

    Localizers and images without a place are left out. Images of one size, spacing, orientation, echo, b-value and time
    belong together; where several lie at one place, equal ones are dropped and others make stacks of their own. The
    stack with most slices wins, then the longer one, then the one whose images came first.

    Raises
    ------
    VolumeError
        no-slices, no-geometry, too-few-slices, gap-too-large, too-many-missing, tilt-too-large, absurd-size.
    """
    if not headers:
        raise VolumeError(VolumeErrorCode.NO_SLICES)
    seen = [header for header in headers if not header.is_localizer]
    placed = [header for header in seen if header.has_geometry]
    if not placed:
        code = VolumeErrorCode.NO_GEOMETRY if seen else VolumeErrorCode.NO_SLICES
        raise VolumeError(code, slices=len(headers))
    layers: list[list[SliceHeader]] = []
    duplicates = 0
    for group in _groups(placed):
        kept, dropped = _layers(group, same_image)
        layers.extend(kept)
        duplicates += dropped
    layers.sort(key=_preference)
    stack = _stack(layers[0], limits)
    notes = (
        VolumeNote(code=NoteCode.LOCALIZERS_LEFT, count=len(headers) - len(seen)),
        VolumeNote(code=NoteCode.NO_GEOMETRY_LEFT, count=len(seen) - len(placed)),
        VolumeNote(code=NoteCode.OTHER_STACK_LEFT, count=sum(len(layer) for layer in layers[1:])),
        VolumeNote(code=NoteCode.DUPLICATES_DROPPED, count=duplicates),
        *stack.notes,
    )
    return replace(stack, notes=tuple(note for note in notes if note.count))


def normal_of(header: SliceHeader) -> NDArray[np.float64]:
    """Return the unit normal (3,) LPS of a slice that has geometry: along its rows crossed with down its columns."""
    normal: NDArray[np.float64] = np.cross(np.array(header.row_lps), np.array(header.column_lps))
    return normal


def _groups(headers: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    groups: list[list[SliceHeader]] = []
    for header in headers:
        for group in groups:
            if _belongs(header, group[0]):
                group.append(header)
                break
        else:
            groups.append([header])
    return groups


def _belongs(header: SliceHeader, other: SliceHeader) -> bool:
    return _identity(header) == _identity(other) and _is_parallel(header, other) and _has_spacing_of(header, other)


def _identity(header: SliceHeader) -> tuple[object, ...]:
    # The first two values of Image Type tell originals from derived images, the fourth a magnitude from a phase image.
    return (
        header.rows,
        header.columns,
        header.image_type[:2],
        header.image_type[3:4],
        header.echo_ms,
        header.b_value,
        header.temporal_index,
        header.stack_id,
        header.frame_of_reference_uid,
    )


def _is_parallel(header: SliceHeader, other: SliceHeader) -> bool:
    along_rows = np.dot(header.row_lps or (0,), other.row_lps or (0,))
    along_columns = np.dot(header.column_lps or (0,), other.column_lps or (0,))
    return bool(min(along_rows, along_columns) > _SAME_DIRECTION_COSINE)


def _has_spacing_of(header: SliceHeader, other: SliceHeader) -> bool:
    return np.allclose(header.spacing_mm or 0, other.spacing_mm or 0, rtol=_SAME_SPACING_SHARE)


def _layers(group: Sequence[SliceHeader], same_image: SameImage) -> tuple[list[list[SliceHeader]], int]:
    """Split images that share their place into stacks; equal ones are dropped and counted.

    Where acquisitions overlap, as the phases of a CT do, each is a stack of its own. Else the images at a place go to
    the stacks in the order of their numbers.
    """
    places: list[list[SliceHeader]] = []
    for place in _places(group):
        kept: list[SliceHeader] = []
        for header in sorted(place, key=_order):
            if not any(header.source == other.source or same_image(header, other) for other in kept):
                kept.append(header)
        places.append(kept)
    dropped = len(group) - sum(map(len, places))
    if any(len({header.acquisition_number for header in place}) > 1 for place in places):
        return _by_acquisition(places), dropped
    return _by_level(places), dropped


def _by_acquisition(places: Sequence[Sequence[SliceHeader]]) -> list[list[SliceHeader]]:
    numbers = sorted({header.acquisition_number for place in places for header in place})
    of_each = [[[header for header in place if header.acquisition_number == n] for place in places] for n in numbers]
    return [layer for own in of_each for layer in _by_level(own)]


def _by_level(places: Sequence[Sequence[SliceHeader]]) -> list[list[SliceHeader]]:
    levels = max(map(len, places))
    return [[place[level] for place in places if len(place) > level] for level in range(levels)]


def _places(group: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    normal = normal_of(group[0])
    along = sorted(((_distance_mm(header, normal), header) for header in group), key=lambda pair: pair[0])
    places: list[list[SliceHeader]] = []
    last_mm = -np.inf
    for distance_mm, header in along:
        if distance_mm - last_mm > _SAME_PLACE_MM:
            places.append([])
        places[-1].append(header)
        last_mm = distance_mm
    return places


def _distance_mm(header: SliceHeader, normal: NDArray[np.float64]) -> float:
    return float(np.array(header.position_lps_mm) @ normal)


def _order(header: SliceHeader) -> tuple[int, int, str, int]:
    source = header.source
    return (header.acquisition_number, header.instance_number, source.instance_uid, source.frame_index)


def _preference(layer: Sequence[SliceHeader]) -> tuple[object, ...]:
    normal = normal_of(layer[0])
    length_mm = _distance_mm(layer[-1], normal) - _distance_mm(layer[0], normal)
    return (-len(layer), -round(length_mm, 1), min(_order(header) for header in layer))


def _stack(slices: Sequence[SliceHeader], limits: VolumeLimits) -> Stack:
    if len(slices) < max(2, limits.min_slices):
        raise VolumeError(VolumeErrorCode.TOO_FEW_SLICES, slices=len(slices), needed=limits.min_slices)
    first = slices[0]
    if len(slices) * first.rows * first.columns > limits.max_voxels:
        raise VolumeError(VolumeErrorCode.ABSURD_SIZE, slices=len(slices), rows=first.rows, columns=first.columns)
    axes = np.stack([normal_of(first), np.array(first.column_lps), np.array(first.row_lps)])
    # Tilted slices are straightened about the middle one: the least is pushed out of the field, its centre stays.
    middle = len(slices) // 2
    from_middle_mm = np.array([header.position_lps_mm for header in slices]) - np.array(slices[middle].position_lps_mm)
    along_mm, sideways_mm = from_middle_mm @ axes[0], from_middle_mm @ axes[1:].T
    spacing_mm = first.spacing_mm or (1.0, 1.0)
    step_mm, missing = _steps(along_mm, limits)
    shift_px = _shift(along_mm, sideways_mm, spacing_mm, limits)
    geometry = VolumeGeometry(
        shape=(len(slices), first.rows, first.columns),
        slice_positions_mm=along_mm - along_mm[0],
        slice_spacing_mm=step_mm,
        pixel_spacing_mm=spacing_mm,
        axes_lps=axes,
        origin_lps_mm=np.array(slices[middle].position_lps_mm) + along_mm[0] * axes[0],
        source_shift_px=shift_px,
        sources=tuple(header.source for header in slices),
    )
    return Stack(slices=tuple(slices), geometry=geometry, notes=_notes(along_mm, step_mm, missing, shift_px))


def _steps(along_mm: FloatArray, limits: VolumeLimits) -> tuple[float, int]:
    """Usual distance between slices and how many are missing. Raises VolumeError where too many are."""
    steps_mm = np.diff(along_mm)
    usual_mm = float(np.median(steps_mm))
    wide_mm = steps_mm[steps_mm > _MISSING_FROM_STEPS * usual_mm]
    missing = int(np.rint(wide_mm / usual_mm - 1).sum())
    largest_mm = max(limits.max_gap_mm, 2.1 * usual_mm)
    if wide_mm.size and wide_mm.max() > largest_mm:
        raise VolumeError(
            VolumeErrorCode.GAP_TOO_LARGE,
            gap_mm=round(float(wide_mm.max()), 2),
            limit_mm=round(largest_mm, 2),
            missing=missing,
        )
    if missing > 1 and missing > limits.max_missing_share * (along_mm.size + missing):
        raise VolumeError(VolumeErrorCode.TOO_MANY_MISSING, missing=missing, slices=along_mm.size)
    return usual_mm, missing


def _shift(
    along_mm: FloatArray, sideways_mm: FloatArray, spacing_mm: tuple[float, float], limits: VolumeLimits
) -> FloatArray:
    """(slices, 2) pixels (rows, columns) to add to a place in the straightened slice to find it in its image.

    Raises VolumeError where the slices run off sideways by more than a gantry tilt.
    """
    steps_mm, aside_mm = np.diff(along_mm), np.linalg.norm(np.diff(sideways_mm, axis=0), axis=1)
    angle_deg = float(np.rad2deg(np.arctan2(aside_mm, steps_mm)).max())
    shift_px: FloatArray = -sideways_mm / np.array(spacing_mm)
    if np.abs(shift_px).max() <= _SHIFT_PX:
        return np.zeros_like(shift_px)
    if angle_deg > limits.max_tilt_deg:
        raise VolumeError(VolumeErrorCode.TILT_TOO_LARGE, angle_deg=round(angle_deg, 1), limit_deg=limits.max_tilt_deg)
    return shift_px


def _notes(along_mm: FloatArray, step_mm: float, missing: int, shift_px: FloatArray) -> tuple[VolumeNote, ...]:
    steps_mm = np.diff(along_mm)
    whole_steps = np.maximum(np.rint(steps_mm / step_mm), 1)
    uneven = int((np.abs(steps_mm / (whole_steps * step_mm) - 1) > _EVEN_SHARE).sum())
    return (
        VolumeNote(code=NoteCode.SLICES_INTERPOLATED, count=missing),
        VolumeNote(code=NoteCode.IRREGULAR_SPACING, count=uneven),
        VolumeNote(code=NoteCode.TILT_CORRECTED, count=int(shift_px.any(axis=1).sum())),
    )
