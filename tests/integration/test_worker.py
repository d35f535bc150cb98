"""The job worker on a real queue: jobs of dead workers come back, stops wait, the database may go and return."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app import worker as module
from app.jobs import QUEUE, enqueue
from app.migrate import migrate
from app.postgres.postmaster import cluster_processes, is_living
from app.revisions import Revisions
from app.worker import JobWorker
from operators.domain.database import Pool, open_pool, transaction
from operators.domain.errors import TransientError
from operators.domain.messages import StudyJob
from operators.domain.reasons import ReasonCode
from tests.support.peers import fresh_postgres
from tests.support.peers.process import wait_until
from tests.support.working import job_of, put_revision, queued_jobs, revision_row

pytestmark = pytest.mark.peer

PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HEARTBEAT_S", 0.2)
    monkeypatch.setattr(module, "_STALLED_S", 1.5)
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.2)


class Bench:
    """Where jobs go: keeps what was taken up, does `act`, and marks the revision done as a real desk would."""

    def __init__(self, pool: Pool, act: Callable[[StudyJob], object] = lambda _: None) -> None:
        self.taken: list[StudyJob] = []
        self.finished: list[StudyJob] = []
        self._pool = pool
        self._act = act

    def work(self, job: StudyJob) -> None:
        """Take up, act, end."""
        self.taken.append(job)
        self._act(job)
        with transaction(self._pool) as connection:
            connection.execute("UPDATE revisions SET state = 'done' WHERE study_uid = %s", (job.study_uid,))
        self.finished.append(job)


@contextmanager
def working(database_url: str, pool: Pool, bench: Bench, concurrency: int = 2) -> Iterator[JobWorker]:
    worker = JobWorker(database_url=database_url, desk=bench, revisions=Revisions(pool), concurrency=concurrency)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def put_job(pool: Pool, job: StudyJob, state: str = "queued") -> StudyJob:
    put_revision(pool, job, state)
    with transaction(pool) as connection:
        enqueue(connection, job)
    return job


def take_as_dead_worker(pool: Pool) -> None:
    """Take the next job as a worker does that is killed a moment later, a while ago."""
    with transaction(pool) as connection:
        row = connection.execute("SELECT worker_id FROM procrastinate_register_worker_v1()").fetchone()
        assert row is not None
        connection.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute' WHERE id = %s",
            (row["worker_id"],),
        )
        connection.execute("SELECT procrastinate_fetch_job_v2(%s, %s)", ([QUEUE], row["worker_id"]))


def test_a_job_is_carried_and_leaves_nothing_in_the_queue(database_url: str, pool: Pool) -> None:
    bench, job = Bench(pool), put_job(pool, job_of())
    with working(database_url, pool, bench):
        assert wait_until(lambda: bench.finished == [job], PATIENCE_S)
        assert wait_until(lambda: queued_jobs(pool) == [], PATIENCE_S)


def test_the_job_of_a_killed_worker_is_brought_back(database_url: str, pool: Pool) -> None:
    bench, job = Bench(pool), put_job(pool, job_of(), "working")
    take_as_dead_worker(pool)
    assert queued_jobs(pool)[0]["status"] == "doing"
    with working(database_url, pool, bench):
        assert wait_until(lambda: bench.finished == [job], PATIENCE_S)
        assert wait_until(lambda: queued_jobs(pool) == [], PATIENCE_S)


def test_a_killed_worker_does_not_keep_the_next_revision_of_its_study_waiting(database_url: str, pool: Pool) -> None:
    put_job(pool, job_of(revision=1), "working")
    take_as_dead_worker(pool)
    bench, later = Bench(pool), put_job(pool, job_of(revision=2))
    with working(database_url, pool, bench):
        assert wait_until(lambda: later in bench.finished, PATIENCE_S)
    assert bench.taken == [job_of(revision=1), later]


def test_a_job_that_failed_comes_again_as_long_as_its_revision_waits(database_url: str, pool: Pool) -> None:
    failures = iter([True, True])

    def fail_twice(_: StudyJob) -> None:
        if next(failures, False):
            raise TransientError(ReasonCode.DATABASE_AWAY)

    bench, job = Bench(pool, fail_twice), put_job(pool, job_of(), "working")
    with working(database_url, pool, bench):
        assert wait_until(lambda: bench.finished == [job], PATIENCE_S)
    assert bench.taken == [job, job, job]


def test_jobs_of_one_study_never_run_side_by_side(database_url: str, pool: Pool) -> None:
    lock = threading.Lock()
    overlaps = []

    def act(_: StudyJob) -> None:
        if not lock.acquire(blocking=False):
            overlaps.append(True)
            return
        threading.Event().wait(0.2)
        lock.release()

    bench = Bench(pool, act)
    for revision in (1, 2, 3):
        put_job(pool, job_of(revision=revision))
    with working(database_url, pool, bench, concurrency=3):
        assert wait_until(lambda: len(bench.finished) == 3, PATIENCE_S)
    assert overlaps == []
    assert [int(job.revision) for job in bench.taken] == [1, 2, 3]


def test_as_many_jobs_run_at_once_as_were_asked_for(database_url: str, pool: Pool) -> None:
    together = threading.Barrier(12, timeout=PATIENCE_S)
    bench = Bench(pool, lambda _: together.wait())
    for number in range(12):
        put_job(pool, job_of(f"1.2.{number}"))
    with working(database_url, pool, bench, concurrency=12):
        assert wait_until(lambda: len(bench.finished) == 12, PATIENCE_S)


def test_a_stop_waits_for_the_jobs_at_work_and_takes_no_more(database_url: str, pool: Pool) -> None:
    go_on = threading.Event()
    bench = Bench(pool, lambda _: go_on.wait(PATIENCE_S))
    put_job(pool, job_of("1.2.1"))
    with working(database_url, pool, bench, concurrency=1) as worker:
        assert wait_until(lambda: len(bench.taken) == 1, PATIENCE_S)
        put_job(pool, job_of("1.2.2"))
        stopping = threading.Thread(target=worker.stop)
        stopping.start()
        stopping.join(0.5)
        assert stopping.is_alive()
        go_on.set()
        stopping.join(PATIENCE_S)
        assert not stopping.is_alive()
    assert bench.finished == [job_of("1.2.1")]
    assert [row["args"]["study_uid"] for row in queued_jobs(pool)] == ["1.2.2"]


def test_a_worker_that_waits_for_its_last_job_is_not_taken_for_dead(database_url: str, pool: Pool) -> None:
    go_on = threading.Event()
    bench = Bench(pool, lambda _: go_on.wait(PATIENCE_S))
    other = Bench(pool)
    put_job(pool, job_of(), "working")
    with working(database_url, pool, bench, concurrency=1) as worker:
        assert wait_until(lambda: len(bench.taken) == 1, PATIENCE_S)
        stopping = threading.Thread(target=worker.stop)
        stopping.start()
        with working(database_url, pool, other):
            assert not wait_until(lambda: bool(other.taken), 4.0)
            go_on.set()
            stopping.join(PATIENCE_S)
    assert bench.finished == [job_of()]
    assert other.taken == []


def test_a_stop_right_after_the_start_ends_the_worker(database_url: str, pool: Pool) -> None:
    for _ in range(5):
        with working(database_url, pool, Bench(pool)):
            pass


def test_the_worker_survives_a_database_that_is_killed() -> None:
    with fresh_postgres() as server:
        url = server.start()
        migrate(url)
        with open_pool(url, max_size=4) as pool:
            bench = Bench(pool)
            put_job(pool, job_of("1.2.1"))
            with working(url, pool, bench):
                assert wait_until(lambda: len(bench.finished) == 1, PATIENCE_S)
                kill_database(url)
                assert server.ensure_running() == url
                assert wait_until(lambda: succeeds(lambda: put_job(pool, job_of("1.2.2"))), PATIENCE_S)
                assert wait_until(lambda: len(bench.finished) == 2, PATIENCE_S)
            assert revision_row(pool, job_of("1.2.2"))["state"] == "done"


def test_a_stop_does_not_wait_for_a_database_that_is_away() -> None:
    with fresh_postgres() as server:
        url = server.start()
        migrate(url)
        with open_pool(url, max_size=4, wait_s=1.0) as pool:
            bench = Bench(pool)
            put_job(pool, job_of("1.2.1"))
            worker = JobWorker(database_url=url, desk=bench, revisions=Revisions(pool), concurrency=1)
            worker.start()
            assert wait_until(lambda: len(bench.finished) == 1, PATIENCE_S)
            server.stop()
            stopping = threading.Thread(target=worker.stop)
            stopping.start()
            stopping.join(PATIENCE_S)
            assert not stopping.is_alive()


def kill_database(url: str) -> None:
    with open_pool(url, max_size=1) as pool, transaction(pool) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row is not None
    pids = cluster_processes(Path(row["data_directory"]))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not any(is_living(pid) for pid in pids), PATIENCE_S)  # a kill takes effect a little later


def succeeds(act: Callable[[], object]) -> bool:
    try:
        act()
    except TransientError:
        return False
    return True
