"""The job queue: a closed revision in, one procrastinate job out, in the transaction that closes it."""

from datetime import datetime

import procrastinate
import psycopg
from procrastinate.tasks import configure_task

from operators.domain.database import Connection
from operators.domain.errors import TransientError
from operators.domain.ids import Revision, StudyUid
from operators.domain.messages import StudyJob
from operators.domain.reasons import ReasonCode

TASK = "interval.compare_study"
QUEUE = "studies"

_DEFERRER = procrastinate.App(connector=procrastinate.SyncPsycopgConnector())


def enqueue(connection: Connection, job: StudyJob, not_before: datetime | None = None) -> None:
    """Put the job into the queue within the caller's transaction; jobs of one study never run side by side.

    Raises TransientError when the database goes away.
    """
    deferrer = configure_task(
        name=TASK,
        job_manager=_DEFERRER.job_manager,
        queue=QUEUE,
        lock=job.study_uid,
        schedule_at=not_before,
        connection=connection,
    )
    try:
        deferrer.defer(study_uid=job.study_uid, revision=int(job.revision))
    except (procrastinate.exceptions.ConnectorException, psycopg.OperationalError) as exc:
        raise TransientError(ReasonCode.DATABASE_AWAY, kind=type(exc).__name__) from exc


def job_of(study_uid: str, revision: int) -> StudyJob:
    """Return the job that a queue row's arguments name."""
    return StudyJob(study_uid=StudyUid(study_uid), revision=Revision(revision))
