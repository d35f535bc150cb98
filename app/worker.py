"""The procrastinate worker of the work role, on its own thread: fetches jobs, brings back those of dead workers.

procrastinate ends a job by itself and at least once; a worker that is killed leaves its jobs in "doing". Two reapers
mend that: jobs of workers without a heartbeat are put back, and revisions that wait for a job and have none get one.
"""

import asyncio
import logging
import threading

import procrastinate
from psycopg import OperationalError

from app.desk import Desk
from app.jobs import QUEUE, TASK, job_of
from app.revisions import Revisions
from operators.domain.errors import NodeError

logger = logging.getLogger(__name__)

_HEARTBEAT_S = 2.0
_STALLED_S = 8.0
_REAP_EVERY_S = 3.0
_RECONNECT_S = 1.0


class JobWorker:
    """Runs jobs through a Desk until stopped; survives the database going away."""

    def __init__(self, *, database_url: str, desk: Desk, revisions: Revisions, concurrency: int) -> None:
        self._database_url = database_url
        self._desk = desk
        self._revisions = revisions
        self._concurrency = concurrency
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="job-worker")

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more jobs; return when those at work have ended."""
        self._stopping.set()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join()

    def _cancel(self) -> None:
        # The first cancellation of procrastinate's worker is a graceful stop: it waits for its running jobs.
        if self._running is not None:
            self._running.cancel()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._work())
            except (procrastinate.exceptions.ProcrastinateException, OperationalError, NodeError) as error:
                logger.warning("worker.database_away", extra={"kind": type(error).__name__})
                self._stopping.wait(_RECONNECT_S)

    async def _work(self) -> None:
        connector = procrastinate.PsycopgConnector(conninfo=self._database_url, max_size=self._concurrency + 4)
        queue = procrastinate.App(connector=connector)
        self._register(queue)
        self._loop = asyncio.get_running_loop()
        async with queue.open_async():
            reaper = asyncio.create_task(self._reap(queue))
            self._running = asyncio.create_task(self._serve(queue))
            if self._stopping.is_set():
                self._cancel()
            try:
                await asyncio.wait([reaper, self._running], return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _end(reaper)
                await _end(self._running)
                self._loop = None

    async def _serve(self, queue: procrastinate.App) -> None:
        await queue.run_worker_async(
            queues=[QUEUE],
            concurrency=self._concurrency,
            install_signal_handlers=False,
            delete_jobs="successful",
            update_heartbeat_interval=_HEARTBEAT_S,
            stalled_worker_timeout=_STALLED_S,
        )

    def _register(self, queue: procrastinate.App) -> None:
        @queue.task(name=TASK, queue=QUEUE)
        async def compare_study(study_uid: str, revision: int) -> None:
            await asyncio.to_thread(self._desk.work, job_of(study_uid, revision))

    async def _reap(self, queue: procrastinate.App) -> None:
        while True:
            for job in await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=_STALLED_S):
                logger.warning("worker.job_brought_back", extra={"job": job.id})
                await queue.job_manager.retry_job(job)
            forgotten = await asyncio.to_thread(self._revisions.enqueue_forgotten)
            if forgotten:
                logger.warning("worker.jobs_remade", extra={"jobs": forgotten})
            await asyncio.sleep(_REAP_EVERY_S)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return
