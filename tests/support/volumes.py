"""CT, MR and ultrasound objects for tests: a phantom and a geometry enter, standards-clean datasets leave.

The phantom is a box at a known place in the patient, so that a test can say where it must be found again. Files are
small: a few dozen slices of a few dozen pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    MRImageStorage,
    UltrasoundImageStorage,
    UltrasoundMultiFrameImageStorage,
)

from tests.support.objects import ct_slice, save, seeded_uid

Vector = tuple[float, float, float]
FloatArray = NDArray[np.float64]
AnyDataset = TypeVar("AnyDataset", bound=Dataset)

AXIAL: tuple[Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
CORONAL: tuple[Vector, Vector] = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0))
SAGITTAL: tuple[Vector, Vector] = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
"""Row and column direction cosines (LPS) as scanners write them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPhantom:
    """A box in the patient: `centre_mm` (LPS), `size_mm` along x, y, z; edges are blurred over `blur_mm`."""

    centre_mm: Vector = (0.0, 0.0, 0.0)
    size_mm: Vector = (60.0, 40.0, 50.0)
    blur_mm: float = 6.0
    inside: float = 600.0
    outside: float = -900.0

    def __call__(self, points_lps_mm: FloatArray) -> FloatArray:
        """Value at points (..., 3)."""
        away = np.abs(points_lps_mm - np.array(self.centre_mm)) - np.array(self.size_mm) / 2
        share = np.clip(0.5 - away / self.blur_mm, 0, 1).prod(axis=-1)
        values: FloatArray = self.outside + share * (self.inside - self.outside)
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where the slices of a series lie. The field of view is centred on `centre_mm` (LPS).

    `offsets_mm` are the places of the slices along their normal, from the centre; they default to `slices` even steps
    of `step_mm`. `tilt_deg` moves each slice down its columns, as a tilted gantry does.
    """

    slices: int = 20
    step_mm: float = 8.0
    rows: int = 40
    columns: int = 36
    spacing_mm: tuple[float, float] = (5.0, 5.0)
    orientation: tuple[Vector, Vector] = AXIAL
    centre_mm: Vector = (0.0, 0.0, 0.0)
    tilt_deg: float = 0.0
    places_mm: tuple[float, ...] = field(default=())

    @property
    def offsets_mm(self) -> tuple[float, ...]:
        """Places of the slices along their normal, from the centre of the field."""
        even = (np.arange(self.slices) - (self.slices - 1) / 2) * self.step_mm
        return self.places_mm or tuple(even.tolist())

    def without(self, *indices: int) -> "Grid":
        """Return the same series with slices missing."""
        places = tuple(offset for k, offset in enumerate(self.offsets_mm) if k not in indices)
        return replace(self, places_mm=places)

    def position(self, offset_mm: float) -> FloatArray:
        """Image Position (Patient) of the slice at a place along the normal."""
        row, column = (np.array(cosines) for cosines in self.orientation)
        corner = -row * (self.columns - 1) / 2 * self.spacing_mm[1] - column * (self.rows - 1) / 2 * self.spacing_mm[0]
        aside = column * np.tan(np.deg2rad(self.tilt_deg)) * offset_mm
        position: FloatArray = np.array(self.centre_mm) + np.cross(row, column) * offset_mm + corner + aside
        return position

    def points(self, offset_mm: float) -> FloatArray:
        """(rows, columns, 3) mm LPS of the pixels of the slice at a place along the normal."""
        row, column = (np.array(cosines) for cosines in self.orientation)
        along_columns = np.arange(self.columns)[None, :, None] * self.spacing_mm[1] * row
        down_rows = np.arange(self.rows)[:, None, None] * self.spacing_mm[0] * column
        points: FloatArray = self.position(offset_mm) + along_columns + down_rows
        return points


Phantom = Callable[[FloatArray], FloatArray]
CT_BOX, MR_BOX, GRID = BoxPhantom(), BoxPhantom(inside=900.0, outside=0.0), Grid()


def ct_series(
    phantom: Phantom = CT_BOX,
    grid: Grid = GRID,
    *,
    seed: str = "ct",
    **attributes: Any,
) -> list[FileDataset]:
    """Build a CT series, one object a slice, in the order of the grid; values in HU by a rescale of -1024."""
    return [
        _ct(phantom(grid.points(offset)), grid, offset, number, seed, attributes)
        for number, offset in enumerate(grid.offsets_mm, start=1)
    ]


def _ct(
    values: FloatArray, grid: Grid, offset_mm: float, number: int, seed: str, attributes: dict[str, Any]
) -> FileDataset:
    given = {"SliceThickness": str(grid.step_mm), "SeriesDescription": "Chest", **attributes}
    ds = ct_slice(seed=seed, instance_number=number, size_px=8)
    _set_values(ds, np.rint(values + 1024).astype(np.int16))
    _place(ds, grid, offset_mm)
    return _with(ds, given)


def mr_series(
    phantom: Phantom = MR_BOX,
    grid: Grid = GRID,
    *,
    seed: str = "mr",
    **attributes: Any,
) -> list[FileDataset]:
    """Build an MR series, one object a slice, in the order of the grid; values are the scanner's own."""
    return [
        _mr(phantom(grid.points(offset)), grid, offset, number, seed, attributes)
        for number, offset in enumerate(grid.offsets_mm, start=1)
    ]


def _mr(
    values: FloatArray, grid: Grid, offset_mm: float, number: int, seed: str, attributes: dict[str, Any]
) -> FileDataset:
    ds = ct_slice(seed=seed, instance_number=number, size_px=8)
    for keyword in ("KVP", "RescaleIntercept", "RescaleSlope", "RescaleType"):
        delattr(ds, keyword)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MRImageStorage
    ds.Modality, ds.BodyPartExamined, ds.StudyDescription = "MR", "BRAIN", "Brain"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = "SE", "NONE", "", "2D"
    ds.EchoTime, ds.RepetitionTime, ds.EchoTrainLength = "12", "550", "1"
    ds.SeriesInstanceUID = seeded_uid(seed, MRImageStorage, "series")
    _set_values(ds, np.rint(values).astype(np.uint16))
    _place(ds, grid, offset_mm)
    return _with(ds, {"SliceThickness": str(grid.step_mm), "SeriesDescription": "T1 axial", **attributes})


def enhanced(slices: Sequence[Dataset]) -> FileDataset:
    """Pack classic CT or MR slices into one enhanced multi-frame object (PS3.3 A.38, A.36), frames as given.

    Orientation and pixel measures are shared; position, rescale and frame type stand with each frame.
    """
    first = slices[0]
    is_ct = first.Modality == "CT"
    ds = FileDataset("", dict(first), file_meta=first.file_meta, preamble=b"\0" * 128)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage if is_ct else EnhancedMRImageStorage
    ds.NumberOfFrames = str(len(slices))
    shared = Dataset()
    shared.PlaneOrientationSequence = [_with(Dataset(), {"ImageOrientationPatient": first.ImageOrientationPatient})]
    shared.PixelMeasuresSequence = [
        _with(Dataset(), {"PixelSpacing": first.PixelSpacing, "SliceThickness": first.SliceThickness})
    ]
    ds.SharedFunctionalGroupsSequence = [shared]
    ds.PerFrameFunctionalGroupsSequence = [_frame_groups(one, number) for number, one in enumerate(slices, start=1)]
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(ds, keyword)
    if is_ct:
        for keyword in ("RescaleIntercept", "RescaleSlope", "RescaleType"):
            delattr(ds, keyword)
    ds.PixelData = b"".join(one.PixelData for one in slices)
    return ds


def _frame_groups(one: Dataset, number: int) -> Dataset:
    groups = Dataset()
    groups.PlanePositionSequence = [_with(Dataset(), {"ImagePositionPatient": one.ImagePositionPatient})]
    groups.FrameContentSequence = [_with(Dataset(), {"StackID": "1", "InStackPositionNumber": number})]
    frame_type = _with(Dataset(), {"FrameType": one.ImageType})
    if one.SOPClassUID == CTImageStorage or "RescaleSlope" in one:
        rescale = {"RescaleSlope": one.RescaleSlope, "RescaleIntercept": one.RescaleIntercept, "RescaleType": "HU"}
        groups.PixelValueTransformationSequence = [_with(Dataset(), rescale)]
        groups.CTImageFrameTypeSequence = [frame_type]
    else:
        groups.MRImageFrameTypeSequence = [frame_type]
    return groups


def us_image(frames: NDArray[np.uint8], *, seed: str = "us", **attributes: Any) -> FileDataset:
    """Build an ultrasound image or clip (PS3.3 A.6, A.7) of `frames` ([frames,] rows, columns[, 3]) uint8."""
    is_colour = frames.shape[-1] == 3
    axes = frames.ndim - is_colour
    ds = ct_slice(seed=seed, size_px=8)
    for keyword in ("KVP", "RescaleIntercept", "RescaleSlope", "RescaleType", "WindowCenter", "WindowWidth"):
        delattr(ds, keyword)
    for keyword in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(ds, keyword)
    ds.SOPClassUID = UltrasoundMultiFrameImageStorage if axes == 3 else UltrasoundImageStorage
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.SeriesInstanceUID = seeded_uid(seed, "us", "series")
    ds.Modality, ds.BodyPartExamined, ds.StudyDescription = "US", "BREAST", "Breast"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.Rows, ds.Columns = frames.shape[1:3] if axes == 3 else frames.shape[:2]
    if axes == 3:
        ds.NumberOfFrames, ds.FrameTime = str(frames.shape[0]), "40"
        ds.FrameIncrementPointer = 0x00181063
    ds.SamplesPerPixel = 3 if is_colour else 1
    ds.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    content = np.ascontiguousarray(frames).tobytes()
    ds.PixelData = content + b"\0" * (len(content) % 2)
    ds["PixelData"].VR = "OB"
    return _with(ds, attributes)


def save_all(objects: Sequence[FileDataset], folder: Path, *, order: Sequence[int] | None = None) -> list[Path]:
    """Write objects to a folder and return their paths, in `order` of their indices where it is given."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [save(ds, folder / f"{number:04d}-{ds.SOPInstanceUID[-8:]}.dcm") for number, ds in enumerate(objects)]
    return [paths[index] for index in order] if order is not None else paths


def _place(ds: Dataset, grid: Grid, offset_mm: float) -> None:
    row, column = grid.orientation
    ds.ImageOrientationPatient = [f"{value:.8g}" for value in (*row, *column)]
    ds.ImagePositionPatient = [f"{value:.8g}" for value in grid.position(offset_mm)]
    ds.PixelSpacing = [f"{value:.8g}" for value in grid.spacing_mm]


def _set_values(ds: Dataset, values: NDArray[np.integer[Any]]) -> None:
    ds.Rows, ds.Columns = values.shape
    ds.PixelRepresentation = int(values.dtype.kind == "i")
    content = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"))).tobytes()
    ds.PixelData = content + b"\0" * (len(content) % 2)


def _with(ds: AnyDataset, attributes: dict[str, Any]) -> AnyDataset:
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    if "SOPInstanceUID" in attributes and isinstance(ds, FileDataset):
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds
