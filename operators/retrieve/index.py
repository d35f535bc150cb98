"""The index of embeddings in PostgreSQL: embeddings enter and are kept, the nearest ones of other patients leave."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pgvector import HalfVector
from psycopg import sql

from operators.domain.database import Connection, Pool, transaction
from operators.domain.ids import InstanceUid, StudyUid
from operators.domain.messages import BundleRef
from operators.retrieve.config import RetrieveConfig
from operators.retrieve.hnsw import indexed_partitions
from operators.retrieve.kin import with_kin
from operators.retrieve.patients import Withheld
from operators.retrieve.ranking import Candidate, best_per_patient, needs_another_round
from operators.retrieve.tables import EmbeddingTable, partitions, ready_table, table_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STORE = """
INSERT INTO {table} AS kept
    (entity_id, instance_uid, study_uid, patient_key, original_patient_key, modality, body_part, study_date,
     presence_prob, embedding)
SELECT entity_id, instance_uid, study_uid, coalesce(merged.current_key, patient_key), patient_key, modality, body_part,
       study_date, presence_prob, embedding::halfvec({width})
FROM unnest(%(entity_id)s::integer[], %(instance_uid)s::text[], %(study_uid)s::text[], %(patient_key)s::text[],
            %(modality)s::text[], %(body_part)s::text[], %(study_date)s::text[], %(presence_prob)s::real[],
            %(embedding)s::text[])
    AS fresh (entity_id, instance_uid, study_uid, patient_key, modality, body_part, study_date, presence_prob,
              embedding)
LEFT JOIN patient_merges AS merged ON merged.former_key = fresh.patient_key
ORDER BY entity_id, instance_uid
ON CONFLICT (entity_id, instance_uid) DO UPDATE SET
    study_uid = excluded.study_uid,
    patient_key = excluded.patient_key,
    original_patient_key = excluded.original_patient_key,
    modality = excluded.modality,
    body_part = excluded.body_part,
    study_date = excluded.study_date,
    presence_prob = excluded.presence_prob,
    embedding = excluded.embedding
WHERE (kept.study_uid, kept.patient_key, kept.original_patient_key, kept.modality, kept.body_part, kept.study_date,
       kept.presence_prob, kept.embedding)
   IS DISTINCT FROM
      (excluded.study_uid, excluded.patient_key, excluded.original_patient_key, excluded.modality, excluded.body_part,
       excluded.study_date, excluded.presence_prob, excluded.embedding)"""

# Rows are not stored while a merge of patients is being made: it would not see them, nor they it.
_NOT_WHILE_MERGING = "SELECT pg_advisory_xact_lock_shared(hashtextextended('interval.patients', 0))"

_OTHERS = """
patient_key <> ALL (%(keys)s::text[]) AND original_patient_key <> ALL (%(keys)s::text[])
AND split_part(patient_key, chr(31), 2) <> ALL (%(ids)s::text[])
AND split_part(original_patient_key, chr(31), 2) <> ALL (%(ids)s::text[])
AND study_uid <> ALL (%(studies)s::text[])"""

# One round trip for all entities. MATERIALIZED twice: the queries are cast once, not for every row they meet; and the
# distances are all computed before the nearest are taken, where the planner would reach for an approximate index.
_EXACT = """
WITH query AS MATERIALIZED (
    SELECT entity_id, embedding::halfvec({width}) AS embedding
    FROM unnest(%(entities)s::integer[], %(embeddings)s::text[]) AS asked (entity_id, embedding)
)
SELECT query.entity_id, nearest.* FROM query CROSS JOIN LATERAL (
    WITH candidate AS MATERIALIZED (
        SELECT instance_uid, study_uid, patient_key, presence_prob, embedding <=> query.embedding AS distance
        FROM {table} AS kept WHERE kept.entity_id = query.entity_id AND {others}
    )
    SELECT * FROM candidate ORDER BY distance, instance_uid COLLATE "C" LIMIT %(rows)s
) AS nearest"""

# One partition by its approximate index; the iterative scan goes on until enough rows pass the filter.
_APPROXIMATE = """
SELECT {entity}::integer AS entity_id, instance_uid, study_uid, patient_key, presence_prob,
       embedding <=> %(embedding)s::halfvec({width}) AS distance
FROM {partition} WHERE {others}
ORDER BY embedding <=> %(embedding)s::halfvec({width}) LIMIT %(rows)s"""

# Compiling a plan over many partitions takes longer than running it.
_SCAN_SETTINGS = """
SELECT set_config('jit', 'off', true), set_config('hnsw.iterative_scan', 'strict_order', true),
       set_config('hnsw.ef_search', %s::text, true)"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmbeddingRow:
    """One entity's embedding of one image, as it is kept. `embedding` is (D,) float32 of unit norm."""

    entity_index: int
    instance_uid: InstanceUid
    study_uid: StudyUid
    patient_key: str
    modality: str
    body_part: str
    study_date: str
    presence_prob: float
    embedding: "NDArray[np.float32]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What is looked for: for each entity the cases nearest to an embedding, of nobody withheld, `limit` at most."""

    embeddings: "Mapping[int, NDArray[np.float32]]"
    withheld: Withheld
    withheld_studies: tuple[StudyUid, ...]
    limit: int


class PgVectorIndex:
    """Embeddings of all bundles in one database."""

    def __init__(self, pool: Pool, config: RetrieveConfig) -> None:
        self._pool = pool
        self._config = config
        self._ready: dict[str, tuple[EmbeddingTable, frozenset[int]]] = {}

    def store(self, bundle: BundleRef, rows: Sequence[EmbeddingRow]) -> None:
        """Keep the rows; what is kept already is replaced, and untouched where nothing differs.

        Raises PermanentError(BUNDLE_UNUSABLE), ConfigError (pgvector), TransientError(DATABASE_AWAY).
        """
        distinct = {(row.entity_index, row.instance_uid): row for row in rows}
        if not distinct:
            return
        width = int(rows[0].embedding.shape[0])
        table = self._table(bundle, width, frozenset(row.entity_index for row in rows))
        statement = _for_table(_STORE, table)
        with transaction(self._pool) as connection:
            connection.execute(_NOT_WHILE_MERGING)
            connection.execute(statement, _columns(distinct.values()))

    def nearest(self, bundle: BundleRef, question: Question) -> dict[int, tuple[Candidate, ...]]:
        """Return for each entity the nearest case of each patient, nearest first.

        Exact in partitions without an approximate index. Raises TransientError(DATABASE_AWAY).
        """
        if not question.embeddings or question.limit < 1:
            return {}
        width = int(next(iter(question.embeddings.values())).shape[0])
        table = EmbeddingTable(name=table_name(bundle.bundle_id), width=width)
        with transaction(self._pool) as connection:
            withheld = with_kin(connection, question.withheld)
            return _Search(connection, table, replace(question, withheld=withheld), self._config).run()

    def _table(self, bundle: BundleRef, width: int, entities: frozenset[int]) -> EmbeddingTable:
        table, there = self._ready.get(bundle.bundle_id, (None, frozenset[int]()))
        if table is None or table.width != width or not entities <= there:
            with transaction(self._pool) as connection:
                table = ready_table(connection, bundle, width, entities)
            self._ready[bundle.bundle_id] = (table, entities | there)
        return table


class _Search:
    """One question on one connection: a first round for all entities, more for those that need it."""

    def __init__(
        self, connection: Connection, table: EmbeddingTable, question: Question, config: RetrieveConfig
    ) -> None:
        self._connection = connection
        self._table = table
        self._question = question
        self._rows = question.limit * config.fetch_factor
        self._approximate = indexed_partitions(connection, table)
        connection.execute(_SCAN_SETTINGS, (config.hnsw_ef_search,))

    def run(self) -> dict[int, tuple[Candidate, ...]]:
        """Rank the cases of every entity; one that the index has nothing of gets ()."""
        there = partitions(self._connection, self._table)
        asked = [entity for entity in self._question.embeddings if self._table.partition_name(entity) in there]
        first = self._fetch(asked, ())
        return {entity: self._ranked(entity, first.get(entity, [])) for entity in self._question.embeddings}

    def _ranked(self, entity: int, fetched: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """Rank what was fetched; fetch again, without the patients found, while too few patients were found."""
        limit = self._question.limit
        found = list(best_per_patient(fetched, limit))
        while needs_another_round(fetched, len(found), asked_rows=self._rows, limit=limit):
            fetched = self._fetch([entity], tuple(case.patient_key for case in found)).get(entity, [])
            found += best_per_patient(fetched, limit - len(found))
        return tuple(found)

    def _fetch(self, entities: Sequence[int], found_keys: tuple[str, ...]) -> dict[int, list[Candidate]]:
        withheld = {
            "keys": [*self._question.withheld.keys, *found_keys],
            "ids": list(self._question.withheld.ids_of_any_issuer),
            "studies": list(self._question.withheld_studies),
            "rows": self._rows,
        }
        approximate = [entity for entity in entities if self._table.partition_name(entity) in self._approximate]
        exact = [entity for entity in entities if entity not in set(approximate)]
        rows = self._exact(exact, withheld) if exact else []
        rows += self._near(approximate, withheld)
        fetched: dict[int, list[Candidate]] = {}
        for row in rows:
            fetched.setdefault(row["entity_id"], []).append(_candidate(row))
        return fetched

    def _exact(self, entities: Sequence[int], withheld: dict[str, Any]) -> list[dict[str, Any]]:
        embeddings = [_written(self._question.embeddings[entity]) for entity in entities]
        values = {**withheld, "entities": list(entities), "embeddings": embeddings}
        return self._connection.execute(_for_table(_EXACT, self._table), values).fetchall()

    def _near(self, entities: Sequence[int], withheld: dict[str, Any]) -> list[dict[str, Any]]:
        with self._connection.pipeline():
            cursors = [self._connection.execute(*self._approximately(entity, withheld)) for entity in entities]
            return [row for cursor in cursors for row in cursor.fetchall()]

    def _approximately(self, entity: int, withheld: dict[str, Any]) -> tuple[sql.Composed, dict[str, Any]]:
        statement = sql.SQL(_APPROXIMATE).format(
            entity=sql.Literal(entity),
            partition=sql.Identifier(self._table.partition_name(entity)),
            width=sql.Literal(self._table.width),
            others=sql.SQL(_OTHERS),
        )
        return statement, {**withheld, "embedding": _written(self._question.embeddings[entity])}


def _for_table(statement: str, table: EmbeddingTable) -> sql.Composed:
    return sql.SQL(statement).format(table=table.identifier, width=sql.Literal(table.width), others=sql.SQL(_OTHERS))


def _written(embedding: "NDArray[np.float32]") -> str:
    return str(HalfVector(embedding).to_text())


def _columns(rows: Iterable[EmbeddingRow]) -> dict[str, list[Any]]:
    listed = list(rows)
    return {
        "entity_id": [row.entity_index for row in listed],
        "instance_uid": [row.instance_uid for row in listed],
        "study_uid": [row.study_uid for row in listed],
        "patient_key": [row.patient_key for row in listed],
        "modality": [row.modality for row in listed],
        "body_part": [row.body_part for row in listed],
        "study_date": [row.study_date for row in listed],
        "presence_prob": [row.presence_prob for row in listed],
        "embedding": [_written(row.embedding) for row in listed],
    }


def _candidate(row: dict[str, Any]) -> Candidate:
    return Candidate(
        entity_index=row["entity_id"],
        study_uid=row["study_uid"],
        instance_uid=row["instance_uid"],
        patient_key=row["patient_key"],
        distance_cosine=row["distance"],
        presence_prob=row["presence_prob"],
    )
