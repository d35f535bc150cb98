"""A role's sign of life in the database, so that health can name a role that is silent."""

import logging
import os
import socket
import threading

import psycopg

from operators.domain.database import Pool, transaction
from operators.domain.errors import TransientError

logger = logging.getLogger(__name__)

_EVERY_S = 2.0
_LEAVE_WITHIN_S = 5.0

_BEAT = """
INSERT INTO role_beats (role, host, pid) VALUES (%s, %s, %s)
ON CONFLICT (role, host, pid) DO UPDATE SET beat_at = now()"""
# The latest beat of each role stays, however old: a role that has been dead for days is silent, not unknown.
_FORGET = """
DELETE FROM role_beats old
WHERE old.beat_at < now() - interval '1 day'
  AND EXISTS (SELECT FROM role_beats later WHERE later.role = old.role AND later.beat_at > old.beat_at)"""
_LEAVE = "DELETE FROM role_beats WHERE role = %s AND host = %s AND pid = %s"


class Beats:
    """Beats on a thread of its own until stopped; an orderly stop takes the role off the list."""

    def __init__(self, pool: Pool, role: str) -> None:
        self._pool = pool
        self._who = (role, socket.gethostname(), os.getpid())
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and say so; a database that hangs is not waited for."""
        self._stopping.set()
        self._thread.join(_LEAVE_WITHIN_S)
        if not self._thread.is_alive():
            self._write(_LEAVE)

    def _run(self) -> None:
        self._write(_BEAT)
        while not self._stopping.wait(_EVERY_S):
            self._write(_BEAT)

    def _write(self, statement: str) -> None:
        try:
            with transaction(self._pool) as connection:
                connection.execute(statement.encode(), self._who)
                connection.execute(_FORGET)
        except (TransientError, psycopg.errors.UndefinedTable) as error:  # before the first migration there is no table
            logger.info("beat.missed", extra={"kind": type(error).__name__})
