"""Studies and candidates for tests of the priors stage: facts enter, values of its seam leave."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom.uid import DigitalXRayImageStorageForPresentation

from operators.domain.ids import AccessionNumber, InstanceUid, Revision, SeriesUid, StudyUid
from operators.domain.messages import Image, InstanceHeader, Patient, Study
from operators.priors.candidates import Candidate

PATIENT = Patient(patient_id="P-1", issuer="SITE", name="Test^One", birth_date="19500101", sex="F")
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class StandingClock:
    """A clock that is put to a time by hand."""

    def __init__(self, now: datetime = NOW) -> None:
        self.at = now

    def now(self) -> datetime:
        return self.at

    def monotonic_s(self) -> float:
        return self.at.timestamp()


def image_header(study_uid: str, number: int = 1, **facts: Any) -> InstanceHeader:
    """Header of a frontal chest film."""
    header = InstanceHeader(
        instance_uid=InstanceUid(f"{study_uid}.1.{number}"),
        sop_class_uid=DigitalXRayImageStorageForPresentation,
        transfer_syntax_uid="",
        series_uid=SeriesUid(f"{study_uid}.1"),
        study_uid=StudyUid(study_uid),
        patient=PATIENT,
        accession_number=AccessionNumber(""),
        modality="DX",
        body_part="CHEST",
        view_position="PA",
        instance_number=number,
    )
    return replace(header, **facts)


def current_study(*, images: Sequence[InstanceHeader] | None = None, **facts: Any) -> Study:
    """Study of one frontal chest film on 2 March 2024 at ten past ten."""
    headers = [image_header("1.2.9")] if images is None else images
    study = Study(
        study_uid=StudyUid("1.2.9"),
        revision=Revision(1),
        patient=PATIENT,
        accession_number=AccessionNumber("A9"),
        study_id="9",
        study_date="20240302",
        study_time="101000",
        study_description="Chest",
        referring_physician="",
        requested_procedure="",
        modalities=tuple(sorted({header.modality for header in headers})),
        body_parts=tuple(sorted({header.body_part for header in headers})),
        images=tuple(Image(header=header, path=Path("current.dcm")) for header in headers),
    )
    return replace(study, **facts)


def candidate(study_uid: str, *, images: Sequence[InstanceHeader] | None = None, **facts: Any) -> Candidate:
    """Study of one frontal chest film of the same patient on 5 January 2024."""
    headers = [image_header(study_uid)] if images is None else images
    made = Candidate(
        study_uid=StudyUid(study_uid),
        patient=PATIENT,
        study_date="20240105",
        study_time="080000",
        study_description="Chest",
        accession_number=AccessionNumber(f"A{study_uid[-1]}"),
        modalities=tuple(sorted({header.modality for header in headers})),
        images=tuple(headers),
    )
    return replace(made, **facts)
