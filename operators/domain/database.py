"""The one way to a database connection: psycopg errors leave it as errors of the tree.

Adapters are handed a ConnectionPool; they open a transaction with `transaction(pool)` and run their own SQL in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from operators.domain.errors import TransientError
from operators.domain.reasons import ReasonCode

Connection = psycopg.Connection[dict[str, Any]]
Pool = ConnectionPool[Connection]

_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


def open_pool(database_url: str, *, max_size: int = 8, wait_s: float = 5.0, check: bool = True) -> Pool:
    """Return an open pool whose rows are dicts; it reconnects by itself, a caller waits `wait_s` at most.

    `check` asks the database before a connection is given out; without it a caller may be given one that broke.
    """
    return ConnectionPool(
        database_url,
        connection_class=psycopg.Connection[dict[str, Any]],
        kwargs={"row_factory": dict_row, "connect_timeout": 5},
        min_size=1,
        max_size=max_size,
        timeout=wait_s,
        reconnect_timeout=30.0,
        check=ConnectionPool.check_connection if check else None,
        open=True,
    )


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    """Yield a connection inside one transaction: committed at the end, rolled back by any exception.

    Raises TransientError(DATABASE_AWAY) when the database cannot be reached, goes away in the middle, or aborts the
    transaction for a deadlock or serialisation failure.
    """
    try:
        with pool.connection() as connection, connection.transaction():
            yield connection
    except _AWAY as exc:
        raise TransientError(ReasonCode.DATABASE_AWAY, kind=type(exc).__name__) from exc


@contextmanager
def pipelined(pool: Pool) -> Iterator[Connection]:
    """Yield a connection whose statements go to the database in one go, as one transaction, when the block ends.

    Results are fetched from the cursors after the block. Raises as `transaction` does.
    """
    try:
        with pool.connection() as connection, connection.pipeline(), connection.transaction():
            yield connection
    except _AWAY as exc:
        raise TransientError(ReasonCode.DATABASE_AWAY, kind=type(exc).__name__) from exc
