"""Making the index anew for a bundle: a request enters, the studies still in the spool are read one by one.

Embeddings of different bundles are never compared: each bundle has its own table. After another bundle was selected the
index therefore begins empty, and fills with what comes; this job fills it with what is already here. It goes after the
studies' jobs: it reads one study whenever none waits. It may be stopped and begun again at any study, and asked for
twice: what was read is not read again. A study that the bundle drafted already is in its index.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.jobs import QUEUE
from operators.domain.clock import Clock
from operators.domain.database import Connection, Pool, transaction
from operators.domain.errors import NodeError, PermanentError
from operators.domain.ids import Revision, StudyUid, pseudonym
from operators.domain.messages import (
    CaseWithPriors,
    EncodedCase,
    PriorOutcome,
    PriorSearch,
    Study,
    StudyJob,
)

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 5.0

# Studies whose files are in the spool and whose work has ended.
_WANTED = """
WITH wanted AS (
    SELECT s.study_uid, s.first_received_at,
           (SELECT max(r.revision) FROM revisions r
            WHERE r.study_uid = s.study_uid AND r.state IN ('delivering', 'done')) AS revision
    FROM studies s
    WHERE EXISTS (SELECT FROM instances i WHERE i.study_uid = s.study_uid AND i.revision > 0)
      AND NOT EXISTS (SELECT FROM instances i
                      WHERE i.study_uid = s.study_uid AND i.revision > 0 AND i.purged_at IS NOT NULL)
      AND EXISTS (SELECT FROM revisions r WHERE r.study_uid = s.study_uid AND r.state IN ('delivering', 'done'))
), judged AS (
    SELECT wanted.*, n.study_uid IS NOT NULL AS ended, n.reason_code,
           EXISTS (SELECT FROM results d
                   WHERE d.study_uid = wanted.study_uid AND d.revision = wanted.revision
                     AND d.bundle_id = %(bundle_id)s) AS drafted
    FROM wanted
    LEFT JOIN reindexed_studies n ON n.study_uid = wanted.study_uid AND n.bundle_id = %(bundle_id)s
)"""
_NEXT = f"""{_WANTED}
SELECT study_uid, revision FROM judged WHERE NOT ended AND NOT drafted
ORDER BY first_received_at DESC, study_uid LIMIT 1"""  # noqa: S608 - one constant in another
_COUNT = f"""{_WANTED}
SELECT count(*) AS studies, count(*) FILTER (WHERE drafted OR (ended AND reason_code IS NULL)) AS indexed,
       count(*) FILTER (WHERE NOT drafted AND ended AND reason_code IS NOT NULL) AS unreadable
FROM judged"""  # noqa: S608 - one constant in another
_REQUEST = """
INSERT INTO reindexings (bundle_id) VALUES (%s)
ON CONFLICT (bundle_id) DO UPDATE SET requested_at = now(), finished_at = NULL"""
_TRY_AGAIN = "DELETE FROM reindexed_studies WHERE bundle_id = %s AND reason_code IS NOT NULL"
_OPEN = "SELECT 1 FROM reindexings WHERE bundle_id = %s AND finished_at IS NULL"
_REQUESTED = "SELECT requested_at, finished_at FROM reindexings WHERE bundle_id = %s"
_ALL = "SELECT bundle_id FROM reindexings ORDER BY requested_at"
_ENDED = """
INSERT INTO reindexed_studies (bundle_id, study_uid, revision, reason_code) VALUES (%s, %s, %s, %s)
ON CONFLICT (bundle_id, study_uid) DO UPDATE SET
    revision = excluded.revision, reason_code = excluded.reason_code, ended_at = now()"""
_FINISH = "UPDATE reindexings SET finished_at = now() WHERE bundle_id = %s AND finished_at IS NULL"
# Studies come first: a job that could run now, or runs.
_BUSY = """
SELECT 1 FROM procrastinate_jobs
WHERE queue_name = %s AND (status = 'doing' OR (status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now())))
LIMIT 1"""
_TURN = "SELECT pg_try_advisory_xact_lock(hashtextextended('interval.reindex', 0)) AS mine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the index of a bundle is: of the `studies` in the spool, those `indexed` and those `unreadable` by it."""

    bundle_id: str
    requested_at: datetime | None
    finished_at: datetime | None
    studies: int
    indexed: int
    unreadable: int

    @property
    def left(self) -> int:
        """Studies not looked at yet."""
        return self.studies - self.indexed - self.unreadable


def request(pool: Pool, bundle_id: str) -> None:
    """Ask for the index of a bundle; what could not be read is tried again. Raises TransientError."""
    with transaction(pool) as connection:
        connection.execute(_TRY_AGAIN, (bundle_id,))
        connection.execute(_REQUEST, (bundle_id,))


def progress(pool: Pool, bundle_id: str) -> Progress:
    """Return how far a bundle's index is, asked for or not. Raises TransientError when the database is away."""
    with transaction(pool) as connection:
        return _progress(connection, bundle_id)


def progress_of_all(connection: Connection) -> tuple[Progress, ...]:
    """Return how far every index is that was ever asked for."""
    return tuple(_progress(connection, row["bundle_id"]) for row in connection.execute(_ALL).fetchall())


def _progress(connection: Connection, bundle_id: str) -> Progress:
    asked = connection.execute(_REQUESTED, (bundle_id,)).fetchone() or {"requested_at": None, "finished_at": None}
    counted: dict[str, Any] = connection.execute(_COUNT, {"bundle_id": bundle_id}).fetchone() or {}
    return Progress(bundle_id=bundle_id, **asked, **counted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a study becomes rows of the index: it is loaded, encoded as the node would now, and kept."""

    load: Callable[[StudyJob], Study]
    encode: Callable[[CaseWithPriors], EncodedCase]
    keep: Callable[[EncodedCase], None]


class Reindexing:
    """Works a request off on a thread of its own while no study waits; several workers take turns."""

    def __init__(self, pool: Pool, bundle_id: str, reading: Reading, clock: Clock) -> None:
        self._pool = pool
        self._bundle_id = bundle_id
        self._reading = reading
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reindexing", daemon=True)

    def start(self) -> None:
        """Begin to look for a request."""
        self._thread.start()

    def stop(self) -> None:
        """End after the study at hand."""
        self._stopping.set()
        self._thread.join()

    def step(self) -> bool:
        """Read one study if there is one and the node has nothing better to do; return whether to go on at once.

        Raises TransientError: the study is tried again.
        """
        with transaction(self._pool) as connection:
            if not self._is_my_turn(connection):
                return False
            found = connection.execute(_NEXT, {"bundle_id": self._bundle_id}).fetchone()
            if found is None:
                connection.execute(_FINISH, (self._bundle_id,))
                logger.info("reindex.finished", extra={"bundle": self._bundle_id})
                return False
            job = StudyJob(study_uid=StudyUid(found["study_uid"]), revision=Revision(found["revision"]))
            reason = self._read(job)
            connection.execute(_ENDED, (self._bundle_id, job.study_uid, int(job.revision), reason))
        return True

    def _is_my_turn(self, connection: Connection) -> bool:
        if connection.execute(_OPEN, (self._bundle_id,)).fetchone() is None:
            return False
        if connection.execute(_BUSY, (QUEUE,)).fetchone() is not None:
            return False
        turn = connection.execute(_TURN).fetchone()
        return turn is not None and bool(turn["mine"])

    def _read(self, job: StudyJob) -> str | None:
        """Put a study into the index; return the code of the reason where it cannot be read."""
        nothing = PriorSearch(
            outcome=PriorOutcome.COULD_NOT_ASK, decisions=(), searched_at=self._clock.now(), sentence="Not asked."
        )
        try:
            case = CaseWithPriors(current=self._reading.load(job), search=nothing, priors=())
            self._reading.keep(self._reading.encode(case))
        except PermanentError as error:
            facts = {"study": pseudonym(job.study_uid), "code": error.code.value}
            logger.info("reindex.unreadable", extra=facts)
            return error.code.value
        return None

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                wait_s = 0.0 if self.step() else _LOOK_EVERY_S
            except NodeError as error:
                logger.warning("reindex.put_off", extra={"code": error.code.value})
                wait_s = _LOOK_EVERY_S
            except Exception as exc:  # noqa: BLE001 - the top of the thread: a defect must not end it, nor tell values
                logger.error("reindex.defect", extra={"kind": type(exc).__name__})  # noqa: TRY400
                wait_s = _LOOK_EVERY_S
            self._stopping.wait(wait_s)
