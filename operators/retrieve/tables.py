"""The tables of embeddings: a bundle and its entities enter, the name of a table that can take them leaves.

Each bundle has its own table, since embeddings of two models cannot be compared and may differ in width. It is
partitioned by LIST on the entity id, one partition per entity: every search is about one entity, and exact search in a
small partition beats an approximate index with a filter.

Numbers are kept as halfvec (float16). Measured against vector (float32) with made-up clustered rows of 256 numbers, 75
entities of 2000 rows: 128 MB instead of 228 MB, 0.16 s instead of 0.22 s for all entities; and of 50 000 rows the exact
search finds the same 10 and 40 nearest as numpy does in float32. They are
stored PLAIN: beyond 2 kB a row PostgreSQL would move each embedding to a side table and fetch it from there.
"""

from dataclasses import dataclass
from typing import Final

from psycopg import sql

from operators.domain.database import Connection
from operators.domain.errors import ConfigError, PermanentError
from operators.domain.ids import digest
from operators.domain.messages import BundleRef
from operators.domain.reasons import ReasonCode

PGVECTOR_MIN: Final = (0, 8, 4)
EMBEDDING_MAX_WIDTH: Final = 3900
"""halfvec takes 2 bytes a number, and a row stored PLAIN has to fit into a page of 8 kB beside its other columns."""

_EXTENSION = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('interval.embeddings', 0))"
_REGISTERED = "SELECT sha256, embedding_table, embedding_width FROM bundles WHERE bundle_id = %s"
_REGISTER = """
INSERT INTO bundles (bundle_id, sha256, name, version, embedding_table, embedding_width)
VALUES (%s, %s, %s, %s, %s, %s)"""
_PARTITIONS = """
SELECT child.relname AS partition FROM pg_inherits
JOIN pg_class AS child ON child.oid = inhrelid WHERE inhparent = to_regclass(%s)"""
_CREATE = """
CREATE TABLE IF NOT EXISTS {table} (
    entity_id            integer NOT NULL,
    instance_uid         text NOT NULL,
    study_uid            text NOT NULL,
    patient_key          text NOT NULL,       -- whose the study is now; follows merges
    original_patient_key text NOT NULL,       -- what the objects said
    modality             text NOT NULL,
    body_part            text NOT NULL,
    study_date           text NOT NULL,
    presence_prob        real NOT NULL,
    embedding            halfvec({width}) NOT NULL,
    PRIMARY KEY (entity_id, instance_uid)
) PARTITION BY LIST (entity_id)"""
# A merge of patients finds its rows by what their objects said.
_PATIENT_INDEX = "CREATE INDEX IF NOT EXISTS {index} ON {table} (original_patient_key)"
_STORE_PLAIN = "ALTER TABLE {table} ALTER COLUMN embedding SET STORAGE PLAIN"
# A partition is made beside the table and then attached: that holds up neither searches nor stores in the others.
_CREATE_PARTITION = "CREATE TABLE {partition} (LIKE {table} INCLUDING ALL)"
_ATTACH = "ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES IN ({entity})"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingTable:
    """The table of one bundle."""

    name: str
    width: int

    @property
    def identifier(self) -> sql.Identifier:
        """The name, quoted for a query."""
        return sql.Identifier(self.name)

    def partition_name(self, entity_index: int) -> str:
        """Name of the partition that holds the entity."""
        return f"{self.name}_e{entity_index}"


def check_pgvector(connection: Connection) -> None:
    """Raise ConfigError when the database's pgvector is missing or older than 0.8.4.

    Older ones can corrupt an HNSW index (CVE-2026-3172).
    """
    row = connection.execute(_EXTENSION).fetchone()
    wanted = ".".join(map(str, PGVECTOR_MIN))
    if row is None:
        raise ConfigError(f"the database lacks the extension pgvector; version {wanted} or later is needed")
    version = row["extversion"]
    numbers = tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
    if numbers < PGVECTOR_MIN:
        raise ConfigError(f"the database has pgvector {version}; version {wanted} or later is needed")


def table_name(bundle_id: str) -> str:
    """Return the name of a bundle's table: safe as an identifier whatever the id holds, and short enough."""
    return f"embeddings_{digest('embeddings', bundle_id)[:16]}"


def ready_table(connection: Connection, bundle: BundleRef, width: int, entities: frozenset[int]) -> EmbeddingTable:
    """Return the bundle's table with a partition for each entity, made now if this is the bundle's first use.

    Raises PermanentError(BUNDLE_UNUSABLE) when embeddings of this bundle are kept that cannot be compared with ones of
    `width` numbers, or the width is none that can be kept; ConfigError when pgvector is missing or too old.
    """
    table = EmbeddingTable(name=table_name(bundle.bundle_id), width=width)
    if not _is_ready(connection, bundle, table, entities):
        check_pgvector(connection)
        connection.execute(_LOCK)
        if not _is_ready(connection, bundle, table, entities):
            _make_ready(connection, bundle, table, entities)
    return table


def partitions(connection: Connection, table: EmbeddingTable) -> frozenset[str]:
    """Names of the table's partitions; none when there is no such table."""
    return frozenset(row["partition"] for row in connection.execute(_PARTITIONS, (table.name,)))


def _is_ready(connection: Connection, bundle: BundleRef, table: EmbeddingTable, entities: frozenset[int]) -> bool:
    row = connection.execute(_REGISTERED, (bundle.bundle_id,)).fetchone()
    if row is None:
        return False
    if (row["sha256"], row["embedding_width"]) != (bundle.sha256, table.width):
        raise PermanentError(
            ReasonCode.BUNDLE_UNUSABLE,
            bundle=bundle.bundle_id,
            why="its embeddings cannot be compared with those kept under its id",
        )
    return {table.partition_name(entity) for entity in entities} <= partitions(connection, table)


def _make_ready(connection: Connection, bundle: BundleRef, table: EmbeddingTable, entities: frozenset[int]) -> None:
    if not 1 <= table.width <= EMBEDDING_MAX_WIDTH:
        raise PermanentError(ReasonCode.BUNDLE_UNUSABLE, bundle=bundle.bundle_id, embedding_width=table.width)
    if connection.execute(_REGISTERED, (bundle.bundle_id,)).fetchone() is None:
        connection.execute(sql.SQL(_CREATE).format(table=table.identifier, width=sql.Literal(table.width)))
        connection.execute(sql.SQL(_STORE_PLAIN).format(table=table.identifier))
        by_patient = sql.Identifier(f"{table.name}_patient")
        connection.execute(sql.SQL(_PATIENT_INDEX).format(index=by_patient, table=table.identifier))
        row = (bundle.bundle_id, bundle.sha256, bundle.name, bundle.version, table.name, table.width)
        connection.execute(_REGISTER, row)
    there = partitions(connection, table)
    for entity in sorted(entities):
        name = table.partition_name(entity)
        if name not in there:
            _add_partition(connection, table, sql.Identifier(name), entity)


def _add_partition(connection: Connection, table: EmbeddingTable, partition: sql.Identifier, entity: int) -> None:
    connection.execute(sql.SQL(_CREATE_PARTITION).format(partition=partition, table=table.identifier))
    attach = sql.SQL(_ATTACH).format(table=table.identifier, partition=partition, entity=sql.Literal(entity))
    connection.execute(attach)
