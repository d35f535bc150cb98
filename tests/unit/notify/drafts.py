"""Drafts for the notify tests: what a draft says is given, the rest is filled in."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from operators.domain.drafts import Document, DocumentKind, DraftReport
from operators.domain.ids import AccessionNumber, Destination, InstanceUid, Revision, SeriesUid, StudyUid
from operators.domain.messages import (
    BundleRef,
    ChangeState,
    ComparedCase,
    Comparison,
    EntityFinding,
    EntityTerm,
    Image,
    InstanceHeader,
    Patient,
    Presence,
    PriorOutcome,
    PriorSearch,
    Region,
    Sentence,
    SimilarCase,
    Study,
)
from operators.notify.config import MllpDestination

RENDERED_AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
STUDY_UID = StudyUid("2.25.1001")
SR_UID = "2.25.5005"
OTHER_STUDY_UID = StudyUid("2.25.9999999")
PLAIN_PATIENT = Patient(patient_id="P1", issuer="HOSP", name="Doe^Jane^Q^Dr^Jr", birth_date="19700102", sex="F")


def destination(**wishes: Any) -> MllpDestination:
    return MllpDestination(**{"name": Destination("ris"), "host": "127.0.0.1", "port": 2575, **wishes})


def a_region() -> Region:
    return Region(
        instance_uid=InstanceUid("2.25.3003"),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        frame_number=1,
        left_px=1.0,
        top_px=2.0,
        right_px=30.0,
        bottom_px=40.0,
    )


def a_finding(**facts: Any) -> EntityFinding:
    term = EntityTerm(
        index=6,
        name="Pneumothorax in Pleura",
        kind="abnormal",
        anatomy="Pleura",
        finding_code="pneumothorax",
        site_code="pleura",
        present_from=0.6,
        absent_below=0.4,
    )
    usual: dict[str, Any] = {
        "entity": term,
        "current": Presence.PRESENT,
        "prior": Presence.ABSENT,
        "current_prob": 0.91,
        "prior_prob": 0.07,
        "similarity_cosine": 0.5,
        "state": ChangeState.NEW,
        "state_swapped": ChangeState.RESOLVED,
        "confidence": 0.875,
        "rule": "both-sure",
        "current_region": a_region(),
        "prior_region": None,
    }
    return EntityFinding(**{**usual, **facts})


def a_study(patient: Patient = PLAIN_PATIENT, *, requested_procedure_id: str = "RP9", **facts: Any) -> Study:
    header = InstanceHeader(
        instance_uid=InstanceUid("2.25.3003"),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        series_uid=SeriesUid("2.25.2002"),
        study_uid=STUDY_UID,
        patient=patient,
        accession_number=AccessionNumber("ACC7"),
        modality="DX",
        requested_procedure="X-ray of the chest",
        requested_procedure_id=requested_procedure_id,
    )
    usual: dict[str, Any] = {
        "study_uid": STUDY_UID,
        "revision": Revision(1),
        "patient": patient,
        "accession_number": AccessionNumber("ACC7"),
        "study_id": "S1",
        "study_date": "20260304",
        "study_time": "050403.25",
        "study_description": "CHEST",
        "referring_physician": "Ray^Xavier^^Dr",
        "requested_procedure": "X-ray of the chest",
        "modalities": ("DX",),
        "body_parts": ("CHEST",),
        "images": (Image(header=header, path=Path("image.dcm")),),
    }
    return Study(**{**usual, **facts})


def a_draft(
    *,
    study: Study | None = None,
    sentences: tuple[str, ...] = ("Pneumothorax is new.",),
    findings: tuple[EntityFinding, ...] | None = None,
    **facts: Any,
) -> DraftReport:
    current = study or a_study()
    comparison = Comparison(
        current=current,
        current_image=current.images[0],
        prior=None,
        prior_image=None,
        search=PriorSearch(
            outcome=PriorOutcome.NONE_EXISTS, decisions=(), searched_at=RENDERED_AT, sentence="No prior exists."
        ),
        bundle=BundleRef(bundle_id="cxr-1", name="Small CXR", version="1.0", sha256="0" * 64, modality="2D-CXR"),
        findings=(a_finding(),) if findings is None else findings,
        sentences=tuple(Sentence(text=text, entity_indices=(6,), about="finding") for text in sentences),
    )
    similar = SimilarCase(
        entity_index=6,
        rank=0,
        study_uid=OTHER_STUDY_UID,
        instance_uid=InstanceUid("2.25.8888888"),
        score_cosine=0.9,
        presence_prob=0.8,
    )
    usual: dict[str, Any] = {
        "study_uid": current.study_uid,
        "revision": current.revision,
        "identity_digest": "d" * 64,
        "compared": ComparedCase(comparison=comparison, similar=(similar,)),
        "documents": (Document(kind=DocumentKind.SR, identity=SR_UID, sop_class_uid="1", content=b"sr"),),
        "rendered_at": RENDERED_AT,
        "preview_pdf": b"%PDF-",
    }
    return DraftReport(**{**usual, **facts})
