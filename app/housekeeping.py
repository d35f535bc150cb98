"""What the work role looks after beside its jobs, on a thread of its own: fetched priors age, partitions grow."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import psycopg

from operators.domain.clock import Clock
from operators.domain.database import Pool
from operators.domain.errors import NodeError
from operators.priors.files import PriorFiles
from operators.retrieve.hnsw import build_indexes

logger = logging.getLogger(__name__)

_EVERY_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chores:
    """What is to be done. `keep_priors_days`: how long an unused copy of a prior stays in the spool."""

    pool: Pool
    clock: Clock
    bundle_id: str
    hnsw_from_rows: int
    priors: PriorFiles
    keep_priors_days: float


class Housekeeping:
    """Does the chores at once and then every ten minutes, until stopped."""

    def __init__(self, chores: Chores) -> None:
        self._chores = chores
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the chore at hand; an index that is being built is finished by the database or begun again."""
        self._stopping.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        while True:
            self._try(self._index)
            self._try(self._forget_priors)
            if self._stopping.wait(_EVERY_S):
                return

    def _try(self, chore: Callable[[], None]) -> None:
        try:
            chore()
        except NodeError as error:
            logger.warning("housekeeping.put_off", extra={"code": error.code.value})
        except (OSError, psycopg.Error) as exc:  # the kind alone: a database's words may hold values of rows
            logger.warning("housekeeping.put_off", extra={"kind": type(exc).__name__})

    def _index(self) -> None:
        chores = self._chores
        for step in build_indexes(chores.pool, chores.bundle_id, chores.hnsw_from_rows):
            logger.info("index.built", extra={"step": repr(step)})
            if self._stopping.is_set():
                return

    def _forget_priors(self) -> None:
        chores = self._chores
        removed = chores.priors.purge(chores.clock.now() - timedelta(days=chores.keep_priors_days))
        if removed:
            logger.info("priors.forgotten", extra={"files": removed})
