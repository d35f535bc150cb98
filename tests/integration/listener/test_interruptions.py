"""The C-STORE listener while processes die and peers break off or fall silent: nothing acknowledged is lost."""

import os
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from app.postgres.ports import LOOPBACK
from operators.domain.database import Pool
from operators.domain.errors import ConfigError
from operators.domain.listening import bind
from operators.domain.reasons import ReasonCode
from tests.support.objects import (
    ct_slice,
    save,
)
from tests.support.peers.dcmtk import dcmsend, echoscu, storescu
from tests.support.peers.process import wait_until
from tests.support.peers.programs import path_of
from tests.support.receiving import (
    STUDIES,
    RunningReceiver,
    config,
    data_set_of,
    dx_file,
    rows,
)

pytestmark = pytest.mark.peer


def test_a_listener_that_is_killed_is_replaced_and_leaves_no_half_file(
    tmp_path: Path, database_url: str, pool: Pool
) -> None:
    with RunningReceiver(tmp_path, database_url, config()) as node:
        assert storescu([dx_file(tmp_path, "before")], node.peer()).all_stored
        (node.spool_root / "incoming" / "listener0-half.part").write_bytes(b"half")
        (pid,) = node.receiver.pids()
        os.kill(pid, signal.SIGKILL)

        assert wait_until(lambda: storescu([dx_file(tmp_path, "after")], node.peer()).all_stored, 15.0)

        assert node.parts() == []
        assert len(rows(pool, "SELECT 1 FROM instances")) == len(node.files()) == 2


def test_an_association_that_breaks_off_leaves_no_half_file(node: RunningReceiver, tmp_path: Path) -> None:
    big = save(ct_slice(seed="broken", size_px=2048), tmp_path / "big.dcm")
    assert storescu([dx_file(tmp_path)], node.peer()).all_stored

    sender = subprocess.Popen([path_of("storescu"), "-aec", "INTERVAL", LOOPBACK, str(node.receiver.port), str(big)])
    time.sleep(0.02)
    sender.kill()
    sender.wait()

    assert wait_until(lambda: node.parts() == [], 10.0)


def test_a_taken_port_is_named(node: RunningReceiver) -> None:
    with pytest.raises(ConfigError, match=str(node.receiver.port)) as caught:
        bind(LOOPBACK, node.receiver.port, what="DICOM port", again_s=0.0)

    assert caught.value.code is ReasonCode.PORT_IN_USE


def test_the_inbox_ends_when_the_receiver_has_stopped(tmp_path: Path, database_url: str) -> None:
    with RunningReceiver(tmp_path, database_url, config(processes=2)) as node:
        assert storescu([dx_file(tmp_path)], node.peer()).all_stored

    assert len(node.stored()) == 1
    assert not node.inbox.put(())


def test_parallel_associations_of_one_study_open_one_revision(tmp_path: Path, database_url: str, pool: Pool) -> None:
    batches = [
        [
            save(ct_slice(seed="p", instance_number=9 * part + one, size_px=64), tmp_path / f"{part}-{one}.dcm")
            for one in range(8)
        ]
        for part in range(4)
    ]
    with RunningReceiver(tmp_path, database_url, config(processes=2)) as node:
        with ThreadPoolExecutor(4) as senders:
            outcomes = list(senders.map(lambda batch: dcmsend(batch, node.peer()), batches))

        assert all(outcome.all_stored for outcome in outcomes)

    assert [row["revision"] for row in rows(pool, STUDIES)] == [1]
    assert len(rows(pool, "SELECT 1 FROM instances")) == len(node.files()) == 32


def test_a_peer_that_falls_silent_within_a_pdu_is_let_go(tmp_path: Path, database_url: str) -> None:
    impatient = config(network_timeout_s=0.3, negotiation_timeout_s=0.5)
    with (
        RunningReceiver(tmp_path, database_url, impatient) as node,
        socket.create_connection((LOOPBACK, node.receiver.port), timeout=20.0) as peer,
    ):
        peer.sendall(b"\x01\x00\x00\x00\x10\x00")  # an A-ASSOCIATE-RQ of 4096 bytes that never come

        assert peer.recv(100) == b""


def test_an_idle_association_is_aborted(tmp_path: Path, database_url: str) -> None:
    with RunningReceiver(tmp_path, database_url, config(network_timeout_s=0.5)) as node:
        ae = AE("IDLE")
        ae.add_requested_context(Verification)
        association = ae.associate(LOOPBACK, node.receiver.port, ae_title="INTERVAL")
        assert association.is_established

        assert wait_until(lambda: bool(association.is_aborted), 10.0)


def test_a_data_pdu_that_is_none_ends_the_association_and_nothing_else(node: RunningReceiver) -> None:
    ae = AE("BROKEN")
    ae.add_requested_context(Verification)
    association = ae.associate(LOOPBACK, node.receiver.port, ae_title="INTERVAL")
    association.dul.socket.socket.sendall(b"\x04\x00\x00\x00\x00\x08\x00\x00\xff\xff\x01\x03xx")

    assert wait_until(lambda: bool(association.is_aborted), 10.0)
    assert echoscu(node.peer())


@pytest.mark.parametrize("moment_s", [0.05, 0.2, 0.5])
def test_what_was_acknowledged_survives_a_kill_at_any_moment(
    moment_s: float, tmp_path: Path, database_url: str, pool: Pool
) -> None:
    slices = [ct_slice(seed="kill", instance_number=one, size_px=256) for one in range(60)]
    paths = [save(ds, tmp_path / f"{number}.dcm") for number, ds in enumerate(slices)]
    with RunningReceiver(tmp_path, database_url, config()) as node:
        assert wait_until(lambda: echoscu(node.peer()), 10.0)
        with ThreadPoolExecutor(1) as sender:
            sending = sender.submit(storescu, paths, node.peer())
            time.sleep(moment_s)
            os.kill(node.receiver.pids()[0], signal.SIGKILL)
            outcome = sending.result()

        stored = {row["instance_uid"]: row["path"] for row in rows(pool, "SELECT instance_uid, path FROM instances")}
        for file in outcome.files:
            if file.status == 0x0000:
                uid = str(pydicom.dcmread(file.path, stop_before_pixels=True).SOPInstanceUID)
                assert data_set_of(node.spool_root / stored[uid]) == data_set_of(file.path)
        assert wait_until(lambda: storescu(paths, node.peer()).all_stored, 20.0)

    assert len(rows(pool, "SELECT 1 FROM instances")) == 60
    assert [row["revision"] for row in rows(pool, STUDIES)] == [1]
