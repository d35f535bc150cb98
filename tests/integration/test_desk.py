"""The desk against a real database: what becomes of a job whatever the graph, the database or a second run do."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.desk import Desk
from app.revisions import Revisions
from app.work_config import WorkConfig
from operators.deliver.outbox import file_draft
from operators.domain.database import Connection, Pool
from operators.domain.drafts import Dispatches, DocumentKind, DraftReport, OutboxEntry
from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import Destination
from operators.domain.items import Item, Stopped
from operators.domain.messages import Study, StudyJob
from operators.domain.reasons import ReasonCode
from tests.support.comparisons import comparison
from tests.support.drafts import RENDERED_AT, SetClock, draft_of, small_draft
from tests.support.peers.process import wait_until
from tests.support.working import Ends, StandIn, job_of, put_revision, queued_jobs, revision_row, study

pytestmark = pytest.mark.peer

AWAY = TransientError(ReasonCode.PACS_AWAY, destination="pacs")
REFUSED = TransientError(ReasonCode.PACS_REFUSED, status=403)
TROUBLE = TransientError(ReasonCode.INTERNAL_ERROR, kind="trouble")
UNREADABLE = PermanentError(ReasonCode.NO_READABLE_VIEW)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> DraftReport:
    return draft_of(comparison(tmp_path_factory.mktemp("films")))


@pytest.fixture
def job(pool: Pool) -> StudyJob:
    return put_revision(pool, job_of())


class Flaky(Revisions):
    """Revisions of a database that is away for the first calls."""

    def __init__(self, pool: Pool, failures: int) -> None:
        super().__init__(pool)
        self.failures = failures

    def park(self, job: StudyJob, stopped: Stopped) -> None:
        """Fail as often as told, then park."""
        if self.failures > 0:
            self.failures -= 1
            raise TransientError(ReasonCode.DATABASE_AWAY)
        super().park(job, stopped)


def desk_on(
    pool: Pool,
    *,
    revisions: Revisions | None = None,
    load: Callable[[StudyJob], Study] = study,
    file: Callable[[Connection, DraftReport, Sequence[OutboxEntry]], bool] = file_draft,
) -> Desk:
    return Desk(
        revisions=revisions or Revisions(pool),
        load=load,
        file_draft=file,
        clock=SetClock(),
        config=WorkConfig(max_attempts=3, first_wait_s=2.0),
    )


def ends_of(draft: DraftReport) -> Callable[[Item | Stopped], Ends]:
    """Return a graph's two ends: the draft's documents to the PACS, nothing to the RIS."""
    entries = tuple(
        OutboxEntry(study_uid=draft.study_uid, revision=draft.revision, destination=Destination("pacs"), document=one)
        for one in draft.documents
    )

    def answer(item: Item | Stopped) -> Ends:
        if isinstance(item, Stopped):
            return item, item
        done = Item(job=item.job, value=Dispatches(draft=draft, entries=entries), stage_s={"encode": 0.5})
        return done, Item(job=item.job, value=Dispatches(draft=draft, entries=()), stage_s={"notify": 0.1})

    return answer


def stopping(error: TransientError | PermanentError, stage: str = "priors") -> Callable[[Item | Stopped], Ends]:
    def answer(item: Item | Stopped) -> Ends:
        stopped = Stopped(job=item.job, stage=stage, error=error)
        return stopped, stopped

    return answer


def started(desk: Desk, job: StudyJob) -> Future[None]:
    return ThreadPoolExecutor(1).submit(desk.work, job)


def test_a_drafts_result_and_outbox_commit_together(pool: Pool, job: StudyJob, rendered: DraftReport) -> None:
    draft = small_draft(job.study_uid, of=rendered)
    desk = desk_on(pool)
    with StandIn(desk.inbox, desk.settle, ends_of(draft)):
        desk.work(job)
    row = revision_row(pool, job)
    assert row["state"] == "delivering"
    assert row["stage_seconds"] == {"encode": 0.5, "notify": 0.1}
    with pool.connection() as connection:
        kinds = [each["kind"] for each in connection.execute("SELECT kind FROM outbox ORDER BY outbox_id")]
    assert kinds == [DocumentKind.SR.value, DocumentKind.PDF.value]


def test_a_draft_that_is_sent_nowhere_is_done(pool: Pool, job: StudyJob, rendered: DraftReport) -> None:
    draft = small_draft(job.study_uid, of=rendered)
    desk = desk_on(pool)

    def nowhere(item: Item | Stopped) -> Ends:
        nothing = Item(job=item.job, value=Dispatches(draft=draft, entries=()))
        return nothing, nothing

    with StandIn(desk.inbox, desk.settle, nowhere):
        desk.work(job)
    assert revision_row(pool, job)["state"] == "done"


def test_what_may_pass_is_put_back_with_reason_and_time(pool: Pool, job: StudyJob) -> None:
    desk = desk_on(pool)
    with StandIn(desk.inbox, desk.settle, stopping(TROUBLE)):
        desk.work(job)
    row = revision_row(pool, job)
    assert (row["state"], row["stage"], row["reason_code"]) == ("queued", "priors", "internal-error")
    assert row["reason"] == TROUBLE.sentence
    assert row["next_attempt_at"] == RENDERED_AT + timedelta(seconds=2)
    assert [each["scheduled_at"] for each in queued_jobs(pool)] == [row["next_attempt_at"]]


def test_a_refused_password_is_not_tried_often(pool: Pool, job: StudyJob) -> None:
    desk = desk_on(pool)
    with StandIn(desk.inbox, desk.settle, stopping(REFUSED)):
        desk.work(job)
    longest = timedelta(seconds=WorkConfig().longest_wait_s)
    assert revision_row(pool, job)["next_attempt_at"] == RENDERED_AT + longest


def test_waits_grow_and_an_attempt_too_many_parks(pool: Pool, job: StudyJob) -> None:
    desk = desk_on(pool)
    waits = []
    with StandIn(desk.inbox, desk.settle, stopping(TROUBLE)) as graph:
        for _ in range(3):
            desk.work(job)
            waits.append(revision_row(pool, job)["next_attempt_at"] - RENDERED_AT)
        desk.work(job)
    assert waits == [timedelta(seconds=wait) for wait in (2, 4, 8)]
    row = revision_row(pool, job)
    assert (row["state"], row["reason_code"]) == ("parked", "retries-exhausted")
    assert len(graph.taken) == 3


@pytest.mark.parametrize("error", [AWAY, REFUSED])
def test_a_peer_that_is_away_or_distrusts_us_never_uses_the_attempts_up(
    pool: Pool, job: StudyJob, error: TransientError
) -> None:
    desk = desk_on(pool)
    with StandIn(desk.inbox, desk.settle, stopping(error)):
        for _ in range(8):
            desk.work(job)
    row = revision_row(pool, job)
    assert (row["state"], row["attempts"], row["reason_code"]) == ("queued", 0, error.code.value)


def test_the_longer_a_peer_is_away_the_seldomer_it_is_asked(pool: Pool, job: StudyJob) -> None:
    desk = desk_on(pool)
    waits = []
    with StandIn(desk.inbox, desk.settle, stopping(AWAY)):
        for waited_s in (0, 100, 3600):
            with pool.connection() as connection:
                began = RENDERED_AT - timedelta(seconds=waited_s)
                connection.execute("UPDATE revisions SET started_at = %s", (began,))
            desk.work(job)
            waits.append((revision_row(pool, job)["next_attempt_at"] - RENDERED_AT).total_seconds())
    assert waits == [2.0, 25.0, 60.0]


def test_what_cannot_pass_parks_the_study_with_its_reason(pool: Pool, job: StudyJob) -> None:
    desk = desk_on(pool)
    with StandIn(desk.inbox, desk.settle, stopping(UNREADABLE, "encode")):
        desk.work(job)
    row = revision_row(pool, job)
    assert (row["state"], row["stage"], row["reason_code"]) == ("parked", "encode", "no-readable-view")
    assert row["reason"] == UNREADABLE.sentence
    assert queued_jobs(pool) == []


def test_one_end_that_stopped_stops_the_whole(pool: Pool, job: StudyJob, rendered: DraftReport) -> None:
    draft = small_draft(job.study_uid, of=rendered)
    desk = desk_on(pool)

    def half(item: Item | Stopped) -> Ends:
        delivered, _ = ends_of(draft)(item)
        return delivered, Stopped(job=item.job, stage="notify", error=PermanentError(ReasonCode.REPORT_INVALID))

    with StandIn(desk.inbox, desk.settle, half):
        desk.work(job)
    assert revision_row(pool, job)["state"] == "parked"
    with pool.connection() as connection:
        assert connection.execute("SELECT count(*) AS n FROM results").fetchone() == {"n": 0}


def test_a_study_that_cannot_be_loaded_travels_as_stopped(pool: Pool, job: StudyJob) -> None:
    def load(_: StudyJob) -> Study:
        raise PermanentError(ReasonCode.SPOOL_FILE_MISSING, missing=1, images=1)

    desk = desk_on(pool, load=load)
    with StandIn(desk.inbox, desk.settle, lambda item: (item, item)):
        desk.work(job)
    row = revision_row(pool, job)
    assert (row["state"], row["stage"], row["reason_code"]) == ("parked", "assemble", "spool-file-missing")


def test_a_job_that_runs_twice_in_one_process_is_carried_once(pool: Pool, job: StudyJob, rendered: DraftReport) -> None:
    draft = small_draft(job.study_uid, of=rendered)
    desk = desk_on(pool)
    both_wait = threading.Event()

    def answer(item: Item | Stopped) -> Ends:
        assert both_wait.wait(10)
        return ends_of(draft)(item)

    with StandIn(desk.inbox, desk.settle, answer) as graph:
        runs = [started(desk, job) for _ in range(4)]
        assert wait_until(lambda: len(graph.taken) == 1, 10)
        both_wait.set()
        for run in runs:
            run.result(10)
    assert len(graph.taken) == 1
    assert revision_row(pool, job)["attempts"] == 1


def test_a_job_that_runs_in_two_processes_is_filed_once(pool: Pool, job: StudyJob, rendered: DraftReport) -> None:
    draft = small_draft(job.study_uid, of=rendered)
    first, second = desk_on(pool), desk_on(pool)
    together = threading.Barrier(2, timeout=10)

    def answer(item: Item | Stopped) -> Ends:
        together.wait()
        return ends_of(draft)(item)

    with StandIn(first.inbox, first.settle, answer), StandIn(second.inbox, second.settle, answer):
        for run in [started(desk, job) for desk in (first, second)]:
            run.result(10)
    with pool.connection() as connection:
        assert connection.execute("SELECT count(*) AS n FROM outbox").fetchone() == {"n": len(draft.documents)}
    assert revision_row(pool, job)["state"] == "delivering"


@pytest.mark.parametrize("state", ["receiving", "delivering", "done", "parked", "withdrawn"])
def test_a_job_left_over_from_another_time_does_nothing(pool: Pool, state: str) -> None:
    job = put_revision(pool, job_of("1.2.4"), state)
    desk = desk_on(pool)
    desk.work(job)
    assert len(desk.inbox) == 0
    assert revision_row(pool, job)["state"] == state


def test_a_job_of_an_unknown_study_does_nothing(pool: Pool) -> None:
    desk = desk_on(pool)
    desk.work(job_of("1.2.99"))
    assert len(desk.inbox) == 0


def test_settling_waits_for_a_database_that_is_away(pool: Pool, job: StudyJob) -> None:
    revisions = Flaky(pool, failures=2)
    desk = desk_on(pool, revisions=revisions)
    with StandIn(desk.inbox, desk.settle, stopping(UNREADABLE)):
        desk.work(job)
    assert revisions.failures == 0
    assert revision_row(pool, job)["state"] == "parked"


def test_an_end_while_the_database_is_away_does_not_wait_for_it(pool: Pool, job: StudyJob) -> None:
    desk = desk_on(pool, revisions=Flaky(pool, failures=1_000_000))
    with StandIn(desk.inbox, desk.settle, stopping(UNREADABLE)) as graph:
        run = started(desk, job)
        assert wait_until(lambda: len(graph.taken) == 1, 10)
        desk.hasten()
        with pytest.raises(TransientError):
            run.result(10)
    assert revision_row(pool, job)["state"] == "working"


def test_a_job_taken_up_after_the_end_is_left_for_another_worker(pool: Pool, job: StudyJob) -> None:
    desk = desk_on(pool)
    desk.stop()
    with pytest.raises(TransientError):
        desk.work(job)
    assert revision_row(pool, job)["state"] == "working"


def test_restarts_use_no_attempt_up(pool: Pool, job: StudyJob, rendered: DraftReport) -> None:
    for _ in range(8):
        stopping_desk = desk_on(pool)
        stopping_desk.stop()
        with pytest.raises(TransientError):
            stopping_desk.work(job)
    assert revision_row(pool, job)["attempts"] == 0
    desk = desk_on(pool)
    with StandIn(desk.inbox, desk.settle, ends_of(small_draft(job.study_uid, of=rendered))):
        desk.work(job)
    assert revision_row(pool, job)["state"] == "delivering"


def test_an_attempt_that_another_worker_began_since_is_not_given_back(pool: Pool, job: StudyJob) -> None:
    revisions = Revisions(pool)
    assert (revisions.start(job), revisions.start(job)) == (1, 2)
    revisions.give_back(job, 1)
    assert revision_row(pool, job)["attempts"] == 2


def test_jobs_of_a_graph_that_died_are_let_go(pool: Pool, job: StudyJob) -> None:
    desk = desk_on(pool)
    run = started(desk, job)
    assert wait_until(lambda: len(desk.inbox) == 1, 10)
    desk.abandon()
    with pytest.raises(TransientError):
        run.result(10)


def test_a_defect_while_filing_parks_the_study_and_spares_the_graph(
    pool: Pool, job: StudyJob, rendered: DraftReport
) -> None:
    def broken(connection: Connection, draft: DraftReport, entries: Sequence[OutboxEntry]) -> bool:
        raise ZeroDivisionError

    desk = desk_on(pool, file=broken)
    with StandIn(desk.inbox, desk.settle, ends_of(small_draft(job.study_uid, of=rendered))):
        desk.work(job)
    row = revision_row(pool, job)
    assert (row["state"], row["stage"], row["reason_code"]) == ("parked", "settle", "internal-error")


def test_whoever_files_wakes_the_dispatcher(pool: Pool, job: StudyJob, rendered: DraftReport) -> None:
    desk = desk_on(pool)
    woken = threading.Event()
    desk.on_filed = woken.set
    with StandIn(desk.inbox, desk.settle, ends_of(small_draft(job.study_uid, of=rendered))):
        desk.work(job)
    assert woken.is_set()
