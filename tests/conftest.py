"""Fixtures of the house: a real PostgreSQL for the session, a fresh migrated database for each test that wants one."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from app.migrate import migrate
from app.postgres import EmbeddedPostgres
from operators.domain.database import Pool, open_pool

_TEMPLATE = "interval_template"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A scratch folder that an unprivileged account may enter; pytest's own are closed to it when root runs tests."""
    folder = Path(tempfile.mkdtemp(prefix="interval-tests-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(open_folder: Path) -> Iterator[str]:
    """The URL of a running PostgreSQL with pgvector, stopped at the end."""
    server = EmbeddedPostgres(open_folder / "postgres")
    yield server.start()
    server.stop()


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """The name of a migrated, empty database to copy."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
    migrate(_url(postgres_url, _TEMPLATE))
    return _TEMPLATE


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """An empty database, dropped after the test."""
    yield from _database(postgres_url, "template1")


@pytest.fixture
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """A migrated database of its own, dropped after the test."""
    yield from _database(postgres_url, template)


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    """A pool on the test's own database."""
    with open_pool(database_url, max_size=4) as opened:
        yield opened


def _database(postgres_url: str, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        connection.execute(made)
        yield _url(postgres_url, name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _url(postgres_url: str, database: str) -> str:
    return make_conninfo("", **{**conninfo_to_dict(postgres_url), "dbname": database})
