"""The rows of what was received: an object that lies in the spool becomes part of a revision, in one transaction.

The row of the study is the lock: arrivals of one study take turns with each other and with the closing of its revision.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

from psycopg_pool import PoolTimeout

from operators.domain.codec import to_json
from operators.domain.database import Pool, pipelined
from operators.domain.errors import TransientError
from operators.domain.ids import AeTitle, InstanceUid
from operators.domain.lifecycle import OPEN_STATES
from operators.domain.messages import InstanceHeader

_TEXTS: dict[str, Callable[[InstanceHeader], str]] = {
    "patient_issuer": lambda header: header.patient.issuer,
    "patient_name": lambda header: header.patient.name,
    "patient_birth_date": lambda header: header.patient.birth_date,
    "patient_sex": lambda header: header.patient.sex,
    "accession_number": lambda header: header.accession_number,
    "study_id": lambda header: header.study_id,
    "study_date": lambda header: header.study_date,
    "study_time": lambda header: header.study_time,
    "study_description": lambda header: header.study_description,
    "referring_physician": lambda header: header.referring_physician,
    "requested_procedure": lambda header: header.requested_procedure,
}

# What the first objects left empty is filled in by later ones; what they say stays. The conflict locks the row.
_LOCK_STUDY = f"""
INSERT INTO studies (study_uid, patient_id, first_received_at, {", ".join(_TEXTS)})
VALUES (%(study_uid)s, %(patient_id)s, %(received_at)s, {", ".join(f"%({name})s" for name in _TEXTS)})
ON CONFLICT (study_uid) DO UPDATE
SET {", ".join(f"{name} = coalesce(nullif(studies.{name}, ''), excluded.{name})" for name in _TEXTS)}
WHERE {" OR ".join(f"(studies.{name} = '' AND excluded.{name} <> '')" for name in _TEXTS)}"""  # noqa: S608 - column names

_COLUMNS = """
    (instance_uid, study_uid, series_uid, revision, sop_class_uid, transfer_syntax_uid, modality, patient_key, header,
     path, size_bytes, calling_ae, received_at)"""

# An open revision takes the image, else the next number is opened; nothing changes for an object that has a row.
# Runs with the study's row locked by the statement before, so that what it sees of the revisions stays true.
_PLACE = f"""
WITH latest AS (
    SELECT revision, state = ANY(%(open)s) AS is_open FROM revisions
    WHERE study_uid = %(study_uid)s ORDER BY revision DESC LIMIT 1
), stored AS (
    INSERT INTO instances {_COLUMNS}
    SELECT %(instance_uid)s, %(study_uid)s, %(series_uid)s,
           CASE WHEN latest.is_open THEN latest.revision ELSE coalesce(latest.revision, 0) + 1 END,
           %(sop_class_uid)s, %(transfer_syntax_uid)s, %(modality)s, %(patient_key)s, %(header)s::jsonb,
           %(path)s, %(size_bytes)s, %(calling_ae)s, %(received_at)s
    FROM (SELECT 1) AS always LEFT JOIN latest ON true
    ON CONFLICT (instance_uid) DO NOTHING
    RETURNING revision
), kept AS (
    INSERT INTO revisions (study_uid, revision, state, opened_at, last_instance_at)
    SELECT %(study_uid)s, revision, 'receiving', %(received_at)s, %(received_at)s FROM stored
    ON CONFLICT (study_uid, revision) DO UPDATE
    SET state = 'receiving', last_instance_at = greatest(revisions.last_instance_at, excluded.last_instance_at)
)
SELECT revision FROM stored"""  # noqa: S608 - a constant

_PUT_ASIDE = f"""
INSERT INTO instances {_COLUMNS}
VALUES (%(instance_uid)s, %(study_uid)s, %(series_uid)s, 0, %(sop_class_uid)s, %(transfer_syntax_uid)s, %(modality)s,
        %(patient_key)s, %(header)s, %(path)s, %(size_bytes)s, %(calling_ae)s, %(received_at)s)
ON CONFLICT (instance_uid) DO NOTHING
RETURNING revision"""  # noqa: S608 - a constant

_STORED = "SELECT path, purged_at FROM instances WHERE instance_uid = %(instance_uid)s"

_RESTORE = """
UPDATE instances
SET path = %(path)s, size_bytes = %(size_bytes)s, transfer_syntax_uid = %(transfer_syntax_uid)s, header = %(header)s,
    purged_at = NULL
WHERE instance_uid = %(instance_uid)s AND path = %(replaces)s RETURNING 1"""

_IS_OURS = "SELECT 1 FROM documents WHERE identity = %(instance_uid)s"

_REFUSE = """
INSERT INTO refusals (calling_ae, called_ae, reason, last_at) VALUES (%(calling_ae)s, %(called_ae)s, %(reason)s, %(at)s)
ON CONFLICT (calling_ae, called_ae, reason)
DO UPDATE SET times = refusals.times + 1, last_at = greatest(refusals.last_at, excluded.last_at)
RETURNING times"""

_COUNT = """
INSERT INTO counters (name, label, value) VALUES (%(name)s, %(label)s, 1)
ON CONFLICT (name, label) DO UPDATE SET value = counters.value + 1
RETURNING value"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An object whose file is durable. `path` is relative to the spool."""

    header: InstanceHeader
    path: str
    size_bytes: int
    received_at: datetime
    calling_ae: AeTitle
    opens_study: bool


class Recorded(Enum):
    """What became of an arrival."""

    NEW = auto()
    DUPLICATE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """Where an object lies that was received before; `purged` when retention has removed the file."""

    path: str
    purged: bool


class Ledger:
    """Rows of received objects. Every method raises TransientError when the database is away.

    Its pool need not check connections before it gives them out.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def record(self, arrival: Arrival) -> Recorded:
        """Give the object its row and, for an image, its place in a revision; nothing changes for a known one."""
        statements = (_LOCK_STUDY, _PLACE) if arrival.opens_study else (_PUT_ASIDE,)
        return Recorded.NEW if self._row(_row(arrival), *statements) else Recorded.DUPLICATE

    def stored(self, instance_uid: InstanceUid) -> StoredFile | None:
        """Return where the object's file is, or None for an object without a row."""
        row = self._row({"instance_uid": instance_uid}, _STORED)
        return StoredFile(path=row["path"], purged=row["purged_at"] is not None) if row else None

    def restore(self, arrival: Arrival, replaces: str) -> bool:
        """Let the row of a known object, whose file `replaces` is gone, name a new one; its revision stays closed."""
        return self._row({**_row(arrival), "replaces": replaces}, _RESTORE) is not None

    def is_ours(self, instance_uid: str) -> bool:
        """Whether this node made the object."""
        return self._row({"instance_uid": instance_uid}, _IS_OURS) is not None

    def count_refusal(self, calling_ae: str, called_ae: str, reason: str, at: datetime) -> None:
        """Count a refused association by its names."""
        values = {"calling_ae": calling_ae, "called_ae": called_ae, "reason": reason, "at": at}
        self._row(values, _REFUSE)

    def count(self, name: str, label: str = "") -> None:
        """Add one to a counter that outlives the process."""
        self._row({"name": name, "label": label}, _COUNT)

    def _row(self, values: dict[str, Any], *statements: str) -> dict[str, Any] | None:
        """Run the statements as one transaction; return the first row of the last one.

        A connection that broke while it was idle is replaced and the transaction run again: each may run twice.
        """
        try:
            return _run(self._pool, values, statements)
        except TransientError as error:
            if error.facts.get("kind") == PoolTimeout.__name__:
                raise
        self._pool.check()
        return _run(self._pool, values, statements)


def _run(pool: Pool, values: dict[str, Any], statements: tuple[str, ...]) -> dict[str, Any] | None:
    with pipelined(pool) as connection:
        cursors = [connection.execute(statement, values) for statement in statements]
    return cursors[-1].fetchone()


def _row(arrival: Arrival) -> dict[str, Any]:
    header = arrival.header
    return {
        **{name: read(header) for name, read in _TEXTS.items()},
        "open": list(OPEN_STATES),
        "patient_id": header.patient.patient_id,
        "instance_uid": header.instance_uid,
        "study_uid": header.study_uid,
        "series_uid": header.series_uid,
        "sop_class_uid": header.sop_class_uid,
        "transfer_syntax_uid": header.transfer_syntax_uid,
        "modality": header.modality,
        "patient_key": header.patient.key,
        "header": to_json(InstanceHeader, header),
        "path": arrival.path,
        "size_bytes": arrival.size_bytes,
        "calling_ae": arrival.calling_ae,
        "received_at": arrival.received_at,
    }
