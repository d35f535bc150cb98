"""Merges in a real PostgreSQL: the index, searches and kept drafts follow, and undoing leaves nothing behind."""

import random
import threading
from datetime import UTC, datetime

import pytest

from operators.domain.database import Pool, transaction
from operators.domain.ids import InstanceUid, StudyUid
from operators.domain.messages import Patient, SimilarCase
from operators.patients.chains import Chains, MergeProblem, MergeRefusedError
from operators.patients.merges import Done, Origin, merge, unmerge
from operators.priors.repository import PriorSearches
from operators.retrieve.config import RetrieveConfig
from operators.retrieve.following import of_others_now
from operators.retrieve.index import PgVectorIndex
from operators.retrieve.tables import table_name
from tests.support.embeddings import ask, query
from tests.unit.retrieve.cases import BUNDLE, a_row, patient, unit_vectors

pytestmark = pytest.mark.peer
TABLE = table_name(BUNDLE.bundle_id)
ORIGIN = Origin(source="command", who="admin", at=datetime(2026, 3, 1, tzinfo=UTC))
ONE = (6,)


@pytest.fixture
def index(pool: Pool) -> PgVectorIndex:
    return PgVectorIndex(pool, RetrieveConfig(cases_per_entity=5, fetch_factor=2))


def joined(pool: Pool, former: int, survivor: int) -> Done:
    with transaction(pool) as connection:
        return merge(connection, patient(former), patient(survivor), ORIGIN)


def parted(pool: Pool, former: int) -> Done:
    with transaction(pool) as connection:
        return unmerge(connection, patient(former), ORIGIN)


def fill(index: PgVectorIndex, *numbers: int) -> None:
    vectors = unit_vectors(1, 12)
    index.store(BUNDLE, [a_row(number, vectors[number], patient_key=patient(number).key) for number in numbers])


def owners(pool: Pool) -> dict[str, str]:
    """Return what each row's objects said, and whose it is now."""
    rows = query(pool, f"SELECT original_patient_key, patient_key FROM {TABLE}")  # noqa: S608 - our own table's name
    return {row["original_patient_key"][-2:]: row["patient_key"][-2:] for row in rows}


def found_by(index: PgVectorIndex, owner: Patient) -> list[str]:
    """Return the patients whose cases somebody is offered."""
    return sorted({case.patient_key[-2:] for case in index.nearest(BUNDLE, ask(entities=ONE, owner=owner))[6]})


def test_rows_follow_a_chain_of_merges_and_its_undoing_in_any_order(pool: Pool, index: PgVectorIndex) -> None:
    fill(index, 1, 2, 3, 4)
    joined(pool, 2, 3)
    done = joined(pool, 1, 2)
    assert (done.is_new, done.current, done.moved) == (True, patient(3), 1)
    assert owners(pool) == {"P1": "P3", "P2": "P3", "P3": "P3", "P4": "P4"}
    parted(pool, 2)
    assert owners(pool) == {"P1": "P2", "P2": "P2", "P3": "P3", "P4": "P4"}
    assert parted(pool, 1).current == patient(1)
    assert owners(pool) == {"P1": "P1", "P2": "P2", "P3": "P3", "P4": "P4"}
    assert query(pool, "SELECT * FROM patient_merges") == []


def test_nobody_is_offered_a_case_of_his_own_under_another_identifier(pool: Pool, index: PgVectorIndex) -> None:
    fill(index, 1, 2, 3)
    assert found_by(index, patient(1)) == ["P2", "P3"]
    joined(pool, 1, 2)
    assert found_by(index, patient(1)) == found_by(index, patient(2)) == ["P3"]
    assert found_by(index, patient(3)) == ["P2"]
    parted(pool, 1)
    assert found_by(index, patient(1)) == ["P2", "P3"]


def test_an_identifier_without_issuer_finds_its_merges_under_any(pool: Pool, index: PgVectorIndex) -> None:
    fill(index, 1, 2, 3)
    joined(pool, 1, 2)
    assert found_by(index, Patient(patient_id="P1")) == found_by(index, Patient(patient_id="P2")) == ["P3"]
    assert found_by(index, Patient(patient_id="P1", issuer="ELSEWHERE")) == ["P2", "P3"]


def test_a_merge_of_nobody_known_holds_for_rows_that_come_later(pool: Pool, index: PgVectorIndex) -> None:
    assert joined(pool, 1, 2).moved == 0
    fill(index, 1, 3)
    assert owners(pool) == {"P1": "P2", "P3": "P3"}
    assert found_by(index, patient(2)) == ["P3"]
    assert parted(pool, 1).moved == 1
    fill(index, 1)
    assert owners(pool) == {"P1": "P1", "P3": "P3"}


def test_a_row_stored_again_stays_where_its_merge_put_it(pool: Pool, index: PgVectorIndex) -> None:
    fill(index, 1)
    joined(pool, 1, 2)
    index.store(BUNDLE, [a_row(1, unit_vectors(1, 12)[1], presence_prob=0.9)])
    assert owners(pool) == {"P1": "P2"}


def test_an_object_whose_patient_was_corrected_follows_the_merges_of_the_new_one(
    pool: Pool, index: PgVectorIndex
) -> None:
    fill(index, 1)
    joined(pool, 5, 6)
    index.store(BUNDLE, [a_row(1, unit_vectors(1, 12)[1], patient_key=patient(5).key)])
    assert owners(pool) == {"P5": "P6"}


@pytest.mark.parametrize(
    ("merges", "refused", "problem"),
    [
        ([(1, 2), (2, 3)], (3, 1), MergeProblem.CIRCULAR),
        ([(1, 2)], (2, 1), MergeProblem.CIRCULAR),
        ([(1, 2)], (1, 3), MergeProblem.CONFLICT),
        ([], (1, 1), MergeProblem.SAME),
    ],
)
def test_a_refused_merge_changes_nothing(
    pool: Pool,
    index: PgVectorIndex,
    merges: list[tuple[int, int]],
    refused: tuple[int, int],
    problem: MergeProblem,
) -> None:
    fill(index, 1, 2, 3)
    for former, survivor in merges:
        joined(pool, former, survivor)
    before = owners(pool), query(pool, "SELECT * FROM patient_events")
    with pytest.raises(MergeRefusedError) as error:
        joined(pool, *refused)
    assert error.value.problem is problem
    assert (owners(pool), query(pool, "SELECT * FROM patient_events")) == before


@pytest.mark.parametrize("seed", range(3))
def test_after_any_merges_and_undoings_every_row_is_where_the_chains_say(
    pool: Pool, index: PgVectorIndex, seed: int
) -> None:
    drawn = random.Random(seed)  # noqa: S311 - no secret
    fill(index, 1, 2, 3, 4, 5)
    chains = Chains()
    for _ in range(40):
        former, survivor = drawn.randint(1, 5), drawn.randint(1, 5)
        is_undoing = drawn.random() < 0.3
        going, staying = patient(former).key, patient(survivor).key
        expected, found = None, None
        try:
            chains = chains.unmerge(going) if is_undoing else chains.merge(going, staying)
        except MergeRefusedError as refused:
            expected = refused.problem
        try:
            parted(pool, former) if is_undoing else joined(pool, former, survivor)
        except MergeRefusedError as refused:
            found = refused.problem
        assert found is expected
        assert owners(pool) == {f"P{n}": chains.current(patient(n).key)[-2:] for n in range(1, 6)}
        kept = query(pool, "SELECT former_key, into_key, current_key FROM patient_merges")
        assert {row["former_key"]: row["into_key"] for row in kept} == dict(chains.into)
        assert all(row["current_key"] == chains.current(row["former_key"]) for row in kept)


def test_a_repeated_merge_is_no_event(pool: Pool, index: PgVectorIndex) -> None:
    fill(index, 1, 2, 3)
    joined(pool, 1, 2)
    joined(pool, 2, 3)
    assert not joined(pool, 1, 2).is_new
    assert not joined(pool, 1, 3).is_new
    assert len(query(pool, "SELECT * FROM patient_events")) == 2


def test_merges_and_undoings_are_recorded_with_their_origin(pool: Pool) -> None:
    joined(pool, 1, 2)
    parted(pool, 1)
    events = query(pool, "SELECT * FROM patient_events ORDER BY event_id")
    assert [(event["deed"], event["former_key"], event["into_key"]) for event in events] == [
        ("merge", patient(1).key, patient(2).key),
        ("unmerge", patient(1).key, patient(2).key),
    ]
    assert {(event["source"], event["who"], event["at"]) for event in events} == {("command", "admin", ORIGIN.at)}


def test_rows_stored_while_patients_are_merged_and_parted_end_where_they_belong(
    pool: Pool, index: PgVectorIndex
) -> None:
    fill(index, 9)
    failures: list[BaseException] = []

    def store(numbers: range) -> None:
        try:
            for number in numbers:
                vector = unit_vectors(number, 1)[0]
                index.store(BUNDLE, [a_row(number, vector, patient_key=patient(number % 3).key)])
        except BaseException as failure:  # noqa: BLE001 - handed to the test below
            failures.append(failure)

    threads = [threading.Thread(target=store, args=(range(start, start + 30),)) for start in (100, 200)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        joined(pool, 0, 1)
        joined(pool, 1, 2)
        parted(pool, 0)
        parted(pool, 1)
    joined(pool, 0, 2)
    for thread in threads:
        thread.join()
    assert failures == []
    assert owners(pool) == {"P0": "P2", "P1": "P1", "P2": "P2", "P9": "P9"}


def test_a_merge_finds_its_rows_by_an_index(pool: Pool, index: PgVectorIndex) -> None:
    fill(index, 1)
    rows = query(pool, "SELECT tablename FROM pg_indexes WHERE indexdef LIKE %s", "%(original_patient_key)")
    assert {row["tablename"] for row in rows} == {TABLE, f"{TABLE}_e6"}


# --- what was kept with a draft, and whom the PACS is asked for -----------------------------------------------------


def case(number: int) -> SimilarCase:
    return SimilarCase(
        entity_index=6,
        rank=number,
        study_uid=StudyUid(f"2.25.2{number:06d}"),
        instance_uid=InstanceUid(f"2.25.1{number:06d}"),
        score_cosine=0.9,
        presence_prob=0.5,
    )


def test_kept_similar_cases_follow_merges_and_their_undoing(pool: Pool, index: PgVectorIndex) -> None:
    fill(index, 1, 2, 3, 4)
    kept = (case(2), case(3), case(4), case(7))

    def shown() -> list[int]:
        with transaction(pool) as connection:
            return [one.rank for one in of_others_now(connection, BUNDLE.bundle_id, patient(1), kept)]

    assert shown() == [2, 3, 4, 7]
    joined(pool, 1, 2)
    assert shown() == [3, 4, 7]
    joined(pool, 4, 3)
    assert shown() == [3, 7]
    parted(pool, 1)
    parted(pool, 4)
    assert shown() == [2, 3, 4, 7]


def test_kept_cases_of_a_bundle_without_a_table_stay(pool: Pool) -> None:
    joined(pool, 1, 2)
    with transaction(pool) as connection:
        assert of_others_now(connection, "unheard-of", patient(1), (case(2),)) == (case(2),)


def test_the_pacs_is_asked_for_the_identifier_in_use_first(pool: Pool) -> None:
    searches = PriorSearches(pool)
    joined(pool, 1, 2)
    joined(pool, 2, 3)
    assert [known.patient_id for known in searches.also_known_as(patient(2))] == ["P3", "P1"]
    assert [known.patient_id for known in searches.also_known_as(patient(3))] == ["P1", "P2"]
    assert searches.also_known_as(patient(4)) == ()
    assert searches.also_known_as(Patient(patient_id="P1")) == ()
