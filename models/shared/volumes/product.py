"""A volume in the patient's coordinates enters; the model's input, and the way back to the source slices, leave.

Axes. The published CT pipeline flips both in-plane axes of a file as stored and then takes (Z, X, Y). The orientation
of those files is not written down; they are taken to be stored left-posterior-superior (LPS), the order in which DICOM
slices are written to NIfTI without reordering, because the flips then give exactly right-anterior-superior (RAS), the
usual canonical orientation. So in the input of both CT and MR

    slices (depth) run from inferior to superior    S
    rows run from the patient's left to the right   R    (the X axis)
    columns run from posterior to anterior          A    (the Y axis)

A volume is brought there by swapping and flipping axes; an oblique one is taken by its nearest axes and not turned.

CT. The published pipeline takes its input to be sampled at 3 x 1 x 1 mm and resamples that to 1.5 x 0.75 x 0.75 mm. A
series with another spacing is therefore first interpolated to 3 x 1 x 1 mm, slices at their true positions, centred in
the field of view. Both interpolations are linear along one axis at a time, so they are carried out as one by
multiplying their taps (`resampling.composed`), which gives the same numbers. Data at 3 x 1 x 1 mm skip the first step.

MR. How the authors prepared their 480 x 480 x 30 volumes is not known. Here the whole field of view, made square by
zeros on its shorter side so that nothing is stretched, is interpolated in the plane, and the whole extent of the slices
along their axis; the percentiles are taken after that, as the published pipeline takes them of the prepared file.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.shared.volumes.errors import VolumeError, VolumeErrorCode
from models.shared.volumes.fitting import FittedAxis, fitted, resampled_size
from models.shared.volumes.intensity import scaled_ct, scaled_mri
from models.shared.volumes.placement import AxisPlacement, Placement
from models.shared.volumes.resampling import Taps, composed, half_pixel_taps, resampled_planes, taps_at
from models.shared.volumes.spec import ASSUMED_CT_SPACING_MM, Family, InputSpec
from models.shared.volumes.volume import FloatArray, FloatVolume, Volume, VolumeGeometry

CANONICAL_AXES_LPS = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Directions of the input's slices, rows and columns: superior, right, anterior."""
_SPACING_TOLERANCE = 1e-3
_SMALLEST_MAIN_COSINE = 0.75  # 41 degrees; beyond it the nearest axis of an oblique volume is not clear


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VolumeInput:
    """The model's input of one volume: `voxels` (depth, side, side) float32, and where they lie on the slices."""

    voxels: FloatVolume
    placement: Placement


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Axis:
    """One axis of the volume as the input wants it: which one, whether it runs backwards, its samples in mm."""

    source: int
    is_flipped: bool
    positions_mm: NDArray[np.floating]
    spacing_mm: float

    @property
    def size(self) -> int:
        return int(self.positions_mm.size)

    @property
    def centre_mm(self) -> float:
        return float(self.positions_mm[0] + self.positions_mm[-1]) / 2

    @property
    def extent_mm(self) -> float:
        return float(self.positions_mm[-1] - self.positions_mm[0]) + self.spacing_mm

    def taps_at_mm(self, offsets_mm: NDArray[np.floating]) -> Taps:
        """Taps of interpolation at distances from the centre, along the input's direction."""
        sign = -1.0 if self.is_flipped else 1.0
        wanted_mm = self.centre_mm + sign * offsets_mm
        index = np.interp(wanted_mm, self.positions_mm, np.arange(self.size, dtype=np.float64))
        return taps_at(index, self.size)

    def placement(self, first_edge_mm: float, step_mm: float) -> AxisPlacement:
        """Where the input's axis lies: its first edge at a distance from the centre, then a step a voxel."""
        sign = -1.0 if self.is_flipped else 1.0
        return AxisPlacement(
            source_axis=self.source, start_mm=self.centre_mm + sign * first_edge_mm, step_mm=sign * step_mm
        )


def volume_input(volume: Volume, spec: InputSpec) -> VolumeInput:
    """Make the model's input of a volume.

    Returns
    -------
    VolumeInput
        CT: voxels in [0, 1], `spec.pad_value` outside the data. MR: voxels in [0, 1].

    Raises
    ------
    VolumeError
        wrong-modality where volume and spec do not fit; skewed-axes where the volume is too oblique to name its axes.
    """
    expected = "CT" if spec.family is Family.CHEST_CT else "MR"
    if volume.modality not in {expected, ""}:
        raise VolumeError(VolumeErrorCode.WRONG_MODALITY, expected=expected)
    axes = _canonical_axes(volume.geometry)
    if spec.family is Family.CHEST_CT:
        return _ct(volume, axes, spec)
    return _mri(volume, axes, spec)


def _canonical_axes(geometry: VolumeGeometry) -> tuple[_Axis, _Axis, _Axis]:
    cosines = CANONICAL_AXES_LPS @ geometry.axes_lps.T
    sources = np.abs(cosines).argmax(axis=1)
    main = cosines[np.arange(3), sources]
    if len(set(sources.tolist())) != 3 or np.abs(main).min() < _SMALLEST_MAIN_COSINE:
        raise VolumeError(VolumeErrorCode.SKEWED_AXES, cosine=round(float(np.abs(main).min()), 3))
    first, second, third = (
        _axis(geometry, int(source), is_flipped=bool(cosine < 0)) for source, cosine in zip(sources, main, strict=True)
    )
    return first, second, third


def _axis(geometry: VolumeGeometry, source: int, *, is_flipped: bool) -> _Axis:
    spacing_mm = geometry.spacing_mm[source]
    even_mm = np.arange(geometry.shape[source]) * spacing_mm
    positions_mm = geometry.slice_positions_mm if source == 0 else even_mm
    return _Axis(source=source, is_flipped=is_flipped, positions_mm=positions_mm, spacing_mm=spacing_mm)


def _ct(volume: Volume, axes: Sequence[_Axis], spec: InputSpec) -> VolumeInput:
    fits: list[FittedAxis] = []
    placed: list[AxisPlacement] = []
    for axis, assumed_mm, new_mm, target in zip(axes, ASSUMED_CT_SPACING_MM, spec.spacing_mm, spec.shape, strict=True):
        to_assumed = _assumed_sampling(axis, assumed_mm)
        outputs = resampled_size(to_assumed.outputs, assumed_mm, new_mm)
        fit = fitted(composed(half_pixel_taps(to_assumed.outputs, outputs), to_assumed), target)
        field_mm = to_assumed.outputs * assumed_mm
        step_mm = field_mm / outputs
        fits.append(fit)
        placed.append(axis.placement(-field_mm / 2 + (fit.cut - fit.start) * step_mm, step_mm))
    voxels = np.full(spec.shape, spec.pad_value, dtype=np.float32)
    block = voxels[fits[0].place, fits[1].place, fits[2].place]
    for z, plane in enumerate(_planes(volume, axes, fits)):
        block[z] = scaled_ct(plane)
    return VolumeInput(voxels=voxels, placement=_placement(volume, spec, placed))


def _assumed_sampling(axis: _Axis, assumed_mm: float) -> Taps:
    """Taps to the spacing that the model assumes, about the centre of the field of view."""
    outputs = max(1, round(axis.extent_mm / assumed_mm))
    if axis.size == 1 or (outputs == axis.size and abs(axis.spacing_mm / assumed_mm - 1) < _SPACING_TOLERANCE):
        outputs, assumed_mm = axis.size, axis.spacing_mm
    return axis.taps_at_mm((np.arange(outputs) - (outputs - 1) / 2) * assumed_mm)


def _mri(volume: Volume, axes: Sequence[_Axis], spec: InputSpec) -> VolumeInput:
    side_mm = max(axes[1].extent_mm, axes[2].extent_mm)
    fits: list[FittedAxis] = []
    placed: list[AxisPlacement] = []
    for axis, target in zip(axes, spec.shape, strict=True):
        field_mm = axis.extent_mm if axis is axes[0] else side_mm
        step_mm = field_mm / target
        data = min(target, max(1, round(axis.extent_mm / step_mm)))
        offsets_mm = (np.arange(data) - (data - 1) / 2) * step_mm
        fit = fitted(axis.taps_at_mm(offsets_mm), target)
        first_edge_mm = -data * step_mm / 2 - fit.start * step_mm
        fits.append(fit)
        placed.append(axis.placement(first_edge_mm, step_mm))
    voxels = np.zeros(spec.shape, dtype=np.float32)
    block = voxels[fits[0].place, fits[1].place, fits[2].place]
    for z, plane in enumerate(_planes(volume, axes, fits)):
        block[z] = plane
    return VolumeInput(voxels=scaled_mri(voxels), placement=_placement(volume, spec, placed))


def _planes(volume: Volume, axes: Sequence[_Axis], fits: Sequence[FittedAxis]) -> Iterator[FloatArray]:
    view = volume.voxels.transpose([axis.source for axis in axes])
    slices, rows, columns = (fit.taps for fit in fits)
    return resampled_planes(lambda z: view[z], slices, rows, columns)


def _placement(volume: Volume, spec: InputSpec, axes: Sequence[AxisPlacement]) -> Placement:
    return Placement(shape=spec.shape, axes=(axes[0], axes[1], axes[2]), geometry=volume.geometry)
