"""Numbered SQL files to a database that is up to date.

Each file of app/migrations is applied once, in its own transaction, in the order of its number, under an advisory lock,
so that several roles may start at the same time. A file that was applied must never change: its SHA-256 is kept.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import psycopg

from operators.domain.errors import ConfigError, TransientError
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).parent / "migrations"
_LOCK_KEY = 0x1D7E57A1

_CREATE_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""
_APPLIED = "SELECT number, sha256 FROM schema_migrations ORDER BY number"
_RECORD = "INSERT INTO schema_migrations (number, name, sha256) VALUES (%s, %s, %s)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Digest of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """Return the files in order. Raises ConfigError when a number is missing or given twice."""
    found = tuple(
        Migration(number=int(path.name.split("_", 1)[0]), name=path.stem, sql=path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("[0-9]*.sql"))
    )
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ConfigError("the numbers of the migration files are not 1, 2, 3, ...")
    return found


def migrate(database_url: str, wanted: tuple[Migration, ...] | None = None) -> tuple[str, ...]:
    """Bring the database up to date; return the names of the migrations applied now.

    Raises ConfigError when an applied file was changed since or the database is newer than this program, and
    TransientError when the database does not answer.
    """
    wanted = migrations() if wanted is None else wanted
    try:
        with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
            connection.execute(_CREATE_LEDGER)
            pending = _pending(connection, wanted)
            for migration in pending:
                _apply(connection, migration)
    except psycopg.OperationalError as exc:
        raise TransientError(ReasonCode.DATABASE_AWAY, kind=type(exc).__name__) from exc
    return tuple(migration.name for migration in pending)


def _pending(connection: psycopg.Connection, wanted: tuple[Migration, ...]) -> list[Migration]:
    known = {migration.number: migration for migration in wanted}
    applied: dict[int, str] = dict(connection.execute(_APPLIED).fetchall())
    for number, sha256 in applied.items():
        if number not in known:
            raise ConfigError(f"the database has migration {number}, which this version of the program does not know")
        if known[number].sha256 != sha256:
            raise ConfigError(f"migration {known[number].name} was changed after it had been applied")
    return [migration for migration in wanted if migration.number not in applied]


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    with connection.transaction():
        connection.execute(migration.sql.encode())
        connection.execute(_RECORD, (migration.number, migration.name, migration.sha256))
    logger.info("migration.applied", extra={"migration": migration.name})
