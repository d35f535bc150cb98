"""A peer that is a program: started with its log in a file, waited for, stopped, killed and started again."""

import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from app.postgres.ports import LOOPBACK

_ROOT = Path(__file__).resolve().parents[3]
_POLL_S = 0.02
_STOP_S = 10.0


class PeerNotReadyError(Exception):
    """A peer ended or stayed silent instead of getting ready; the text holds the end of its log."""


class PeerProcess:
    """Base of peers that are programs: `command()` and `is_ready()` are theirs, life and death are here."""

    ready_timeout_s = 30.0

    def __init__(self, log_path: Path) -> None:
        self.log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Return the command line."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Return whether the peer serves."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start the program, with the data it has, and wait until it serves. Raises PeerNotReadyError."""
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=_ROOT
            )
        if not wait_until(lambda: not self.is_running or self.is_ready(), self.ready_timeout_s) or not self.is_running:
            self.kill()
            raise PeerNotReadyError(f"{self.command()[0]} does not get ready; its log ends:\n{self._log_end()}")
        return self

    def stop(self) -> None:
        """Ask the program to end, kill it when it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the program as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def is_running(self) -> bool:
        """Whether the program lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        if self._process is None:
            raise PeerNotReadyError("the peer was never started")
        return self._process.pid

    def __enter__(self) -> Self:
        return self if self.is_running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _log_end(self) -> str:
        return "\n".join(self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Return whether the condition came true in time."""
    ends = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(_POLL_S)
    return True


def accepts_connections(port: int) -> bool:
    """Return whether something listens on the loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1.0).close()
    except OSError:
        return False
    return True
