"""The procrastinate worker of the work role, on its own thread: fetches jobs, brings back those of dead workers.

procrastinate ends a job by itself and at least once; a worker that is killed leaves its jobs in "doing". Two reapers
mend that: jobs of workers without a heartbeat are put back, and revisions that wait for a job and have none get one.
A worker that was taken for dead while the database was away may so have its job run a second time: the desk waits for
the first run if it is of this process, and of two processes the first to commit wins.
"""

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import procrastinate
from procrastinate.worker import Worker
from psycopg import OperationalError
from psycopg_pool import AsyncConnectionPool

from app.jobs import QUEUE, TASK, job_of
from app.revisions import Revisions
from operators.domain.database import CONNECTING, RECONNECT_TIMEOUT_S
from operators.domain.errors import NodeError
from operators.domain.messages import StudyJob

logger = logging.getLogger(__name__)

_HEARTBEAT_S = 2.0
_STALLED_S = 8.0
_LOOK_EVERY_S = 1.0
_RECONNECT_S = 1.0
_POOL_WAIT_S = 5.0
_AWAY = (procrastinate.exceptions.ProcrastinateException, OperationalError, NodeError)


class TakesJobs(Protocol):
    """Where jobs go."""

    def work(self, job: StudyJob) -> None:
        """Return when the job has ended; called on a thread of its own."""
        ...


class JobWorker:
    """Runs jobs through a Desk until stopped; survives the database going away."""

    def __init__(self, *, database_url: str, desk: TakesJobs, revisions: Revisions, concurrency: int) -> None:
        self._database_url = database_url
        self._desk = desk
        self._revisions = revisions
        self._concurrency = concurrency
        self._stopping = threading.Event()
        self._serving: tuple[asyncio.AbstractEventLoop, Worker] | None = None
        self._thread = threading.Thread(target=self._run, name="job-worker", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more jobs; return when those at work have ended. May be called again."""
        self._stopping.set()
        serving = self._serving
        if serving is not None:
            loop, worker = serving
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                loop.call_soon_threadsafe(worker.stop)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._work())
            except _AWAY as error:
                logger.warning("worker.database_away", extra={"kind": type(error).__name__})
            except Exception as exc:  # noqa: BLE001 - the top of the thread: without it the node would take no more jobs
                logger.error("worker.defect", extra={"kind": type(exc).__name__})  # noqa: TRY400 - no values in logs
            self._stopping.wait(_RECONNECT_S)

    async def _work(self) -> None:
        """Serve until the worker ends, which it does when told to and when the database goes away."""
        # A job holds a thread from its beginning to its end, and the default executor of a small machine has few.
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(self._concurrency + 2, "jobs"))
        queue = procrastinate.App(connector=procrastinate.PsycopgConnector())
        self._register(queue)
        async with self._pool() as pool, queue.open_async(pool):
            worker = self._worker(queue)
            serving = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call] # procrastinate's own
            reaping = asyncio.create_task(self._reap(queue, worker))
            await asyncio.sleep(0)  # the worker forgets what it was told before it ran
            self._serving = (loop, worker)
            if self._stopping.is_set():
                worker.stop()  # type: ignore[no-untyped-call] # procrastinate's own
            try:
                await serving
            finally:
                self._serving = None
                reaping.cancel()
                await asyncio.gather(reaping, return_exceptions=True)

    def _pool(self) -> AsyncConnectionPool:
        return AsyncConnectionPool(
            self._database_url,
            min_size=1,
            max_size=self._concurrency + 4,
            timeout=_POOL_WAIT_S,
            reconnect_timeout=RECONNECT_TIMEOUT_S,
            check=AsyncConnectionPool.check_connection,
            kwargs=dict(CONNECTING),
            open=False,
        )

    def _worker(self, queue: procrastinate.App) -> Worker:
        return Worker(
            queue,
            queues=[QUEUE],
            concurrency=self._concurrency,
            install_signal_handlers=False,
            delete_jobs="always",  # what became of a study is in its revision
            fetch_job_polling_interval=_LOOK_EVERY_S,
            update_heartbeat_interval=_HEARTBEAT_S,
            stalled_worker_timeout=_STALLED_S,
        )

    def _register(self, queue: procrastinate.App) -> None:
        @queue.task(name=TASK, queue=QUEUE)
        async def compare_study(study_uid: str, revision: int) -> None:
            await asyncio.to_thread(self._desk.work, job_of(study_uid, revision))

    async def _reap(self, queue: procrastinate.App, worker: Worker) -> None:
        while True:
            await asyncio.sleep(_HEARTBEAT_S)
            try:
                await self._bring_back(queue, worker)
            except _AWAY as error:
                # The database is away, or the job was ended at this moment by a worker that lives after all.
                logger.info("worker.not_reaped", extra={"kind": type(error).__name__})

    async def _bring_back(self, queue: procrastinate.App, worker: Worker) -> None:
        if worker.worker_id is not None:  # a worker that waits for its last jobs beats no more by itself
            await queue.job_manager.update_heartbeat(worker.worker_id)
        for job in await queue.job_manager.get_stalled_jobs(seconds_since_heartbeat=_STALLED_S):
            logger.warning("worker.job_brought_back", extra={"job": job.id})
            await queue.job_manager.retry_job(job)
        forgotten = await asyncio.to_thread(self._revisions.enqueue_forgotten)
        if forgotten:
            logger.warning("worker.jobs_remade", extra={"jobs": forgotten})
