"""What an admin may do with a study, and what becomes of revisions that overtake each other."""

from dataclasses import replace

import pytest

from app.overview import Overview
from app.revisions import Refused, Revisions
from operators.deliver.outbox import Outbox, file_draft
from operators.domain.database import Pool, transaction
from operators.domain.drafts import Document, DraftReport, OutboxEntry
from operators.domain.errors import PermanentError
from operators.domain.ids import Destination
from operators.domain.items import Stopped
from operators.domain.messages import PriorOutcome, PriorSearch, StudyJob
from operators.domain.reasons import ReasonCode
from operators.priors.candidates import FrozenSearch
from operators.priors.repository import PriorSearches
from tests.support.comparisons import comparison
from tests.support.drafts import RENDERED_AT, draft_of, small_draft
from tests.support.working import job_of, put_revision, queued_jobs, revision_row

pytestmark = pytest.mark.peer

PARKED = {"stage": "encode", "reason_code": "no-readable-view", "reason": "No image is a view that the model reads."}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> DraftReport:
    return draft_of(comparison(tmp_path_factory.mktemp("films")))


@pytest.fixture
def revisions(pool: Pool) -> Revisions:
    return Revisions(pool)


def file_for(revisions: Revisions, job: StudyJob, rendered: DraftReport) -> bool:
    draft = small_draft(job.study_uid, revision=int(job.revision), of=rendered)
    return revisions.file(job, lambda connection: file_draft(connection, draft, [entry(draft, draft.documents[0])]), {})


def entry(draft: DraftReport, document: Document) -> OutboxEntry:
    return OutboxEntry(
        study_uid=draft.study_uid, revision=draft.revision, destination=Destination("pacs"), document=document
    )


def file_to(revisions: Revisions, job: StudyJob, rendered: DraftReport, *destinations: str) -> None:
    """File a draft of which one document goes to each of these destinations."""
    draft = small_draft(job.study_uid, revision=int(job.revision), of=rendered)
    entries = [replace(entry(draft, draft.documents[0]), destination=Destination(name)) for name in destinations]
    assert revisions.file(job, lambda connection: file_draft(connection, draft, entries), {})


def park_deliveries(pool: Pool, job: StudyJob, destination: str = "pacs") -> None:
    with transaction(pool) as connection:
        connection.execute(
            "UPDATE outbox SET state = 'parked', reason_code = 'pacs-refused', reason = 'Refused.' "
            "WHERE study_uid = %s AND revision = %s AND destination = %s",
            (job.study_uid, int(job.revision), destination),
        )


def send_next(pool: Pool, destination: str) -> None:
    outbox = Outbox(pool)
    (leased,) = outbox.lease_due(Destination(destination), RENDERED_AT, limit=1, lease_s=60)
    outbox.mark_sent(leased, RENDERED_AT)


def outbox_states(pool: Pool) -> list[tuple[int, str]]:
    with transaction(pool) as connection:
        rows = connection.execute("SELECT revision, state FROM outbox ORDER BY outbox_id").fetchall()
    return [(row["revision"], row["state"]) for row in rows]


def test_retry_takes_a_parked_study_up_from_the_beginning(pool: Pool, revisions: Revisions) -> None:
    job = put_revision(pool, job_of(), "parked", attempts=5, **PARKED)
    assert revisions.retry(job.study_uid) is None
    row = revision_row(pool, job)
    assert (row["state"], row["attempts"], row["reason_code"], row["reason"]) == ("queued", 0, None, None)
    assert [each["args"] for each in queued_jobs(pool)] == [{"study_uid": job.study_uid, "revision": 1}]


def test_retry_takes_a_discarded_study_up_again(pool: Pool, revisions: Revisions) -> None:
    job = put_revision(pool, job_of(), "parked", **PARKED)
    assert revisions.discard(job.study_uid) is None
    assert revision_row(pool, job)["state"] == "withdrawn"
    assert revisions.retry(job.study_uid) is None
    assert revision_row(pool, job)["state"] == "queued"


@pytest.mark.parametrize("outcome", list(PriorOutcome))
def test_retry_asks_for_priors_again_only_where_nobody_could_be_asked(
    pool: Pool, revisions: Revisions, outcome: PriorOutcome
) -> None:
    job = put_revision(pool, job_of(), "parked", **PARKED)
    searches = PriorSearches(pool)
    search = PriorSearch(outcome=outcome, decisions=(), searched_at=RENDERED_AT, sentence="So it was.")
    found = searches.freeze(job.study_uid, job.revision, FrozenSearch(search=search, images=()))
    assert revisions.retry(job.study_uid) is None
    kept = searches.load(job.study_uid, job.revision)
    assert kept == (None if outcome is PriorOutcome.COULD_NOT_ASK else found)


def test_a_search_whose_draft_is_filed_stays_as_the_draft_says_it(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    job = put_revision(pool, job_of(), "working")
    search = PriorSearch(
        outcome=PriorOutcome.COULD_NOT_ASK, decisions=(), searched_at=RENDERED_AT, sentence="Nobody was asked."
    )
    found = PriorSearches(pool).freeze(job.study_uid, job.revision, FrozenSearch(search=search, images=()))
    assert file_for(revisions, job, rendered)
    park_deliveries(pool, job)
    assert revisions.retry(job.study_uid) is None
    assert PriorSearches(pool).load(job.study_uid, job.revision) == found


@pytest.mark.parametrize("state", ["receiving", "assembling", "queued", "working", "delivering", "done"])
def test_nothing_but_what_is_parked_is_retried(pool: Pool, revisions: Revisions, state: str) -> None:
    job = put_revision(pool, job_of(), state)
    refused = revisions.retry(job.study_uid)
    assert refused is not None
    assert state in refused.sentence
    assert revision_row(pool, job)["state"] == state
    assert queued_jobs(pool) == []


@pytest.mark.parametrize("state", ["receiving", "assembling", "queued", "working", "delivering", "done", "withdrawn"])
def test_nothing_but_what_is_parked_is_discarded(pool: Pool, revisions: Revisions, state: str) -> None:
    job = put_revision(pool, job_of(), state)
    refused = revisions.discard(job.study_uid)
    assert refused is not None
    assert state in refused.sentence
    assert revision_row(pool, job)["state"] == state


def test_an_unknown_study_is_said_to_be_unknown(revisions: Revisions) -> None:
    assert revisions.retry("1.2.99") == Refused(sentence="No such study.")
    assert revisions.discard("1.2.99") == Refused(sentence="No such study.")


def test_a_draft_of_which_nothing_was_sent_is_withdrawn_with_its_parked_documents(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    job = put_revision(pool, job_of(), "working")
    assert file_for(revisions, job, rendered)
    park_deliveries(pool, job)
    assert revisions.discard(job.study_uid) is None
    assert outbox_states(pool) == []
    row = revision_row(pool, job)
    assert (row["state"], row["reason_code"]) == ("withdrawn", "draft-discarded")
    assert row["finished_at"] is not None


def test_a_discarded_draft_is_not_taken_up_again_and_no_retry_is_offered(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    job = put_revision(pool, job_of(), "working")
    assert file_for(revisions, job, rendered)
    park_deliveries(pool, job)
    revisions.discard(job.study_uid)
    (shown,) = Overview(pool).studies()
    assert (shown.state, shown.can_retry, shown.can_discard) == ("withdrawn", False, False)
    assert "further image" in (shown.action or "")
    refused = revisions.retry(job.study_uid)
    assert refused is not None
    assert "further image" in refused.sentence
    assert revision_row(pool, job)["state"] == "withdrawn"
    assert queued_jobs(pool) == []


def test_a_discarded_message_leaves_what_waits_for_the_pacs(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    job = put_revision(pool, job_of(), "working")
    file_to(revisions, job, rendered, "pacs", "ris")
    park_deliveries(pool, job, "ris")
    assert revisions.discard(job.study_uid) is None
    assert outbox_states(pool) == [(1, "waiting")]
    assert revision_row(pool, job)["state"] == "delivering"
    (shown,) = Overview(pool).studies()
    assert (shown.can_retry, shown.can_discard) == (False, False)
    send_next(pool, "pacs")
    assert revision_row(pool, job)["state"] == "done"


def test_a_draft_that_was_sent_but_for_what_is_discarded_is_done(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    job = put_revision(pool, job_of(), "working")
    file_to(revisions, job, rendered, "pacs", "ris")
    park_deliveries(pool, job, "ris")
    send_next(pool, "pacs")
    assert revisions.discard(job.study_uid) is None
    row = revision_row(pool, job)
    assert (row["state"], row["reason_code"], row["finished_at"] is None) == ("done", None, False)
    assert outbox_states(pool) == [(1, "sent")]
    (shown,) = Overview(pool).studies()
    assert (shown.can_retry, shown.can_discard, shown.waits_for) == (False, False, None)
    assert revisions.retry(job.study_uid) == Refused(sentence="Nothing of the study is parked; its state is done.")


def test_deliveries_that_only_wait_are_not_discarded(pool: Pool, revisions: Revisions, rendered: DraftReport) -> None:
    job = put_revision(pool, job_of(), "working")
    assert file_for(revisions, job, rendered)
    refused = revisions.discard(job.study_uid)
    assert refused == Refused(sentence="Nothing of the study is parked; its state is delivering.")
    assert outbox_states(pool) == [(1, "waiting")]


def test_a_parked_study_is_discarded_and_an_earlier_drafts_deliveries_go_on(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    first = put_revision(pool, job_of(revision=1), "working")
    file_to(revisions, first, rendered, "pacs", "ris")
    park_deliveries(pool, first, "ris")
    second = put_revision(pool, job_of(revision=2), "parked", **PARKED)
    assert revisions.discard(first.study_uid) is None
    assert [revision_row(pool, job)["state"] for job in (first, second)] == ["delivering", "withdrawn"]
    assert outbox_states(pool) == [(1, "waiting")]


def test_deliveries_of_an_earlier_draft_are_retried_after_the_later_was_discarded(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    first, second = (put_revision(pool, job_of(revision=number), "working") for number in (1, 2))
    file_to(revisions, first, rendered, "pacs")
    file_to(revisions, second, rendered, "ris")
    park_deliveries(pool, second, "ris")
    assert revisions.discard(first.study_uid) is None
    park_deliveries(pool, first)
    (shown,) = Overview(pool).studies()
    assert (shown.state, shown.can_retry) == ("withdrawn", True)
    assert revisions.retry(first.study_uid) is None
    assert outbox_states(pool) == [(1, "waiting")]


def test_parked_deliveries_are_retried_those_of_an_earlier_revision_too(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    first, second = (put_revision(pool, job_of(revision=number), "working") for number in (1, 2))
    assert file_for(revisions, first, rendered)
    park_deliveries(pool, first)
    assert file_for(revisions, second, rendered)
    (row,) = Overview(pool).studies()
    assert (row.revision, row.waits_for, row.can_retry, row.can_discard) == (2, "Refused.", True, True)
    assert revisions.retry(first.study_uid) is None
    assert outbox_states(pool) == [(1, "waiting"), (2, "waiting")]


def test_a_draft_ends_what_was_parked_of_earlier_revisions(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    first = put_revision(pool, job_of(revision=1), "parked", **PARKED)
    second = put_revision(pool, job_of(revision=2), "working")
    assert file_for(revisions, second, rendered)
    assert revision_row(pool, first)["state"] == "withdrawn"
    assert revision_row(pool, first)["finished_at"] is not None


def test_an_earlier_revision_that_comes_after_its_successor_is_kept_but_not_sent(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    first, second = (put_revision(pool, job_of(revision=number), "working") for number in (1, 2))
    assert file_for(revisions, second, rendered)
    assert file_for(revisions, first, rendered)
    assert revision_row(pool, first)["state"] == "done"
    assert outbox_states(pool) == [(2, "waiting")]


def test_a_draft_is_filed_once(pool: Pool, revisions: Revisions, rendered: DraftReport) -> None:
    job = put_revision(pool, job_of(), "working")
    assert file_for(revisions, job, rendered)
    assert not file_for(revisions, job, rendered)
    assert outbox_states(pool) == [(1, "waiting")]


def test_work_that_an_admin_ended_meanwhile_is_neither_filed_nor_parked(
    pool: Pool, revisions: Revisions, rendered: DraftReport
) -> None:
    job = put_revision(pool, job_of(), "withdrawn")
    assert not file_for(revisions, job, rendered)
    error = PermanentError(ReasonCode.NO_PIXELS)
    revisions.park(job, Stopped(job=job, stage="encode", error=error))
    assert revision_row(pool, job)["state"] == "withdrawn"


@pytest.mark.parametrize("state", ["queued", "working"])
def test_a_revision_that_waits_for_a_job_and_has_none_gets_one(pool: Pool, revisions: Revisions, state: str) -> None:
    job = put_revision(pool, job_of(), state)
    put_revision(pool, job_of("1.2.4"), "parked")
    assert revisions.enqueue_forgotten() == 1
    assert revisions.enqueue_forgotten() == 0
    assert [each["args"]["study_uid"] for each in queued_jobs(pool)] == [job.study_uid]


def test_overview_names_reason_and_action_of_what_is_parked(pool: Pool) -> None:
    put_revision(pool, job_of(), "parked", **PARKED)
    (row,) = Overview(pool).studies(state="parked")
    assert (row.state, row.stage, row.reason_code) == ("parked", "encode", "no-readable-view")
    assert row.waits_for == PARKED["reason"]
    assert row.action
    assert row.can_retry
    assert row.can_discard
    assert Overview(pool).count_by_state()["parked"] == 1
