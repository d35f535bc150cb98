"""Ranking: rows of the index enter in any order, the best case of each patient leaves, best first. Pure.

The order is total, so that the same rows give the same cases whatever order the database returned them in: smaller
distance first, then the smaller instance UID.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from operators.domain.ids import InstanceUid, StudyUid
from operators.domain.messages import SimilarCase


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One row of the index near a query. `distance_cosine` is 1 - cosine, in [0, 2] but for rounding."""

    entity_index: int
    study_uid: StudyUid
    instance_uid: InstanceUid
    patient_key: str
    distance_cosine: float
    presence_prob: float


def best_per_patient(candidates: Iterable[Candidate], limit: int) -> tuple[Candidate, ...]:
    """Return the nearest candidate of each patient, nearest patient first, at most `limit`.

    A candidate whose distance is not a number has no place in the order and is left out.
    """
    best: dict[str, Candidate] = {}
    measured = (candidate for candidate in candidates if not math.isnan(candidate.distance_cosine))
    for candidate in sorted(measured, key=lambda c: (c.distance_cosine, c.instance_uid)):
        best.setdefault(candidate.patient_key, candidate)
    return tuple(best.values())[:limit]


def needs_another_round(fetched: Sequence[Candidate], kept: int, *, asked_rows: int, limit: int) -> bool:
    """Whether patients may be missing: too few are kept, and the index had more rows than were fetched."""
    return kept < limit and len(fetched) >= asked_rows


def similar_cases(ranked: Sequence[Candidate]) -> tuple[SimilarCase, ...]:
    """Give the candidates of one entity their rank, from 0, and their cosine, held to [-1, 1]."""
    return tuple(
        SimilarCase(
            entity_index=candidate.entity_index,
            rank=rank,
            study_uid=candidate.study_uid,
            instance_uid=candidate.instance_uid,
            score_cosine=max(-1.0, min(1.0, 1.0 - candidate.distance_cosine)),
            presence_prob=candidate.presence_prob,
        )
        for rank, candidate in enumerate(ranked)
    )
