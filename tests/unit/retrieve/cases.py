"""Encoded cases for the retrieve tests, and an index by brute force that says what the real one must answer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    Study,
)
from operators.retrieve.index import EmbeddingRow, Question
from operators.retrieve.ranking import Candidate

ENTITIES = (3, 6, 41)
WIDTH = 16
BUNDLE = BundleRef(bundle_id="cxr-abc", name="cxr", version="1", sha256="a" * 64, modality="2D-CXR")


def unit_vectors(seed: int, count: int, width: int = WIDTH) -> NDArray[np.float32]:
    """(count, width) float32 of unit norm."""
    drawn = np.random.default_rng(seed).normal(size=(count, width))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), dtype=np.float32)


def as_kept(embedding: NDArray[np.float32]) -> NDArray[np.float64]:
    """What is left of an embedding once it is kept: float16."""
    return embedding.astype(np.float16).astype(np.float64)


def patient(number: int, issuer: str = "HOSP") -> Patient:
    return Patient(patient_id=f"P{number}", issuer=issuer)


def a_row(number: int, embedding: NDArray[np.float32], *, entity: int = 6, **facts: Any) -> EmbeddingRow:
    usual: dict[str, Any] = {
        "entity_index": entity,
        "instance_uid": InstanceUid(f"2.25.1{number:06d}"),
        "study_uid": StudyUid(f"2.25.2{number:06d}"),
        "patient_key": patient(number).key,
        "modality": "DX",
        "body_part": "CHEST",
        "study_date": "20260101",
        "presence_prob": 0.5,
        "embedding": embedding,
    }
    return EmbeddingRow(**{**usual, **facts})


def encoded_study(number: int, owner: Patient, *, seed: int | None = None, width: int = WIDTH) -> EncodedStudy:
    """A study of one image with a reading for each of ENTITIES, its embeddings drawn from its number."""
    study_uid = StudyUid(f"2.25.2{number:06d}")
    header = InstanceHeader(
        instance_uid=InstanceUid(f"2.25.1{number:06d}"),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        series_uid=SeriesUid(f"2.25.3{number:06d}"),
        study_uid=study_uid,
        patient=owner,
        accession_number=AccessionNumber(""),
        modality="DX",
        body_part="CHEST",
    )
    image = Image(header=header, path=Path("image.dcm"))
    study = Study(
        study_uid=study_uid,
        revision=Revision(1),
        patient=owner,
        accession_number=AccessionNumber(""),
        study_id="",
        study_date="20260101",
        study_time="",
        study_description="",
        referring_physician="",
        requested_procedure="",
        modalities=("DX",),
        body_parts=("CHEST",),
        images=(image,),
    )
    vectors = unit_vectors(number if seed is None else seed, len(ENTITIES), width)
    return EncodedStudy(
        study=study,
        image=image,
        tokens=np.zeros((1, 1), np.float32),
        readings=tuple(_reading(entity, vector, image) for entity, vector in zip(ENTITIES, vectors, strict=True)),
    )


def _reading(entity: int, vector: NDArray[np.float32], image: Image) -> EntityReading:
    term = EntityTerm(
        index=entity,
        name=f"entity {entity}",
        kind="abnormal",
        anatomy="Pleura",
        finding_code="pneumothorax",
        site_code="pleura",
        present_from=0.6,
        absent_below=0.4,
    )
    region = Region(
        instance_uid=image.header.instance_uid,
        sop_class_uid=image.header.sop_class_uid,
        frame_number=1,
        left_px=0.0,
        top_px=0.0,
        right_px=1.0,
        bottom_px=1.0,
    )
    attention = np.ones(1, np.float32)
    return EntityReading(entity=term, presence_prob=0.75, embedding=vector, attention=attention, region=region)


def a_case(
    current: EncodedStudy,
    *priors: EncodedStudy,
    bundle: BundleRef = BUNDLE,
    decisions: Sequence[PriorDecision] = (),
) -> EncodedCase:
    search = PriorSearch(
        outcome=PriorOutcome.FOUND if priors else PriorOutcome.NONE_EXISTS,
        decisions=tuple(decisions),
        searched_at=datetime(2026, 1, 1, tzinfo=UTC),
        sentence="",
    )
    return EncodedCase(current=current, priors=priors, search=search, bundle=bundle)


class MemoryIndex:
    """The oracle: float16 rows in a dictionary, cosine by numpy, every rule written the plainest way."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int, str], EmbeddingRow] = {}
        self.questions: list[Question] = []

    def store(self, bundle: BundleRef, rows: list[EmbeddingRow]) -> None:
        for row in rows:
            self.rows[bundle.bundle_id, row.entity_index, row.instance_uid] = row

    def nearest(self, bundle: BundleRef, question: Question) -> dict[int, tuple[Candidate, ...]]:
        self.questions.append(question)
        return {entity: self._nearest(bundle, question, entity) for entity in question.embeddings}

    def _nearest(self, bundle: BundleRef, question: Question, entity: int) -> tuple[Candidate, ...]:
        asked = as_kept(question.embeddings[entity])
        scored = []
        for (bundle_id, kept_entity, _), row in self.rows.items():
            if bundle_id != bundle.bundle_id or kept_entity != entity or _is_withheld(row, question):
                continue
            kept = as_kept(row.embedding)
            cosine = float(asked @ kept / (np.linalg.norm(asked) * np.linalg.norm(kept)))
            scored.append((1.0 - cosine, row))
        scored.sort(key=lambda pair: (round(pair[0], 12), pair[1].instance_uid))
        best: dict[str, Candidate] = {}
        for distance, row in scored:
            best.setdefault(row.patient_key, _candidate(row, distance))
        return tuple(best.values())[: question.limit]


def _is_withheld(row: EmbeddingRow, question: Question) -> bool:
    return (
        row.patient_key in question.withheld.keys
        or row.patient_key.split("\x1f")[1] in question.withheld.ids_of_any_issuer
        or row.study_uid in question.withheld_studies
    )


def _candidate(row: EmbeddingRow, distance: float) -> Candidate:
    return Candidate(
        entity_index=row.entity_index,
        study_uid=row.study_uid,
        instance_uid=row.instance_uid,
        patient_key=row.patient_key,
        distance_cosine=distance,
        presence_prob=row.presence_prob,
    )
