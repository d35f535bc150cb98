"""The RIS as a program of its own, for runs that kill and restart it."""

import sys
from collections.abc import Sequence
from pathlib import Path

from app.postgres.ports import free_port
from tests.support.peers.process import PeerProcess, accepts_connections, wait_until
from tests.support.peers.ris.journal import JOURNAL, RisMessage, contents_by_control_id, read_journal


class RisProcess(PeerProcess):
    """`python -m tests.support.peers.ris` on a port that stays the same; its journal outlives it."""

    def __init__(self, folder: Path, *, port: int | None = None, options: Sequence[str] = ()) -> None:
        super().__init__(folder.resolve() / "ris.log")
        self.port = free_port() if port is None else port
        self._out = folder.resolve() / "messages"
        self._options = options

    def command(self) -> Sequence[str]:
        """Return the command line."""
        command = [sys.executable, "-m", "tests.support.peers.ris", "--port", str(self.port), "--out", str(self._out)]
        return [*command, *self._options]

    def is_ready(self) -> bool:
        """Return whether it listens."""
        return accepts_connections(self.port)

    @property
    def messages(self) -> list[RisMessage]:
        """Everything that was received, in order, over all starts."""
        return read_journal(self._out / JOURNAL)

    def distinct(self) -> dict[str, set[bytes]]:
        """Return the different byte strings that came under each control id (MSH-10); one each is as it should be."""
        return contents_by_control_id(self.messages)

    def wait_for(self, count: int, timeout_s: float = 30.0) -> list[RisMessage]:
        """Return the messages once there are `count`. Raises TimeoutError."""
        if not wait_until(lambda: len(self.messages) >= count, timeout_s):
            raise TimeoutError(f"{len(self.messages)} of {count} messages came")
        return self.messages
