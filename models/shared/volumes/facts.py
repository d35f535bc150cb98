"""What a series is chosen by: plain facts of its headers, without pixels and without patient data."""

from dataclasses import dataclass
from enum import StrEnum


class Plane(StrEnum):
    """Plane of most images of a series, by the patient's axis nearest to their normal."""

    AXIAL = "axial"
    CORONAL = "coronal"
    SAGITTAL = "sagittal"
    OBLIQUE = "oblique"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFacts:
    """One series. Texts are as sent; numbers are None where the headers do not say.

    Attributes
    ----------
    series_uid, series_number, modality
        Identity; `modality` is Modality (0008,0060).
    description, protocol, study_description, body_part
        Series Description, Protocol Name, Study Description, Body Part Examined.
    image_type
        Values of Image Type, or of Frame Type, that most images carry, upper case.
    slice_count
        Images at different places, without localizers.
    plane
        AXIAL, ..., UNKNOWN where the images do not say where they lie.
    thickness_mm, slice_spacing_mm, extent_mm
        Slice Thickness; median distance between slices; from the first slice to the last.
    kernel
        Convolution Kernel.
    contrast_agent
        Contrast/Bolus Agent is filled.
    sequence_name, scanning_sequence
        MR: Sequence Name or Pulse Sequence Name; values of Scanning Sequence.
    echo_ms, repetition_ms, inversion_ms, b_value
        MR timing.
    """

    series_uid: str
    series_number: int | None = None
    modality: str
    description: str = ""
    protocol: str = ""
    study_description: str = ""
    body_part: str = ""
    image_type: tuple[str, ...] = ()
    slice_count: int = 0
    plane: Plane = Plane.UNKNOWN
    thickness_mm: float | None = None
    slice_spacing_mm: float | None = None
    extent_mm: float | None = None
    kernel: str = ""
    contrast_agent: bool = False
    sequence_name: str = ""
    scanning_sequence: tuple[str, ...] = ()
    echo_ms: float | None = None
    repetition_ms: float | None = None
    inversion_ms: float | None = None
    b_value: float | None = None
