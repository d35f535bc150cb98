"""What leaves the spool, and what never does."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from operators.domain.database import Pool
from operators.domain.ids import InstanceUid, StudyUid
from operators.receive.config import SpoolConfig
from operators.receive.ledger import Ledger
from operators.receive.retention import SpoolKeeper, Swept
from operators.receive.spool import Spool, SystemDisk
from tests.support.arrivals import arrival
from tests.support.peers.process import wait_until
from tests.support.receiving import rows

_NOW = datetime(2026, 3, 20, tzinfo=UTC)
_MIB = 2**20
_WAITING = ("receiving", "assembling", "queued", "working", "parked", "delivering")


class StandingClock:
    def now(self) -> datetime:
        return _NOW

    def monotonic_s(self) -> float:
        return 0.0


class FillingDisk(SystemDisk):
    """A disk whose free space follows from the number of files kept: 100 MiB, less 10 for each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def free_bytes(self, folder: Path) -> int:
        del folder
        return (100 - 10 * len(list(self._root.glob("objects/*/*/*")))) * _MIB


class Room:
    """A spool with rows."""

    def __init__(self, root: Path, pool: Pool, config: SpoolConfig) -> None:
        self.pool = pool
        self.spool = Spool(root, writer="w", disk=FillingDisk(root))
        self.spool.prepare()
        self.keeper = SpoolKeeper(pool=pool, spool=self.spool, clock=StandingClock(), config=config)

    def add(self, study: str, *, days_ago: float, state: str | None = "done", number: int = 1) -> str:
        """Keep an object that came, and whose study ended, so many days ago; return its path."""
        at = _NOW - timedelta(days=days_ago)
        path = self.keep(study, number)
        Ledger(self.pool).record(arrival(study, number, at, path=path, opens_study=state is not None))
        if state is not None:
            finished_at = at if state in ("done", "withdrawn") else None
            with self.pool.connection() as connection:
                connection.execute(
                    "UPDATE revisions SET state = %s, finished_at = %s WHERE study_uid = %s AND state = 'receiving'",
                    (state, finished_at, study),
                )
        return path

    def keep(self, study: str, number: int) -> str:
        part = self.spool.begin(b"content")
        return self.spool.keep(part, StudyUid(study), InstanceUid(f"{study}.1.{number}"))

    def purged(self) -> set[str]:
        return {row["path"] for row in rows(self.pool, "SELECT path FROM instances WHERE purged_at IS NOT NULL")}


@pytest.fixture
def room(tmp_path: Path, pool: Pool) -> Room:
    return Room(tmp_path, pool, SpoolConfig(keep_days=14.0, purge_below_mib=0, refuse_below_mib=0))


def test_files_of_studies_that_ended_long_ago_are_removed_and_their_rows_say_so(room: Room) -> None:
    old, new = room.add("1.1", days_ago=15), room.add("1.2", days_ago=13)
    withdrawn, document = room.add("1.3", days_ago=15, state="withdrawn"), room.add("1.4", days_ago=15, state=None)

    assert room.keeper.sweep() == Swept(files=3, strays=0)

    assert room.purged() == {old, withdrawn, document}
    assert [room.spool.has(path) for path in (old, withdrawn, document, new)] == [False, False, False, True]
    assert room.keeper.sweep() == Swept(files=0, strays=0)


@pytest.mark.parametrize("state", _WAITING)
def test_files_of_a_study_that_waits_are_never_removed(state: str, tmp_path: Path, pool: Pool) -> None:
    room = Room(tmp_path, pool, SpoolConfig(keep_days=0.0, purge_below_mib=2**40, refuse_below_mib=0))
    path = room.add("1.1", days_ago=1000, state=state)

    assert room.keeper.sweep().files == 0

    assert room.spool.has(path)


def test_a_study_whose_later_revision_waits_keeps_all_its_files(room: Room) -> None:
    first = room.add("1.1", days_ago=30)
    room.add("1.1", days_ago=20, state="parked", number=2)

    assert room.keeper.sweep().files == 0

    assert room.spool.has(first)


def test_a_study_that_gets_an_image_while_it_is_looked_at_is_left_alone(room: Room) -> None:
    old = room.add("1.1", days_ago=30)
    room.add("1.1", days_ago=0, state="receiving", number=2)

    assert room.keeper._purge("1.1", _NOW - timedelta(days=14)) == 0

    assert room.spool.has(old)


def test_when_space_is_short_the_oldest_go_first_and_no_more_than_needed(tmp_path: Path, pool: Pool) -> None:
    room = Room(tmp_path, pool, SpoolConfig(keep_days=14.0, purge_below_mib=75, refuse_below_mib=0))
    paths = [room.add(f"1.{number}", days_ago=number) for number in (1, 2, 3, 4)]

    room.keeper.sweep()

    assert [room.spool.has(path) for path in paths] == [True, True, False, False]


def test_a_study_that_ended_just_now_is_not_removed_even_when_space_is_short(tmp_path: Path, pool: Pool) -> None:
    room = Room(tmp_path, pool, SpoolConfig(keep_days=14.0, purge_below_mib=2**40, refuse_below_mib=0))
    path = room.add("1.1", days_ago=0.001)

    room.keeper.sweep()

    assert room.spool.has(path)


def test_files_that_no_row_names_are_removed_after_a_day(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    named, stray, fresh = room.add("1.1", days_ago=1), room.keep("1.1", 7), room.keep("1.1", 8)
    two_days_ago_s = time.time() - 2 * 86_400
    for path in (named, stray):
        os.utime(room.spool.root / path, (two_days_ago_s, two_days_ago_s))
    monkeypatch.setattr(room.keeper, "_rounds", int(stray.split("/")[1], 16))

    assert room.keeper.sweep() == Swept(files=0, strays=1)

    assert [room.spool.has(path) for path in (named, stray, fresh)] == [True, False, True]


def test_sweeps_run_on_their_own_and_end_when_told(tmp_path: Path, pool: Pool) -> None:
    room = Room(tmp_path, pool, SpoolConfig(keep_days=1.0, purge_below_mib=0, refuse_below_mib=0, sweep_every_s=0.01))
    path = room.add("1.1", days_ago=5)

    room.keeper.start()
    assert wait_until(lambda: not room.spool.has(path), 10.0)
    room.keeper.stop()


def test_sweeps_outlive_an_error_of_the_database_that_nobody_thought_of(
    tmp_path: Path, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    room = Room(tmp_path, pool, SpoolConfig(keep_days=1.0, purge_below_mib=0, refuse_below_mib=0, sweep_every_s=0.01))
    path = room.add("1.1", days_ago=5)
    with pool.connection() as connection:
        connection.execute("ALTER TABLE instances RENAME TO elsewhere")

    room.keeper.start()
    assert wait_until(lambda: "spool.not_swept" in caplog.text, 10.0)
    with pool.connection() as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO instances")
    assert wait_until(lambda: not room.spool.has(path), 10.0)
    room.keeper.stop()

    assert {vars(record)["kind"] for record in caplog.records if record.msg == "spool.not_swept"} == {"UndefinedTable"}
