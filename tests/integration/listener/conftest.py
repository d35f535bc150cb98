"""One listener for the tests of a module, on a database that is emptied before each."""

from collections.abc import Iterator

import pytest

from operators.domain.database import Pool, open_pool
from tests.support.peers.programs import require
from tests.support.receiving import RunningReceiver, config, database_from


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    require("storescu", "dcmsend", "echoscu")


@pytest.fixture(scope="module")
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """One database for the module, emptied before each test: a listener process takes a second to start."""
    yield from database_from(postgres_url, template, "receive")


@pytest.fixture(scope="module")
def pool(database_url: str) -> Iterator[Pool]:
    with open_pool(database_url, max_size=4) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[RunningReceiver]:
    with RunningReceiver(tmp_path_factory.mktemp("shared"), database_url, config()) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(pool: Pool) -> None:
    with pool.connection() as connection:
        connection.execute("TRUNCATE studies, revisions, instances, refusals, counters, documents CASCADE")


@pytest.fixture
def node(shared: RunningReceiver, empty: None) -> RunningReceiver:
    shared.forget()
    return shared
