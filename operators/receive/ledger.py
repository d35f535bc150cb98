"""The rows of what was received: an object that lies in the spool becomes part of a revision, in one transaction.

An object that is sent again with other content takes the place of what was there, wherever that was: see `replace`.
The row of the study is the lock: arrivals of one study take turns with each other and with the closing of its revision.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto
from typing import Any

from psycopg_pool import PoolTimeout

from operators.domain.codec import from_plain, to_json
from operators.domain.database import Pool, pipelined
from operators.domain.errors import TransientError
from operators.domain.ids import AeTitle, InstanceUid, StudyUid
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
     path, size_bytes, sha256, calling_ae, received_at)"""

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
           %(path)s, %(size_bytes)s, %(sha256)s, %(calling_ae)s, %(received_at)s
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
        %(patient_key)s, %(header)s, %(path)s, %(size_bytes)s, %(sha256)s, %(calling_ae)s, %(received_at)s)
ON CONFLICT (instance_uid) DO NOTHING
RETURNING revision"""  # noqa: S608 - a constant

_STORED = """
SELECT i.path, i.sha256, i.transfer_syntax_uid, i.study_uid, i.purged_at IS NOT NULL AS purged, i.header,
       (SELECT r.state FROM revisions r WHERE r.study_uid = i.study_uid ORDER BY r.revision DESC LIMIT 1) AS state
FROM instances i WHERE i.instance_uid = %(instance_uid)s"""

# In one order, so that two arrivals that move images between the same studies do not wait for each other.
_LOCK_BOTH = """
SELECT 1 FROM studies WHERE study_uid IN (%(study_uid)s, %(former_study_uid)s) ORDER BY study_uid FOR UPDATE"""

# An image of the same study stays in its revision: the newer one that is opened for it reads the older ones' too.
_REPLACE = """
WITH latest AS (
    SELECT revision, state, state = ANY(%(open)s) AS is_open FROM revisions
    WHERE study_uid = %(study_uid)s ORDER BY revision DESC LIMIT 1
), taken AS (
    SELECT CASE WHEN latest.is_open THEN latest.revision ELSE coalesce(latest.revision, 0) + 1 END AS revision,
           latest.state IS NULL OR latest.state = ANY(%(open)s) OR %(reopens)s::text[] IS NULL
           OR latest.state = ANY(%(reopens)s::text[]) AS is_taken
    FROM (SELECT 1) AS always LEFT JOIN latest ON true
), replaced AS (
    UPDATE instances i
    SET study_uid = %(study_uid)s, series_uid = %(series_uid)s, sop_class_uid = %(sop_class_uid)s,
        transfer_syntax_uid = %(transfer_syntax_uid)s, modality = %(modality)s, patient_key = %(patient_key)s,
        header = %(header)s::jsonb, path = %(path)s, size_bytes = %(size_bytes)s, sha256 = %(sha256)s,
        calling_ae = %(calling_ae)s, received_at = %(received_at)s, purged_at = NULL,
        revision = CASE WHEN NOT %(opens_study)s THEN 0
                        WHEN i.study_uid = %(study_uid)s AND i.revision > 0 THEN i.revision
                        ELSE taken.revision END
    FROM taken
    WHERE i.instance_uid = %(instance_uid)s AND i.path = %(replaces)s
    RETURNING taken.revision, %(opens_study)s AND taken.is_taken AS opens
), kept AS (
    INSERT INTO revisions (study_uid, revision, state, opened_at, last_instance_at)
    SELECT %(study_uid)s, revision, 'receiving', %(received_at)s, %(received_at)s FROM replaced WHERE opens
    ON CONFLICT (study_uid, revision) DO UPDATE
    SET state = 'receiving', last_instance_at = greatest(revisions.last_instance_at, excluded.last_instance_at)
)
SELECT revision FROM replaced"""

# What follows a replacement happens only if there was one: another arrival of the same object may have been faster.
_IS_REPLACED = "EXISTS (SELECT FROM instances i WHERE i.instance_uid = %(instance_uid)s AND i.path = %(path)s)"
_NAMES_IT = f"SELECT 1 WHERE {_IS_REPLACED}"
_IMAGES_OF = "FROM instances i WHERE i.study_uid = {study} AND i.revision > 0"
_LEFT = _IMAGES_OF.format(study="%(former_study_uid)s")

# Where the image came from: what is left there is read anew, and where nothing is left there is nothing to read.
_LEAVE = f"""
WITH latest AS (
    SELECT revision, state, state = ANY(%(open)s) AS is_open FROM revisions
    WHERE study_uid = %(former_study_uid)s ORDER BY revision DESC LIMIT 1
)
INSERT INTO revisions (study_uid, revision, state, opened_at, last_instance_at)
SELECT %(former_study_uid)s, CASE WHEN is_open THEN revision ELSE revision + 1 END, 'receiving', %(received_at)s,
       %(received_at)s
FROM latest
WHERE %(former_study_uid)s <> %(study_uid)s AND state <> 'withdrawn' AND {_IS_REPLACED}
      AND EXISTS (SELECT {_LEFT})
ON CONFLICT (study_uid, revision) DO UPDATE
SET state = 'receiving', last_instance_at = greatest(revisions.last_instance_at, excluded.last_instance_at)"""  # noqa: S608 - constants
_EMPTIED = f"""
UPDATE revisions SET state = 'withdrawn', finished_at = %(received_at)s, next_attempt_at = NULL
WHERE study_uid = %(former_study_uid)s AND state IN ('receiving', 'assembling', 'queued', 'parked')
      AND %(former_study_uid)s <> %(study_uid)s AND {_IS_REPLACED}
      AND NOT EXISTS (SELECT {_LEFT})"""  # noqa: S608 - constants


def _corrected(name: str, said: str) -> str:
    """Return the assignment that keeps what a column says while an image says it, else takes what one does say."""
    images = _IMAGES_OF.format(study="s.study_uid")
    instead = f"SELECT {said} {images} AND {said} <> '' ORDER BY i.received_at, i.instance_uid LIMIT 1"
    return (
        f"{name} = CASE WHEN EXISTS (SELECT {images} AND {said} = s.{name}) THEN s.{name} "
        f"ELSE coalesce(({instead}), '') END"
    )


_PATIENT = "i.header->'patient'->>"
_SAID = {"patient_id": f"{_PATIENT}'patient_id'"} | {
    name: f"{_PATIENT}'{name.removeprefix('patient_')}'" if name.startswith("patient_") else f"i.header->>'{name}'"
    for name in _TEXTS
}
_CORRECT = f"""
UPDATE studies s SET {", ".join(_corrected(name, said) for name, said in _SAID.items())}
WHERE s.study_uid IN (%(study_uid)s, %(former_study_uid)s) AND {_IS_REPLACED}
      AND EXISTS (SELECT {_IMAGES_OF.format(study="s.study_uid")})
      AND (s.study_uid <> %(study_uid)s OR {" OR ".join(f"s.{name} <> %({name})s" for name in _SAID)})"""  # noqa: S608 - columns

_REOPEN = """
INSERT INTO revisions (study_uid, revision, state, opened_at, last_instance_at)
SELECT study_uid, revision + 1, 'receiving', %(received_at)s, %(received_at)s
FROM (SELECT * FROM revisions WHERE study_uid = %(study_uid)s ORDER BY revision DESC LIMIT 1) latest
WHERE state = 'withdrawn'
ON CONFLICT (study_uid, revision) DO NOTHING
RETURNING revision"""

_IS_OURS = "SELECT 1 FROM documents WHERE identity = %(instance_uid)s"

REFUSALS_KEPT = 1000
OTHER_NAME = "other"
# A peer may call itself anything, again and again: past so many rows, new names are counted together.
_REFUSE = """
WITH place AS (
    SELECT (SELECT count(*) FROM refusals) < %(kept)s OR EXISTS (
        SELECT FROM refusals WHERE calling_ae = %(calling_ae)s AND called_ae = %(called_ae)s AND reason = %(reason)s
    ) AS is_own
)
INSERT INTO refusals (calling_ae, called_ae, reason, last_at)
SELECT CASE WHEN is_own THEN %(calling_ae)s ELSE %(other)s END, CASE WHEN is_own THEN %(called_ae)s ELSE %(other)s END,
       %(reason)s, %(at)s
FROM place
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
    sha256: str
    received_at: datetime
    calling_ae: AeTitle
    opens_study: bool


class Recorded(Enum):
    """What became of an arrival."""

    NEW = auto()
    DUPLICATE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """Where an object lies that was received before; `purged` when retention has removed the file.

    `state` is of its study's latest revision, None when there is no revision. `header` is what the node keeps of the
    object's header.
    """

    path: str
    purged: bool
    sha256: str
    transfer_syntax_uid: str
    study_uid: StudyUid
    header: InstanceHeader
    state: str | None = None

    def is_of(self, arrival: Arrival) -> bool:
        """Whether the arrival's data set is the same, bytes and encoding."""
        return (self.sha256, self.transfer_syntax_uid) == (arrival.sha256, arrival.header.transfer_syntax_uid)

    def is_retold_by(self, arrival: Arrival) -> bool:
        """Whether the arrival says what was said before: the same bytes, or others of a PACS that compresses or adds.

        Of a study that was put aside only the same bytes are the same: others may be the good ones.
        """
        if self.is_of(arrival) or self.state in ("parked", "withdrawn"):
            return self.is_of(arrival)
        return replace(arrival.header, transfer_syntax_uid=self.header.transfer_syntax_uid) == self.header


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
        return StoredFile(**{**row, "header": from_plain(InstanceHeader, row["header"])}) if row else None

    def replace(self, arrival: Arrival, before: StoredFile) -> bool:
        """Let the row of a known object name its new file; False when it does not name the former one any more.

        Other content is read in the open revision or, when that was closed, in the next. The same content, whose file
        was gone, begins a revision only where the study was parked or withdrawn. The study's identity becomes what its
        images say now; an image that was in another study leaves that one.
        """
        values = {
            **_row(arrival),
            "replaces": before.path,
            "former_study_uid": before.study_uid,
            "reopens": ["parked", "withdrawn"] if before.is_of(arrival) else None,
        }
        lock = (_LOCK_BOTH, _LOCK_STUDY) if arrival.opens_study else (_LOCK_BOTH,)
        return self._row(values, *lock, _REPLACE, _LEAVE, _EMPTIED, _CORRECT, _NAMES_IT) is not None

    def reopen(self, arrival: Arrival) -> bool:
        """Begin a revision of a withdrawn study whose image came again as it was; False for one not withdrawn."""
        return self._row(_row(arrival), _LOCK_STUDY, _REOPEN) is not None

    def is_ours(self, instance_uid: str) -> bool:
        """Whether this node made the object."""
        return self._row({"instance_uid": instance_uid}, _IS_OURS) is not None

    def count_refusal(self, calling_ae: str, called_ae: str, reason: str, at: datetime) -> None:
        """Count a refused association by its names; past REFUSALS_KEPT rows, new names count as OTHER_NAME."""
        names = {"calling_ae": calling_ae, "called_ae": called_ae, "reason": reason}
        self._row({**names, "at": at, "kept": REFUSALS_KEPT, "other": OTHER_NAME}, _REFUSE)

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
        "sha256": arrival.sha256,
        "opens_study": arrival.opens_study,
        "calling_ae": arrival.calling_ae,
        "received_at": arrival.received_at,
    }
