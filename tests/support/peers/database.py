"""A PostgreSQL of one's own for a test or a demo: folder and server go away at the end."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from app.postgres import EmbeddedPostgres
from app.postgres.postmaster import cluster_processes
from tests.support.peers.folders import open_folder

_PATIENCE_S = 10.0


@contextlib.contextmanager
def fresh_postgres() -> Iterator[EmbeddedPostgres]:
    """Yield a running server with an empty database `interval`; `start()` gives its URL again."""
    with open_folder() as folder:
        server = EmbeddedPostgres(folder / "postgres")
        try:
            server.start()
            yield server
        finally:
            discard(folder / "postgres")


def discard(state_dir: Path) -> None:
    """End the server of a folder that goes away: no checkpoint as at a proper stop, but shared memory is freed."""
    ends = time.monotonic() + _PATIENCE_S
    while pids := cluster_processes(state_dir.resolve() / "data"):
        number = signal.SIGQUIT if time.monotonic() < ends else signal.SIGKILL
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        time.sleep(0.05)
