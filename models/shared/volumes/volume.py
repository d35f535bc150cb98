"""A volume in the patient's coordinates: voxels with their geometry, where each slice came from, and what was done."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

FloatVolume = NDArray[np.float32]
FloatArray = NDArray[np.float64]


class NoteCode(StrEnum):
    """What was done to, or left out of, a series on the way to its volume."""

    DUPLICATES_DROPPED = "duplicates-dropped"
    SLICES_INTERPOLATED = "slices-interpolated"
    IRREGULAR_SPACING = "irregular-spacing"
    TILT_CORRECTED = "tilt-corrected"
    OTHER_STACK_LEFT = "other-stack-left"
    LOCALIZERS_LEFT = "localizers-left"
    NO_GEOMETRY_LEFT = "no-geometry-left"
    UNREADABLE_LEFT = "unreadable-left"


_SENTENCES = {
    NoteCode.DUPLICATES_DROPPED: "Slices that were sent twice were dropped: {count}.",
    NoteCode.SLICES_INTERPOLATED: "Slices that are missing were interpolated: {count}.",
    NoteCode.IRREGULAR_SPACING: "The slices are not evenly spaced; each was taken at its true position: {count}.",
    NoteCode.TILT_CORRECTED: "The slices are tilted against their direction and were straightened: {count}.",
    NoteCode.OTHER_STACK_LEFT: "Slices of another orientation, size, spacing or acquisition were left out: {count}.",
    NoteCode.LOCALIZERS_LEFT: "Localizer images were left out: {count}.",
    NoteCode.NO_GEOMETRY_LEFT: "Images that do not say where they lie were left out: {count}.",
    NoteCode.UNREADABLE_LEFT: "Slices whose pixels cannot be read were left out: {count}.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeNote:
    """One thing worth saying about how a volume was made; `count` is the number of slices it concerns."""

    code: NoteCode
    count: int

    @property
    def sentence(self) -> str:
        """The note in one sentence without patient data."""
        return _SENTENCES[self.code].format(count=self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSource:
    """The image a slice was read from. `frame_index` is 0-based; DICOM's frame numbers count from 1."""

    instance_uid: str
    sop_class_uid: str
    frame_index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VolumeGeometry:
    """Where the voxels of a volume lie in the patient (LPS: +x left, +y posterior, +z superior; PS3.3 C.7.6.2.1.1).

    Attributes
    ----------
    shape
        (slices, rows, columns).
    slice_positions_mm
        (slices,) float64, strictly increasing: centre of each slice along `axes_lps[0]`, the first one at 0. The true
        positions; they need not be evenly spaced.
    slice_spacing_mm
        Nominal distance between slices: the median of the true ones.
    pixel_spacing_mm
        (between rows, between columns).
    axes_lps
        (3, 3) float64 unit vectors at right angles: the direction of growing slice, row and column index.
    origin_lps_mm
        (3,) float64: centre of voxel (0, 0, 0).
    source_shift_px
        (slices, 2) float64 (rows, columns): what has to be added to a voxel's place in a slice to find it in the
        source image. Zero unless tilted slices were straightened.
    sources
        One a slice; empty where the volume did not come from DICOM objects.
    """

    shape: tuple[int, int, int]
    slice_positions_mm: FloatArray
    slice_spacing_mm: float
    pixel_spacing_mm: tuple[float, float]
    axes_lps: FloatArray
    origin_lps_mm: FloatArray
    source_shift_px: FloatArray
    sources: tuple[SliceSource, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(between slices, between rows, between columns)."""
        return (self.slice_spacing_mm, *self.pixel_spacing_mm)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """A volume as read.

    Attributes
    ----------
    voxels
        (slices, rows, columns) float32: Hounsfield units for CT (padding is air, -1000), the scanner's values else.
    geometry
        Where they lie.
    modality
        Value of Modality (0008,0060); empty for a NIfTI file, which does not say.
    notes
        What was done to the series.
    """

    voxels: FloatVolume
    geometry: VolumeGeometry
    modality: str = ""
    notes: tuple[VolumeNote, ...] = ()
