"""dcmtk's storescp: a strict receiver of C-STORE that keeps what it gets as files."""

from collections.abc import Sequence
from pathlib import Path

from app.postgres.ports import free_port
from tests.support.peers.process import PeerProcess, accepts_connections
from tests.support.peers.programs import path_of
from tests.support.peers.tls import TlsMaterial


class Storescp(PeerProcess):
    """A receiver; `options` are further ones of storescp, such as `--sleep-during 1` or `--abort-after`."""

    def __init__(
        self,
        folder: Path,
        *,
        ae_title: str = "STORESCP",
        port: int | None = None,
        tls: TlsMaterial | None = None,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(folder.resolve() / "storescp.log")
        self.port = free_port() if port is None else port
        self.ae_title = ae_title
        self._received = folder.resolve() / "received"
        self._tls = tls
        self._options = options

    def command(self) -> Sequence[str]:
        """Return the command line: all transfer syntaxes, objects kept bit by bit, one file for each store."""
        self._received.mkdir(parents=True, exist_ok=True)
        command = [path_of("storescp"), "-v", "-aet", self.ae_title, "-od", str(self._received), "+xa", "+B", "-pm"]
        command += ["--fork", "-dhl"]
        if self._tls is not None:
            command += ["+tls", str(self._tls.server_key), str(self._tls.server_certificate)]
            command += ["+cf", str(self._tls.ca)]
        return [*command, *self._options, str(self.port)]

    def is_ready(self) -> bool:
        """Return whether it listens."""
        return accepts_connections(self.port)

    @property
    def files(self) -> list[Path]:
        """What was received, one file for each SOP Instance."""
        return sorted(self._received.iterdir()) if self._received.exists() else []
