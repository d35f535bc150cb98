"""What a QIDO-RS answer says: one row of DICOM JSON (PS3.18 Annex F) enters, a header or a candidate leaves.

Read without pydicom's JSON reader, which logs every value that breaks its VR. Nothing raises: a value that is not
understood is empty.
"""

import re
from typing import Any

from pydicom.datadict import tag_for_keyword

from operators.domain.ids import AccessionNumber, InstanceUid, SeriesUid, StudyUid
from operators.domain.messages import InstanceHeader, Patient
from operators.priors.candidates import Candidate

STUDY_FIELDS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ModalitiesInStudy",
    "StudyDescription",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
)
SERIES_FIELDS = ("Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined", "PresentationIntentType")
INSTANCE_FIELDS = (
    "SOPClassUID",
    "InstanceNumber",
    "BodyPartExamined",
    "ViewPosition",
    "PatientOrientation",
    "PresentationIntentType",
)

Row = dict[str, Any]
_UID = re.compile(r"[0-9.]{1,64}")


def uid_of(row: Row, keyword: str) -> str | None:
    """Return a UID; None where it is none (it becomes part of a URL and of a file name)."""
    text = text_of(row, keyword)
    return text if _UID.fullmatch(text) and text.strip(".") else None


def text_of(row: Row, keyword: str) -> str:
    r"""Return an attribute as text, several values joined by \."""
    return "\\".join(_values(row, keyword))


def candidate_of(row: Row) -> Candidate | None:
    """Return the study of an answer; None when it has no UID."""
    study_uid = uid_of(row, "StudyInstanceUID")
    if study_uid is None:
        return None
    return Candidate(
        study_uid=StudyUid(study_uid),
        patient=Patient(
            patient_id=text_of(row, "PatientID"),
            issuer=text_of(row, "IssuerOfPatientID"),
            birth_date=text_of(row, "PatientBirthDate"),
            sex=text_of(row, "PatientSex"),
        ),
        study_date=text_of(row, "StudyDate"),
        study_time=text_of(row, "StudyTime"),
        study_description=text_of(row, "StudyDescription"),
        accession_number=AccessionNumber(text_of(row, "AccessionNumber")),
        modalities=tuple(sorted({value.upper() for value in _values(row, "ModalitiesInStudy") if value})),
    )


def header_of(row: Row, series: Row, candidate: Candidate) -> InstanceHeader | None:
    """Return the header of an instance's answer, completed by its series'; None when it has no UID."""
    instance_uid, series_uid = uid_of(row, "SOPInstanceUID"), uid_of(series, "SeriesInstanceUID")
    if instance_uid is None or series_uid is None:
        return None

    def either(keyword: str) -> str:
        return text_of(row, keyword) or text_of(series, keyword)

    return InstanceHeader(
        instance_uid=InstanceUid(instance_uid),
        sop_class_uid=text_of(row, "SOPClassUID"),
        transfer_syntax_uid="",
        series_uid=SeriesUid(series_uid),
        study_uid=candidate.study_uid,
        patient=candidate.patient,
        accession_number=candidate.accession_number,
        study_date=candidate.study_date,
        study_time=candidate.study_time,
        study_description=candidate.study_description,
        modality=either("Modality").upper(),
        body_part=either("BodyPartExamined").upper(),
        view_position=either("ViewPosition").upper(),
        patient_orientation=either("PatientOrientation"),
        presentation_intent=either("PresentationIntentType"),
        series_number=_number(either("SeriesNumber")),
        series_description=either("SeriesDescription"),
        instance_number=_number(either("InstanceNumber")),
    )


def _values(row: Row, keyword: str) -> list[str]:
    element = row.get(f"{tag_for_keyword(keyword):08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    return [_text(value) for value in values] if isinstance(values, list) else []


def _text(value: object) -> str:
    if isinstance(value, dict):  # a person's name
        value = value.get("Alphabetic")
    return str(value).replace("\0", "").strip() if isinstance(value, str | int | float) else ""


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None
