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

CONNECTING = {
    "connect_timeout": 5,
    # A machine that vanished with the database on it is noticed within seconds, not after the kernel's two hours.
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""How connections are made (libpq, "Parameter Key Words")."""

RECONNECT_TIMEOUT_S = 2.0
"""How long a pool tries to make one connection. Its waits double from a second: with a longer time the database could
be back for as long as it was away before the pool looks again. After it, the next caller begins a new attempt."""

_AWAY = (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout)


def open_pool(database_url: str, *, max_size: int = 8, wait_s: float = 5.0, check: bool = True) -> Pool:
    """Return an open pool whose rows are dicts; it reconnects by itself, a caller waits `wait_s` at most.

    `check` asks the database before a connection is given out; without it a caller may be given one that broke.
    """
    return ConnectionPool(
        database_url,
        connection_class=psycopg.Connection[dict[str, Any]],
        kwargs={"row_factory": dict_row, **CONNECTING},
        min_size=1,
        max_size=max_size,
        timeout=wait_s,
        reconnect_timeout=RECONNECT_TIMEOUT_S,
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
