"""A study's row and images to the message: order, and whose images they are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.assemble.reading import study_of
from operators.domain.errors import PermanentError
from operators.domain.ids import AccessionNumber, InstanceUid, Revision, SeriesUid, StudyUid
from operators.domain.messages import Image, InstanceHeader, Patient, StudyJob
from operators.domain.reasons import ReasonCode

_JOB = StudyJob(study_uid=StudyUid("1.2"), revision=Revision(2))
_ROW: dict[str, Any] = {
    "study_uid": "1.2", "patient_id": "P1", "patient_issuer": "A", "patient_name": "Doe^Jane",
    "patient_birth_date": "19700101", "patient_sex": "F", "accession_number": "ACC", "study_id": "S",
    "study_date": "20260301", "study_time": "120000", "study_description": "Thorax", "referring_physician": "R",
    "requested_procedure": "",
}  # fmt: skip


def _image(uid: str, series: int | None = 1, number: int | None = 1, **changes: Any) -> Image:
    header = InstanceHeader(
        instance_uid=InstanceUid(uid),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        series_uid=SeriesUid(f"1.2.{series}"),
        study_uid=StudyUid("1.2"),
        patient=Patient(patient_id="P1", issuer="A"),
        accession_number=AccessionNumber("ACC"),
        series_number=series,
        instance_number=number,
        modality="CT",
    )
    return Image(header=replace(header, **changes), path=Path(uid))


def _uids(*images: Image) -> list[str]:
    return [image.header.instance_uid for image in study_of(_JOB, _ROW, images).images]


def test_images_are_in_order_of_series_number_and_uid() -> None:
    given = (_image("9", 2, 1), _image("8", 1, 10), _image("7", 1, 2), _image("6", 1, 2), _image("5", None, 1))

    assert _uids(*given) == ["6", "7", "8", "9", "5"]


def test_images_without_numbers_come_last_in_their_series() -> None:
    assert _uids(_image("3", 1, None), _image("2", 1, 5), _image("4", 2, 1)) == ["2", "3", "4"]


def test_series_of_the_same_number_are_not_mixed() -> None:
    a, b = {"series_uid": SeriesUid("1.2.7")}, {"series_uid": SeriesUid("1.2.8")}
    given = (_image("1", 1, 2, **b), _image("2", 1, 1, **a), _image("3", 1, 1, **b), _image("4", 1, 2, **a))

    assert _uids(*given) == ["2", "4", "3", "1"]


def test_modalities_and_body_parts_are_listed_once() -> None:
    study = study_of(_JOB, _ROW, [_image("1", body_part="CHEST"), _image("2"), _image("3", 2, modality="DX")])

    assert (study.modalities, study.body_parts) == (("CT", "DX"), ("CHEST",))
    assert (study.revision, study.patient.name, study.accession_number) == (2, "Doe^Jane", "ACC")


@pytest.mark.parametrize(
    "other", [Patient(patient_id="P2", issuer="A"), Patient(patient_id="P1", issuer="B"), Patient(patient_id="")]
)
def test_images_of_different_patients_are_ambiguous(other: Patient) -> None:
    with pytest.raises(PermanentError) as caught:
        study_of(_JOB, _ROW, [_image("1"), _image("2", patient=other)])

    assert caught.value.code is ReasonCode.PATIENT_AMBIGUOUS


def test_an_issuer_that_some_images_leave_out_is_not_ambiguous() -> None:
    assert _uids(_image("1"), _image("2", patient=Patient(patient_id="P1", name="Doe^J"))) == ["1", "2"]
