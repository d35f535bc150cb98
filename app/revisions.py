"""The life of a revision in the work role, and the admin's hand on it: SQL on table revisions.

queued --start--> working --file--> delivering --(outbox empty)--> done
   ^                 |
   +--put_back-------+--park--> parked --retry--> queued, or --discard--> withdrawn

A revision in delivery whose last parked documents are discarded is done when others were sent, else withdrawn.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.jobs import TASK, enqueue, job_of
from operators.deliver.outbox import retry_parked
from operators.domain.database import Connection, Pool, transaction
from operators.domain.ids import StudyUid, pseudonym
from operators.domain.items import Stopped
from operators.domain.messages import PriorOutcome, StudyJob
from operators.domain.reasons import REASONS, ReasonCode

logger = logging.getLogger(__name__)

_LOCKED_STATE = "SELECT state, attempts, stage FROM revisions WHERE study_uid = %s AND revision = %s FOR UPDATE"

_START = """
UPDATE revisions
SET state = 'working', attempts = attempts + 1, started_at = coalesce(started_at, now()),
    next_attempt_at = NULL, stage = NULL, reason_code = NULL, reason = NULL
WHERE study_uid = %s AND revision = %s
RETURNING attempts"""

_GIVE_BACK = """
UPDATE revisions SET attempts = attempts - 1
WHERE study_uid = %s AND revision = %s AND state = 'working' AND attempts = %s"""

_FIRST_TRIED = "SELECT started_at FROM revisions WHERE study_uid = %s AND revision = %s"

_PUT_BACK = """
UPDATE revisions
SET state = 'queued', attempts = attempts - %(forgiven)s, next_attempt_at = %(next_attempt_at)s,
    stage = %(stage)s, reason_code = %(code)s, reason = %(reason)s
WHERE study_uid = %(study_uid)s AND revision = %(revision)s AND state = 'working'
RETURNING 1"""

_PARK = """
UPDATE revisions
SET state = 'parked', next_attempt_at = NULL, stage = %(stage)s, reason_code = %(code)s, reason = %(reason)s
WHERE study_uid = %(study_uid)s AND revision = %(revision)s AND state IN ('queued', 'working')"""

_FILED = """
UPDATE revisions r
SET state = CASE WHEN EXISTS (SELECT FROM outbox o WHERE o.study_uid = r.study_uid AND o.revision = r.revision
                              AND o.state <> 'sent') THEN 'delivering' ELSE 'done' END,
    finished_at = now(), stage_seconds = %(stage_seconds)s, next_attempt_at = NULL,
    stage = NULL, reason_code = NULL, reason = NULL
WHERE r.study_uid = %(study_uid)s AND r.revision = %(revision)s AND r.state = 'working'"""

# What was parked of an earlier revision is of no use any more, and nobody would be shown it again.
_SUPERSEDE = """
UPDATE revisions SET state = 'withdrawn', finished_at = now()
WHERE study_uid = %(study_uid)s AND revision < %(revision)s AND state = 'parked'"""

_FORGOTTEN = """
SELECT r.study_uid, r.revision FROM revisions r
WHERE r.state IN ('queued', 'working')
  AND NOT EXISTS (SELECT FROM procrastinate_jobs j
                  WHERE j.task_name = %s AND j.status IN ('todo', 'doing')
                    AND j.args->>'study_uid' = r.study_uid AND (j.args->>'revision')::int = r.revision)
FOR UPDATE OF r SKIP LOCKED"""

_LATEST = """
SELECT revision, state FROM revisions WHERE study_uid = %s ORDER BY revision DESC LIMIT 1 FOR UPDATE"""

_HAS_RESULT = "SELECT 1 FROM results WHERE study_uid = %s AND revision = %s"

_RETRY = """
UPDATE revisions
SET state = 'queued', attempts = 0, started_at = NULL, next_attempt_at = NULL,
    stage = NULL, reason_code = NULL, reason = NULL
WHERE study_uid = %s AND revision = %s"""

# A search that could not ask is asked again with the study; one that was answered stays as it was frozen.
_FORGET_SEARCH = """
DELETE FROM prior_searches p
WHERE p.study_uid = %(study_uid)s AND p.revision = %(revision)s AND p.outcome = %(could_not_ask)s
  AND NOT EXISTS (SELECT FROM results r WHERE r.study_uid = p.study_uid AND r.revision = p.revision)"""

# From the latest to the first, as `file` locks them: two transactions that lock in two orders wait for each other.
_ALL = "SELECT revision, state FROM revisions WHERE study_uid = %s ORDER BY revision DESC FOR UPDATE"

_DISCARD = """
UPDATE revisions SET state = 'withdrawn', finished_at = now(), next_attempt_at = NULL, reason_code = %(code)s,
                     reason = %(reason)s
WHERE study_uid = %(study_uid)s AND state = 'parked' RETURNING revision"""

_DROP_OUTBOX = "DELETE FROM outbox WHERE study_uid = %s AND state = 'parked' RETURNING revision"

_END_WITHOUT = """
UPDATE revisions r
SET state = %(state)s, finished_at = now(), reason_code = %(code)s, reason = %(reason)s
WHERE r.study_uid = %(study_uid)s AND r.revision = ANY(%(revisions)s) AND r.state = 'delivering'
  AND NOT EXISTS (SELECT FROM outbox o WHERE o.study_uid = r.study_uid AND o.revision = r.revision
                  AND o.state <> 'sent')
  AND EXISTS (SELECT FROM outbox o WHERE o.study_uid = r.study_uid AND o.revision = r.revision) = %(was_sent)s"""


class Filer(Protocol):
    """Writes a draft, its documents and its outbox rows within the caller's transaction."""

    def __call__(self, connection: Connection) -> bool:
        """Insert what is not there yet; whether anything was."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An admin's wish that the study's state does not allow, with the sentence to show."""

    sentence: str


class Revisions:
    """Transitions of one revision; each is one transaction. All raise TransientError when the database is away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def start(self, job: StudyJob) -> int | None:
        """Take up the job: the attempt's number, or None when there is nothing to do (finished, parked, unknown)."""
        with transaction(self._pool) as connection:
            row = connection.execute(_LOCKED_STATE, _key(job)).fetchone()
            if row is None or row["state"] not in ("queued", "working"):
                return None
            started = connection.execute(_START, _key(job)).fetchone()
            return int(started["attempts"]) if started else None

    def give_back(self, job: StudyJob, attempts: int) -> None:
        """Count the attempt that `start` just began as none; nothing changes when another has begun since."""
        with transaction(self._pool) as connection:
            connection.execute(_GIVE_BACK, (*_key(job), attempts))

    def first_tried_at(self, job: StudyJob) -> datetime | None:
        """Return when work on the revision first began; None before that, and when it is unknown."""
        with transaction(self._pool) as connection:
            row = connection.execute(_FIRST_TRIED, _key(job)).fetchone()
        return row["started_at"] if row else None

    def file(self, job: StudyJob, filer: Filer, stage_s: Mapping[str, float]) -> bool:
        """Commit the draft with its documents and outbox rows; False when the job was no longer being worked on."""
        with transaction(self._pool) as connection:
            row = connection.execute(_LOCKED_STATE, _key(job)).fetchone()
            if row is None or row["state"] != "working":
                return False
            filer(connection)
            seconds = json.dumps({stage: round(value, 6) for stage, value in stage_s.items()})
            connection.execute(_FILED, {**_named(job), "stage_seconds": seconds})
            connection.execute(_SUPERSEDE, _named(job))
            return True

    def put_back(self, job: StudyJob, stopped: Stopped, not_before: datetime, *, forgiven: bool) -> None:
        """Queue the job again for later, with the reason it waits for; a forgiven attempt does not count."""
        values = {**_named(job), **_reason(stopped), "next_attempt_at": not_before, "forgiven": int(forgiven)}
        with transaction(self._pool) as connection:
            if connection.execute(_PUT_BACK, values).fetchone():
                enqueue(connection, job, not_before)

    def park(self, job: StudyJob, stopped: Stopped) -> None:
        """Put the study aside with its reason, for an admin."""
        with transaction(self._pool) as connection:
            connection.execute(_PARK, {**_named(job), **_reason(stopped)})
        facts = {"study": pseudonym(job.study_uid), "code": stopped.error.code.value, "stage": stopped.stage}
        logger.warning("study.parked", extra=facts)

    def enqueue_forgotten(self) -> int:
        """Give a job to every revision that waits for one and has none; return how many there were."""
        with transaction(self._pool) as connection:
            rows = connection.execute(_FORGOTTEN, (TASK,)).fetchall()
            for row in rows:
                enqueue(connection, job_of(row["study_uid"], row["revision"]))
        return len(rows)

    def retry(self, study_uid: str) -> Refused | None:
        """Take up a parked or discarded study again, or its parked deliveries, those of earlier revisions too."""
        with transaction(self._pool) as connection:
            row = connection.execute(_LATEST, (study_uid,)).fetchone()
            if row is None:
                return Refused(sentence="No such study.")
            key, state = (study_uid, row["revision"]), row["state"]
            is_discarded_draft = state == "withdrawn" and connection.execute(_HAS_RESULT, key).fetchone() is not None
            if state in ("parked", "withdrawn") and not is_discarded_draft:
                job = job_of(study_uid, row["revision"])
                connection.execute(_RETRY, key)
                connection.execute(_FORGET_SEARCH, {**_named(job), "could_not_ask": PriorOutcome.COULD_NOT_ASK.value})
                enqueue(connection, job)
                return None
            if retry_parked(connection, StudyUid(study_uid)):
                return None
            if is_discarded_draft:
                discarded = REASONS[ReasonCode.DRAFT_DISCARDED]
                return Refused(sentence=f"{discarded.sentence} {discarded.action}")
            return _nothing_parked(state)

    def discard(self, study_uid: str) -> Refused | None:
        """Give up what is parked: a study is not computed, documents are not sent; what waits is sent all the same."""
        with transaction(self._pool) as connection:
            rows = connection.execute(_ALL, (study_uid,)).fetchall()
            if not rows:
                return Refused(sentence="No such study.")
            ended = connection.execute(_DISCARD, {"study_uid": study_uid, **_said(ReasonCode.DISCARDED)}).fetchall()
            dropped = connection.execute(_DROP_OUTBOX, (study_uid,)).fetchall()
            if not ended and not dropped:
                return _nothing_parked(rows[0]["state"])
            of = {"study_uid": study_uid, "revisions": sorted({each["revision"] for each in dropped})}
            done = {"state": "done", "was_sent": True, "code": None, "reason": None}
            connection.execute(_END_WITHOUT, {**of, **done})
            withdrawn = {"state": "withdrawn", "was_sent": False, **_said(ReasonCode.DRAFT_DISCARDED)}
            connection.execute(_END_WITHOUT, {**of, **withdrawn})
        facts = {"study": pseudonym(study_uid), "revisions": len(ended), "documents": len(dropped)}
        logger.info("study.discarded", extra=facts)
        return None


def _nothing_parked(state: str) -> Refused:
    return Refused(sentence=f"Nothing of the study is parked; its state is {state}.")


def _said(code: ReasonCode) -> dict[str, str]:
    return {"code": code.value, "reason": REASONS[code].sentence}


def _key(job: StudyJob) -> tuple[str, int]:
    return job.study_uid, int(job.revision)


def _named(job: StudyJob) -> dict[str, Any]:
    return {"study_uid": job.study_uid, "revision": int(job.revision)}


def _reason(stopped: Stopped) -> dict[str, str]:
    return {"stage": stopped.stage, "code": stopped.error.code.value, "reason": stopped.error.sentence}
