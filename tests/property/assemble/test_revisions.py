"""Any interleaving of arrivals, corrections, ticks, forced closings and restarts: no closing is lost or happens twice.

Receive and assemble run as they are, on a real database; what they should have done is kept in a model beside them.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from operators.assemble.assembler import Assembler
from operators.assemble.config import AssembleConfig
from operators.domain.clock import SystemClock
from operators.domain.database import Connection, Pool, open_pool
from operators.domain.ids import StudyUid
from operators.domain.messages import StudyJob
from operators.receive.ledger import Ledger, Recorded
from tests.support.arrivals import arrival
from tests.support.receiving import database_from

_CONFIG = AssembleConfig(quiet_s=10.0, max_age_s=40.0, settle_s=2.0)
_NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_LATER_S = 10_000.0

_STUDY = st.sampled_from(("1.5", "1.5", "1.5", "1.6"))
_ARRIVE = st.tuples(st.just("arrive"), _STUDY, st.integers(0, 9))
_TICK = st.tuples(st.just("tick"), st.sampled_from((1.0, 4.0, 9.0, 10.0, 25.0)), st.none())
_STEPS = st.lists(
    st.one_of(
        _ARRIVE,
        _ARRIVE,
        _ARRIVE,
        st.tuples(st.just("correct"), _STUDY, st.integers(0, 9)),
        _TICK,
        _TICK,
        st.tuples(st.just("document"), _STUDY, st.integers(10, 11)),
        st.tuples(st.sampled_from(("force", "crash", "done")), _STUDY, st.none()),
    ),
    max_size=30,
)
_QUIET_STARTS_AGAIN = [("arrive", "1.5", 0), ("tick", 9.0, None), ("arrive", "1.5", 1), ("tick", 1.0, None)]
_AGE_IS_FROM_THE_FIRST = [
    ("arrive", "1.5", number) if odd else ("tick", 9.0, None) for number in range(5) for odd in (1, 0)
]
_CORRECTED = [("arrive", "1.5", 0), ("tick", 9.0, None), ("correct", "1.5", 0), ("tick", 9.0, None)] * 2
_CORRECTED_LATE = [("arrive", "1.5", 0), ("tick", 10.0, None), ("correct", "1.5", 0), ("correct", "1.5", 0)]
_LATE_IMAGE = [("arrive", "1.5", 0), ("tick", 10.0, None), ("arrive", "1.5", 1)]


class CrashError(Exception):
    """The process dies in the transaction that closes a revision."""


@dataclass
class Model:
    """What should be: per study its closed revisions and, if one is open, when its first and last images came."""

    closed: Counter[str] = field(default_factory=Counter)
    opened: dict[str, tuple[float, float]] = field(default_factory=dict)
    revision_of: dict[tuple[str, int], int] = field(default_factory=dict)

    def arrive(self, study: str, number: int, now_s: float) -> bool:
        if (study, number) in self.revision_of:
            return False
        self.extend(study, now_s)
        self.revision_of[study, number] = self.closed[study] + 1
        return True

    def extend(self, study: str, now_s: float) -> None:
        first_s = self.opened[study][0] if study in self.opened else now_s
        self.opened[study] = (first_s, now_s)

    def due(self, now_s: float) -> set[str]:
        quiet_s, age_s = _CONFIG.quiet_s, _CONFIG.max_age_s
        return {
            study for study, (first_s, last_s) in self.opened.items()
            if now_s - last_s >= quiet_s or now_s - first_s >= age_s
        }  # fmt: skip

    def close(self, study: str) -> tuple[str, int]:
        del self.opened[study]
        self.closed[study] += 1
        return study, self.closed[study]


@pytest.fixture(scope="module")
def pool(postgres_url: str, template: str) -> Iterator[Pool]:
    for url in database_from(postgres_url, template, "revisions"):
        with open_pool(url, max_size=2) as opened:
            with opened.connection() as connection:
                connection.execute("CREATE TABLE enqueued (study_uid text, revision integer)")
                connection.execute("ALTER DATABASE revisions SET synchronous_commit = off")  # no power cuts here
            opened.drain()
            yield opened


def _empty(pool: Pool) -> None:
    with pool.connection() as connection:
        connection.execute("DELETE FROM instances")
        connection.execute("DELETE FROM studies")
        connection.execute("DELETE FROM enqueued")


def _enqueue(connection: Connection, job: StudyJob) -> None:
    connection.execute("INSERT INTO enqueued VALUES (%s, %s)", (job.study_uid, job.revision))


def _enqueue_and_crash(connection: Connection, job: StudyJob) -> None:
    _enqueue(connection, job)
    raise CrashError


class House:
    """Receive and assemble on one database, with the model beside them."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.ledger = Ledger(pool)
        self.model = Model()
        self.now_s = 0.0
        self.jobs: list[tuple[str, int]] = []
        self.corrections = 0

    def assembler(self, enqueue: Any = _enqueue) -> Assembler:
        """A new one each time: nothing may depend on the process that looked before."""
        return Assembler(self.pool, enqueue=enqueue, clock=SystemClock(), config=_CONFIG)

    def now(self) -> datetime:
        return _NOON + timedelta(seconds=self.now_s)

    def arrive(self, study: str, number: int) -> None:
        self.now_s += 0.5
        recorded = self.ledger.record(arrival(study, number, self.now()))
        assert (recorded is Recorded.NEW) == self.model.arrive(study, number, self.now_s)

    def correct(self, study: str, number: int) -> None:
        """Another content for an image that came: it stays in its revision, and a later one reads it anew."""
        self.now_s += 0.5
        if (study, number) not in self.model.revision_of:
            return
        self.corrections += 1
        name = f"corrected {self.corrections}"
        corrected = arrival(study, number, self.now(), path=name, content=name)
        before = self.ledger.stored(corrected.header.instance_uid)
        assert before is not None
        assert self.ledger.replace(corrected, before)
        self.model.extend(study, self.now_s)

    def document(self, study: str, number: int) -> None:
        self.ledger.record(arrival(study, number, self.now(), opens_study=False))

    def tick(self, seconds: float, _: None = None) -> None:
        self.now_s += seconds
        closed = {(job.study_uid, int(job.revision)) for job in self.assembler().close_due(self.now())}
        expected = {self.model.close(study) for study in self.model.due(self.now_s)}
        assert closed == expected
        self.jobs += sorted(expected)

    def force(self, study: str, _: None = None) -> None:
        job = self.assembler().force_close(StudyUid(study))
        expected = self.model.close(study) if study in self.model.opened else None
        assert (None if job is None else (job.study_uid, int(job.revision))) == expected
        self.jobs += [expected] if expected else []

    def crash(self, study: str, _: None = None) -> None:
        if study in self.model.opened:
            with pytest.raises(CrashError):
                self.assembler(_enqueue_and_crash).force_close(StudyUid(study))

    def done(self, study: str, _: None = None) -> None:
        with self.pool.connection() as connection:
            connection.execute(
                "UPDATE revisions SET state = 'done' WHERE study_uid = %s AND state = 'queued'", (study,)
            )


@example(steps=_QUIET_STARTS_AGAIN)
@example(steps=_AGE_IS_FROM_THE_FIRST)
@example(steps=_LATE_IMAGE)
@example(steps=_CORRECTED)
@example(steps=_CORRECTED_LATE)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS)
def test_no_closing_is_lost_or_doubled(pool: Pool, steps: list[tuple[str, Any, Any]]) -> None:
    _empty(pool)
    house = House(pool)

    for step, first, second in steps:
        getattr(house, step)(first, second)
    house.tick(_LATER_S)

    with pool.connection() as connection:
        enqueued = connection.execute("SELECT study_uid, revision FROM enqueued").fetchall()
        states = connection.execute("SELECT study_uid, revision, state FROM revisions").fetchall()
        images = connection.execute("SELECT instance_uid, study_uid, revision FROM instances").fetchall()
    assert sorted((row["study_uid"], row["revision"]) for row in enqueued) == sorted(house.jobs)
    assert len(set(house.jobs)) == len(house.jobs)
    assert {row["state"] for row in states} <= {"queued", "done"}
    assert sorted((row["study_uid"], row["revision"]) for row in states) == sorted(house.jobs)
    placed = {(row["study_uid"], int(row["instance_uid"].rsplit(".", 1)[1])): row["revision"] for row in images}
    assert {key: revision for key, revision in placed.items() if revision > 0} == house.model.revision_of
