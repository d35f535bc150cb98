"""What is known of one identifier of a patient: an identifier enters, its merges, studies and history leave."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from operators.domain.database import Connection, Pool, transaction
from operators.domain.messages import Patient
from operators.domain.patient_keys import patient_of
from operators.patients.merges import load_chains

_STUDIES = "SELECT count(*) AS studies FROM studies WHERE patient_issuer || chr(31) || patient_id = ANY(%s)"
_TABLES = "SELECT embedding_table FROM bundles WHERE to_regclass(embedding_table) IS NOT NULL ORDER BY bundle_id"
_IMAGES = "SELECT count(DISTINCT instance_uid) AS images FROM {table} WHERE original_patient_key = ANY(%s)"
_EVENTS = """
SELECT deed, former_key, into_key, at, source, who, message FROM patient_events
WHERE former_key = ANY(%(keys)s) OR into_key = ANY(%(keys)s) ORDER BY event_id"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identifier:
    """A patient ID and who issued it; `issuer` is empty where objects name none."""

    patient_id: str
    issuer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeEvent:
    """A merge, or its undoing: when, by whom (sender or account), by what message."""

    deed: str
    former: Identifier
    into: Identifier
    at: datetime
    source: str
    who: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPatient:
    """What the node knows of the patient that an identifier belongs to.

    `merged` are all identifiers that are no longer used, each with the one it went into; `studies` and `images` are
    those received and those in the index, under any of the identifiers.
    """

    asked: Identifier
    current: Identifier
    merged: tuple[tuple[Identifier, Identifier], ...]
    studies: int
    images: int
    events: tuple[MergeEvent, ...]

    @property
    def is_known(self) -> bool:
        """Whether anything bears the identifier."""
        return bool(self.studies or self.images or self.merged or self.events)


def known_patient(pool: Pool, asked: Patient) -> KnownPatient:
    """Return what is known. Raises TransientError when the database is away."""
    with transaction(pool) as connection:
        chains = load_chains(connection, (asked.key,))
        keys = sorted(chains.kin(asked.key))
        studies = connection.execute(_STUDIES, (keys,)).fetchone() or {"studies": 0}
        images = _images(connection, keys)
        events = connection.execute(_EVENTS, {"keys": keys}).fetchall()
    return KnownPatient(
        asked=_identifier(asked.key),
        current=_identifier(chains.current(asked.key)),
        merged=tuple((_identifier(former), _identifier(into)) for former, into in sorted(chains.into.items())),
        studies=studies["studies"],
        images=images,
        events=tuple(map(_event, events)),
    )


def _images(connection: Connection, keys: list[str]) -> int:
    """Count the images of the index that holds most of them: each bundle has its own."""
    counts = [0]
    for row in connection.execute(_TABLES).fetchall():
        statement = sql.SQL(_IMAGES).format(table=sql.Identifier(row["embedding_table"]))
        found = connection.execute(statement, (keys,)).fetchone()
        counts.append(found["images"] if found else 0)
    return max(counts)


def _event(row: dict[str, Any]) -> MergeEvent:
    former, into = _identifier(row.pop("former_key")), _identifier(row.pop("into_key"))
    return MergeEvent(former=former, into=into, **row)


def _identifier(key: str) -> Identifier:
    patient = patient_of(key)
    return Identifier(patient_id=patient.patient_id, issuer=patient.issuer)
