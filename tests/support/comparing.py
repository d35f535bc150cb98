"""Messages for tests of encode and compare: a few facts enter, a header, study, reading or case with them leaves."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian

from operators.domain.headers import read_header
from operators.domain.ids import AccessionNumber, InstanceUid, Revision, SeriesUid, StudyUid
from operators.domain.messages import (
    BundleRef,
    EncodedCase,
    EncodedStudy,
    EntityReading,
    EntityTerm,
    Image,
    InstanceHeader,
    Patient,
    PriorDecision,
    PriorOutcome,
    PriorSearch,
    Region,
    RetrievedCase,
    Study,
)

PATIENT = Patient(patient_id="P1", issuer="TEST", name="Test^Patient")
BUNDLE = BundleRef(bundle_id="tiny-000000000000", name="tiny", version="1", sha256="0" * 64, modality="2D-CXR")


def header(uid: str = "1.2.3.1", **facts: Any) -> InstanceHeader:
    """Header of a PA chest film; any field can be given."""
    usual: dict[str, Any] = {
        "instance_uid": InstanceUid(uid),
        "sop_class_uid": DigitalXRayImageStorageForPresentation,
        "transfer_syntax_uid": ExplicitVRLittleEndian,
        "series_uid": SeriesUid("1.2.3"),
        "study_uid": StudyUid("1.2"),
        "patient": PATIENT,
        "accession_number": AccessionNumber("A1"),
        "modality": "DX",
        "body_part": "CHEST",
        "view_position": "PA",
        "image_type": "ORIGINAL\\PRIMARY",
        "presentation_intent": "FOR PRESENTATION",
        "rows": 2000,
        "columns": 2000,
    }
    return InstanceHeader(**(usual | facts))


def study(*headers: InstanceHeader, uid: str = "1.2", paths: Sequence[Path] = (), **facts: Any) -> Study:
    """Study of these images; their files are only named unless `paths` gives them."""
    files = list(paths) or [Path(f"{each.instance_uid}.dcm") for each in headers]
    usual: dict[str, Any] = {
        "study_uid": StudyUid(uid),
        "revision": Revision(1),
        "patient": PATIENT,
        "accession_number": AccessionNumber("A1"),
        "study_id": "1",
        "study_date": "20240302",
        "study_time": "101500",
        "study_description": "",
        "referring_physician": "",
        "requested_procedure": "",
        "modalities": tuple(sorted({each.modality for each in headers})),
        "body_parts": tuple(sorted({each.body_part for each in headers})),
        "images": tuple(Image(header=each, path=file) for each, file in zip(headers, files, strict=True)),
    }
    return Study(**(usual | facts))


def study_on_disk(paths: Sequence[Path]) -> Study:
    """Study of the files, which are of one study."""
    headers = []
    for path in paths:
        ds = dcmread(path, stop_before_pixels=True)
        headers.append(read_header(ds, transfer_syntax_uid=ds.file_meta.TransferSyntaxUID))
    facts = {"study_date": headers[0].study_date, "study_description": headers[0].study_description}
    return study(*headers, uid=headers[0].study_uid, paths=paths, patient=headers[0].patient, **facts)


def term(index: int = 12, *, present_from: float = 0.7, absent_below: float = 0.3) -> EntityTerm:
    """Pleural effusion unless another row is asked for."""
    return EntityTerm(
        index=index,
        name=f"Entity {index}",
        kind="abnormal",
        anatomy="Pleura",
        finding_code="pleural_effusion",
        site_code="pleura",
        present_from=present_from,
        absent_below=absent_below,
    )


def unit(*values: float) -> NDArray[np.float32]:
    """Vector of unit norm along `values`."""
    vector = np.asarray(values, dtype=np.float64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def reading(
    prob: float, *, index: int = 12, embedding: NDArray[np.float32] | None = None, entity: EntityTerm | None = None
) -> EntityReading:
    """Reading of one entity with that probability of presence."""
    return EntityReading(
        entity=entity or term(index),
        presence_prob=prob,
        embedding=unit(1, 0) if embedding is None else embedding,
        attention=np.full(4, 0.25, dtype=np.float32),
        region=Region(
            instance_uid=InstanceUid("1.2.3.1"),
            sop_class_uid=DigitalXRayImageStorageForPresentation,
            frame_number=1,
            left_px=0.0,
            top_px=0.0,
            right_px=10.0,
            bottom_px=10.0,
        ),
    )


def encoded_study(of: Study, readings: Sequence[EntityReading]) -> EncodedStudy:
    """Study whose first image was read."""
    return EncodedStudy(
        study=of, image=of.images[0], tokens=np.zeros((4, 2), dtype=np.float32), readings=tuple(readings)
    )


def decision(of: Study, *, rank: int | None = 0, reason: str = "same body part, most recent") -> PriorDecision:
    """Decision of the search for priors on one study."""
    return PriorDecision(
        study_uid=of.study_uid,
        study_date=of.study_date,
        study_time=of.study_time,
        modalities=of.modalities,
        study_description="",
        accession_number=AccessionNumber(""),
        rank=rank,
        reason_code="relevant",
        reason=reason,
    )


def search(outcome: PriorOutcome, *decisions: PriorDecision) -> PriorSearch:
    """Answer of a search for priors."""
    return PriorSearch(
        outcome=outcome, decisions=decisions, searched_at=datetime(2024, 3, 2, tzinfo=UTC), sentence="Asked."
    )


def retrieved(
    current: Mapping[int, float] | Sequence[EntityReading],
    prior: Mapping[int, float] | Sequence[EntityReading] | None,
    *,
    current_study: Study | None = None,
    prior_study: Study | None = None,
    **facts: Any,
) -> RetrievedCase:
    """Case of probabilities by entity index (or ready readings), the prior three weeks before the current study."""
    now = current_study or study(header("1.2.1"))
    before = prior_study or study(header("1.1.1", study_uid=StudyUid("1.1")), uid="1.1", study_date="20240210")
    priors = () if prior is None else (encoded_study(before, _readings(prior)),)
    answer = search(PriorOutcome.NONE_EXISTS) if prior is None else search(PriorOutcome.FOUND, decision(before))
    case = EncodedCase(current=encoded_study(now, _readings(current)), priors=priors, search=answer, bundle=BUNDLE)
    return RetrievedCase(encoded=replace(case, **facts), similar=())


def _readings(given: Mapping[int, float] | Sequence[EntityReading]) -> list[EntityReading]:
    if isinstance(given, Mapping):
        return [reading(prob, index=index) for index, prob in given.items()]
    return list(given)
