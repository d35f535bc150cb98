"""One DICOM header enters; a SliceHeader for every frame, as far as it says where the frame lies, leaves."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from models.shared.pixels.guard import attribute, frame_count, sequence_items, whole_number
from models.shared.volumes.volume import SliceSource

_LOCALIZER_TYPES = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM", "SURVIEW"})
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHeader:
    """What the geometry of one slice is judged by. None: the header does not say, or says nonsense.

    Attributes
    ----------
    source, path
        The image, and the file it lies in.
    rows, columns
        Size in pixels.
    position_lps_mm
        Image Position (Patient): centre of the first pixel.
    row_lps, column_lps
        Unit vectors of growing column index (along a row) and growing row index (down a column), from Image
        Orientation (Patient); made exactly perpendicular.
    spacing_mm
        Pixel Spacing: (between rows, between columns).
    thickness_mm
        Slice Thickness.
    image_type
        Values of Image Type, or of Frame Type.
    echo_ms, b_value, temporal_index, stack_id
        What tells the images at one place apart.
    frame_of_reference_uid
        Positions are comparable within one frame of reference only.
    acquisition_number, instance_number
        Order of the images at one place; -1 where absent.
    is_hounsfield
        Rescale Slope and Intercept are there and Rescale Type, where given, is HU.
    """

    source: SliceSource
    path: Path | None = None
    rows: int
    columns: int
    position_lps_mm: Vector | None = None
    row_lps: Vector | None = None
    column_lps: Vector | None = None
    spacing_mm: tuple[float, float] | None = None
    thickness_mm: float | None = None
    image_type: tuple[str, ...] = ()
    echo_ms: float | None = None
    b_value: float | None = None
    temporal_index: int | None = None
    stack_id: str = ""
    frame_of_reference_uid: str = ""
    acquisition_number: int = -1
    instance_number: int = -1
    is_hounsfield: bool = False

    @property
    def is_localizer(self) -> bool:
        """Whether the image is a scout, by its Image Type."""
        return bool(_LOCALIZER_TYPES & set(self.image_type))

    @property
    def has_geometry(self) -> bool:
        """Whether the header says where the slice lies."""
        return None not in {self.position_lps_mm, self.row_lps, self.column_lps, self.spacing_mm}


def slice_headers(ds: Dataset, path: Path | None = None) -> tuple[SliceHeader, ...]:
    """Headers of all frames of an object, classic or enhanced (PS3.3 C.7.6.16).

    Raises
    ------
    PixelError
        bad-header where an attribute cannot be read at all.
    """
    shared = sequence_items(ds, "SharedFunctionalGroupsSequence")[:1]
    per_frame = sequence_items(ds, "PerFrameFunctionalGroupsSequence")
    headers: list[SliceHeader] = []
    for index in range(max(1, frame_count(ds))):
        groups = (*per_frame[index : index + 1], *shared)
        headers.append(_header(ds, groups, index, path))
    return tuple(headers)


def _header(ds: Dataset, groups: tuple[Dataset, ...], index: int, path: Path | None) -> SliceHeader:
    orientation = _orientation(_floats(_holder(ds, groups, "PlaneOrientationSequence"), "ImageOrientationPatient", 6))
    measures = _holder(ds, groups, "PixelMeasuresSequence")
    position = _floats(_holder(ds, groups, "PlanePositionSequence"), "ImagePositionPatient", 3)
    spacing = _floats(measures, "PixelSpacing", 2)
    content = _holder(ds, groups, "FrameContentSequence")
    return SliceHeader(
        source=SliceSource(
            instance_uid=str(attribute(ds, "SOPInstanceUID") or ""),
            sop_class_uid=str(attribute(ds, "SOPClassUID") or ""),
            frame_index=index,
        ),
        path=path,
        rows=whole_number(ds, "Rows", 0),
        columns=whole_number(ds, "Columns", 0),
        position_lps_mm=(position[0], position[1], position[2]) if position else None,
        row_lps=orientation[0] if orientation else None,
        column_lps=orientation[1] if orientation else None,
        spacing_mm=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        thickness_mm=float_of(measures, "SliceThickness"),
        image_type=_image_type(ds, groups),
        echo_ms=float_of(_holder(ds, groups, "MREchoSequence"), "EffectiveEchoTime", "EchoTime"),
        b_value=float_of(_holder(ds, groups, "MRDiffusionSequence"), "DiffusionBValue"),
        temporal_index=whole_of(content, "TemporalPositionIndex", "TemporalPositionIdentifier"),
        stack_id=str(attribute(content, "StackID") or ""),
        frame_of_reference_uid=str(attribute(ds, "FrameOfReferenceUID") or ""),
        acquisition_number=_or(whole_of(content, "FrameAcquisitionNumber", "AcquisitionNumber"), -1),
        instance_number=_or(whole_of(ds, "InstanceNumber"), -1) + index,
        is_hounsfield=_is_hounsfield(_holder(ds, groups, "PixelValueTransformationSequence")),
    )


def _holder(ds: Dataset, groups: tuple[Dataset, ...], keyword: str) -> Dataset:
    """Item that holds a functional group's attributes: the frame's own, the shared one, or the object itself."""
    for group in groups:
        if items := sequence_items(group, keyword):
            return items[0]
    return ds


def _image_type(ds: Dataset, groups: tuple[Dataset, ...]) -> tuple[str, ...]:
    for keyword in ("CTImageFrameTypeSequence", "MRImageFrameTypeSequence"):
        holder = _holder(ds, groups, keyword)
        if holder is not ds and attribute(holder, "FrameType"):
            return words_in(attribute(holder, "FrameType"))
    return words_in(attribute(ds, "ImageType"))


def words_in(value: object) -> tuple[str, ...]:
    """Values of a code string attribute, upper case; none where it is absent."""
    values = value.split("\\") if isinstance(value, str) else value
    return tuple(str(word).strip().upper() for word in values) if hasattr(values, "__iter__") else ()


def _is_hounsfield(holder: Dataset) -> bool:
    rescale_type = str(attribute(holder, "RescaleType") or "HU").strip().upper()
    has_rescale = (
        float_of(holder, "RescaleSlope") not in {None, 0.0} and float_of(holder, "RescaleIntercept") is not None
    )
    # US ("unspecified") is what enhanced CT and some classic writers say of plain Hounsfield units.
    return has_rescale and rescale_type in {"HU", "US", "HOUNSFIELD"}


def _orientation(cosines: tuple[float, ...] | None) -> tuple[Vector, Vector] | None:
    """Make both unit vectors, the second exactly perpendicular; None where they are no directions."""
    if cosines is None:
        return None
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.9 or max(lengths) > 1.1:
        return None
    row, column = row / lengths[0], column / lengths[1]
    if abs(float(row @ column)) > 0.02:  # more than a degree from perpendicular
        return None
    column = column - (row @ column) * row
    column /= np.linalg.norm(column)
    return (_vector(row), _vector(column))


def _vector(values: NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return (x, y, z)


def _floats(holder: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    try:
        values = tuple(float(value) for value in attribute(holder, keyword) or ())
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and np.isfinite(values).all() else None


def float_of(holder: Dataset, *keywords: str) -> float | None:
    """First of some attributes that is a finite number."""
    for keyword in keywords:
        try:
            value = float(attribute(holder, keyword))
        except (TypeError, ValueError):
            continue
        if np.isfinite(value):
            return value
    return None


def whole_of(holder: Dataset, *keywords: str) -> int | None:
    """First of some attributes that is a finite number, without its fraction."""
    value = float_of(holder, *keywords)
    return None if value is None else int(value)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
