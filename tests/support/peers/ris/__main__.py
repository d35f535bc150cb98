"""Command line of the RIS: listen until SIGTERM, append every message to DIR/journal.jsonl before answering it."""

import argparse
import signal
import sys
from pathlib import Path

from tests.support.peers.process import PeerNotReadyError
from tests.support.peers.ris.peer import Answer, RisPeer
from tests.support.peers.tls import TlsMaterial


def main(arguments: list[str] | None = None) -> int:
    """Serve; return the exit code: 3 when the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.peers.ris", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--answer", type=Answer, choices=list(Answer), default=Answer.AA)
    parser.add_argument("--tls", type=Path, metavar="DIR", help="a folder written by make_tls")
    given = parser.parse_args(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    tls = TlsMaterial.in_folder(given.tls) if given.tls is not None else None
    peer = RisPeer(given.out, port=given.port, answer=given.answer, tls=tls)
    try:
        peer.start()
    except PeerNotReadyError as exc:
        print(exc, file=sys.stderr)
        return 3
    print(f"listening on 127.0.0.1:{peer.port}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    peer.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
