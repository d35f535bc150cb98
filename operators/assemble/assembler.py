"""Open revisions to jobs: each is closed and its job enqueued in one transaction, under the lock of the study's row.

All state is in the tables: a process that dies between two steps leaves an open revision, which the next one closes.
"""

import logging
from datetime import datetime, timedelta
from typing import Any, Protocol

from operators.assemble.closing import ClosedBy, OpenRevision, why_close
from operators.assemble.config import AssembleConfig
from operators.domain.clock import Clock
from operators.domain.database import Connection, Pool, transaction
from operators.domain.ids import Revision, StudyUid, pseudonym
from operators.domain.lifecycle import OPEN_STATES
from operators.domain.messages import StudyJob

logger = logging.getLogger(__name__)

_OPEN = list(OPEN_STATES)
_AT_ONCE = 200

_SETTLE = """
UPDATE revisions SET state = 'assembling' WHERE state = 'receiving' AND last_instance_at <= %(settled)s"""

_CANDIDATES = """
SELECT study_uid FROM revisions
WHERE state = ANY(%(open)s) AND (last_instance_at <= %(quiet)s OR opened_at <= %(age)s)
ORDER BY last_instance_at LIMIT %(limit)s"""

# The study's row is the lock that receive takes too; what a revision's row says is read only after it is held.
_TRY_LOCK = "SELECT 1 FROM studies WHERE study_uid = %s FOR UPDATE SKIP LOCKED"
_LOCK = "SELECT 1 FROM studies WHERE study_uid = %s FOR UPDATE"

_OPEN_REVISION = """
SELECT revision, opened_at, last_instance_at FROM revisions
WHERE study_uid = %(study_uid)s AND state = ANY(%(open)s)
ORDER BY revision DESC LIMIT 1 FOR UPDATE"""

_CLOSE = """
UPDATE revisions SET state = 'queued', closed_at = %(closed_at)s, closed_by = %(closed_by)s
WHERE study_uid = %(study_uid)s AND revision = %(revision)s"""


class Enqueue(Protocol):
    """Puts a job into the queue within the caller's transaction."""

    def __call__(self, connection: Connection, job: StudyJob, /) -> None:
        """Insert the job's row."""
        ...


class Assembler:
    """Closes revisions. Every method raises TransientError when the database is away."""

    def __init__(self, pool: Pool, *, enqueue: Enqueue, clock: Clock, config: AssembleConfig) -> None:
        self._pool = pool
        self._enqueue = enqueue
        self._clock = clock
        self._config = config

    def close_due(self, now: datetime) -> tuple[StudyJob, ...]:
        """Close what is quiet or old enough at `now`; return the jobs that were enqueued.

        A study that receive or another process holds at this moment is left for the next call.
        """
        with transaction(self._pool) as connection:
            connection.execute(_SETTLE, {"settled": now - timedelta(seconds=self._config.settle_s)})
            studies = connection.execute(_CANDIDATES, self._limits(now)).fetchall()
        jobs = (self._close_if_due(StudyUid(row["study_uid"]), now) for row in studies)
        return tuple(job for job in jobs if job is not None)

    def force_close(self, study_uid: StudyUid) -> StudyJob | None:
        """Close the study's open revision now; None when it has none."""
        with transaction(self._pool) as connection:
            connection.execute(_LOCK, (study_uid,))
            opened = _open_revision(connection, study_uid)
            if opened is None:
                return None
            return self._close(connection, study_uid, opened, ClosedBy.FORCED, self._clock.now())

    def _limits(self, now: datetime) -> dict[str, Any]:
        quiet, age = timedelta(seconds=self._config.quiet_s), timedelta(seconds=self._config.max_age_s)
        return {"open": _OPEN, "quiet": now - quiet, "age": now - age, "limit": _AT_ONCE}

    def _close_if_due(self, study_uid: StudyUid, now: datetime) -> StudyJob | None:
        with transaction(self._pool) as connection:
            if connection.execute(_TRY_LOCK, (study_uid,)).fetchone() is None:
                return None
            opened = _open_revision(connection, study_uid)
            by = why_close(opened, now, self._config) if opened is not None else None
            if opened is None or by is None:
                return None
            return self._close(connection, study_uid, opened, by, now)

    def _close(
        self, connection: Connection, study_uid: StudyUid, opened: OpenRevision, by: ClosedBy, now: datetime
    ) -> StudyJob:
        job = StudyJob(study_uid=study_uid, revision=opened.revision)
        values = {"study_uid": study_uid, "revision": opened.revision, "closed_at": now, "closed_by": by.value}
        connection.execute(_CLOSE, values)
        self._enqueue(connection, job)
        facts = {"study": pseudonym(study_uid), "revision": int(opened.revision), "by": by.value}
        logger.info("study.closed", extra=facts)
        return job


def _open_revision(connection: Connection, study_uid: StudyUid) -> OpenRevision | None:
    row = connection.execute(_OPEN_REVISION, {"study_uid": study_uid, "open": _OPEN}).fetchone()
    if row is None:
        return None
    return OpenRevision(
        revision=Revision(row["revision"]),
        opened_at=row["opened_at"],
        last_instance_at=row["last_instance_at"],
    )
