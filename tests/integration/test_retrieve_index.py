"""The index of embeddings in a real PostgreSQL, against brute force by numpy."""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from operators.domain.database import Pool, open_pool, transaction
from operators.domain.errors import ConfigError, PermanentError, TransientError
from operators.domain.ids import InstanceUid, StudyUid
from operators.domain.messages import BundleRef, Patient
from operators.domain.reasons import ReasonCode
from operators.retrieve.config import RetrieveConfig
from operators.retrieve.hnsw import BuildStep, build_indexes
from operators.retrieve.index import _EXACT, EmbeddingRow, PgVectorIndex, Question, _for_table, _written
from operators.retrieve.patients import withheld_for
from operators.retrieve.stage import RetrieveStage, SimilarityIndex
from operators.retrieve.tables import EmbeddingTable, check_pgvector, table_name
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


def ask(
    *, seed: int = 99, owner: Patient | None = None, limit: int = 5, entities: Sequence[int] = ENTITIES
) -> Question:
    vectors = unit_vectors(seed, len(entities))
    return Question(
        embeddings=dict(zip(entities, vectors, strict=True)),
        withheld=withheld_for((owner or patient(999_999),)),
        withheld_studies=(),
        limit=limit,
    )


def fill(indexes: Sequence[SimilarityIndex], rows: list[EmbeddingRow], bundle: BundleRef = BUNDLE) -> None:
    for index in indexes:
        index.store(bundle, rows)


def many_rows(count: int, *, patients: int, entities: Sequence[int] = ENTITIES, seed: int = 0) -> list[EmbeddingRow]:
    """`count` images an entity, dealt to `patients` in turn."""
    return [
        a_row(number, vector, entity=entity, patient_key=patient(number % patients).key)
        for entity in entities
        for number, vector in enumerate(unit_vectors(seed + entity, count))
    ]


def query(pool: Pool, statement: str, *values: Any) -> list[dict[str, Any]]:
    with transaction(pool) as connection:
        return connection.execute(statement, values).fetchall()


def names(answer: dict[int, Any]) -> dict[int, list[str]]:
    return {entity: [case.instance_uid for case in cases] for entity, cases in answer.items()}


# --- exactness ------------------------------------------------------------------------------------------------------


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


# --- storing --------------------------------------------------------------------------------------------------------


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
    with transaction(pool) as connection:
        connection.execute(f"UPDATE {TABLE} SET patient_key = 'HOSP\x1fMERGED'")  # noqa: S608 - our own table's name

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


# --- other patients only --------------------------------------------------------------------------------------------


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


# --- bundles --------------------------------------------------------------------------------------------------------


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


# --- plans and approximate indexes ----------------------------------------------------------------------------------


def plans_of(database_url: str, question: Question) -> str:
    """Answer the question on a connection whose server tells the plan of each statement; return the searches' plans."""
    options = "-c session_preload_libraries=auto_explain -c auto_explain.log_min_duration=0 -c client_min_messages=log"
    notices: list[str] = []
    with open_pool(make_conninfo(database_url, options=options), max_size=1) as own:
        with own.connection() as connection:
            connection.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        PgVectorIndex(own, RetrieveConfig(cases_per_entity=5, fetch_factor=2)).nearest(BUNDLE, question)
    return "\n".join(notice for notice in notices if "<=>" in notice)


def test_search_is_exact_without_an_index_and_uses_one_where_it_is(
    database_url: str, pool: Pool, index: PgVectorIndex
) -> None:
    index.store(BUNDLE, many_rows(300, patients=300, entities=(3,)) + many_rows(20, patients=20, entities=(6,)))
    exact = plans_of(database_url, ask(entities=(3, 6)))
    list(build_indexes(pool, BUNDLE.bundle_id, 200))
    mixed = plans_of(database_url, ask(entities=(3, 6)))

    assert "CTE candidate" in exact
    assert "hnsw" not in exact
    assert f"Index Scan using {TABLE}_e3_hnsw" in mixed
    assert f"on {TABLE}_e6" in mixed


def test_exact_search_stays_exact_beside_an_approximate_index(pool: Pool, index: PgVectorIndex) -> None:
    """The MATERIALIZED candidates keep the planner off the index, which it takes as soon as they are not."""
    index.store(BUNDLE, many_rows(3000, patients=3000, entities=(3,)))
    list(build_indexes(pool, BUNDLE.bundle_id, 200))
    statement = _for_table(_EXACT, EmbeddingTable(name=TABLE, width=WIDTH)).as_string()
    tempting = statement.replace("candidate AS MATERIALIZED", "candidate AS")
    question = ask(entities=(3,))
    values = {
        "entities": [3],
        "embeddings": [_written(question.embeddings[3])],
        "keys": [],
        "ids": [],
        "studies": [],
        "rows": 10,
    }

    with transaction(pool) as connection:
        connection.execute("ANALYZE")
        plan, other = (
            str(connection.execute(f"EXPLAIN {text}".encode(), values).fetchall()) for text in (statement, tempting)
        )

    assert "hnsw" not in plan
    assert "hnsw" in other


def test_index_is_built_for_large_partitions_only_and_once(pool: Pool, index: PgVectorIndex) -> None:
    index.store(BUNDLE, many_rows(300, patients=300, entities=(3, 41)) + many_rows(20, patients=20, entities=(6,)))

    steps = list(build_indexes(pool, BUNDLE.bundle_id, 200))

    assert steps == [
        BuildStep(partition=f"{TABLE}_e3", rows=300, number=1, total=2),
        BuildStep(partition=f"{TABLE}_e41", rows=300, number=2, total=2),
    ]
    assert list(build_indexes(pool, BUNDLE.bundle_id, 200)) == []


def test_half_built_index_is_not_used_and_is_built_again(pool: Pool, index: PgVectorIndex) -> None:
    oracle = MemoryIndex()
    fill((index, oracle), many_rows(300, patients=300, entities=(3,)))
    list(build_indexes(pool, BUNDLE.bundle_id, 200))
    with transaction(pool) as connection:
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (f"{TABLE}_e3_hnsw",)
        )

    assert names(index.nearest(BUNDLE, ask(entities=(3,)))) == names(oracle.nearest(BUNDLE, ask(entities=(3,))))
    assert len(list(build_indexes(pool, BUNDLE.bundle_id, 200))) == 1
    assert query(pool, "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", f"{TABLE}_e3_hnsw") == [
        {"indisvalid": True}
    ]


def test_approximate_answer_keeps_the_rule_of_other_patients_and_finds_nearly_all(
    pool: Pool, index: PgVectorIndex
) -> None:
    oracle = MemoryIndex()
    fill((index, oracle), many_rows(2000, patients=500, entities=(3,)))
    list(build_indexes(pool, BUNDLE.bundle_id, 200))

    hits = 0
    for seed in range(20):
        question = ask(seed=seed, entities=(3,), owner=patient(seed), limit=5)
        found, expected = index.nearest(BUNDLE, question)[3], oracle.nearest(BUNDLE, question)[3]
        assert len(found) == 5
        assert len({case.patient_key for case in found}) == 5
        assert patient(seed).key not in {case.patient_key for case in found}
        hits += len({case.instance_uid for case in found} & {case.instance_uid for case in expected})

    assert hits >= 95


def test_indexes_of_an_unknown_bundle_are_nothing_to_do(pool: Pool) -> None:
    assert list(build_indexes(pool, "never-used", 1)) == []


# --- the database ---------------------------------------------------------------------------------------------------


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
