"""Approximate indexes in a real PostgreSQL: when they are built, when they are used, and what they find."""

import pytest
from psycopg.conninfo import make_conninfo

from operators.domain.database import Pool, open_pool, transaction
from operators.retrieve.config import RetrieveConfig
from operators.retrieve.hnsw import BuildStep, build_indexes
from operators.retrieve.index import _EXACT, PgVectorIndex, Question, _for_table, _written
from operators.retrieve.tables import EmbeddingTable, table_name
from tests.support.embeddings import ask, fill, many_rows, names, query
from tests.unit.retrieve.cases import (
    BUNDLE,
    WIDTH,
    MemoryIndex,
    patient,
)

pytestmark = pytest.mark.peer
TABLE = table_name(BUNDLE.bundle_id)


@pytest.fixture
def config() -> RetrieveConfig:
    return RetrieveConfig(cases_per_entity=5, fetch_factor=2, hnsw_from_rows=200)


@pytest.fixture
def index(pool: Pool, config: RetrieveConfig) -> PgVectorIndex:
    return PgVectorIndex(pool, config)


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
