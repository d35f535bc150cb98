"""The sink of the receive role: looks often enough, not too often, and outlives the database."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from operators.assemble.config import AssembleConfig
from operators.assemble.stage import AssembleStage
from operators.domain.errors import TransientError
from operators.domain.ids import Revision, StudyUid
from operators.domain.messages import StudyJob
from operators.domain.reasons import ReasonCode

_NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_JOB = StudyJob(study_uid=StudyUid("1.2"), revision=Revision(1))


class TurnedClock:
    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return _NOON + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        return self.passed_s


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


def test_looks_at_once_and_then_not_more_often_than_configured(clock: TurnedClock) -> None:
    looked: list[datetime] = []

    def close_due(now: datetime) -> tuple[StudyJob, ...]:
        looked.append(now)
        return (_JOB,)

    stage = AssembleStage(close_due=close_due, clock=clock, config=AssembleConfig(check_every_s=0.5))

    closed = []
    for passed_s in (0.0, 0.2, 0.4, 0.5, 0.9, 1.1):
        clock.passed_s = passed_s
        closed.append(stage(()))

    assert [(moment - _NOON).total_seconds() for moment in looked] == [0.0, 0.5, 1.1]
    assert closed == [(_JOB,), (), (), (_JOB,), (), (_JOB,)]


def test_a_database_that_is_away_is_waited_out(clock: TurnedClock, caplog: pytest.LogCaptureFixture) -> None:
    answers: list[TransientError | tuple[StudyJob, ...]] = [TransientError(ReasonCode.DATABASE_AWAY), (_JOB,)]

    def close_due(now: datetime) -> tuple[StudyJob, ...]:
        del now
        answer = answers.pop(0)
        if isinstance(answer, TransientError):
            raise answer
        return answer

    stage = AssembleStage(close_due=close_due, clock=clock, config=AssembleConfig())

    with caplog.at_level(logging.WARNING):
        assert stage(()) == ()
    clock.passed_s = 1.0
    assert stage(()) == (_JOB,)
    assert [record.message for record in caplog.records] == ["assemble.waits"]


def test_what_came_while_the_database_was_waited_for_needs_no_look_of_its_own(clock: TurnedClock) -> None:
    looked: list[float] = []

    def close_due(now: datetime) -> tuple[StudyJob, ...]:
        looked.append((now - _NOON).total_seconds())
        clock.passed_s += 5.0  # a database that is away is waited for
        raise TransientError(ReasonCode.DATABASE_AWAY)

    stage = AssembleStage(close_due=close_due, clock=clock, config=AssembleConfig(check_every_s=0.5))

    for _ in range(10):
        stage(())
    assert looked == [0.0]
    clock.passed_s += 0.5
    stage(())
    assert looked == [0.0, 5.5]
