"""The outbox in a real PostgreSQL: first rendering wins, order holds, nothing is lost and nothing doubled."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from operators.deliver.outbox import Leased, Outbox, file_draft, retry_parked
from operators.domain.clock import SystemClock
from operators.domain.codec import from_plain
from operators.domain.database import Pool, transaction
from operators.domain.drafts import Document, DocumentKind, DraftReport, OutboxEntry
from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import Destination, InstanceUid, Revision, StudyUid
from operators.domain.messages import Comparison, SimilarCase
from operators.domain.reasons import ReasonCode
from operators.report.predecessor import FiledPredecessors
from tests.support.comparisons import compared_case, comparison
from tests.support.drafts import RENDERED_AT, draft_of, small_draft

pytestmark = pytest.mark.peer

PACS, RIS = Destination("pacs"), Destination("ris")
NOW = RENDERED_AT
AWAY = TransientError(ReasonCode.PACS_AWAY, destination=PACS)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> DraftReport:
    return draft_of(comparison(tmp_path_factory.mktemp("films")))


def to_pacs(draft: DraftReport) -> list[OutboxEntry]:
    return [entry_of(draft, document, PACS) for document in draft.documents]


def entry_of(draft: DraftReport, document: Document, destination: Destination) -> OutboxEntry:
    return OutboxEntry(study_uid=draft.study_uid, revision=draft.revision, destination=destination, document=document)


def message_for(draft: DraftReport) -> OutboxEntry:
    oru = Document(kind=DocumentKind.ORU, identity=f"IV{draft.study_uid}", sop_class_uid="", content=b"MSH|")
    return entry_of(draft, oru, RIS)


def opened(pool: Pool, draft: DraftReport, state: str = "delivering") -> DraftReport:
    with transaction(pool) as connection:
        connection.execute(
            "INSERT INTO studies (study_uid, patient_id) VALUES (%s, 'p') ON CONFLICT DO NOTHING", (draft.study_uid,)
        )
        connection.execute(
            "INSERT INTO revisions (study_uid, revision, state) VALUES (%s, %s, %s)",
            (draft.study_uid, int(draft.revision), state),
        )
    return draft


def filed(pool: Pool, draft: DraftReport, entries: Sequence[OutboxEntry] | None = None) -> DraftReport:
    opened(pool, draft)
    with transaction(pool) as connection:
        assert file_draft(connection, draft, to_pacs(draft) if entries is None else entries)
    return draft


def rows(pool: Pool, query: str, *values: object) -> list[dict[str, Any]]:
    with transaction(pool) as connection:
        return connection.execute(query, values).fetchall()


def state_of(pool: Pool, draft: DraftReport) -> str:
    found: str = rows(
        pool, "SELECT state FROM revisions WHERE study_uid = %s AND revision = %s", draft.study_uid, int(draft.revision)
    )[0]["state"]
    return found


def take(pool: Pool, destination: Destination = PACS, at: datetime = NOW, limit: int = 10) -> list[Leased]:
    return Outbox(pool).lease_due(destination, at, limit=limit, lease_s=15)


def send_all(pool: Pool, destination: Destination = PACS, at: datetime = NOW) -> list[str]:
    sent = []
    while leased := take(pool, destination, at):
        for one in leased:
            sent.append(one.entry.document.identity)
            Outbox(pool).mark_sent(one, at)
    return sent


def test_filed_draft_keeps_its_bytes_and_its_comparison(pool: Pool, rendered: DraftReport) -> None:
    similar = SimilarCase(
        entity_index=12,
        rank=1,
        study_uid=StudyUid("9.9"),
        instance_uid=InstanceUid("9.9.1"),
        score_cosine=0.9,
        presence_prob=0.8,
    )
    draft = replace(rendered, compared=compared_case(rendered.compared.comparison, (similar,)))
    filed(pool, draft)
    result = rows(pool, "SELECT * FROM results")[0]
    assert bytes(result["preview_pdf"]) == draft.preview_pdf
    assert from_plain(Comparison, result["comparison"]) == draft.compared.comparison
    assert from_plain(tuple[SimilarCase, ...], result["similar_cases"]) == (similar,)
    kept = {row["identity"]: bytes(row["content"]) for row in rows(pool, "SELECT * FROM documents")}
    assert kept == {document.identity: document.content for document in draft.documents}


def test_first_rendering_wins(pool: Pool, rendered: DraftReport) -> None:
    first = filed(pool, small_draft(of=rendered, content=b"first"))
    with transaction(pool) as connection:
        again = small_draft(of=rendered, content=b"second")
        assert not file_draft(connection, again, to_pacs(again))
    assert {bytes(row["content"]) for row in rows(pool, "SELECT content FROM documents")} == {b"first"}
    assert len(rows(pool, "SELECT * FROM outbox")) == len(first.documents)


def test_nothing_of_a_draft_is_kept_when_its_transaction_fails(pool: Pool, rendered: DraftReport) -> None:
    draft = opened(pool, small_draft(of=rendered))

    def file_and_fail() -> None:
        with transaction(pool) as connection:
            file_draft(connection, draft, to_pacs(draft))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        file_and_fail()
    assert not rows(pool, "SELECT * FROM results")
    assert not rows(pool, "SELECT * FROM outbox")


def test_shadow_mode_files_the_result_and_nothing_to_send(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered), [])
    assert len(rows(pool, "SELECT * FROM documents")) == len(rendered.documents)
    assert not rows(pool, "SELECT * FROM outbox")


def test_draft_that_was_overtaken_by_a_later_revision_is_not_sent(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered, revision=2))
    filed(pool, small_draft(of=rendered, revision=1))
    assert {row["revision"] for row in rows(pool, "SELECT revision FROM outbox")} == {2}
    assert len(rows(pool, "SELECT * FROM results")) == 2


def test_structured_report_goes_before_its_companion(pool: Pool, rendered: DraftReport) -> None:
    draft = small_draft(of=rendered)
    filed(pool, draft, list(reversed(to_pacs(draft))))
    assert [one.entry.document.kind for one in take(pool)] == [DocumentKind.SR]
    assert take(pool) == []
    later = NOW + timedelta(seconds=16)
    assert send_all(pool, at=later) == [document.identity for document in draft.documents]


def test_later_revision_waits_for_the_earlier_one(pool: Pool, rendered: DraftReport) -> None:
    first, second = (filed(pool, small_draft(of=rendered, revision=number)) for number in (1, 2))
    sent = send_all(pool)
    assert sent == [document.identity for draft in (first, second) for document in draft.documents]


def test_studies_and_destinations_do_not_wait_for_each_other(pool: Pool, rendered: DraftReport) -> None:
    first, second = (small_draft(uid, of=rendered) for uid in ("2.25.1", "2.25.2"))
    filed(pool, first, [*to_pacs(first), message_for(first)])
    filed(pool, second)
    assert {one.entry.study_uid for one in take(pool)} == {"2.25.1", "2.25.2"}
    assert [one.entry.document.kind for one in take(pool, RIS)] == [DocumentKind.ORU]


def test_parked_document_holds_up_nobody(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    Outbox(pool).park(take(pool)[0], PermanentError(ReasonCode.PACS_REFUSED, status="0122h"))
    assert [one.entry.document.kind for one in take(pool)] == [DocumentKind.PDF]


def test_leased_entry_is_nobody_elses_until_the_lease_ends(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    taken = take(pool)[0]
    assert take(pool, at=NOW + timedelta(seconds=14)) == []
    again = take(pool, at=NOW + timedelta(seconds=15))[0]
    assert again.entry == taken.entry


def test_renewed_lease_lasts_longer(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    taken = take(pool)[0]
    Outbox(pool).renew([taken.outbox_id], NOW + timedelta(seconds=60))
    assert take(pool, at=NOW + timedelta(seconds=59)) == []


def test_workers_at_the_same_moment_never_take_the_same_entry(pool: Pool, rendered: DraftReport) -> None:
    for number in range(40):
        filed(pool, small_draft(f"2.25.{number}", of=rendered))
    taken: list[list[int]] = [[], [], []]
    gate = threading.Barrier(3)

    def work(mine: list[int]) -> None:
        gate.wait()
        while leased := take(pool, limit=2):
            mine.extend(one.outbox_id for one in leased)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [number for mine in taken for number in mine]
    assert len(everything) == len(set(everything)) == 40


def test_revision_is_done_with_its_last_entry(pool: Pool, rendered: DraftReport) -> None:
    draft = small_draft(of=rendered)
    filed(pool, draft, [*to_pacs(draft), message_for(draft)])
    send_all(pool)
    assert state_of(pool, draft) == "delivering"
    send_all(pool, RIS)
    assert state_of(pool, draft) == "done"


def test_last_entries_that_end_at_the_same_moment_still_make_the_revision_done(
    pool: Pool, rendered: DraftReport
) -> None:
    drafts = []
    for number in range(15):
        draft = small_draft(f"2.25.{number}", of=rendered)
        drafts.append(filed(pool, draft, [entry_of(draft, draft.documents[0], PACS), message_for(draft)]))
    to_archive, to_ris = take(pool, limit=50), take(pool, RIS, limit=50)
    gate = threading.Barrier(2)

    def mark(leased: list[Leased]) -> None:
        for one in leased:
            gate.wait()
            Outbox(pool).mark_sent(one, NOW)

    threads = [threading.Thread(target=mark, args=(leased,)) for leased in (to_archive, to_ris)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {state_of(pool, draft) for draft in drafts} == {"done"}


def test_revision_with_a_parked_entry_is_not_done(pool: Pool, rendered: DraftReport) -> None:
    draft = filed(pool, small_draft(of=rendered))
    Outbox(pool).park(take(pool)[0], PermanentError(ReasonCode.PACS_REFUSED))
    send_all(pool)
    assert state_of(pool, draft) == "delivering"


def test_retried_entry_is_sent_and_the_revision_done(pool: Pool, rendered: DraftReport) -> None:
    draft = filed(pool, small_draft(of=rendered))
    Outbox(pool).park(take(pool)[0], PermanentError(ReasonCode.PACS_REFUSED))
    send_all(pool)
    with transaction(pool) as connection:
        assert retry_parked(connection, draft.study_uid) == 1
    send_all(pool, at=SystemClock().now())
    assert state_of(pool, draft) == "done"


def test_failed_entry_waits_with_its_reason(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    Outbox(pool).mark_failed(take(pool)[0], AWAY, NOW + timedelta(seconds=30))
    assert take(pool, at=NOW + timedelta(seconds=29)) == []
    assert take(pool, at=NOW + timedelta(seconds=30))[0].attempts == 1
    row = rows(pool, "SELECT reason_code, reason FROM outbox WHERE reason IS NOT NULL")[0]
    assert row == {"reason_code": "pacs-away", "reason": "The PACS does not answer (destination pacs)."}


def test_hastened_destination_is_due_at_once(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    Outbox(pool).mark_failed(take(pool)[0], AWAY, NOW + timedelta(hours=1))
    assert Outbox(pool).hasten(PACS, NOW) == 1
    assert len(take(pool)) == 1


def test_marking_sent_twice_changes_nothing(pool: Pool, rendered: DraftReport) -> None:
    one = filed(pool, small_draft(of=rendered))
    leased = take(pool)[0]
    Outbox(pool).mark_sent(leased, NOW)
    Outbox(pool).mark_sent(leased, NOW + timedelta(hours=1))
    row = rows(pool, "SELECT attempts, sent_at FROM outbox WHERE identity = %s", one.documents[0].identity)[0]
    assert (row["attempts"], row["sent_at"]) == (1, NOW)


def test_result_of_a_lost_lease_never_takes_back_what_was_sent(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    slow = take(pool)[0]
    quick = take(pool, at=NOW + timedelta(seconds=20))[0]
    Outbox(pool).mark_sent(quick, NOW)
    Outbox(pool).mark_failed(slow, AWAY, NOW)
    Outbox(pool).park(slow, PermanentError(ReasonCode.PACS_REFUSED))
    assert rows(pool, "SELECT state FROM outbox WHERE outbox_id = %s", slow.outbox_id)[0]["state"] == "sent"


def test_summary_says_what_waits_where_and_why(pool: Pool, rendered: DraftReport) -> None:
    draft = small_draft(of=rendered)
    filed(pool, draft, [*to_pacs(draft), message_for(draft)])
    Outbox(pool).mark_failed(take(pool)[0], AWAY, NOW)
    Outbox(pool).park(take(pool, RIS)[0], PermanentError(ReasonCode.RIS_REFUSED))
    archive, ris = Outbox(pool).waiting()
    assert (archive.destination, archive.waiting, archive.parked) == (PACS, 2, 0)
    assert archive.reason == AWAY.sentence
    assert archive.oldest_at == RENDERED_AT
    assert (ris.waiting, ris.parked) == (0, 1)


def test_discarded_entry_that_was_under_way_makes_nothing_done(pool: Pool, rendered: DraftReport) -> None:
    draft = filed(pool, small_draft(of=rendered))
    leased = take(pool)[0]
    with transaction(pool) as connection:
        connection.execute("DELETE FROM outbox")
        connection.execute("UPDATE revisions SET state = 'withdrawn'")
    Outbox(pool).mark_sent(leased, NOW)
    assert state_of(pool, draft) == "withdrawn"


def test_database_that_is_away_is_a_transient_error(pool: Pool) -> None:
    pool.close()
    with pytest.raises(TransientError) as caught:
        take(pool)
    assert caught.value.code is ReasonCode.DATABASE_AWAY


def test_draft_that_replaces_another_finds_it(pool: Pool, tmp_path: Path) -> None:
    first = filed(pool, draft_of(comparison(tmp_path)))
    found = FiledPredecessors(pool).predecessor_of(first.study_uid, Revision(2))
    assert found is not None
    assert found.instance_uid == first.document(DocumentKind.SR).identity
    assert found.study_uid == first.study_uid
    assert FiledPredecessors(pool).predecessor_of(first.study_uid, Revision(1)) is None


def test_draft_that_never_left_is_nobodys_predecessor(pool: Pool, tmp_path: Path) -> None:
    shadow = filed(pool, draft_of(comparison(tmp_path)), [])
    assert FiledPredecessors(pool).predecessor_of(shadow.study_uid, Revision(2)) is None


def test_latest_of_several_earlier_drafts_is_replaced(pool: Pool, tmp_path: Path) -> None:
    drafts = [filed(pool, draft_of(comparison(tmp_path, revision=number))) for number in (1, 2)]
    found = FiledPredecessors(pool).predecessor_of(drafts[0].study_uid, Revision(3))
    assert found is not None
    assert found.instance_uid == drafts[1].document(DocumentKind.SR).identity


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (("parked", None), None),
        (("waiting", "parked"), 1),
        (("sent", "parked"), 1),
        (("sent", "waiting"), 2),
        (("parked", "waiting"), 2),
        (("waiting", "sent"), 2),
        (("sent", "sent"), 2),
    ],
)
def test_draft_refers_to_one_that_an_archive_has_or_will_have(
    pool: Pool, tmp_path: Path, states: tuple[str, str | None], expected: int | None
) -> None:
    drafts: dict[int, DraftReport] = {}
    for number, state in enumerate(states, start=1):
        if state is not None:
            drafts[number] = filed(pool, draft_of(comparison(tmp_path, revision=number)))
            with transaction(pool) as connection:
                connection.execute("UPDATE outbox SET state = %s WHERE revision = %s", (state, number))
    found = FiledPredecessors(pool).predecessor_of(drafts[1].study_uid, Revision(3))
    identity = found.instance_uid if found else None
    assert identity == (drafts[expected].document(DocumentKind.SR).identity if expected else None)


def test_draft_that_one_of_two_archives_refused_is_still_a_predecessor(pool: Pool, tmp_path: Path) -> None:
    draft = draft_of(comparison(tmp_path))
    sr = draft.document(DocumentKind.SR)
    filed(pool, draft, [entry_of(draft, sr, PACS), entry_of(draft, sr, Destination("other"))])
    with transaction(pool) as connection:
        connection.execute("UPDATE outbox SET state = 'parked' WHERE destination = 'other'")
    found = FiledPredecessors(pool).predecessor_of(draft.study_uid, Revision(2))
    assert found is not None
    assert found.instance_uid == sr.identity
