"""Receive rate for four parallel associations of 125 CT slices, beside Orthanc and dcmtk's storescp in the same run.

Everybody stores to the same disk and syncs as it does by default; the node has its row in PostgreSQL too before it
answers. Senders are dcmtk's storescu, twice: with TCP_NODELAY on both sides of everybody, which is each receiver at its
best (`receive_ct`), and as dcmtk comes, with Nagle's algorithm (`receive_ct_nagle`). Rounds take turns; medians count.

    python -m tests.bench.receive
"""

import contextlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from app.jobs import enqueue
from app.migrate import migrate
from app.postgres import EmbeddedPostgres
from app.postgres.ports import LOOPBACK
from operators.assemble.assembler import Assembler
from operators.assemble.config import AssembleConfig
from operators.assemble.stage import AssembleStage
from operators.domain.clock import SystemClock
from operators.domain.database import Pool, open_pool
from operators.domain.messages import StoredInstance
from operators.receive.config import ReceiveConfig
from tests.bench.result import Metric
from tests.support.objects import ct_slice, save
from tests.support.peers.orthanc import Orthanc
from tests.support.peers.programs import path_of
from tests.support.peers.storescp import Storescp
from tests.support.receiving import RunningReceiver, rows

_ASSOCIATIONS, _SLICES = 4, 125
_ROUNDS = 3
_NODELAY, _NAGLE = "1", "0"
_EMPTY = "TRUNCATE studies, revisions, instances CASCADE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Where one of the compared receivers listens, how many objects it has, and how it is emptied."""

    name: str
    port: int
    called: str
    count: Callable[[], int]
    empty: Callable[[], None]


class TunedOrthanc(Orthanc):
    """Orthanc with dcmtk's environment variable for TCP_NODELAY."""

    nodelay = _NODELAY

    def command(self) -> Sequence[str]:
        """Return the command line."""
        return ["env", f"TCP_NODELAY={self.nodelay}", *super().command()]


class TunedStorescp(Storescp):
    """Storescp with dcmtk's environment variable for TCP_NODELAY."""

    nodelay = _NODELAY

    def command(self) -> Sequence[str]:
        """Return the command line."""
        return ["env", f"TCP_NODELAY={self.nodelay}", *super().command()]


def receive(rounds: int = _ROUNDS) -> list[Metric]:
    """Return the rates in instances per second: `receive_ct` first, beside Orthanc; then the others."""
    with tempfile.TemporaryDirectory(prefix="interval-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        batches = _slices(folder / "ct")
        tuned = _rates(folder / "tuned", batches, _NODELAY, rounds)
        plain = _rates(folder / "plain", batches, _NAGLE, rounds)
    return [
        _metric("receive_ct", tuned, "orthanc"),
        _metric("receive_ct_dcmtk", tuned, "storescp"),
        _metric("receive_ct_nagle", plain, "orthanc"),
    ]


def _metric(name: str, rates: dict[str, float], baseline: str) -> Metric:
    return Metric(
        name=name,
        value=rates["interval"],
        unit="instances/s",
        baseline=baseline,
        baseline_value=rates[baseline],
        ratio=rates["interval"] / rates[baseline],
    )


def _slices(folder: Path) -> list[Path]:
    """Write one study for each association; return their folders."""
    folders = []
    for association in range(_ASSOCIATIONS):
        folders.append(folder / str(association))
        folders[-1].mkdir(parents=True)
        for number in range(1, _SLICES + 1):
            ds = ct_slice(seed=f"receive/{association}", instance_number=number)
            save(ds, folders[-1] / f"{number:03}.dcm")
    return folders


def _rates(folder: Path, batches: Sequence[Path], nodelay: str, rounds: int) -> dict[str, float]:
    """Return the median rate of each receiver."""
    with contextlib.ExitStack() as stack:
        receivers = [
            stack.enter_context(_orthanc(folder / "orthanc", nodelay)),
            stack.enter_context(_interval(folder / "interval")),
            stack.enter_context(_storescp(folder / "storescp", nodelay)),
        ]
        found: dict[str, list[float]] = {receiver.name: [] for receiver in receivers}
        for number in range(rounds):
            for receiver in receivers:
                rate = _one_round(receiver, batches, nodelay)
                found[receiver.name].append(rate)
                said = f"round {number + 1}, TCP_NODELAY={nodelay}: {receiver.name} {rate:.0f} instances/s"
                print(f"receive: {said}", file=sys.stderr)
    return {name: statistics.median(rates) for name, rates in found.items()}


def _one_round(receiver: Receiver, batches: Sequence[Path], nodelay: str) -> float:
    receiver.empty()
    command = ["env", f"TCP_NODELAY={nodelay}", path_of("storescu"), "-aec", receiver.called, "+sd"]
    started_s = time.monotonic()
    senders = [subprocess.Popen([*command, LOOPBACK, str(receiver.port), str(batch)]) for batch in batches]
    codes = [sender.wait() for sender in senders]
    took_s = time.monotonic() - started_s
    wanted = _ASSOCIATIONS * _SLICES
    if any(codes) or receiver.count() != wanted:
        raise RuntimeError(f"{receiver.name} stored {receiver.count()} of {wanted}")
    return wanted / took_s


@contextlib.contextmanager
def _orthanc(folder: Path, nodelay: str) -> Iterator[Receiver]:
    orthanc = TunedOrthanc(folder)
    orthanc.nodelay = nodelay

    def empty() -> None:
        for uid in orthanc.archive.study_uids():
            orthanc.archive.delete_study(uid)

    with orthanc:
        yield Receiver(
            name="orthanc",
            port=orthanc.dicom_port,
            called=orthanc.ae_title,
            count=lambda: int(orthanc.archive.statistics()["CountInstances"]),
            empty=empty,
        )


@contextlib.contextmanager
def _storescp(folder: Path, nodelay: str) -> Iterator[Receiver]:
    storescp = TunedStorescp(folder)
    storescp.nodelay = nodelay

    def empty() -> None:
        for path in storescp.files:
            path.unlink()

    with storescp:
        yield Receiver(
            name="storescp",
            port=storescp.port,
            called=storescp.ae_title,
            count=lambda: len(storescp.files),
            empty=empty,
        )


@contextlib.contextmanager
def _interval(folder: Path) -> Iterator[Receiver]:
    """The node's listeners and the closing of studies, with the embedded database as it is by default."""
    folder.mkdir(parents=True)
    server = EmbeddedPostgres(folder / "postgres")
    url = server.start()
    migrate(url)
    config = ReceiveConfig(port=0)
    try:
        with open_pool(url) as pool, RunningReceiver(folder, url, config) as node:

            def empty() -> None:
                with pool.connection() as connection:
                    connection.execute(_EMPTY)
                for study in (node.spool_root / "objects").iterdir():
                    shutil.rmtree(study)

            with _closing(pool, node):
                yield Receiver(
                    name="interval",
                    port=node.receiver.port,
                    called=config.ae_title,
                    count=lambda: int(rows(pool, "SELECT count(*) AS n FROM instances")[0]["n"]),
                    empty=empty,
                )
    finally:
        server.stop()


@contextlib.contextmanager
def _closing(pool: Pool, node: RunningReceiver) -> Iterator[None]:
    """Have studies closed from what the listeners tell, as the receive role does."""
    clock, config = SystemClock(), AssembleConfig()
    assembler = Assembler(pool, enqueue=enqueue, clock=clock, config=config)
    stage = AssembleStage(close_due=assembler.close_due, clock=clock, config=config)
    ended = threading.Event()

    def look(items: tuple[StoredInstance, ...]) -> None:
        stage(items)

    def take() -> None:
        while not ended.wait(0.1):
            while len(node.inbox):
                node.inbox.take(look)

    thread = threading.Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    for metric in receive():
        print(asdict(metric))
