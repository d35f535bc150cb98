"""What the commands share: the settings file, JSON output, a database to talk to."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import errors

from app.postgres import current_url
from app.settings import Settings, load
from operators.domain.database import Pool, open_pool
from operators.domain.errors import ConfigError, TransientError
from operators.domain.reasons import ReasonCode

_OLDER = (errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction, errors.InvalidSchemaName)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add --config."""
    parser.add_argument("--config", metavar="FILE", help="settings file (default: app.yaml)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def how_many(text: str) -> int:
    """Return a number of rows that somebody asks for. Raises ArgumentTypeError unless it is 1 to 1000000."""
    if not text.isdecimal() or len(text) > 7 or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 1000000")
    return int(text)


def settings_of(chosen: argparse.Namespace) -> Settings:
    """Return the settings that the command was given. Raises ConfigError."""
    return load(Path(chosen.config) if chosen.config else None)


@contextmanager
def open_database(chosen: argparse.Namespace) -> Iterator[Pool]:
    """Yield a pool on the node's database.

    Raises TransientError when no database runs, ConfigError when it lacks what this version expects.
    """
    settings = settings_of(chosen)
    url = settings.database_url or current_url(settings.node.state_dir / "postgres")
    if url is None:
        raise TransientError(ReasonCode.DATABASE_AWAY, hint="neither DATABASE_URL nor a running node was found")
    with open_pool(url, max_size=2) as pool:
        try:
            yield pool
        except _OLDER as exc:
            sentence = "The database is not up to date: run `python -m app migrate`, then this command again."
            raise ConfigError(sentence) from exc
