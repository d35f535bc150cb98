"""The index made anew for another bundle: what is read, when, and how far it is."""

import json
from dataclasses import dataclass, field
from typing import cast

import pytest

from app.jobs import enqueue
from app.reindexing import Reading, Reindexing, progress, progress_of_all, request
from operators.domain.clock import SystemClock
from operators.domain.database import Pool, transaction
from operators.domain.errors import PermanentError, TransientError
from operators.domain.messages import CaseWithPriors, EncodedCase, Study, StudyJob
from operators.domain.reasons import ReasonCode
from tests.support.working import job_of, put_revision, study

pytestmark = pytest.mark.peer

BUNDLE = "other-0123456789ab"


@dataclass
class Reader:
    """Stands in for spool, encoder and index; `refused` studies cannot be read."""

    refused: set[str] = field(default_factory=set)
    fails: bool = False
    kept: list[str] = field(default_factory=list)

    def load(self, job: StudyJob) -> Study:
        return study(job)

    def encode(self, case: CaseWithPriors) -> EncodedCase:
        if self.fails:
            raise TransientError(ReasonCode.DATABASE_AWAY)
        if case.current.study_uid in self.refused:
            raise PermanentError(ReasonCode.MODALITY_NOT_SERVED)
        return cast("EncodedCase", case)

    def keep(self, case: EncodedCase) -> None:
        self.kept.append(cast("CaseWithPriors", case).current.study_uid)


def put_study(pool: Pool, uid: str, state: str = "done", *, purged: bool = False) -> StudyJob:
    job = put_revision(pool, job_of(uid), state)
    with transaction(pool) as connection:
        connection.execute(
            "INSERT INTO instances (instance_uid, study_uid, series_uid, revision, sop_class_uid, transfer_syntax_uid, "
            "header, path, size_bytes, sha256, purged_at) "
            "VALUES (%s, %s, '1', 1, '1', '1', '{}', 'x', 1, 'x', CASE WHEN %s THEN now() END)",
            (f"{uid}.1", uid, purged),
        )
    return job


def put_draft(pool: Pool, job: StudyJob, bundle_id: str) -> None:
    with transaction(pool) as connection:
        connection.execute(
            "INSERT INTO results (study_uid, revision, identity_digest, bundle_id, bundle_sha256, comparison, "
            "similar_cases, created_at, preview_pdf) VALUES (%s, %s, 'd', %s, 's', %s, '[]', now(), '')",
            (job.study_uid, int(job.revision), bundle_id, json.dumps({})),
        )


def reindexing(pool: Pool, reader: Reader) -> Reindexing:
    reading = Reading(load=reader.load, encode=reader.encode, keep=reader.keep)
    return Reindexing(pool, BUNDLE, reading, SystemClock())


def work(of: Reindexing) -> None:
    while of.step():
        pass


def counts(pool: Pool) -> tuple[int, int, int, int]:
    found = progress(pool, BUNDLE)
    return found.studies, found.indexed, found.unreadable, found.left


def test_studies_in_the_spool_are_read_once_and_progress_is_told(pool: Pool) -> None:
    put_draft(pool, put_study(pool, "1.2.1"), "first-000000000000")
    put_study(pool, "1.2.2", "delivering")
    put_study(pool, "1.2.3")
    reader = Reader(refused={"1.2.3"})
    request(pool, BUNDLE)
    assert counts(pool) == (3, 0, 0, 3)
    work(reindexing(pool, reader))
    assert sorted(reader.kept) == ["1.2.1", "1.2.2"]
    assert counts(pool) == (3, 2, 1, 0)
    assert progress(pool, BUNDLE).finished_at is not None
    work(reindexing(pool, reader))
    assert len(reader.kept) == 2


def test_what_is_drafted_by_the_bundle_purged_or_not_ended_is_not_read(pool: Pool) -> None:
    put_draft(pool, put_study(pool, "1.2.1"), BUNDLE)
    put_study(pool, "1.2.2", purged=True)
    put_study(pool, "1.2.3", "parked")
    put_study(pool, "1.2.4", "working")
    reader = Reader()
    request(pool, BUNDLE)
    work(reindexing(pool, reader))
    assert reader.kept == []
    assert counts(pool) == (1, 1, 0, 0)


def test_nothing_is_read_unless_it_was_asked_for(pool: Pool) -> None:
    put_study(pool, "1.2.1")
    reader = Reader()
    work(reindexing(pool, reader))
    assert reader.kept == []
    assert progress(pool, BUNDLE).requested_at is None


def test_studies_that_wait_come_first(pool: Pool) -> None:
    put_study(pool, "1.2.1")
    with transaction(pool) as connection:
        enqueue(connection, put_study(pool, "1.2.2", "queued"))
    reader = Reader()
    request(pool, BUNDLE)
    work(reindexing(pool, reader))
    assert reader.kept == []
    with transaction(pool) as connection:
        connection.execute("DELETE FROM procrastinate_jobs")
    work(reindexing(pool, reader))
    assert reader.kept == ["1.2.1"]


def test_study_that_was_interrupted_is_read_again(pool: Pool) -> None:
    put_study(pool, "1.2.1")
    reader = Reader(fails=True)
    request(pool, BUNDLE)
    with pytest.raises(TransientError):
        reindexing(pool, reader).step()
    assert counts(pool) == (1, 0, 0, 1)
    reader.fails = False
    work(reindexing(pool, reader))
    assert reader.kept == ["1.2.1"]


def test_asking_again_tries_again_what_could_not_be_read_and_nothing_else(pool: Pool) -> None:
    put_study(pool, "1.2.1")
    put_study(pool, "1.2.2")
    reader = Reader(refused={"1.2.2"})
    request(pool, BUNDLE)
    work(reindexing(pool, reader))
    reader.refused.clear()
    request(pool, BUNDLE)
    work(reindexing(pool, reader))
    assert reader.kept == ["1.2.1", "1.2.2"]
    assert counts(pool) == (2, 2, 0, 0)


def test_one_worker_reads_at_a_time(pool: Pool) -> None:
    put_study(pool, "1.2.1")
    reader, other = Reader(), Reader()
    request(pool, BUNDLE)
    second = reindexing(pool, other)

    def keep(case: EncodedCase) -> None:
        assert second.step() is False
        reader.keep(case)

    first = Reindexing(pool, BUNDLE, Reading(load=reader.load, encode=reader.encode, keep=keep), SystemClock())
    work(first)
    assert (reader.kept, other.kept) == (["1.2.1"], [])


def test_every_index_that_was_asked_for_is_told(pool: Pool) -> None:
    put_study(pool, "1.2.1")
    request(pool, BUNDLE)
    request(pool, "third-000000000000")
    with transaction(pool) as connection:
        found = progress_of_all(connection)
    assert [(one.bundle_id, one.left) for one in found] == [(BUNDLE, 1), ("third-000000000000", 1)]
