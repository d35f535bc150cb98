"""The outbox: what has to reach whom, kept in PostgreSQL until it has. SQL on tables results, documents and outbox.

waiting --lease--> (leased) --mark_sent--> sent
   ^                  |  |
   +---mark_failed----+  +--park--> parked --retry--> waiting

A lease is a moment until which an entry belongs to the process that took it. A process that dies loses its leases by
the clock alone; what it was sending is sent again, the same bytes under the same identity.
"""

import hashlib
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from operators.domain.codec import to_json
from operators.domain.database import Connection, Pool, transaction
from operators.domain.drafts import Document, DocumentKind, DraftReport, OutboxEntry
from operators.domain.errors import NodeError
from operators.domain.ids import Destination, Revision, StudyUid, pseudonym
from operators.domain.messages import Comparison, SimilarCase

logger = logging.getLogger(__name__)

_FILE_RESULT: Final = """
INSERT INTO results (study_uid, revision, identity_digest, bundle_id, bundle_sha256, comparison, similar_cases,
                     created_at, preview_pdf)
VALUES (%(study_uid)s, %(revision)s, %(identity_digest)s, %(bundle_id)s, %(bundle_sha256)s, %(comparison)s,
        %(similar_cases)s, %(created_at)s, %(preview_pdf)s)
ON CONFLICT (study_uid, revision) DO NOTHING
RETURNING 1
"""
_FILE_DOCUMENT: Final = """
INSERT INTO documents (identity, study_uid, revision, kind, sop_class_uid, content, sha256, created_at)
VALUES (%(identity)s, %(study_uid)s, %(revision)s, %(kind)s, %(sop_class_uid)s, %(content)s, %(sha256)s, %(created_at)s)
ON CONFLICT (identity) DO NOTHING
"""
_FILE_ENTRY: Final = """
INSERT INTO outbox (study_uid, revision, destination, kind, identity, next_attempt_at, created_at)
VALUES (%(study_uid)s, %(revision)s, %(destination)s, %(kind)s, %(identity)s, %(created_at)s, %(created_at)s)
ON CONFLICT (study_uid, revision, destination, kind) DO NOTHING
"""
_LATER_RESULT: Final = "SELECT 1 FROM results WHERE study_uid = %(study_uid)s AND revision > %(revision)s LIMIT 1"

# To one destination the documents of a study go in the order they were filed in: an earlier revision first, the
# structured report before its companion. A parked entry holds up nobody.
_LEASE: Final = """
WITH due AS (
    SELECT o.outbox_id FROM outbox o
    WHERE o.state = 'waiting' AND o.destination = %(destination)s AND o.next_attempt_at <= %(now)s
      AND (o.leased_until IS NULL OR o.leased_until <= %(now)s)
      AND NOT EXISTS (SELECT FROM outbox earlier
                      WHERE earlier.study_uid = o.study_uid AND earlier.destination = o.destination
                        AND earlier.state = 'waiting'
                        AND (earlier.revision, earlier.outbox_id) < (o.revision, o.outbox_id))
    ORDER BY o.next_attempt_at, o.outbox_id
    LIMIT %(limit)s
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox SET leased_until = %(leased_until)s
FROM due, documents d
WHERE outbox.outbox_id = due.outbox_id AND d.identity = outbox.identity
RETURNING outbox.outbox_id, outbox.study_uid, outbox.revision, outbox.destination, outbox.attempts, outbox.leased_until,
          d.kind, d.identity, d.sop_class_uid, d.content
"""
_RENEW: Final = """
UPDATE outbox SET leased_until = %(leased_until)s
WHERE outbox_id = ANY(%(outbox_ids)s) AND state = 'waiting' AND leased_until IS NOT NULL
"""
_LOCK_REVISION: Final = "SELECT 1 FROM revisions WHERE study_uid = %(study_uid)s AND revision = %(revision)s FOR UPDATE"
_SENT: Final = """
UPDATE outbox SET state = 'sent', sent_at = %(now)s, attempts = attempts + 1, leased_until = NULL, reason_code = NULL,
                  reason = NULL
WHERE outbox_id = %(outbox_id)s AND state <> 'sent'
"""
_DONE: Final = """
UPDATE revisions r SET state = 'done', finished_at = %(now)s
WHERE r.study_uid = %(study_uid)s AND r.revision = %(revision)s AND r.state = 'delivering'
  AND NOT EXISTS (SELECT FROM outbox o
                  WHERE o.study_uid = r.study_uid AND o.revision = r.revision AND o.state <> 'sent')
"""
_FAILED: Final = """
UPDATE outbox SET attempts = attempts + 1, next_attempt_at = %(next_attempt_at)s, leased_until = NULL,
                  reason_code = %(code)s, reason = %(reason)s
WHERE outbox_id = %(outbox_id)s AND state = 'waiting'
"""
_PARK: Final = """
UPDATE outbox SET state = 'parked', attempts = attempts + 1, leased_until = NULL, reason_code = %(code)s,
                  reason = %(reason)s
WHERE outbox_id = %(outbox_id)s AND state = 'waiting'
"""
_RETRY: Final = """
UPDATE outbox SET state = 'waiting', attempts = 0, next_attempt_at = now(), leased_until = NULL,
                  reason_code = NULL, reason = NULL
WHERE study_uid = %s AND state = 'parked'
"""
_HASTEN: Final = """
UPDATE outbox SET next_attempt_at = %(now)s
WHERE destination = %(destination)s AND state = 'waiting' AND next_attempt_at > %(now)s
"""
_SUMMARY: Final = """
SELECT destination,
       count(*) FILTER (WHERE state = 'waiting') AS waiting,
       count(*) FILTER (WHERE state = 'parked') AS parked,
       min(created_at) FILTER (WHERE state = 'waiting') AS oldest_at,
       (array_agg(reason ORDER BY next_attempt_at DESC) FILTER (WHERE reason IS NOT NULL))[1] AS reason
FROM outbox WHERE state <> 'sent' GROUP BY destination ORDER BY destination
"""
_KIND_ORDER: Final = tuple(DocumentKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leased:
    """An entry that belongs to us until `leased_until`, if nobody renews that; `attempts` failed before."""

    outbox_id: int
    entry: OutboxEntry
    attempts: int
    leased_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits for one destination, what is parked, since when, and the latest reason."""

    destination: Destination
    waiting: int
    parked: int
    oldest_at: datetime | None
    reason: str | None


def file_draft(connection: Connection, draft: DraftReport, entries: Sequence[OutboxEntry]) -> bool:
    """Insert a draft's result, documents and outbox entries in the caller's transaction.

    The first rendering wins: where the revision has a result already, nothing is written and False is returned. A draft
    whose study has a result of a later revision is filed but not addressed: the archive holds its successor.
    """
    of = {"study_uid": draft.study_uid, "revision": int(draft.revision), "created_at": draft.rendered_at}
    if connection.execute(_FILE_RESULT, {**of, **_result(draft)}).fetchone() is None:
        logger.info("draft.filed_before", extra={"study": pseudonym(draft.study_uid), "revision": int(draft.revision)})
        return False
    is_superseded = connection.execute(_LATER_RESULT, of).fetchone() is not None
    addressed = [] if is_superseded else sorted(entries, key=lambda entry: _KIND_ORDER.index(entry.document.kind))
    for document in {d.identity: d for d in (*draft.documents, *(e.document for e in addressed))}.values():
        connection.execute(_FILE_DOCUMENT, {**of, **_document(document)})
    for entry in addressed:
        document = entry.document
        facts = {"destination": entry.destination, "kind": document.kind.value, "identity": document.identity}
        connection.execute(_FILE_ENTRY, {**of, **facts})
    return True


def retry_parked(connection: Connection, study_uid: StudyUid) -> int:
    """Let a study's parked entries, of every revision, wait again in the caller's transaction; return how many."""
    return connection.execute(_RETRY, (study_uid,)).rowcount


def _result(draft: DraftReport) -> dict[str, Any]:
    compared = draft.compared
    bundle = compared.comparison.bundle
    return {
        "identity_digest": draft.identity_digest,
        "bundle_id": bundle.bundle_id,
        "bundle_sha256": bundle.sha256,
        "comparison": to_json(Comparison, compared.comparison),
        "similar_cases": to_json(tuple[SimilarCase, ...], compared.similar),
        "preview_pdf": draft.preview_pdf,
    }


def _document(document: Document) -> dict[str, Any]:
    return {
        "identity": document.identity,
        "kind": document.kind.value,
        "sop_class_uid": document.sop_class_uid,
        "content": document.content,
        "sha256": hashlib.sha256(document.content).hexdigest(),
    }


class Outbox:
    """Takes entries out to be sent and marks what came of it. Every method raises TransientError(DATABASE_AWAY)."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def lease_due(self, destination: Destination, now: datetime, *, limit: int, lease_s: float) -> list[Leased]:
        """Take up to `limit` entries of a destination that are due, in order; they are ours until the lease ends."""
        facts = {
            "destination": destination,
            "now": now,
            "limit": limit,
            "leased_until": now + timedelta(seconds=lease_s),
        }
        with transaction(self._pool) as connection:
            rows = connection.execute(_LEASE, facts).fetchall()
        return sorted((_leased(row) for row in rows), key=lambda one: one.outbox_id)

    def renew(self, outbox_ids: Collection[int], leased_until: datetime) -> None:
        """Keep leases while their entries are being sent."""
        with transaction(self._pool) as connection:
            connection.execute(_RENEW, {"outbox_ids": list(outbox_ids), "leased_until": leased_until})

    def mark_sent(self, leased: Leased, now: datetime) -> None:
        """Mark an entry sent; with its last entry a revision is done, in the same transaction.

        The revision's row is locked first: two last entries that end at the same moment must see each other.
        """
        facts = {**_key(leased), "now": now}
        with transaction(self._pool) as connection:
            connection.execute(_LOCK_REVISION, facts)
            connection.execute(_SENT, facts)
            connection.execute(_DONE, facts)

    def mark_failed(self, leased: Leased, error: NodeError, next_attempt_at: datetime) -> None:
        """Let the entry wait until the next attempt, with the reason."""
        self._run(_FAILED, {**_key(leased), **_reason(error), "next_attempt_at": next_attempt_at})

    def park(self, leased: Leased, error: NodeError) -> None:
        """Put the entry aside for an admin; its revision stays in delivery."""
        self._run(_PARK, {**_key(leased), **_reason(error)})

    def hasten(self, destination: Destination, now: datetime) -> int:
        """Make everything that waits for a destination due now: it is back. Return how many entries that were."""
        return self._run(_HASTEN, {"destination": destination, "now": now})

    def waiting(self) -> list[Waiting]:
        """Return what is not sent, by destination."""
        with transaction(self._pool) as connection:
            rows = connection.execute(_SUMMARY).fetchall()
        return [Waiting(**{**row, "destination": Destination(row["destination"])}) for row in rows]

    def _run(self, statement: str, facts: dict[str, Any]) -> int:
        with transaction(self._pool) as connection:
            return connection.execute(statement, facts).rowcount


def _key(leased: Leased) -> dict[str, Any]:
    entry = leased.entry
    return {"outbox_id": leased.outbox_id, "study_uid": entry.study_uid, "revision": int(entry.revision)}


def _reason(error: NodeError) -> dict[str, str]:
    return {"code": error.code.value, "reason": error.sentence}


def _leased(row: dict[str, Any]) -> Leased:
    document = Document(
        kind=DocumentKind(row["kind"]),
        identity=row["identity"],
        sop_class_uid=row["sop_class_uid"],
        content=bytes(row["content"]),
    )
    return Leased(
        outbox_id=row["outbox_id"],
        entry=OutboxEntry(
            study_uid=StudyUid(row["study_uid"]),
            revision=Revision(row["revision"]),
            destination=Destination(row["destination"]),
            document=document,
        ),
        attempts=row["attempts"],
        leased_until=row["leased_until"],
    )
