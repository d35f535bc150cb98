"""Start, adopt, watch and stop the PostgreSQL server of one state folder.

The server outlives its supervisor: it runs in a session of its own, and whoever calls `start()` next, in this process
or another, finds it and uses it. A server that was killed is started again with its data, on the same port.
"""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from app.postgres.account import Account, choose_account
from app.postgres.binaries import Binaries, find_binaries
from app.postgres.configuration import HBA, server_settings
from app.postgres.creation import create_cluster, open_to_account, server_failure
from app.postgres.files import locked, make_folder, os_errors_named, rotate, text_from, write_file
from app.postgres.ports import free_port, is_free
from app.postgres.postmaster import Layout, Postmaster, cluster_processes, find_postmaster, is_living, url_of
from operators.domain.errors import ConfigError, TransientError
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)

_POLL_S = 0.02
_ORPHANS_END_S = 5.0
_SHARED_MEMORY_WANTED_BYTES = 512 * 2**20
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - not a temporary file: the size of this mount is asked for
_PORT_TRIES = 5
# The ways to stop a server, the friendlier first (PostgreSQL documentation, "Shutting Down the Server").
_STOPS = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0))


class _PortTakenError(Exception):
    """The server could not listen on the port it was given."""


class EmbeddedPostgres:
    """The PostgreSQL server of one machine, its whole state in `state_dir`.

    With no `port`, the port of the last start is used again as long as it is free, so that clients find the server
    after a restart. A first start, and the recovery after a crash, may each take `start_timeout_s`.
    """

    def __init__(self, state_dir: Path, *, port: int | None = None, start_timeout_s: float = 60.0) -> None:
        self._layout = Layout(state_dir=state_dir.resolve())
        self._wanted_port = port
        self._start_timeout_s = start_timeout_s

    def start(self) -> str:
        """Return the URL of the database `interval`, of the server that runs already or of one started now.

        Raises ConfigError when the cluster, the account or the given port cannot be used, PrerequisiteMissingError when
        the programs are not installed, TransientError when the disk is full or the server does not get ready in time.
        """
        with self._alone():
            postmaster = self._settled()
            if postmaster is None:
                postmaster = self._create_and_launch()
            else:
                logger.info("postgres.adopted", extra={"port": postmaster.port})
            return url_of(self._layout, postmaster.port)

    def ensure_running(self) -> str:
        """Return the URL; when the server has died, start it again first. Raises as `start`."""
        postmaster = self._postmaster()
        if postmaster is not None and postmaster.ready:
            return url_of(self._layout, postmaster.port)
        logger.warning("postgres.not_running")
        return self.start()

    def is_alive(self) -> bool:
        """Return whether the server of this state folder runs and takes connections."""
        postmaster = self._postmaster()
        return postmaster is not None and postmaster.ready

    def stop(self) -> None:
        """Stop the server, whoever started it: open transactions are rolled back, nothing committed is lost.

        Raises TransientError when it does not end.
        """
        with self._alone():
            postmaster = self._postmaster()
            if postmaster is not None:
                self._end(postmaster.pid)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with os_errors_named():
            make_folder(self._layout.state_dir)
            with locked(self._layout.state_dir / "lock", timeout_s=self._start_timeout_s):
                yield

    def _end(self, pid: int) -> None:
        for number, patience_s in _STOPS:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            if _wait(lambda: not is_living(pid), patience_s):
                logger.info("postgres.stopped", extra={"signal": number.name})
                return
        raise TransientError(ReasonCode.DATABASE_AWAY, server="does not stop")

    def _settled(self) -> Postmaster | None:
        """Return the ready server that runs already, or None once nothing of a former one is left."""
        if not _wait(lambda: self._postmaster() is not None or not self._processes(), _ORPHANS_END_S):
            # Children of a server that was killed, busy in a long query: recovery must not start beside them.
            for pid in self._processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if not _wait(lambda: self.is_alive() or not self._processes(), self._start_timeout_s):
            raise TransientError(ReasonCode.DATABASE_AWAY, server="neither gets ready nor ends")
        postmaster = self._postmaster()
        if postmaster is None:
            # The number in the file may belong to another program by now, or to a zombie that nobody buries;
            # PostgreSQL would then refuse to start. No process of the cluster lives any more, so the file may go.
            self._layout.pid_file.unlink(missing_ok=True)
        return postmaster

    def _create_and_launch(self) -> Postmaster:
        layout = self._layout
        account = choose_account(layout.state_dir, layout.data_dir)
        open_to_account(layout.state_dir, account)
        binaries = find_binaries(account, layout.state_dir / "programs")
        create_cluster(layout, binaries, account)
        for port in self._ports():
            with contextlib.suppress(_PortTakenError):
                postmaster = self._launch(binaries, account, port)
                write_file(layout.port_file, f"{port}\n", mode=0o644)
                return postmaster
        raise ConfigError(
            f"Port {self._wanted_port} on 127.0.0.1 is taken by another program: stop it, or choose another port."
            if self._wanted_port is not None
            else "PostgreSQL found no port on 127.0.0.1 to listen on.",
            ReasonCode.PORT_IN_USE,
        )

    def _ports(self) -> Iterator[int]:
        if self._wanted_port is not None:
            yield self._wanted_port
            return
        with contextlib.suppress(OSError, ValueError):
            last = int(self._layout.port_file.read_text(encoding="ascii"))
            if is_free(last):
                yield last
        for _ in range(_PORT_TRIES):
            yield free_port()

    def _launch(self, binaries: Binaries, account: Account, port: int) -> Postmaster:
        layout = self._layout
        config_file, hba_file = layout.state_dir / "postgresql.conf", layout.state_dir / "pg_hba.conf"
        settings = server_settings(port=port, data_dir=layout.data_dir, shared_memory=_shared_memory_kind())
        write_file(config_file, settings, mode=0o644)
        write_file(hba_file, HBA, mode=0o644)
        command = [binaries.program("postgres"), "-D", str(layout.data_dir)]
        command += [f"--config-file={config_file}", f"--hba-file={hba_file}"]
        rotate(layout.log_file)
        with layout.log_file.open("ab") as log:
            log_from_bytes = log.tell()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **account.surroundings,
            )
        # The thread takes note of the server's end: it would stay a zombie, and this object may be gone by then.
        threading.Thread(target=process.wait, name="postgres-end", daemon=True).start()
        return self._wait_ready(process, log_from_bytes)

    def _wait_ready(self, process: subprocess.Popen[bytes], log_from_bytes: int) -> Postmaster:
        _wait(lambda: process.poll() is not None or self.is_alive(), self._start_timeout_s)
        postmaster = self._postmaster()
        if postmaster is not None and postmaster.ready:
            logger.info("postgres.started", extra={"port": postmaster.port})
            return postmaster
        if process.poll() is None:
            raise TransientError(ReasonCode.DATABASE_AWAY, server="does not get ready in time")
        said = text_from(self._layout.log_file, log_from_bytes)
        if "could not bind" in said:
            raise _PortTakenError
        raise server_failure(said, self._layout.log_file)

    def _postmaster(self) -> Postmaster | None:
        return find_postmaster(self._layout)

    def _processes(self) -> list[int]:
        return cluster_processes(self._layout.data_dir)


def _wait(condition: Callable[[], bool], timeout_s: float) -> bool:
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(_POLL_S)
    return True


def _shared_memory_kind() -> str:
    """Return `posix`, or `mmap` in containers whose /dev/shm is too small to build an index in parallel."""
    try:
        roomy = shutil.disk_usage(_SHARED_MEMORY).total >= _SHARED_MEMORY_WANTED_BYTES
    except OSError:
        roomy = False
    return "posix" if roomy else "mmap"
