"""Between the queue and the graph of the work role: a job goes in, a committed outcome comes out, and the job ends.

A job's worker thread hands it to `work`, which returns when the outcome is in the database. The graph's source takes
the item from `inbox`; its last operator calls `settle`.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import timedelta

from app.revisions import Revisions
from app.work_config import WorkConfig
from operators.domain.clock import Clock
from operators.domain.database import Connection
from operators.domain.drafts import Dispatches, DraftReport, OutboxEntry
from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import pseudonym
from operators.domain.inbox import Inbox
from operators.domain.items import Item, Stopped, attempt
from operators.domain.messages import Study, StudyJob
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)

PATIENT = frozenset({ReasonCode.PACS_AWAY, ReasonCode.PACS_REFUSED, ReasonCode.DATABASE_AWAY, ReasonCode.STORAGE_FULL})
"""Reasons that are nobody's fault in the study: waited out for as long as they last."""

_DATABASE_WAIT_S = 1.0
_PATIENCE = 0.25

FileDraft = Callable[[Connection, DraftReport, Sequence[OutboxEntry]], bool]


@dataclass(slots=True)
class _Underway:
    """A job that this process has taken up: the attempt's number, and the outcome that its threads wait for."""

    attempts: int = 0
    outcome: Future[None] = field(default_factory=Future)


class Desk:
    """Takes jobs to the graph and its outcomes to the database."""

    def __init__(
        self,
        *,
        revisions: Revisions,
        load: Callable[[StudyJob], Study],
        file_draft: FileDraft,
        clock: Clock,
        config: WorkConfig,
    ) -> None:
        self.inbox: Inbox[Item | Stopped] = Inbox()
        self._revisions = revisions
        self._load = load
        self._file_draft = file_draft
        self._clock = clock
        self._config = config
        self._lock = threading.Lock()
        self._underway: dict[StudyJob, _Underway] = {}
        self._closing = threading.Event()
        self.on_filed: Callable[[], None] = lambda: None

    def work(self, job: StudyJob) -> None:
        """Carry the job through the graph; return when its outcome is committed.

        Raises TransientError when the database is away, or when the node is stopping: the queue's reaper brings the
        job back. A job that is under way already is waited for, not carried twice.
        """
        with self._lock:
            before = self._underway.get(job)
            underway = before or self._underway.setdefault(job, _Underway())
        if before is None:
            try:
                if not self._take_up(job, underway):
                    self._end(job)
            except Exception as error:  # noqa: BLE001 - raised again by the outcome, for everyone who waits for it
                self._end(job, error)
        underway.outcome.result()

    def settle(self, delivered: Item | Stopped, notified: Item | Stopped) -> None:
        """Commit what came of a job and end it; waits for the database when that is away."""
        job = delivered.job
        with self._lock:
            underway = self._underway.get(job)
        if underway is None:
            return  # the graph was given up: the job comes back
        try:
            self._commit(delivered, notified, underway.attempts)
        except TransientError as error:
            self._end(job, error)
        else:
            self._end(job)

    def hasten(self) -> None:
        """Wait no longer for a database that is away: the end is near."""
        self._closing.set()

    def stop(self) -> None:
        """Take no more jobs; what is in the graph is drained."""
        self.hasten()
        self.inbox.close()

    def abandon(self) -> None:
        """Let go of the jobs of a graph that has ended before them: whoever waits for them is told."""
        self.stop()
        with self._lock:
            left = list(self._underway)
        for job in left:
            self._end(job, _stopping())

    def _take_up(self, job: StudyJob, underway: _Underway) -> bool:
        """Put the job into the graph; False when there is nothing to do for it.

        A node that is stopping gives the attempt back: restarts are not the study's fault.
        """
        attempts = self._revisions.start(job)
        if attempts is None:
            return False
        underway.attempts = attempts
        if attempts > self._config.max_attempts:
            error = PermanentError(ReasonCode.RETRIES_EXHAUSTED, attempts=attempts - 1)
            self._revisions.park(job, Stopped(job=job, stage="work", error=error))
            return False
        if not self.inbox.put(attempt("assemble", self._load, Item(job=job, value=job))):
            self._revisions.give_back(job, attempts)
            raise _stopping()
        return True

    def _end(self, job: StudyJob, error: Exception | None = None) -> None:
        with self._lock:
            underway = self._underway.pop(job, None)
        if underway is None:
            return
        if error is None:
            underway.outcome.set_result(None)
        else:
            underway.outcome.set_exception(error)

    def _commit(self, delivered: Item | Stopped, notified: Item | Stopped, attempts: int) -> None:
        while True:
            try:
                self._commit_once(delivered, notified, attempts)
            except TransientError:
                if self._closing.wait(_DATABASE_WAIT_S):
                    raise
            except Exception as exc:
                if isinstance(delivered, Stopped) and delivered.stage == "settle":
                    raise TransientError(ReasonCode.INTERNAL_ERROR, stage="settle", kind=type(exc).__name__) from exc
                logger.error("settle.defect", extra={"kind": type(exc).__name__})  # noqa: TRY400 - no values in logs
                defect = PermanentError(ReasonCode.INTERNAL_ERROR, stage="settle", kind=type(exc).__name__)
                delivered = Stopped(job=delivered.job, stage="settle", error=defect)
            else:
                return

    def _commit_once(self, delivered: Item | Stopped, notified: Item | Stopped, attempts: int) -> None:
        stopped = next((item for item in (delivered, notified) if isinstance(item, Stopped)), None)
        if stopped is not None:
            self._put_aside(stopped, attempts)
        elif isinstance(delivered, Item) and isinstance(notified, Item):
            self._file(delivered, notified)

    def _file(self, delivered: Item, notified: Item) -> None:
        to_pacs: Dispatches = delivered.value
        to_ris: Dispatches = notified.value
        entries = (*to_pacs.entries, *to_ris.entries)
        filed = self._revisions.file(
            delivered.job,
            lambda connection: self._file_draft(connection, to_pacs.draft, entries),
            {**delivered.stage_s, **notified.stage_s},
        )
        logger.info("study.filed", extra={"study": pseudonym(delivered.job.study_uid), "filed": filed})
        self.on_filed()

    def _put_aside(self, stopped: Stopped, attempts: int) -> None:
        if not isinstance(stopped.error, TransientError):
            self._revisions.park(stopped.job, stopped)
            return
        code = stopped.error.code
        not_before = self._clock.now() + timedelta(seconds=self._wait_s(stopped.job, code, attempts))
        self._revisions.put_back(stopped.job, stopped, not_before, forgiven=code in PATIENT)

    def _wait_s(self, job: StudyJob, code: ReasonCode, attempts: int) -> float:
        if code is ReasonCode.PACS_REFUSED:
            # A refused password is tried seldom: archives lock an account that fails often.
            return self._config.longest_wait_s
        if code not in PATIENT:
            return self._config.wait_s(attempts)
        # Forgiven attempts do not count, so the waits grow with the time that was waited; else a thousand studies that
        # wait for an archive would all ask for it every other second.
        began = self._revisions.first_tried_at(job)
        waited_s = (self._clock.now() - began).total_seconds() if began is not None else 0.0
        return min(max(waited_s * _PATIENCE, self._config.wait_s(1)), self._config.longest_wait_s)


def _stopping() -> TransientError:
    return TransientError(ReasonCode.INTERNAL_ERROR, stage="work", kind="stopping")
