"""Revisions on a real database: closing under concurrency, with the real queue, and reading a study back."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.jobs import TASK, enqueue
from app.pipeline import ReceiveApplication
from operators.assemble.assembler import Assembler
from operators.assemble.config import AssembleConfig
from operators.assemble.reading import StudyReader
from operators.assemble.stage import AssembleStage
from operators.domain.clock import SystemClock
from operators.domain.database import Connection, Pool, transaction
from operators.domain.errors import PermanentError
from operators.domain.ids import Revision, StudyUid
from operators.domain.messages import Patient, StudyJob
from operators.domain.reasons import ReasonCode
from operators.patients.merges import Origin, merge
from operators.receive.ledger import Ledger
from tests.support.arrivals import arrival
from tests.support.objects import ct_slice, save
from tests.support.peers.dcmtk import storescu
from tests.support.peers.process import wait_until
from tests.support.peers.programs import require
from tests.support.receiving import RunningReceiver, config, rows

_NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_STUDY = StudyUid("1.2")
_STATES = "SELECT revision, state, closed_by FROM revisions ORDER BY revision"


def _after(seconds: float) -> datetime:
    return _NOON + timedelta(seconds=seconds)


def _assembler(pool: Pool, queue: Callable[[Connection, StudyJob], None] = enqueue, **settings: float) -> Assembler:
    return Assembler(pool, enqueue=queue, clock=SystemClock(), config=AssembleConfig(**{"quiet_s": 10.0, **settings}))


def test_closing_and_job_are_one(pool: Pool) -> None:
    Ledger(pool).record(arrival(_STUDY, 1, _NOON))

    assert _assembler(pool).close_due(_after(9)) == ()
    assert _assembler(pool).close_due(_after(10)) == (StudyJob(study_uid=_STUDY, revision=Revision(1)),)

    (job,) = rows(pool, "SELECT task_name, lock, args, status::text FROM procrastinate_jobs")
    assert job == {"task_name": TASK, "lock": _STUDY, "args": {"study_uid": _STUDY, "revision": 1}, "status": "todo"}
    assert rows(pool, _STATES) == [{"revision": 1, "state": "queued", "closed_by": "quiet"}]
    assert _assembler(pool).close_due(_after(1000)) == ()


def test_a_crash_after_the_job_was_put_leaves_neither_job_nor_closing(pool: Pool) -> None:
    Ledger(pool).record(arrival(_STUDY, 1, _NOON))

    def enqueue_and_die(connection: Connection, job: StudyJob) -> None:
        enqueue(connection, job)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _assembler(pool, enqueue_and_die).close_due(_after(10))

    assert rows(pool, "SELECT 1 FROM procrastinate_jobs") == []
    assert len(_assembler(pool).close_due(_after(10))) == 1


def test_a_study_that_keeps_coming_is_closed_by_age_and_goes_on_as_the_next_revision(pool: Pool) -> None:
    ledger, assembler = Ledger(pool), _assembler(pool, max_age_s=30.0)
    closed: list[StudyJob] = []
    for number in range(12):
        ledger.record(arrival(_STUDY, number, _after(5.0 * number)))
        closed += assembler.close_due(_after(5.0 * number))

    assert [job.revision for job in closed] == [1]
    assert rows(pool, _STATES) == [
        {"revision": 1, "state": "queued", "closed_by": "age"},
        {"revision": 2, "state": "receiving", "closed_by": None},
    ]


def test_a_quiet_study_is_shown_as_assembling_until_an_image_comes(pool: Pool) -> None:
    ledger, assembler = Ledger(pool), _assembler(pool, settle_s=3.0)
    ledger.record(arrival(_STUDY, 1, _NOON))
    states = []
    for seconds, number in ((1.0, None), (4.0, None), (5.0, 2), (5.5, None)):
        if number is not None:
            ledger.record(arrival(_STUDY, number, _after(seconds)))
        assembler.close_due(_after(seconds))
        states.append(rows(pool, _STATES)[0]["state"])

    assert states == ["receiving", "assembling", "receiving", "receiving"]


def test_a_forced_closing_does_not_wait_for_quiet(pool: Pool) -> None:
    Ledger(pool).record(arrival(_STUDY, 1, datetime.now(UTC)))

    assert _assembler(pool).force_close(_STUDY) == StudyJob(study_uid=_STUDY, revision=Revision(1))
    assert _assembler(pool).force_close(_STUDY) is None
    assert _assembler(pool).force_close(StudyUid("9.9")) is None
    assert rows(pool, _STATES)[0]["closed_by"] == "forced"


def test_a_study_that_is_being_received_at_this_moment_is_left_for_the_next_look(pool: Pool) -> None:
    Ledger(pool).record(arrival(_STUDY, 1, _NOON))
    with pool.connection() as receiving:
        receiving.execute("SELECT 1 FROM studies FOR UPDATE")

        assert _assembler(pool).close_due(_after(60)) == ()

    assert len(_assembler(pool).close_due(_after(60))) == 1


def _counting(pool: Pool, closings: threading.Semaphore) -> Callable[[Connection, StudyJob], None]:
    """Return what is called at each closing: it keeps how many images the revision has then, and tells of it."""
    with pool.connection() as connection:
        connection.execute("CREATE TABLE closed (revision integer PRIMARY KEY, images integer)")

    def count(connection: Connection, job: StudyJob) -> None:
        closings.release()
        connection.execute(
            "INSERT INTO closed SELECT %(revision)s, count(*) FROM instances WHERE revision = %(revision)s",
            {"revision": job.revision},
        )

    return count


def test_no_image_slips_into_a_revision_that_was_closed(pool: Pool) -> None:
    """Four senders of one study race with two processes that close it all the time."""
    closings = threading.Semaphore(0)
    count = _counting(pool, closings)
    sent = threading.Event()

    def send(sender: int) -> None:
        for number in range(40):
            if number == 20:
                assert closings.acquire(timeout=30.0), "nothing was closed while images came"
            Ledger(pool).record(arrival(_STUDY, 100 * sender + number, datetime.now(UTC)))

    def close() -> None:
        assembler = _assembler(pool, count, quiet_s=0.001)
        while not sent.is_set():
            assembler.close_due(datetime.now(UTC))
            time.sleep(0.001)

    with ThreadPoolExecutor(6) as threads:
        closers = [threads.submit(close) for _ in range(2)]
        for sender in [threads.submit(send, sender) for sender in range(4)]:
            sender.result()
        sent.set()
        for closer in closers:
            closer.result()
    _assembler(pool, count).force_close(_STUDY)

    placed = rows(pool, "SELECT revision, count(*)::int AS images FROM instances GROUP BY revision ORDER BY revision")
    assert placed == rows(pool, "SELECT revision, images FROM closed ORDER BY revision")
    assert sum(row["images"] for row in placed) == 160
    assert len(placed) > 1


def _files(root: Path, *names: str) -> None:
    for name in names:
        (root / name).write_bytes(b"DICM")


def test_a_study_is_read_with_the_images_of_its_revisions_so_far(pool: Pool, tmp_path: Path) -> None:
    ledger, reader = Ledger(pool), StudyReader(pool, tmp_path)
    _files(tmp_path, "one", "two", "three", "sr")
    ledger.record(arrival(_STUDY, 2, _NOON, path="two"))
    ledger.record(arrival(_STUDY, 1, _NOON, path="one"))
    ledger.record(arrival(_STUDY, 9, _NOON, path="sr", opens_study=False))
    first = _assembler(pool).force_close(_STUDY)
    ledger.record(arrival(_STUDY, 3, _NOON, path="three"))
    second = _assembler(pool).force_close(_STUDY)
    assert first is not None
    assert second is not None

    assert [image.path.name for image in reader.load(first).images] == ["one", "two"]
    assert [image.path.name for image in reader.load(second).images] == ["one", "two", "three"]
    assert reader.load(second).revision == 2


@pytest.mark.parametrize("loss", ["unlinked", "purged"])
def test_an_image_that_is_no_longer_there_is_named(loss: str, pool: Pool, tmp_path: Path) -> None:
    _files(tmp_path, "one", "two")
    for number, name in enumerate(("one", "two")):
        Ledger(pool).record(arrival(_STUDY, number, _NOON, path=name))
    if loss == "unlinked":
        (tmp_path / "two").unlink()
    else:
        rows(pool, "UPDATE instances SET purged_at = now() WHERE path = 'two' RETURNING 1")

    with pytest.raises(PermanentError) as caught:
        StudyReader(pool, tmp_path).load(StudyJob(study_uid=_STUDY, revision=Revision(1)))

    assert (caught.value.code, caught.value.facts) == (ReasonCode.SPOOL_FILE_MISSING, {"missing": 1, "images": 2})


def test_an_image_of_another_patient_makes_the_study_ambiguous(pool: Pool, tmp_path: Path) -> None:
    _files(tmp_path, "one", "two")
    Ledger(pool).record(arrival(_STUDY, 1, _NOON, path="one"))
    other = arrival(_STUDY, 2, _NOON, path="two")
    Ledger(pool).record(replace(other, header=replace(other.header, patient=Patient(patient_id="SOMEBODY ELSE"))))

    with pytest.raises(PermanentError) as caught:
        StudyReader(pool, tmp_path).load(StudyJob(study_uid=_STUDY, revision=Revision(1)))

    assert caught.value.code is ReasonCode.PATIENT_AMBIGUOUS
    assert "SOMEBODY" not in caught.value.sentence


def test_an_image_under_an_identifier_that_was_merged_is_the_same_patients(pool: Pool, tmp_path: Path) -> None:
    """As a PACS sends the last image of a study whose patient it merged meanwhile."""
    _files(tmp_path, "one", "two")
    first, second = arrival(_STUDY, 1, _NOON, path="one"), arrival(_STUDY, 2, _NOON, path="two")
    now_called = Patient(patient_id="NOW CALLED")
    Ledger(pool).record(first)
    Ledger(pool).record(replace(second, header=replace(second.header, patient=now_called)))
    with transaction(pool) as connection:
        merge(connection, first.header.patient, now_called, Origin(source="command", who="admin", at=_NOON))

    study = StudyReader(pool, tmp_path).load(StudyJob(study_uid=_STUDY, revision=Revision(1)))

    assert (len(study.images), study.patient.patient_id) == (2, first.header.patient.patient_id)


def test_what_the_first_image_leaves_empty_is_filled_in_by_the_next(pool: Pool) -> None:
    first, second, third = (arrival(_STUDY, number, _NOON) for number in range(3))
    for one, accession in ((first, ""), (second, "A1"), (third, "A2")):
        changes: dict[str, Any] = {"accession_number": accession, "study_description": "Thorax"}
        Ledger(pool).record(replace(one, header=replace(one.header, **changes)))

    assert rows(pool, "SELECT accession_number FROM studies") == [{"accession_number": "A1"}]


@pytest.mark.peer
def test_the_graph_takes_a_study_from_c_store_to_the_queue_and_ends_in_order(
    tmp_path: Path, database_url: str, pool: Pool
) -> None:
    require("storescu")
    settings = AssembleConfig(quiet_s=1.0, settle_s=0.2, check_every_s=0.05)
    assembler = Assembler(pool, enqueue=enqueue, clock=SystemClock(), config=settings)
    stage = AssembleStage(close_due=assembler.close_due, clock=SystemClock(), config=settings)
    series = [{"SeriesInstanceUID": f"1.2.{series}", "SeriesNumber": str(series)} for series in (1, 2)]
    paths = [
        save(
            ct_slice(seed="graph", instance_number=number, size_px=64, **series[number % 2]), tmp_path / f"{number}.dcm"
        )
        for number in range(4)
    ]
    with RunningReceiver(tmp_path, database_url, config()) as node:
        graph = threading.Thread(target=ReceiveApplication(stored=node.inbox, assemble=stage).run)
        graph.start()

        assert storescu(paths, node.peer()).all_stored
        assert wait_until(lambda: [row["state"] for row in rows(pool, _STATES)] == ["queued"], 20.0)
    graph.join(20.0)

    assert not graph.is_alive()
    (job,) = rows(pool, "SELECT args FROM procrastinate_jobs")
    study = StudyReader(pool, node.spool_root).load(StudyJob(study_uid=job["args"]["study_uid"], revision=Revision(1)))
    assert len(study.images) == 4
