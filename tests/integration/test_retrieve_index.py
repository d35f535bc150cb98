"""The index of embeddings in a real PostgreSQL, against brute force by numpy."""

import threading
from typing import Any

import numpy as np
import psycopg
import pytest

from operators.domain.database import Pool, open_pool, transaction
from operators.domain.errors import ConfigError, PermanentError, TransientError
from operators.domain.ids import InstanceUid, StudyUid
from operators.domain.messages import BundleRef, Patient
from operators.domain.reasons import ReasonCode
from operators.patients.merges import Origin, merge
from operators.retrieve.config import RetrieveConfig
from operators.retrieve.index import PgVectorIndex, Question
from operators.retrieve.stage import RetrieveStage
from operators.retrieve.tables import check_pgvector, table_name
from tests.support.embeddings import ask, fill, many_rows, names, query
from tests.support.priors import NOW
from tests.unit.retrieve.cases import (
    BUNDLE,
    ENTITIES,
    WIDTH,
    MemoryIndex,
    a_case,
    a_row,
    encoded_study,
    patient,
    unit_vectors,
)

pytestmark = pytest.mark.peer
TABLE = table_name(BUNDLE.bundle_id)


@pytest.fixture
def config() -> RetrieveConfig:
    return RetrieveConfig(cases_per_entity=5, fetch_factor=2, hnsw_from_rows=200)


@pytest.fixture
def index(pool: Pool, config: RetrieveConfig) -> PgVectorIndex:
    return PgVectorIndex(pool, config)


# --- exactness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patients", [400, 40, 3, 1])
def test_answer_is_the_brute_force_answer(index: PgVectorIndex, patients: int) -> None:
    """Recall 1.0, also when one patient has so many images that the first fetch holds too few patients."""
    oracle = MemoryIndex()
    fill((index, oracle), many_rows(400, patients=patients))

    for seed in range(5):
        question = ask(seed=seed)
        assert names(index.nearest(BUNDLE, question)) == names(oracle.nearest(BUNDLE, question))


def test_scores_are_those_of_numpy(index: PgVectorIndex) -> None:
    oracle = MemoryIndex()
    fill((index, oracle), many_rows(50, patients=50))

    found, expected = index.nearest(BUNDLE, ask()), oracle.nearest(BUNDLE, ask())

    for entity in ENTITIES:
        np.testing.assert_allclose(
            [case.distance_cosine for case in found[entity]],
            [case.distance_cosine for case in expected[entity]],
            atol=1e-6,
        )


def test_equal_distances_are_ordered_by_instance_uid(index: PgVectorIndex) -> None:
    same = unit_vectors(1, 1)[0]
    fill((index,), [a_row(number, same) for number in (5, 3, 4, 1, 2, 9, 8, 7, 6, 10, 11)])

    found = index.nearest(BUNDLE, ask(entities=(6,), limit=3))[6]

    assert [case.instance_uid for case in found] == [f"2.25.1{number:06d}" for number in (1, 2, 3)]


def test_entities_do_not_mix(index: PgVectorIndex) -> None:
    vectors = unit_vectors(1, 2)
    fill((index,), [a_row(1, vectors[0], entity=3), a_row(2, vectors[1], entity=6)])

    found = index.nearest(BUNDLE, ask(entities=(3, 6, 41)))

    assert names(found) == {3: ["2.25.1000001"], 6: ["2.25.1000002"], 41: []}


# --- storing -------------------------------------------------------------------------------------------------------


def test_storing_again_changes_nothing(pool: Pool, index: PgVectorIndex) -> None:
    rows = many_rows(20, patients=20)
    index.store(BUNDLE, rows)
    before = query(pool, f"SELECT *, xmin::text, ctid::text FROM {TABLE} ORDER BY entity_id, instance_uid")  # noqa: S608 - our own table's name

    index.store(BUNDLE, rows)
    index.store(BUNDLE, rows + rows)

    after = query(pool, f"SELECT *, xmin::text, ctid::text FROM {TABLE} ORDER BY entity_id, instance_uid")  # noqa: S608 - our own table's name
    assert after == before
    assert len(after) == 60


def test_row_that_differs_replaces_what_was_kept(index: PgVectorIndex) -> None:
    old, new = unit_vectors(1, 2)
    index.store(BUNDLE, [a_row(1, old)])
    index.store(BUNDLE, [a_row(1, new, presence_prob=0.25)])

    (case,) = index.nearest(BUNDLE, Question(**{**_parts(ask(entities=(6,))), "embeddings": {6: new}}))[6]

    assert case.presence_prob == 0.25
    assert case.distance_cosine == pytest.approx(0, abs=1e-4)


def _parts(question: Question) -> dict[str, Any]:
    return {name: getattr(question, name) for name in ("embeddings", "withheld", "withheld_studies", "limit")}


def test_patient_merged_meanwhile_stays_merged_when_the_study_runs_again(pool: Pool, index: PgVectorIndex) -> None:
    row = a_row(1, unit_vectors(1, 1)[0])
    index.store(BUNDLE, [row])
    merged = Patient(patient_id="MERGED", issuer="HOSP")
    with transaction(pool) as connection:
        merge(connection, patient(1), merged, Origin(source="command", who="admin", at=NOW))

    index.store(BUNDLE, [a_row(1, row.embedding, presence_prob=0.9)])

    (kept,) = query(pool, f"SELECT patient_key, original_patient_key, presence_prob FROM {TABLE}")  # noqa: S608 - our own table's name
    assert kept["patient_key"] == "HOSP\x1fMERGED"
    assert kept["original_patient_key"] == patient(1).key
    assert kept["presence_prob"] == pytest.approx(0.9)


def test_first_use_by_several_workers_at_once_makes_one_table(database_url: str, config: RetrieveConfig) -> None:
    rows = many_rows(4, patients=4)
    failures: list[BaseException] = []

    def work() -> None:
        with open_pool(database_url, max_size=1) as own:
            try:
                PgVectorIndex(own, config).store(BUNDLE, rows)
            except BaseException as failure:  # noqa: BLE001 - handed to the test below
                failures.append(failure)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert failures == []
    with psycopg.connect(database_url) as connection:
        assert connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone() == (12,)  # noqa: S608 - our own table's name
        assert connection.execute("SELECT count(*) FROM bundles").fetchone() == (1,)


def test_entity_that_a_bundle_learns_later_gets_its_partition(index: PgVectorIndex) -> None:
    first, second = unit_vectors(1, 2)
    index.store(BUNDLE, [a_row(1, first, entity=3)])
    index.store(BUNDLE, [a_row(1, second, entity=300)])

    assert names(index.nearest(BUNDLE, ask(entities=(3, 300)))) == {3: ["2.25.1000001"], 300: ["2.25.1000001"]}


# --- other patients only -------------------------------------------------------------------------------------------


def test_nothing_of_the_same_patient_is_answered(index: PgVectorIndex) -> None:
    vectors = unit_vectors(1, 5)
    keys = ["HOSP\x1fP1", "\x1fP1", "OTHER\x1fP1", "HOSP\x1fP2", "HOSP\x1fP3"]
    fill((index,), [a_row(number, vectors[number], patient_key=key) for number, key in enumerate(keys)])

    with_issuer = index.nearest(BUNDLE, ask(entities=(6,), owner=Patient(patient_id="P1", issuer="HOSP")))
    without_issuer = index.nearest(BUNDLE, ask(entities=(6,), owner=Patient(patient_id="P1")))

    assert {case.patient_key for case in with_issuer[6]} == {"OTHER\x1fP1", "HOSP\x1fP2", "HOSP\x1fP3"}
    assert {case.patient_key for case in without_issuer[6]} == {"HOSP\x1fP2", "HOSP\x1fP3"}


def test_row_of_a_merged_patient_is_withheld_under_the_old_id_too(pool: Pool, index: PgVectorIndex) -> None:
    index.store(BUNDLE, [a_row(1, unit_vectors(1, 1)[0])])
    with transaction(pool) as connection:
        connection.execute(f"UPDATE {TABLE} SET patient_key = 'HOSP\x1fMERGED'")  # noqa: S608 - our own table's name

    for owner in (patient(1), Patient(patient_id="MERGED", issuer="HOSP"), Patient(patient_id="P1")):
        assert names(index.nearest(BUNDLE, ask(entities=(6,), owner=owner))) == {6: []}
    assert names(index.nearest(BUNDLE, ask(entities=(6,), owner=patient(2)))) == {6: ["2.25.1000001"]}


def test_study_is_withheld_by_its_uid_too(index: PgVectorIndex) -> None:
    vectors = unit_vectors(1, 2)
    fill((index,), [a_row(1, vectors[0]), a_row(2, vectors[1])])
    question = Question(**{**_parts(ask(entities=(6,))), "withheld_studies": (StudyUid("2.25.2000001"),)})

    assert names(index.nearest(BUNDLE, question)) == {6: ["2.25.1000002"]}


def test_whole_stage_gives_what_the_oracle_gives(index: PgVectorIndex, config: RetrieveConfig) -> None:
    real, oracle = RetrieveStage(index, config), RetrieveStage(MemoryIndex(), config)
    owners = [patient(number // 3) for number in range(30)]

    for number, owner in enumerate(owners):
        prior = [encoded_study(number - 1, owner)] if number and owners[number - 1] == owner else []
        case = a_case(encoded_study(number, owner), *prior)
        found, expected = real(case).similar, oracle(case).similar
        assert [(c.entity_index, c.rank, c.study_uid) for c in found] == [
            (c.entity_index, c.rank, c.study_uid) for c in expected
        ]


# --- bundles -------------------------------------------------------------------------------------------------------


def test_bundle_of_another_width_has_its_own_table(pool: Pool, index: PgVectorIndex) -> None:
    wider = BundleRef(bundle_id="cxr-def", name="cxr", version="2", sha256="b" * 64, modality="2D-CXR")
    stage = RetrieveStage(index, RetrieveConfig())
    stage(a_case(encoded_study(1, patient(1))))
    stage(a_case(encoded_study(1, patient(1), width=2 * WIDTH), bundle=wider))

    similar = stage(a_case(encoded_study(2, patient(2), width=2 * WIDTH), bundle=wider)).similar

    assert len(similar) == len(ENTITIES)
    registered = query(pool, "SELECT bundle_id, embedding_table, embedding_width FROM bundles ORDER BY bundle_id")
    assert [(row["bundle_id"], row["embedding_width"]) for row in registered] == [
        ("cxr-abc", WIDTH),
        ("cxr-def", 2 * WIDTH),
    ]
    assert registered[0]["embedding_table"] != registered[1]["embedding_table"]


@pytest.mark.parametrize("change", [{"sha256": "c" * 64}, {}])
def test_bundle_that_changed_under_its_id_is_refused(index: PgVectorIndex, change: dict[str, str]) -> None:
    """Other files, or (with the files' digest forged) another width."""
    index.store(BUNDLE, [a_row(1, unit_vectors(1, 1)[0])])
    facts = {
        "bundle_id": BUNDLE.bundle_id,
        "name": "cxr",
        "version": "1",
        "sha256": BUNDLE.sha256,
        "modality": "2D-CXR",
    }
    changed = BundleRef(**{**facts, **change})

    with pytest.raises(PermanentError) as caught:
        PgVectorIndex(index._pool, RetrieveConfig()).store(changed, [a_row(2, unit_vectors(1, 1, 2 * WIDTH)[0])])

    assert caught.value.code is ReasonCode.BUNDLE_UNUSABLE


def test_embedding_that_no_page_can_hold_is_refused(index: PgVectorIndex) -> None:
    with pytest.raises(PermanentError) as caught:
        index.store(BUNDLE, [a_row(1, unit_vectors(1, 1, 4000)[0])])

    assert caught.value.code is ReasonCode.BUNDLE_UNUSABLE


def test_widest_embedding_that_is_accepted_fits(index: PgVectorIndex) -> None:
    index.store(BUNDLE, [a_row(1, unit_vectors(1, 1, 3900)[0], instance_uid=InstanceUid("2." + "5" * 62))])


def test_unused_bundle_has_no_similar_cases(index: PgVectorIndex) -> None:
    assert index.nearest(BUNDLE, ask()) == dict.fromkeys(ENTITIES, ())


# --- the database --------------------------------------------------------------------------------------------------


def test_pgvector_of_the_test_server_is_new_enough(pool: Pool) -> None:
    with transaction(pool) as connection:
        check_pgvector(connection)


def test_old_pgvector_is_refused_by_version(pool: Pool) -> None:
    with transaction(pool) as connection:
        connection.execute("UPDATE pg_extension SET extversion = '0.8.3' WHERE extname = 'vector'")
        with pytest.raises(ConfigError, match=r"0\.8\.3.*0\.8\.4"):
            check_pgvector(connection)


def test_database_without_pgvector_is_refused(empty_database_url: str) -> None:
    with (
        open_pool(empty_database_url) as own,
        transaction(own) as connection,
        pytest.raises(ConfigError, match="lacks"),
    ):
        check_pgvector(connection)


def test_database_that_is_away_is_a_passing_error(pool: Pool) -> None:
    gone = PgVectorIndex(pool, RetrieveConfig())
    pool.close()

    with pytest.raises(TransientError) as caught:
        gone.store(BUNDLE, [a_row(1, unit_vectors(1, 1)[0])])

    assert caught.value.code is ReasonCode.DATABASE_AWAY
