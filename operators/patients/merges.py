"""Merges in the database: pairs of identifiers enter; merges in force, the index and the audit follow, or nothing does.

Rows of the index keep what their objects said (original_patient_key); whose they are now (patient_key) is worked out
from it and from the merges in force, at every merge, at every undoing, and when a row is stored. A merge of patients
that nobody knows yet therefore holds for what comes later, and undoing it leaves no trace but the audit's.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from operators.domain.database import Connection
from operators.domain.ids import pseudonym
from operators.domain.messages import Patient
from operators.domain.patient_keys import patient_of
from operators.patients.chains import Chains

logger = logging.getLogger(__name__)

# Merges go one after the other, and not while rows are being stored: the index's stores take the same lock as shared.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('interval.patients', 0))"
_LOAD = """
WITH touched AS (
    SELECT current_key FROM patient_merges WHERE former_key = ANY(%(keys)s) OR current_key = ANY(%(keys)s)
)
SELECT former_key, into_key FROM patient_merges WHERE current_key IN (SELECT current_key FROM touched)"""
_ADD = """
INSERT INTO patient_merges (former_key, into_key, current_key, merged_at) VALUES (%s, %s, %s, %s)"""
_REMOVE = "DELETE FROM patient_merges WHERE former_key = %s"
_TURN = """
UPDATE patient_merges SET current_key = turned.current_key
FROM unnest(%(keys)s::text[], %(current)s::text[]) AS turned (former_key, current_key)
WHERE patient_merges.former_key = turned.former_key"""
_RECORD = """
INSERT INTO patient_events (deed, former_key, into_key, at, source, who, message, inbox_id)
VALUES (%(deed)s, %(former_key)s, %(into_key)s, %(at)s, %(source)s, %(who)s, %(message)s, %(inbox_id)s)"""
_TABLES = "SELECT embedding_table FROM bundles WHERE to_regclass(embedding_table) IS NOT NULL ORDER BY bundle_id"
_MOVE = """
UPDATE {table} SET patient_key = turned.current_key
FROM unnest(%(keys)s::text[], %(current)s::text[]) AS turned (original_key, current_key)
WHERE {table}.original_patient_key = turned.original_key AND {table}.patient_key <> turned.current_key"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an order comes from: `hl7` or `command`, the sender or account, and the message."""

    source: str
    who: str
    at: datetime
    message: str = ""
    inbox_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What an order changed: whether anything, whose the former identifier is now, how many rows of the index moved."""

    is_new: bool
    current: Patient
    moved: int


def merge(connection: Connection, former: Patient, survivor: Patient, origin: Origin) -> Done:
    """Merge within the caller's transaction; harmless when it was done before. Raises MergeRefusedError."""
    connection.execute(_LOCK)
    before = load_chains(connection, (former.key, survivor.key))
    after = before.merge(former.key, survivor.key)
    if after.into == before.into:
        return Done(is_new=False, current=patient_of(before.current(former.key)), moved=0)
    connection.execute(_ADD, (former.key, survivor.key, after.current(former.key), origin.at))
    return _follow(connection, (before, after), _event("merge", former.key, survivor.key, origin))


def unmerge(connection: Connection, former: Patient, origin: Origin) -> Done:
    """Undo the merge of an identifier within the caller's transaction. Raises MergeRefusedError(NOT_MERGED)."""
    connection.execute(_LOCK)
    before = load_chains(connection, (former.key,))
    after = before.unmerge(former.key)
    connection.execute(_REMOVE, (former.key,))
    return _follow(connection, (before, after), _event("unmerge", former.key, before.into[former.key], origin))


def load_chains(connection: Connection, keys: Iterable[str]) -> Chains:
    """Return all merges of the patients that some keys belong to."""
    rows = connection.execute(_LOAD, {"keys": list(keys)}).fetchall()
    return Chains({row["former_key"]: row["into_key"] for row in rows})


def _event(deed: str, former_key: str, into_key: str, origin: Origin) -> dict[str, object]:
    return {
        "deed": deed,
        "former_key": former_key,
        "into_key": into_key,
        "at": origin.at,
        "source": origin.source,
        "who": origin.who,
        "message": origin.message,
        "inbox_id": origin.inbox_id,
    }


def _follow(connection: Connection, steps: tuple[Chains, Chains], event: Mapping[str, object]) -> Done:
    """Let everything that is worked out from the merges follow, and record what was done."""
    before, after = steps
    turned = after.changed_since(before)
    values = {"keys": list(turned), "current": list(turned.values())}
    connection.execute(_TURN, values)
    moved = 0
    for row in connection.execute(_TABLES).fetchall():
        statement = sql.SQL(_MOVE).format(table=sql.Identifier(row["embedding_table"]))
        moved += connection.execute(statement, values).rowcount
    connection.execute(_RECORD, event)
    former = str(event["former_key"])
    facts = {"deed": event["deed"], "former": pseudonym(former), "into": pseudonym(str(event["into_key"]))}
    logger.info("patients.changed", extra={**facts, "source": event["source"], "moved": moved})
    return Done(is_new=True, current=patient_of(after.current(former)), moved=moved)
