"""What leaves the spool: files of studies that ended long ago, sooner when space is short, and files of no row at all.

Files of a study of which any revision is open, queued, at work, parked or being delivered are never removed.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from operators.domain.clock import Clock
from operators.domain.database import Connection, Pool, transaction
from operators.domain.errors import NodeError
from operators.domain.ids import pseudonym
from operators.receive.config import SpoolConfig
from operators.receive.spool import Spool

logger = logging.getLogger(__name__)

_ENDED = ["done", "withdrawn"]
_AT_ONCE = 20
_STRAY_AFTER_S = 86_400.0
_JUST_ENDED_S = 600.0

# A study without revisions is made of objects that are no images: their age counts alone.
_FINISHED = """
SELECT kept.study_uid
FROM (SELECT study_uid, max(received_at) AS received_at FROM instances WHERE purged_at IS NULL GROUP BY study_uid) kept
LEFT JOIN LATERAL (SELECT bool_and(r.state = ANY(%(ended)s)) AS ended, max(r.finished_at) AS finished_at
                   FROM revisions r WHERE r.study_uid = kept.study_uid) work ON true
WHERE coalesce(work.ended, true) AND greatest(kept.received_at, work.finished_at) < %(before)s
ORDER BY greatest(kept.received_at, work.finished_at)
LIMIT %(limit)s"""

_LOCK = "SELECT 1 FROM studies WHERE study_uid = %s FOR UPDATE"
_IN_USE = "SELECT 1 FROM revisions WHERE study_uid = %(study_uid)s AND state <> ALL(%(ended)s) LIMIT 1"
_PURGE = """
UPDATE instances SET purged_at = %(at)s
WHERE study_uid = %(study_uid)s AND purged_at IS NULL AND received_at < %(before)s
RETURNING path"""
_NAMED = "SELECT path FROM instances WHERE purged_at IS NULL AND path LIKE %s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What one sweep removed."""

    files: int
    strays: int


class SpoolKeeper:
    """Sweeps the spool. `start` runs sweeps on a thread until `stop`; one keeper a spool is enough."""

    def __init__(self, *, pool: Pool, spool: Spool, clock: Clock, config: SpoolConfig) -> None:
        self._pool = pool
        self._spool = spool
        self._clock = clock
        self._config = config
        self._rounds = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spool-keeper", daemon=True)

    def start(self) -> None:
        """Begin to sweep."""
        self._thread.start()

    def stop(self) -> None:
        """End after the study that is being removed."""
        self._stopping.set()
        self._thread.join()

    def sweep(self) -> Swept:
        """Remove what is old enough, then what space requires, then strays in one of the spool's folders.

        Raises TransientError when the database is away.
        """
        now = self._clock.now()
        files = self._purge_before(now - timedelta(days=self._config.keep_days))
        if self._is_short():
            files += self._purge_before(now - timedelta(seconds=_JUST_ENDED_S), while_short=True)
        if self._is_short():
            logger.warning("spool.short", extra={"free_mib": self._spool.free_mib()})
        strays = self._remove_strays(f"{self._rounds % 256:02x}")
        self._rounds += 1
        if files or strays:
            logger.info("spool.swept", extra={"files": files, "strays": strays, "free_mib": self._spool.free_mib()})
        return Swept(files=files, strays=strays)

    def _run(self) -> None:
        while not self._stopping.wait(self._config.sweep_every_s):
            try:
                self.sweep()
            except NodeError as error:
                logger.warning("spool.not_swept", extra={"code": error.code.value})
            except (OSError, psycopg.Error) as exc:  # the kind alone: a database's words may hold values of rows
                logger.warning("spool.not_swept", extra={"kind": type(exc).__name__})

    def _is_short(self) -> bool:
        return self._spool.free_mib() < self._config.purge_below_mib

    def _purge_before(self, before: datetime, *, while_short: bool = False) -> int:
        """Purge studies that ended before a moment, oldest first; return how many files that removed."""
        removed = 0
        while not self._stopping.is_set():
            studies = self._finished(before)
            count = 0
            for study_uid in studies:
                if while_short and not self._is_short():
                    return removed + count
                count += self._purge(study_uid, before)
            removed += count
            if count == 0:
                return removed
        return removed

    def _finished(self, before: datetime) -> Sequence[str]:
        values = {"ended": _ENDED, "before": before, "limit": _AT_ONCE}
        with transaction(self._pool) as connection:
            return [row["study_uid"] for row in connection.execute(_FINISHED, values).fetchall()]

    def _purge(self, study_uid: str, before: datetime) -> int:
        """Mark a study's files as removed, then remove them: a file left over by a crash in between is a stray."""
        with transaction(self._pool) as connection:
            paths = _mark_purged(connection, study_uid, before, self._clock.now())
        for path in paths:
            self._spool.remove(path)
        if paths:
            logger.info("study.purged", extra={"study": pseudonym(study_uid), "files": len(paths)})
        return len(paths)

    def _remove_strays(self, folder: str) -> int:
        """Remove day-old files that no row names: left by a crash, or when a commit's outcome stayed unknown."""
        old = [path for path in self._spool.files(folder) if _age_s(path) > _STRAY_AFTER_S]
        if not old:
            return 0
        with transaction(self._pool) as connection:
            rows = connection.execute(_NAMED, (f"objects/{folder}/%",)).fetchall()
        named = {row["path"] for row in rows}
        strays = [path for path in map(self._spool.relative, old) if path not in named]
        for path in strays:
            self._spool.remove(path)
        return len(strays)


def _mark_purged(connection: Connection, study_uid: str, before: datetime, at: datetime) -> list[str]:
    values: dict[str, Any] = {"study_uid": study_uid, "ended": _ENDED, "before": before, "at": at}
    connection.execute(_LOCK, (study_uid,))
    if connection.execute(_IN_USE, values).fetchone() is not None:
        return []
    return [row["path"] for row in connection.execute(_PURGE, values).fetchall()]


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
