"""Between the queue and the graph of the work role: a job goes in, a committed outcome comes out, and the job ends.

A job's worker thread hands it to `work`, which returns when the outcome is in the database. The graph's source takes
the item from `inbox`; its last operator calls `settle`.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
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

PATIENT = frozenset({ReasonCode.PACS_AWAY, ReasonCode.DATABASE_AWAY, ReasonCode.STORAGE_FULL})
"""Reasons that are nobody's fault in the study: waited out for as long as they last."""


FileDraft = Callable[[Connection, DraftReport, Sequence[OutboxEntry]], bool]


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
        self._waiting: dict[StudyJob, tuple[int, Future[None]]] = {}
        self._closing = threading.Event()
        self.on_filed: Callable[[], None] = lambda: None

    def work(self, job: StudyJob) -> None:
        """Carry the job through the graph; return when its outcome is committed.

        Raises TransientError when the database is away, or when the node is stopping: the queue's reaper brings the
        job back. A job that is in the graph already is waited for, not carried twice.
        """
        underway = self._waiting.get(job)
        if underway is not None:
            underway[1].result()
            return
        attempts = self._revisions.start(job)
        if attempts is None:
            return
        if attempts > self._config.max_attempts:
            error = PermanentError(ReasonCode.RETRIES_EXHAUSTED, attempts=attempts - 1)
            self._revisions.park(job, Stopped(job=job, stage="work", error=error))
            return
        outcome: Future[None] = Future()
        self._waiting[job] = (attempts, outcome)
        item = attempt("assemble", self._load, Item(job=job, value=job))
        if not self.inbox.put(item):
            raise TransientError(ReasonCode.INTERNAL_ERROR, stage="work", kind="stopping")
        outcome.result()

    def settle(self, delivered: Item | Stopped, notified: Item | Stopped) -> None:
        """Commit what came of a job and end it; waits for the database when that is away."""
        job = delivered.job
        attempts, outcome = self._waiting.pop(job)
        try:
            self._commit(delivered, notified, attempts)
        except TransientError as error:
            outcome.set_exception(error)
            return
        outcome.set_result(None)

    def stop(self) -> None:
        """Take no more jobs and no longer wait for a database that is away; what is in the graph is drained."""
        self._closing.set()
        self.inbox.close()

    def _commit(self, delivered: Item | Stopped, notified: Item | Stopped, attempts: int) -> None:
        while True:
            try:
                self._commit_once(delivered, notified, attempts)
            except TransientError:
                if self._closing.wait(1.0):
                    raise
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
        not_before = self._clock.now() + timedelta(seconds=self._config.wait_s(attempts))
        self._revisions.put_back(stopped.job, stopped, not_before, forgiven=stopped.error.code in PATIENT)
