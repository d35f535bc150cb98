"""The dispatch loop on a real outbox: archives that go and come back, processes that die, defects that stay alone."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from operators.deliver.config import CStoreDestination, OutboxConfig, StowDestination
from operators.deliver.cstore import CStoreSender
from operators.deliver.dispatch import Dispatcher, Line
from operators.deliver.outbox import Outbox, file_draft
from operators.deliver.stow import StowSender
from operators.domain.clock import SystemClock
from operators.domain.database import Pool, transaction
from operators.domain.drafts import Document, DocumentKind, DraftReport, OutboxEntry, Sender
from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import AeTitle, Destination
from operators.domain.reasons import ReasonCode
from tests.support.comparisons import comparison
from tests.support.drafts import SetClock, draft_of, small_draft
from tests.support.peers import Orthanc, open_folder, require
from tests.support.peers.process import wait_until

pytestmark = pytest.mark.peer

PACS, OTHER = Destination("pacs"), Destination("other")
QUICK = OutboxConfig(first_wait_s=0.05, longest_wait_s=0.2, lease_s=3, poll_s=0.05)
PATIENCE_S = 30.0


@dataclass
class Scripted:
    """A sender that fails as told, once per error, and remembers what it was given."""

    errors: list[Exception] = field(default_factory=list)
    sent: list[Document] = field(default_factory=list)

    def send(self, document: Document) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(document)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> DraftReport:
    return draft_of(comparison(tmp_path_factory.mktemp("films")))


def filed(pool: Pool, draft: DraftReport, *destinations: Destination) -> DraftReport:
    entries = [
        OutboxEntry(study_uid=draft.study_uid, revision=draft.revision, destination=destination, document=document)
        for destination in destinations or (PACS,)
        for document in draft.documents
    ]
    with transaction(pool) as connection:
        connection.execute(
            "INSERT INTO studies (study_uid, patient_id) VALUES (%s, 'p') ON CONFLICT DO NOTHING", (draft.study_uid,)
        )
        connection.execute(
            "INSERT INTO revisions (study_uid, revision, state) VALUES (%s, %s, 'delivering')",
            (draft.study_uid, int(draft.revision)),
        )
        assert file_draft(connection, draft, entries)
    return draft


def states(pool: Pool) -> set[str]:
    with transaction(pool) as connection:
        return {row["state"] for row in connection.execute("SELECT state FROM revisions").fetchall()}


def outbox_states(pool: Pool) -> list[str]:
    with transaction(pool) as connection:
        rows = connection.execute("SELECT state FROM outbox ORDER BY outbox_id").fetchall()
    return [row["state"] for row in rows]


@contextmanager
def running(pool: Pool, senders: Mapping[Destination, Sender], config: OutboxConfig = QUICK) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(Outbox(pool), senders, clock=SystemClock(), config=config)
    stop = threading.Event()
    thread = threading.Thread(target=dispatcher.run, args=(stop,))
    thread.start()
    try:
        yield dispatcher
    finally:
        stop.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def eventually(condition: Callable[[], bool]) -> bool:
    return wait_until(condition, PATIENCE_S)


def line(pool: Pool, sender: Sender, clock: SetClock, config: OutboxConfig = QUICK) -> Line:
    return Line(Outbox(pool), PACS, sender, clock=clock, config=config)


def test_filed_documents_are_sent_in_order_and_the_revision_is_done(pool: Pool, rendered: DraftReport) -> None:
    draft = filed(pool, small_draft(of=rendered))
    sender = Scripted()
    with running(pool, {PACS: sender}):
        assert eventually(lambda: states(pool) == {"done"})
    assert sender.sent == list(draft.documents)


def test_archive_that_is_away_for_a_while_gets_everything_once(pool: Pool, rendered: DraftReport) -> None:
    away: list[Exception] = [TransientError(ReasonCode.PACS_AWAY) for _ in range(4)]
    drafts = [filed(pool, small_draft(f"2.25.{number}", of=rendered)) for number in range(5)]
    sender = Scripted(errors=away)
    with running(pool, {PACS: sender}):
        assert eventually(lambda: states(pool) == {"done"})
    identities = [document.identity for document in sender.sent]
    assert sorted(identities) == sorted(document.identity for draft in drafts for document in draft.documents)


def test_refused_document_is_parked_and_the_rest_goes_on(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    sender = Scripted(errors=[PermanentError(ReasonCode.PACS_REFUSED)])
    with running(pool, {PACS: sender}):
        assert eventually(lambda: outbox_states(pool) == ["parked", "sent"])
    assert states(pool) == {"delivering"}


def test_defect_in_a_sender_parks_its_document_alone(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    sender = Scripted(errors=[ZeroDivisionError("Doe^Jane")])
    with running(pool, {PACS: sender}):
        assert eventually(lambda: outbox_states(pool) == ["parked", "sent"])
    with transaction(pool) as connection:
        row = connection.execute("SELECT reason_code, reason FROM outbox WHERE state = 'parked'").fetchone()
    assert row is not None
    assert row["reason_code"] == "internal-error"
    assert "Doe" not in row["reason"]


def test_destination_that_hangs_holds_up_nobody_else(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered), PACS, OTHER)
    released, quick = threading.Event(), Scripted()

    class Hanging:
        def send(self, document: Document) -> None:
            del document
            released.wait(PATIENCE_S)

    with running(pool, {PACS: Hanging(), OTHER: quick}):
        assert eventually(lambda: len(quick.sent) == len(rendered.documents))
        assert states(pool) == {"delivering"}
        released.set()
        assert eventually(lambda: states(pool) == {"done"})


def test_lease_is_kept_while_a_slow_archive_takes_its_time(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    started, released = threading.Event(), threading.Event()

    class Slow(Scripted):
        def send(self, document: Document) -> None:
            started.set()
            released.wait(PATIENCE_S)
            super().send(document)

    slow = Slow()
    with running(pool, {PACS: slow}):
        assert started.wait(PATIENCE_S)
        first_until = leased_until(pool)
        assert eventually(lambda: leased_until(pool) > first_until)
        released.set()
        assert eventually(lambda: states(pool) == {"done"})
    assert len(slow.sent) == len(rendered.documents)


def leased_until(pool: Pool) -> datetime:
    with transaction(pool) as connection:
        row = connection.execute("SELECT max(leased_until) AS until FROM outbox").fetchone()
    assert row is not None
    until: datetime = row["until"]
    return until


def test_what_a_killed_process_was_sending_goes_again_with_the_same_bytes(pool: Pool, rendered: DraftReport) -> None:
    draft = filed(pool, small_draft(of=rendered))
    clock, stop = SetClock(), threading.Event()
    dead = Outbox(pool).lease_due(PACS, clock.now(), limit=1, lease_s=QUICK.lease_s)[0]
    sender = Scripted()
    living = line(pool, sender, clock)
    assert not living.step(stop)
    clock.pass_s(QUICK.lease_s)
    while living.step(stop):
        pass
    assert sender.sent[0] == dead.entry.document
    assert [document.content for document in sender.sent] == [document.content for document in draft.documents]


def test_line_holds_after_a_failure_and_resumes_all_at_once(pool: Pool, rendered: DraftReport) -> None:
    for number in range(3):
        filed(pool, small_draft(f"2.25.{number}", of=rendered))
    clock, stop = SetClock(), threading.Event()
    config = OutboxConfig(first_wait_s=10, longest_wait_s=1000, lease_s=15, poll_s=1)
    away: list[Exception] = [TransientError(ReasonCode.PACS_AWAY) for _ in range(3)]
    sender = Scripted(errors=away)
    of = line(pool, sender, clock, config)
    for _ in range(3):
        assert of.step(stop)
    assert not of.step(stop)
    clock.pass_s(10)
    while of.step(stop):
        pass
    assert len(sender.sent) == 3 * len(rendered.documents)


def test_entry_that_failed_too_often_is_given_up(pool: Pool, rendered: DraftReport) -> None:
    filed(pool, small_draft(of=rendered))
    clock, stop = SetClock(), threading.Event()
    config = OutboxConfig(first_wait_s=1, longest_wait_s=1, lease_s=3, poll_s=1, most_attempts=3)
    away: list[Exception] = [TransientError(ReasonCode.PACS_AWAY) for _ in range(3)]
    of = line(pool, Scripted(errors=away), clock, config)
    for _ in range(3):
        of.step(stop)
        clock.pass_s(1)
    assert outbox_states(pool)[0] == "parked"
    with transaction(pool) as connection:
        row = connection.execute("SELECT reason_code FROM outbox WHERE state = 'parked'").fetchone()
    assert row is not None
    assert row["reason_code"] == "retries-exhausted"


def test_archive_that_is_away_for_long_is_logged_at_doubling_counts(
    pool: Pool, rendered: DraftReport, caplog: pytest.LogCaptureFixture
) -> None:
    filed(pool, small_draft(of=rendered))
    clock, stop = SetClock(), threading.Event()
    config = OutboxConfig(first_wait_s=1, longest_wait_s=1, lease_s=3, poll_s=1)
    away: list[Exception] = [TransientError(ReasonCode.PACS_AWAY) for _ in range(20)]
    sender = Scripted(errors=away)
    of = line(pool, sender, clock, config)
    for _ in range(20):
        assert of.step(stop)
        clock.pass_s(1)
    assert logged_failures(caplog) == [1, 2, 4, 8, 16]
    while of.step(stop):
        pass
    sender.errors = [TransientError(ReasonCode.PACS_AWAY)]
    filed(pool, small_draft("2.25.9", of=rendered))
    assert of.step(stop)
    assert logged_failures(caplog) == [1, 2, 4, 8, 16, 1]


def test_document_that_is_parked_is_logged_every_time(
    pool: Pool, rendered: DraftReport, caplog: pytest.LogCaptureFixture
) -> None:
    filed(pool, small_draft(of=rendered))
    clock, stop = SetClock(), threading.Event()
    config = OutboxConfig(first_wait_s=1, longest_wait_s=1, lease_s=3, poll_s=1, most_attempts=3)
    away: list[Exception] = [TransientError(ReasonCode.PACS_AWAY) for _ in range(3)]
    of = line(pool, Scripted(errors=[*away, PermanentError(ReasonCode.PACS_REFUSED)]), clock, config)
    for _ in range(4):
        assert of.step(stop)
        clock.pass_s(1)
    assert outbox_states(pool) == ["parked", "parked"]
    assert logged_failures(caplog) == [1, 2, None, None]


def logged_failures(caplog: pytest.LogCaptureFixture) -> list[int | None]:
    """Return how often the line had failed at each line of the log; None for a document that was parked."""
    return [vars(record).get("failures") for record in caplog.records if record.msg == "document.not_sent"]


def test_document_sent_while_the_database_goes_away_is_marked_when_it_is_back(
    pool: Pool, rendered: DraftReport
) -> None:
    filed(pool, small_draft(of=rendered))

    class Flaky(Outbox):
        lost = 2

        def mark_sent(self, *args: object) -> None:
            if self.lost:
                self.lost -= 1
                raise TransientError(ReasonCode.DATABASE_AWAY)
            super().mark_sent(*args)  # type: ignore[arg-type] # handed on as it came

    sender = Scripted()
    dispatcher = Line(Flaky(pool), PACS, sender, clock=SetClock(), config=QUICK)
    assert dispatcher.step(threading.Event())
    assert outbox_states(pool)[0] == "sent"
    assert len(sender.sent) == 1


def test_two_dispatchers_send_everything_once(pool: Pool, rendered: DraftReport) -> None:
    for number in range(20):
        filed(pool, small_draft(f"2.25.{number}", of=rendered))
    first, second = Scripted(), Scripted()
    with running(pool, {PACS: first}), running(pool, {PACS: second}):
        assert eventually(lambda: states(pool) == {"done"})
    sent = [document.identity for document in (*first.sent, *second.sent)]
    assert len(sent) == len(set(sent)) == 20 * len(rendered.documents)


def test_call_ends_the_rest_of_an_idle_line(pool: Pool, rendered: DraftReport) -> None:
    sender = Scripted()
    sleepy = OutboxConfig(first_wait_s=1, longest_wait_s=1, lease_s=3, poll_s=600)
    with running(pool, {PACS: sender}, sleepy) as dispatcher:
        filed(pool, small_draft(of=rendered))
        dispatcher.wake()
        assert eventually(lambda: states(pool) == {"done"})


# pynetdicom drops the socket of a connection that failed without closing it (transport.py, _shutdown_socket).
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", ["stow", "cstore"])
def test_killed_archive_that_comes_back_holds_every_draft_once(pool: Pool, tmp_path: Path, way: str) -> None:
    require("Orthanc", "libOrthancDicomWeb.so")
    drafts = [draft_of(comparison(tmp_path, seed_of_current=f"{way}-{number}")) for number in range(3)]
    with open_folder() as folder, Orthanc(folder) as orthanc:
        with running(pool, {PACS: sender_to(orthanc, way)}):
            filed(pool, drafts[0])
            assert eventually(lambda: states(pool) == {"done"})
            orthanc.kill()
            for draft in drafts[1:]:
                filed(pool, draft)
            assert eventually(lambda: any(waiting.reason for waiting in Outbox(pool).waiting()))
            [waiting] = Outbox(pool).waiting()
            assert waiting.reason is not None
            assert "does not answer" in waiting.reason
            orthanc.start()
            assert eventually(lambda: states(pool) == {"done"})
        kept = {one.sop_instance_uid for one in orthanc.archive.instances()}
        assert kept == {document.identity for draft in drafts for document in draft.documents}
        for draft in drafts:
            sr = draft.document(DocumentKind.SR)
            [found] = [one for one in orthanc.archive.instances(draft.study_uid) if one.modality == "SR"]
            assert found.sop_instance_uid == sr.identity


def sender_to(orthanc: Orthanc, way: str) -> Sender:
    if way == "stow":
        return StowSender(StowDestination(name=PACS, url=orthanc.dicom_web_url))
    return CStoreSender(
        CStoreDestination(
            name=PACS, host="127.0.0.1", port=orthanc.dicom_port, called_ae=AeTitle("ORTHANC"), connect_timeout_s=2
        )
    )
