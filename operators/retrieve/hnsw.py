"""Approximate indexes: a bundle enters, its large partitions have an HNSW index when this returns.

A maintenance task of its own, never part of a case: building takes about 0.5 s per 1000 rows (256 numbers, two cores).
Stores and searches go on meanwhile (CREATE INDEX CONCURRENTLY).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from operators.domain.database import Connection, Pool
from operators.domain.errors import TransientError
from operators.domain.reasons import ReasonCode
from operators.retrieve.tables import EmbeddingTable, check_pgvector

M = 16
EF_CONSTRUCTION = 64

_INDEXES = """
SELECT owner.relname AS partition, index.relname AS name, pg_index.indisvalid AS valid
FROM pg_inherits
JOIN pg_class AS owner ON owner.oid = inhrelid
JOIN pg_index ON pg_index.indrelid = owner.oid
JOIN pg_class AS index ON index.oid = pg_index.indexrelid
JOIN pg_am ON pg_am.oid = index.relam AND pg_am.amname = 'hnsw'
WHERE inhparent = to_regclass(%s)"""
_TABLES = "SELECT embedding_table, embedding_width FROM bundles WHERE bundle_id = %s"
_PARTITIONS = """
SELECT child.relname AS partition FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
WHERE inhparent = to_regclass(%s) ORDER BY child.relname"""
_COUNT = "SELECT count(*) AS rows FROM {partition}"
_BUILD = """
CREATE INDEX CONCURRENTLY {name} ON {partition} USING hnsw (embedding halfvec_cosine_ops)
WITH (m = {m}, ef_construction = {ef_construction})"""
_DROP = "DROP INDEX CONCURRENTLY IF EXISTS {name}"
# One builder at a time; a second one answers at once that there is nothing for it to do.
_TRY_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('interval.hnsw', 0)) AS taken"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('interval.hnsw', 0))"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """Progress of the maintenance: partition `number` of `total` has its index now."""

    partition: str
    rows: int
    number: int
    total: int


def indexed_partitions(connection: Connection, table: EmbeddingTable) -> frozenset[str]:
    """Names of the partitions whose HNSW index is whole."""
    rows = connection.execute(_INDEXES, (table.name,)).fetchall()
    return frozenset(row["partition"] for row in rows if row["valid"])


def build_indexes(pool: Pool, bundle_id: str, from_rows: int) -> Iterator[BuildStep]:
    """Give each partition of at least `from_rows` rows an HNSW index, smallest first; yield after each.

    An index that an interrupted run left half built is dropped and built again. Nothing is done for a bundle that was
    never used, or while another process builds. Raises ConfigError (pgvector), TransientError(DATABASE_AWAY).
    """
    try:
        with pool.connection() as connection:
            connection.autocommit = True
            try:
                yield from _build_if_alone(connection, bundle_id, from_rows)
            finally:
                connection.autocommit = False
    except (psycopg.OperationalError, psycopg.InterfaceError) as exc:
        raise TransientError(ReasonCode.DATABASE_AWAY, kind=type(exc).__name__) from exc


def _build_if_alone(connection: Connection, bundle_id: str, from_rows: int) -> Iterator[BuildStep]:
    check_pgvector(connection)
    row = connection.execute(_TABLES, (bundle_id,)).fetchone()
    lock = connection.execute(_TRY_LOCK).fetchone()
    if lock is None or not lock["taken"]:
        return
    try:
        if row is not None:
            table = EmbeddingTable(name=row["embedding_table"], width=row["embedding_width"])
            yield from _build(connection, table, from_rows)
    finally:
        connection.execute(_UNLOCK)


def _build(connection: Connection, table: EmbeddingTable, from_rows: int) -> Iterator[BuildStep]:
    for row in connection.execute(_INDEXES, (table.name,)).fetchall():
        if not row["valid"]:
            connection.execute(sql.SQL(_DROP).format(name=sql.Identifier(row["name"])))
    done = indexed_partitions(connection, table)
    names = [row["partition"] for row in connection.execute(_PARTITIONS, (table.name,))]
    counted = sorted((_rows(connection, name), name) for name in names if name not in done)
    due = [(rows, name) for rows, name in counted if rows >= from_rows]
    for number, (rows, name) in enumerate(due, start=1):
        statement = sql.SQL(_BUILD).format(
            name=sql.Identifier(f"{name}_hnsw"),
            partition=sql.Identifier(name),
            m=sql.Literal(M),
            ef_construction=sql.Literal(EF_CONSTRUCTION),
        )
        connection.execute(statement)
        yield BuildStep(partition=name, rows=rows, number=number, total=len(due))


def _rows(connection: Connection, partition: str) -> int:
    row = connection.execute(sql.SQL(_COUNT).format(partition=sql.Identifier(partition))).fetchone()
    return int(row["rows"]) if row else 0
