"""What a document takes over from the image files themselves: an Image enters, a clean dataset leaves.

Identity and demographics come from the messages, which the node has read with care for every broken encoding. Only what
the messages do not carry is read here, element by element; an element that cannot be understood is left out.
"""

import struct
from collections.abc import Iterable, MutableSequence
from copy import deepcopy
from typing import Any

from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag
from pydicom.valuerep import PersonName

import models.shared  # noqa: F401 - its import makes pydicom refuse misspelt keywords
from operators.domain.errors import PermanentError
from operators.domain.messages import Image
from operators.domain.reasons import ReasonCode

_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, NotImplementedError, struct.error, Warning)

_PATIENT_EXTRAS = (
    "IssuerOfPatientIDQualifiersSequence",
    "OtherPatientIDsSequence",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
)
_STUDY_EXTRAS = (
    "IssuerOfAccessionNumberSequence",
    "ProcedureCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)
_IMAGE_FACTS = (
    "TimezoneOffsetFromUTC",
    "RequestAttributesSequence",
    "FrameOfReferenceUID",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "AcquisitionDate",
    "ContentDate",
    "Manufacturer",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "InstitutionName",
    "StationName",
)


def read_source(image: Image) -> Dataset:
    """Return the elements of an image's header that documents take over, decoded to Unicode.

    Raises PermanentError(SPOOL_FILE_MISSING) when the file is gone, PermanentError(DECODE_FAILED) when it is no DICOM.
    """
    try:
        ds = dcmread(image.path, stop_before_pixels=True)
    except FileNotFoundError as exc:
        raise PermanentError(ReasonCode.SPOOL_FILE_MISSING) from exc
    except (InvalidDicomError, EOFError, *_ODD) as exc:
        raise PermanentError(ReasonCode.DECODE_FAILED, kind=type(exc).__name__) from exc
    return _kept(ds, (*_PATIENT_EXTRAS, *_STUDY_EXTRAS, *_IMAGE_FACTS))


def put(ds: Dataset, keyword: str, value: Any) -> None:
    """Set an attribute to a value exactly as given: what the archive holds of a patient is repeated, not corrected."""
    tag = Tag(keyword)
    ds.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE))


def take_over(target: Dataset, source: Dataset) -> None:
    """Copy what the source says of patient and study beyond the messages."""
    for keyword in (*_PATIENT_EXTRAS, *_STUDY_EXTRAS):
        if keyword in source:
            target.add(deepcopy(source[keyword]))


def _kept(ds: Dataset, keywords: Iterable[str]) -> Dataset:
    kept = Dataset()
    for keyword in keywords:
        try:
            if keyword in ds and not ds[keyword].is_empty:
                put(kept, keyword, _clean(ds[keyword].value))
        except _ODD:
            continue
    return kept


def _clean(value: Any) -> Any:
    """Return a value without its old encoding: names as text, items rebuilt."""
    if isinstance(value, PersonName):
        return str(value)
    if isinstance(value, Dataset):
        return _kept(value, [word for word in map(keyword_for_tag, value.keys()) if word])
    if isinstance(value, MutableSequence):
        return [_clean(one) for one in value]
    return value
