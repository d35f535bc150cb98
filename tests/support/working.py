"""Revisions in the database for tests of the work role, and a stand-in for its graph."""

import threading
import time
from collections.abc import Callable
from typing import Any

from operators.domain.database import Pool, transaction
from operators.domain.ids import AccessionNumber, Revision, StudyUid
from operators.domain.inbox import Inbox
from operators.domain.items import Item, Stopped
from operators.domain.messages import Patient, Study, StudyJob

Ends = tuple[Item | Stopped, Item | Stopped]


def job_of(study_uid: str = "1.2.3", revision: int = 1) -> StudyJob:
    """Return a job."""
    return StudyJob(study_uid=StudyUid(study_uid), revision=Revision(revision))


def put_revision(pool: Pool, job: StudyJob, state: str = "queued", **columns: object) -> StudyJob:
    """Insert the revision's row, and its study's."""
    names = ["study_uid", "revision", "state", *columns]
    values = [job.study_uid, int(job.revision), state, *columns.values()]
    places = ", ".join(["%s"] * len(names))
    with transaction(pool) as connection:
        connection.execute(
            "INSERT INTO studies (study_uid, patient_id) VALUES (%s, 'p') ON CONFLICT DO NOTHING", (job.study_uid,)
        )
        insert = f"INSERT INTO revisions ({', '.join(names)}) VALUES ({places})"  # noqa: S608 - names of columns
        connection.execute(insert.encode(), values)
    return job


def revision_row(pool: Pool, job: StudyJob) -> dict[str, Any]:
    """Return the revision's row."""
    with transaction(pool) as connection:
        found = connection.execute(
            "SELECT * FROM revisions WHERE study_uid = %s AND revision = %s", (job.study_uid, int(job.revision))
        ).fetchone()
    assert found is not None
    return found


def queued_jobs(pool: Pool) -> list[dict[str, Any]]:
    """Return the rows of the queue, oldest first."""
    with transaction(pool) as connection:
        return connection.execute("SELECT * FROM procrastinate_jobs ORDER BY id").fetchall()


def study(job: StudyJob) -> Study:
    """Return a study without images: enough for what only carries it."""
    return Study(
        study_uid=job.study_uid,
        revision=job.revision,
        patient=Patient(patient_id="p", issuer="", name="", birth_date="", sex=""),
        accession_number=AccessionNumber(""),
        study_id="",
        study_date="",
        study_time="",
        study_description="",
        referring_physician="",
        requested_procedure="",
        modalities=(),
        body_parts=(),
        images=(),
    )


class StandIn:
    """In the graph's place: takes items from an inbox on a thread, and settles what `answer` makes of each."""

    def __init__(
        self,
        inbox: Inbox[Item | Stopped],
        settle: Callable[[Item | Stopped, Item | Stopped], None],
        answer: Callable[[Item | Stopped], Ends],
    ) -> None:
        self.taken: list[Item | Stopped] = []
        self._inbox = inbox
        self._settle = settle
        self._answer = answer
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "StandIn":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._over.is_set():
            self._inbox.take(self._carry)
            time.sleep(0.005)

    def _carry(self, item: Item | Stopped) -> None:
        self.taken.append(item)
        self._settle(*self._answer(item))
