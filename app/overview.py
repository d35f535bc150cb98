"""What page, API and command line show of studies: one row per study, and everything about one of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from operators.domain.codec import from_plain
from operators.domain.database import Connection, Pool, transaction
from operators.domain.messages import Comparison, Patient, PriorDecision, SimilarCase
from operators.domain.reasons import REASONS, ReasonCode
from operators.retrieve.following import of_others_now

STATES = ("receiving", "assembling", "queued", "working", "parked", "delivering", "done", "withdrawn")

_LATEST = """
FROM studies s
JOIN LATERAL (SELECT * FROM revisions r WHERE r.study_uid = s.study_uid ORDER BY r.revision DESC LIMIT 1) r ON true
LEFT JOIN LATERAL (
    SELECT count(*) FILTER (WHERE o.state <> 'sent') AS unsent,
           (array_agg(o.reason ORDER BY o.attempts DESC) FILTER (WHERE o.state <> 'sent'))[1] AS unsent_reason,
           (array_agg(o.reason_code ORDER BY o.attempts DESC) FILTER (WHERE o.state <> 'sent'))[1] AS unsent_code,
           min(o.next_attempt_at) FILTER (WHERE o.state = 'waiting') AS unsent_next_at,
           count(*) FILTER (WHERE o.state = 'parked') AS undeliverable
    FROM outbox o WHERE o.study_uid = s.study_uid) o ON true
"""

_LIST = f"""
SELECT s.*, r.revision, r.state, r.last_instance_at, r.closed_at, r.finished_at, r.attempts, r.next_attempt_at, r.stage,
       r.reason_code, r.reason, o.unsent, o.unsent_reason, o.unsent_code, o.unsent_next_at, o.undeliverable,
       (SELECT count(*) FROM instances i WHERE i.study_uid = s.study_uid AND i.revision > 0) AS images,
       EXISTS (SELECT FROM results d WHERE d.study_uid = r.study_uid AND d.revision = r.revision) AS has_draft
{_LATEST}
WHERE (%(state)s::text IS NULL OR r.state = %(state)s) AND (%(uid)s::text IS NULL OR s.study_uid = %(uid)s)
ORDER BY r.last_instance_at DESC, s.study_uid
LIMIT %(limit)s OFFSET %(offset)s"""  # noqa: S608 - one constant in another

_COUNT_BY_STATE = f"SELECT r.state, count(*) AS studies {_LATEST} GROUP BY r.state"

_SEARCH = "SELECT outcome, sentence, decisions FROM prior_searches WHERE study_uid = %s AND revision = %s"
_RESULT = """
SELECT comparison, similar_cases, bundle_id, created_at FROM results WHERE study_uid = %s AND revision = %s"""
_OUTBOX = """
SELECT revision, destination, kind, identity, state, attempts, next_attempt_at, reason_code, reason, sent_at
FROM outbox WHERE study_uid = %s ORDER BY revision, destination, kind"""
_PDF = "SELECT preview_pdf FROM results WHERE study_uid = %s ORDER BY revision DESC LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One study in its latest revision.

    `waits_for` is a sentence when something waits, is parked or undeliverable; documents of earlier revisions count.
    """

    study_uid: str
    revision: int
    state: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_description: str
    images: int
    attempts: int
    last_instance_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None
    stage: str | None
    reason_code: str | None
    waits_for: str | None
    action: str | None
    can_retry: bool
    can_discard: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One document on its way to one destination."""

    revision: int
    destination: str
    kind: str
    identity: str
    state: str
    attempts: int
    next_attempt_at: datetime | None
    reason_code: str | None
    reason: str | None
    sent_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDetail:
    """Everything about one study; `comparison` is None until there is a draft."""

    study: StudyRow
    priors_outcome: str | None
    priors_sentence: str | None
    prior_decisions: tuple[PriorDecision, ...]
    comparison: Comparison | None
    similar: tuple[SimilarCase, ...]
    deliveries: tuple[Delivery, ...]


class Overview:
    """Reads; every method raises TransientError when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def studies(self, *, state: str | None = None, limit: int = 50, offset: int = 0) -> tuple[StudyRow, ...]:
        """Return studies, latest received first, optionally of one state."""
        values = {"state": state, "uid": None, "limit": limit, "offset": offset}
        with transaction(self._pool) as connection:
            return tuple(_row(row) for row in connection.execute(_LIST, values).fetchall())

    def count_by_state(self) -> dict[str, int]:
        """Return how many studies are in each state; every state has its number."""
        with transaction(self._pool) as connection:
            rows = connection.execute(_COUNT_BY_STATE).fetchall()
        return dict.fromkeys(STATES, 0) | {row["state"]: int(row["studies"]) for row in rows}

    def study(self, study_uid: str) -> StudyDetail | None:
        """Return one study whole, or None when it is unknown."""
        values = {"state": None, "uid": study_uid, "limit": 1, "offset": 0}
        with transaction(self._pool) as connection:
            row = connection.execute(_LIST, values).fetchone()
            if row is None:
                return None
            key = (study_uid, row["revision"])
            search = connection.execute(_SEARCH, key).fetchone()
            result = connection.execute(_RESULT, key).fetchone()
            deliveries = connection.execute(_OUTBOX, (study_uid,)).fetchall()
            similar = _similar(connection, row, result) if result else ()
        return StudyDetail(
            study=_row(row),
            priors_outcome=search["outcome"] if search else None,
            priors_sentence=search["sentence"] if search else None,
            prior_decisions=tuple(from_plain(PriorDecision, plain) for plain in search["decisions"]) if search else (),
            comparison=from_plain(Comparison, result["comparison"]) if result else None,
            similar=similar,
            deliveries=tuple(Delivery(**delivery) for delivery in deliveries),
        )

    def preview_pdf(self, study_uid: str) -> bytes | None:
        """Return the latest draft as a PDF, or None when there is none."""
        with transaction(self._pool) as connection:
            row = connection.execute(_PDF, (study_uid,)).fetchone()
        return bytes(row["preview_pdf"]) if row else None


def _similar(connection: Connection, row: dict[str, Any], result: dict[str, Any]) -> tuple[SimilarCase, ...]:
    """Return the similar cases of a draft that are of other patients by all merges since."""
    kept = tuple(from_plain(SimilarCase, plain) for plain in result["similar_cases"])
    patient = Patient(patient_id=row["patient_id"], issuer=row["patient_issuer"])
    return of_others_now(connection, result["bundle_id"], patient, kept)


def _row(row: dict[str, Any]) -> StudyRow:
    code = row["reason_code"] or row["unsent_code"]
    waits_for = row["reason"] or row["unsent_reason"]
    if waits_for is None and row["unsent"]:
        waits_for = f"{row['unsent']} documents wait to be sent."
    can_discard = row["state"] == "parked" or bool(row["undeliverable"])
    return StudyRow(
        **{name: row[name] for name in _COPIED},
        next_attempt_at=row["next_attempt_at"] or row["unsent_next_at"],
        reason_code=code,
        waits_for=waits_for,
        action=REASONS[ReasonCode(code)].action if code else None,
        can_retry=can_discard or (row["state"] == "withdrawn" and not row["has_draft"]),
        can_discard=can_discard,
    )


_COPIED = (
    "study_uid",
    "revision",
    "state",
    "patient_id",
    "patient_name",
    "accession_number",
    "study_date",
    "study_description",
    "images",
    "attempts",
    "last_instance_at",
    "finished_at",
    "stage",
)
