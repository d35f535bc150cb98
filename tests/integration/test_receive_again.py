"""Objects that come again: with other content they take the place of what was there, as they were they change nothing.

A revision is opened for what differs, or for a study that was withdrawn; never by the same bytes alone.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.jobs import enqueue
from app.revisions import Revisions
from operators.assemble.assembler import Assembler
from operators.assemble.config import AssembleConfig
from operators.assemble.reading import StudyReader
from operators.domain.clock import SystemClock
from operators.domain.database import Pool
from operators.domain.errors import PermanentError
from operators.domain.ids import InstanceUid, StudyUid
from operators.domain.messages import Patient, Study
from operators.domain.reasons import ReasonCode
from operators.receive.ledger import Arrival, Ledger, Recorded
from tests.support.arrivals import arrival
from tests.support.receiving import rows

_NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_STUDY, _OTHER = StudyUid("1.5"), StudyUid("1.6")
_RIGHT = Patient(patient_id="RIGHT", name="Right^Rita", birth_date="19600101", sex="F")
_WRONG = Patient(patient_id="WRONG", name="Wrong^Walter", birth_date="19500101", sex="M")
_CLOSED = ("queued", "working", "parked", "delivering", "done", "withdrawn")


@dataclass
class House:
    """Receive, assemble and the reading of studies on one database; each arrival comes a second after the other."""

    pool: Pool
    root: Path
    now: datetime = _NOON

    def arrive(self, number: int, patient: Patient = _RIGHT, *, study: StudyUid = _STUDY, **changes: Any) -> str:
        """Store an image as the storer does; the same arguments are the same bytes. Return what became of it."""
        self.now += timedelta(seconds=1)
        name = f"{number} {self.now:%H%M%S}"
        (self.root / name).write_bytes(b"DICM")
        said = str((patient, study, sorted(changes.items())))
        one = arrival(study, number, self.now, path=name, content=said)
        header = replace(one.header, patient=patient, instance_uid=InstanceUid(f"1.5.1.{number}"), **changes)
        return self.store(replace(one, header=header))

    def store(self, one: Arrival) -> str:
        ledger = Ledger(self.pool)
        if ledger.record(one) is Recorded.NEW:
            return "new"
        before = ledger.stored(one.header.instance_uid)
        assert before is not None
        if before.is_of(one) and not before.purged:
            return "reopened" if before.state == "withdrawn" and ledger.reopen(one) else "same"
        assert ledger.replace(one, before)
        return "replaced"

    def close(self, study: StudyUid = _STUDY) -> Study:
        """Close the open revision and read it."""
        job = Assembler(self.pool, enqueue=enqueue, clock=SystemClock(), config=AssembleConfig()).force_close(study)
        assert job is not None
        return StudyReader(self.pool, self.root).load(job)

    def close_ambiguous(self) -> None:
        with pytest.raises(PermanentError) as caught:
            self.close()
        assert caught.value.code is ReasonCode.PATIENT_AMBIGUOUS
        self.state("parked")

    def state(self, state: str, study: StudyUid = _STUDY) -> None:
        """Let the latest revision be in a state."""
        with self.pool.connection() as connection:
            connection.execute(
                "UPDATE revisions SET state = %s WHERE study_uid = %s AND state = ANY(%s)",
                (state, study, ["receiving", "assembling", *_CLOSED]),
            )

    def states(self, study: StudyUid = _STUDY) -> list[str]:
        found = rows(self.pool, "SELECT study_uid, state FROM revisions ORDER BY revision")
        return [row["state"] for row in found if row["study_uid"] == study]


@pytest.fixture
def house(pool: Pool, tmp_path: Path) -> House:
    return House(pool, tmp_path)


@pytest.mark.parametrize("discarded", [True, False], ids=["discarded", "parked"])
def test_a_study_with_two_patients_loads_once_it_was_corrected_and_sent_again(house: House, discarded: bool) -> None:
    house.arrive(1, _WRONG)
    house.arrive(2, _RIGHT)
    house.close_ambiguous()
    if discarded:
        assert Revisions(house.pool).discard(_STUDY) is None

    assert house.arrive(1, _RIGHT) == "replaced"
    assert house.arrive(2, _RIGHT) == "same"

    study = house.close()
    assert (study.patient, study.revision, len(study.images)) == (_RIGHT, 2, 2)


def test_a_study_is_the_former_patients_until_all_of_it_is_corrected(house: House) -> None:
    for number in (1, 2):
        house.arrive(number, _WRONG)
    house.close()

    house.arrive(1, _RIGHT)
    house.close_ambiguous()
    house.arrive(2, _RIGHT)

    study = house.close()
    assert (study.patient, study.revision) == (_RIGHT, 3)


def test_what_a_correction_leaves_empty_is_not_the_former_patients(house: House) -> None:
    house.arrive(1, _WRONG, study_description="Thorax", accession_number="A1")
    house.arrive(1, Patient(patient_id="RIGHT"), study_description="Thorax", accession_number="A2")

    study = house.close()

    assert study.patient == Patient(patient_id="RIGHT")
    assert (study.study_description, study.accession_number) == ("Thorax", "A2")


@pytest.mark.parametrize("state", _CLOSED)
def test_other_content_opens_the_next_revision_of_a_closed_study(house: House, state: str) -> None:
    house.arrive(1)
    house.close()
    house.state(state)

    assert house.arrive(1, image_type="CORRECTED") == "replaced"

    assert house.states() == [state, "receiving"]
    assert [image.header.image_type for image in house.close().images] == ["CORRECTED"]


def test_other_content_goes_into_the_revision_that_is_open_and_begins_its_quiet_time_anew(house: House) -> None:
    house.arrive(1)
    house.state("assembling")

    house.arrive(1, image_type="CORRECTED")

    (row,) = rows(house.pool, "SELECT revision, state, last_instance_at FROM revisions")
    assert row == {"revision": 1, "state": "receiving", "last_instance_at": house.now}


@pytest.mark.parametrize("state", [state for state in _CLOSED if state != "withdrawn"])
def test_the_same_content_opens_nothing(house: House, state: str) -> None:
    house.arrive(1)
    house.state(state)

    for _ in range(3):
        assert house.arrive(1) == "same"

    assert house.states() == [state]


def test_the_same_content_begins_one_revision_of_a_withdrawn_study(house: House) -> None:
    for number in (1, 2):
        house.arrive(number)
    house.close()
    house.state("withdrawn")

    assert [house.arrive(number) for number in (1, 2, 1)] == ["reopened", "same", "same"]

    assert house.states() == ["withdrawn", "receiving"]
    assert len(house.close().images) == 2


@pytest.mark.parametrize(("state", "expected"), [("done", ["done"]), ("parked", ["parked", "receiving"])])
def test_an_image_that_was_gone_is_read_again_where_its_study_waits_for_it(
    house: House, state: str, expected: list[str]
) -> None:
    house.arrive(1)
    house.state(state)
    rows(house.pool, "UPDATE instances SET purged_at = now() RETURNING 1")

    assert house.arrive(1) == "replaced"

    assert house.states() == expected
    assert rows(house.pool, "SELECT purged_at FROM instances") == [{"purged_at": None}]


def test_an_image_that_gets_its_pixels_opens_a_revision(house: House) -> None:
    house.store(replace(arrival(_STUDY, 1, _NOON, opens_study=False)))

    assert house.arrive(1) == "replaced"

    assert len(house.close().images) == 1


def test_an_image_moved_to_another_study_is_read_there_and_the_rest_is_read_anew(house: House) -> None:
    house.arrive(1, _WRONG)
    house.arrive(2, _RIGHT)
    house.close_ambiguous()

    assert house.arrive(1, _WRONG, study=_OTHER) == "replaced"

    moved, left = house.close(_OTHER), house.close()
    assert (moved.patient, moved.revision, len(moved.images)) == (_WRONG, 1, 1)
    assert (left.patient, left.revision, len(left.images)) == (_RIGHT, 2, 1)


@pytest.mark.parametrize(
    ("state", "after"),
    [
        ("receiving", ["withdrawn"]),
        ("queued", ["withdrawn", "withdrawn"]),
        ("parked", ["withdrawn", "withdrawn"]),
        ("done", ["done", "withdrawn"]),
    ],
)
def test_a_study_that_was_moved_as_a_whole_leaves_nothing_to_read(house: House, state: str, after: list[str]) -> None:
    for number in (1, 2):
        house.arrive(number)
    house.state(state)

    for number in (1, 2):
        house.arrive(number, study=_OTHER)

    assert len(house.close(_OTHER).images) == 2
    assert house.states() == after


def test_a_replacement_that_comes_too_late_changes_nothing(house: House) -> None:
    house.arrive(1)
    ledger = Ledger(house.pool)
    before = ledger.stored(InstanceUid("1.5.1.1"))
    house.arrive(1, image_type="CORRECTED")
    house.close()
    house.state("done")
    assert before is not None

    late = arrival(_OTHER, 1, _NOON, path="late", content="late")
    header = replace(late.header, instance_uid=InstanceUid("1.5.1.1"))
    assert not ledger.replace(replace(late, header=header), before)

    assert (house.states(), house.states(_OTHER)) == (["done"], [])
    assert [row["study_uid"] for row in rows(house.pool, "SELECT study_uid FROM instances")] == [_STUDY]


def test_two_studies_that_swap_their_images_at_once_both_have_theirs(house: House) -> None:
    """Each move locks both studies; the moves go in opposite directions and must not wait for each other."""
    ledger = Ledger(house.pool)

    def move(number: int) -> None:
        uid = InstanceUid(f"1.9.{number}")
        for turn in range(12):
            study = (_STUDY, _OTHER)[(turn + number) % 2]
            one = arrival(study, number, _NOON, path=f"{number}-{turn}", content=f"{turn}")
            one = replace(one, header=replace(one.header, instance_uid=uid))
            if ledger.record(one) is not Recorded.NEW:
                before = ledger.stored(uid)
                assert before is not None
                assert ledger.replace(one, before)

    with ThreadPoolExecutor(2) as threads:
        for moved in [threads.submit(move, number) for number in (0, 1)]:
            moved.result()

    placed = {row["instance_uid"]: row["study_uid"] for row in rows(house.pool, "SELECT * FROM instances")}
    assert placed == {"1.9.0": _OTHER, "1.9.1": _STUDY}
