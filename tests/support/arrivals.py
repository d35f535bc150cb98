"""Received images as rows, without files: for tests of revisions."""

from datetime import datetime

from operators.domain.ids import AccessionNumber, AeTitle, InstanceUid, SeriesUid, StudyUid
from operators.domain.messages import InstanceHeader, Patient
from operators.receive.ledger import Arrival


def arrival(
    study_uid: str, number: int, at: datetime, *, opens_study: bool = True, path: str = "", content: str = ""
) -> Arrival:
    """One image of a study; the same number is the same image, `content` stands for its bytes."""
    header = InstanceHeader(
        instance_uid=InstanceUid(f"{study_uid}.1.{number}"),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        series_uid=SeriesUid(f"{study_uid}.1"),
        study_uid=StudyUid(study_uid),
        patient=Patient(patient_id=f"P{study_uid}"),
        accession_number=AccessionNumber("A"),
        modality="CT",
        instance_number=number,
    )
    return Arrival(
        header=header,
        path=path or f"objects/{number}",
        size_bytes=1,
        sha256=content or "as it came first",
        received_at=at,
        calling_ae=AeTitle("TEST"),
        opens_study=opens_study,
    )
