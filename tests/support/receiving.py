"""The receive role's listeners for tests: started on a free port, with what they tell and log within reach."""

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pynetdicom import AE, _config
from pynetdicom.dsutils import split_dataset

from app.logs import JsonLines
from operators.domain.database import Pool
from operators.domain.inbox import Inbox
from operators.domain.messages import StoredInstance
from operators.receive.config import ReceiveConfig
from operators.receive.receiver import Receiver
from tests.support.objects import dx_from_image, save
from tests.support.peers.dcmtk import Peer
from tests.support.peers.process import wait_until
from tests.support.peers.tls import TlsMaterial

STUDIES = "SELECT study_uid, revision, state FROM revisions ORDER BY study_uid, revision"
FILM = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48) % 4096


def dx_file(folder: Path, name: str = "dx", **attributes: object) -> Path:
    """Write a small film into a folder; its name is the seed of its UIDs."""
    return save(dx_from_image(FILM, seed=name, **attributes), folder / f"{name}.dcm")


def log_to(path: Path) -> None:
    """Send a listener process's log, all of it, to a file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG)


class RunningReceiver:
    """A Receiver with its inbox; use as a context manager."""

    def __init__(self, folder: Path, database_url: str, config: ReceiveConfig) -> None:
        self.spool_root = folder / "spool"
        self.log_path = folder / "listener.log"
        self._config = config
        self._stored: list[StoredInstance] = []
        self.inbox: Inbox[tuple[StoredInstance, ...]] = Inbox()
        self.receiver = Receiver(
            config=config,
            database_url=database_url,
            spool_root=self.spool_root,
            inbox=self.inbox,
            set_up_process=partial(log_to, self.log_path),
        )

    def __enter__(self) -> Self:
        self.receiver.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.receiver.stop()

    def peer(self, *, tls: TlsMaterial | None = None, calling: str = "TESTSCU", called: str = "") -> Peer:
        """Where senders send to."""
        return Peer(port=self.receiver.port, called=called or self._config.ae_title, calling=calling, tls=tls)

    def stored(self) -> list[StoredInstance]:
        """What the listeners have told so far."""
        while len(self.inbox):
            self.inbox.take(self._stored.extend)
        return self._stored

    def wait_for_stored(self, count: int) -> list[StoredInstance]:
        """What the listeners have told, once that is `count` objects or some seconds have passed."""
        wait_until(lambda: len(self.stored()) >= count, 10.0)
        return self.stored()

    def forget(self) -> None:
        """Remove kept files and what was told, for the next test."""
        for path in self.files():
            path.unlink()
        self.stored().clear()

    def log(self) -> list[dict[str, Any]]:
        """Return the records that the listeners logged."""
        with suppress(FileNotFoundError):
            return [json.loads(line) for line in self.log_path.read_text(encoding="utf-8").splitlines()]
        return []

    def files(self) -> list[Path]:
        """Return the kept files."""
        return sorted(self.spool_root.glob("objects/*/*/*.dcm"))

    def parts(self) -> list[Path]:
        """Return the files that are being received, or were left."""
        return sorted(self.spool_root.glob("incoming/*"))


def config(**changes: Any) -> ReceiveConfig:
    """Settings for a test: one process, a free port, quick ticks."""
    return ReceiveConfig(**{"port": 0, "processes": 1, "tick_s": 0.05, "stop_within_s": 2.0, **changes})


def data_set_of(path: Path) -> bytes:
    """Return the bytes of a DICOM file that follow its file meta information."""
    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]


def database_from(postgres_url: str, template: str, name: str) -> Iterator[str]:
    """A copy of a database, dropped in the end; yields its URL."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        made, of = sql.Identifier(name), sql.Identifier(template)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(made, of))
        yield make_conninfo("", **{**conninfo_to_dict(postgres_url), "dbname": name})
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(made))


def rows(pool: Pool, query: str) -> list[dict[str, Any]]:
    """Return what a query gives."""
    with pool.connection() as connection:
        return connection.execute(query).fetchall()


def only_path(node: RunningReceiver, pool: Pool) -> Path:
    """Return the file of the one object that was kept."""
    (row,) = rows(pool, "SELECT path FROM instances")
    return node.spool_root / str(row["path"])


def send_raw(path: Path, peer: Peer) -> tuple[int, str]:
    """Send the bytes of a file's data set as they are, right or wrong; return status and error comment.

    The request announces what the file meta information says.
    """
    file_meta, _ = split_dataset(path)
    ae = AE(peer.calling)
    ae.add_requested_context(file_meta.MediaStorageSOPClassUID, file_meta.TransferSyntaxUID)
    was, _config.STORE_SEND_CHUNKED_DATASET = _config.STORE_SEND_CHUNKED_DATASET, True
    try:
        association = ae.associate(peer.host, peer.port, ae_title=peer.called)
        assert association.is_established
        answer = association.send_c_store(path)
        association.release()
    finally:
        _config.STORE_SEND_CHUNKED_DATASET = was
    return int(answer.Status), str(answer.get("ErrorComment", ""))
