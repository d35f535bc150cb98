"""Questions to the index of embeddings, and rows to fill it with."""

from collections.abc import Sequence
from typing import Any

from operators.domain.database import Pool, transaction
from operators.domain.messages import BundleRef, Patient
from operators.retrieve.index import EmbeddingRow, Question
from operators.retrieve.patients import withheld_for
from operators.retrieve.stage import SimilarityIndex
from tests.unit.retrieve.cases import (
    BUNDLE,
    ENTITIES,
    a_row,
    patient,
    unit_vectors,
)


def ask(
    *, seed: int = 99, owner: Patient | None = None, limit: int = 5, entities: Sequence[int] = ENTITIES
) -> Question:
    """Return a question of another patient, or of the owner."""
    vectors = unit_vectors(seed, len(entities))
    return Question(
        embeddings=dict(zip(entities, vectors, strict=True)),
        withheld=withheld_for((owner or patient(999_999),)),
        withheld_studies=(),
        limit=limit,
    )


def fill(indexes: Sequence[SimilarityIndex], rows: list[EmbeddingRow], bundle: BundleRef = BUNDLE) -> None:
    """Store the same rows in each index."""
    for index in indexes:
        index.store(bundle, rows)


def many_rows(count: int, *, patients: int, entities: Sequence[int] = ENTITIES, seed: int = 0) -> list[EmbeddingRow]:
    """`count` images an entity, dealt to `patients` in turn."""
    return [
        a_row(number, vector, entity=entity, patient_key=patient(number % patients).key)
        for entity in entities
        for number, vector in enumerate(unit_vectors(seed + entity, count))
    ]


def query(pool: Pool, statement: str, *values: Any) -> list[dict[str, Any]]:
    """Return what a query gives."""
    with transaction(pool) as connection:
        return connection.execute(statement, values).fetchall()


def names(answer: dict[int, Any]) -> dict[int, list[str]]:
    """Return the instances of an answer, by entity."""
    return {entity: [case.instance_uid for case in cases] for entity, cases in answer.items()}
