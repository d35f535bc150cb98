"""The C-STORE listener against real senders: who and what is refused, with which status."""

import socket
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from app.migrate import migrate
from app.postgres import EmbeddedPostgres
from app.postgres.ports import LOOPBACK
from operators.domain.database import Pool
from operators.domain.tls_config import TlsConfig
from operators.receive.config import SpoolConfig
from operators.receive.part10 import file_preface
from tests.support.objects import (
    ct_slice,
    dx_from_image,
    save,
)
from tests.support.peers.dcmtk import echoscu, storescu
from tests.support.peers.process import wait_until
from tests.support.peers.programs import require
from tests.support.peers.tls import TlsMaterial, make_tls
from tests.support.receiving import FILM, RunningReceiver, config, data_set_of, dx_file, rows, send_raw

pytestmark = pytest.mark.peer
_PLANTED = "Planted^Patricia"
_REFUSALS = "SELECT called_ae, reason FROM refusals"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    require("openssl")
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(
    ("damage", "status"),
    [
        (lambda good: good[: len(good) // 2], 0xC001),
        (lambda good: good[:-1], 0xC001),
        (lambda good: b"Dear colleague, this is a text file and no image.\n" * 20, 0xC001),
        (lambda good: b"", 0xC002),
        (lambda good: b"\x08\x00\x16\x00UI", 0xC002),
    ],
    ids=["half", "last byte missing", "text", "nothing", "a few bytes"],
)
def test_what_is_no_whole_object_is_refused_and_leaves_nothing(
    damage: Callable[[bytes], bytes], status: int, node: RunningReceiver, pool: Pool, tmp_path: Path
) -> None:
    good = dx_file(tmp_path)
    preface = good.read_bytes()[: -len(data_set_of(good))]
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(preface + damage(data_set_of(good)))

    answered, comment = send_raw(bad, node.peer())

    assert (answered, bool(comment)) == (status, True)
    assert (node.files(), node.parts(), rows(pool, "SELECT 1 FROM instances")) == ([], [], [])
    assert storescu([good], node.peer()).all_stored


def test_an_object_that_is_not_the_one_announced_is_refused(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    good = dx_file(tmp_path)
    preface = file_preface(
        sop_class_uid=SecondaryCaptureImageStorage, sop_instance_uid="1.2.3", transfer_syntax_uid=ExplicitVRLittleEndian
    )
    other = tmp_path / "other.dcm"
    other.write_bytes(preface + data_set_of(good))

    assert send_raw(other, node.peer())[0] == 0xA900
    assert (node.files(), rows(pool, "SELECT 1 FROM instances")) == ([], [])


def test_an_unknown_calling_ae_is_refused_and_counted_by_name(tmp_path: Path, database_url: str, pool: Pool) -> None:
    with RunningReceiver(tmp_path, database_url, config(calling_ae_titles=("CT1", "PACS"))) as node:
        refused = [storescu([dx_file(tmp_path)], node.peer(calling="STRANGER")) for _ in range(2)]
        assert storescu([dx_file(tmp_path)], node.peer(calling="CT1")).all_stored

    assert all("Calling AE Title Not Recognized" in one.text for one in refused)
    (row,) = rows(pool, "SELECT calling_ae, called_ae, reason, times FROM refusals")
    assert row == {"calling_ae": "STRANGER", "called_ae": "INTERVAL", "reason": "calling-ae-unknown", "times": 2}
    assert [one["calling_ae"] for one in node.log() if one["event"] == "association.refused"] == ["STRANGER"] * 2


def test_an_unknown_called_ae_is_refused_and_counted_by_name(node: RunningReceiver, pool: Pool) -> None:
    assert not echoscu(node.peer(called="SOMEBODY"))

    assert wait_until(lambda: bool(rows(pool, _REFUSALS)), 10.0)
    (row,) = rows(pool, _REFUSALS)
    assert row == {"called_ae": "SOMEBODY", "reason": "called-ae-unknown"}


def test_one_association_too_many_is_refused_over_all_processes(tmp_path: Path, database_url: str, pool: Pool) -> None:
    limited = config(processes=2, maximum_associations=1, negotiation_timeout_s=20.0)
    with RunningReceiver(tmp_path, database_url, limited) as node:
        assert wait_until(lambda: echoscu(node.peer()), 10.0)
        with socket.create_connection((LOOPBACK, node.receiver.port)):  # holds the one place without a word
            assert wait_until(lambda: not echoscu(node.peer()), 10.0)
        assert wait_until(lambda: echoscu(node.peer()), 10.0)

    assert {row["reason"] for row in rows(pool, "SELECT reason FROM refusals")} == {"too-many-associations"}


def test_nothing_is_accepted_below_the_low_watermark(tmp_path: Path, database_url: str, pool: Pool) -> None:
    never_enough = SpoolConfig(refuse_below_mib=2**40, purge_below_mib=2**40)
    with RunningReceiver(tmp_path, database_url, config(spool=never_enough)) as node:
        sent = storescu([dx_file(tmp_path)], node.peer())

        assert sent.files[0].status == 0xA700
        assert (node.files(), node.parts(), rows(pool, "SELECT 1 FROM instances")) == ([], [], [])


def test_a_sender_can_repeat_what_was_refused_while_the_database_was_away(tmp_path: Path, open_folder: Path) -> None:
    server = EmbeddedPostgres(open_folder / f"away-{tmp_path.name}")
    url = server.start()
    migrate(url)
    path = dx_file(tmp_path)
    try:
        with RunningReceiver(tmp_path, url, config(database_wait_s=0.5)) as node:
            assert storescu([dx_file(tmp_path, "before")], node.peer()).all_stored
            server.stop()

            refused = storescu([path], node.peer())
            assert refused.files[0].status == 0xA700

            server.start()
            assert wait_until(lambda: storescu([path], node.peer()).all_stored, 20.0)
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT count(*) FROM instances").fetchone() == (2,)
    finally:
        server.stop()


def test_a_restart_of_the_database_costs_no_sender_a_refusal(tmp_path: Path, open_folder: Path) -> None:
    server = EmbeddedPostgres(open_folder / f"restart-{tmp_path.name}")
    url = server.start()
    migrate(url)
    try:
        with RunningReceiver(tmp_path, url, config()) as node:
            assert storescu([dx_file(tmp_path, "before")], node.peer()).all_stored
            server.stop()
            server.start()

            assert storescu([dx_file(tmp_path, "after")], node.peer()).all_stored
    finally:
        server.stop()


def test_no_patient_data_in_the_log_whatever_is_sent(node: RunningReceiver, tmp_path: Path) -> None:
    phi = {"PatientName": _PLANTED, "PatientID": "PLANTED-ID", "PatientBirthDate": "19010203"}
    good = dx_file(tmp_path, **phi)
    odd = dx_from_image(FILM, seed="odd", **phi)
    odd.add_new(0x00201208, "IS", "12")
    save(odd, tmp_path / "odd.dcm")
    content = (tmp_path / "odd.dcm").read_bytes().replace(b"IS\x02\x0012", b"IS\x02\x00P^")
    (tmp_path / "odd.dcm").write_bytes(content)
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(good.read_bytes()[:-10])

    assert storescu([good], node.peer()).all_stored
    send_raw(tmp_path / "odd.dcm", node.peer())
    assert send_raw(cut, node.peer())[0] == 0xC001

    text = node.log_path.read_text(encoding="utf-8")
    assert "object.refused" in text
    assert not any(planted in text for planted in ("Planted", "PLANTED-ID", "19010203"))


def test_tls_with_a_client_certificate_is_accepted_and_without_is_not(
    tls: TlsMaterial, tmp_path: Path, database_url: str, pool: Pool
) -> None:
    secured = TlsConfig(certificate_path=str(tls.server_certificate), key_path=str(tls.server_key), ca_path=str(tls.ca))
    stranger = make_tls(tmp_path / "stranger")
    mixed = TlsMaterial(
        ca=tls.ca, server_certificate=tls.server_certificate, server_key=tls.server_key,
        client_certificate=stranger.client_certificate, client_key=stranger.client_key,
    )  # fmt: skip
    with RunningReceiver(tmp_path, database_url, config(tls=secured)) as node:
        paths = [dx_file(tmp_path), save(ct_slice(seed="tls", size_px=2048), tmp_path / "tls.dcm")]

        assert storescu(paths, node.peer(tls=tls)).all_stored
        assert not echoscu(node.peer())
        assert not echoscu(node.peer(tls=mixed))
        assert echoscu(node.peer(tls=tls))

    assert len(node.files()) == 2
    assert {row["reason"] for row in rows(pool, "SELECT reason FROM refusals")} == {"tls-handshake-failed"}


def test_a_silent_tls_client_holds_nobody_up(tls: TlsMaterial, tmp_path: Path, database_url: str) -> None:
    secured = TlsConfig(certificate_path=str(tls.server_certificate), key_path=str(tls.server_key), ca_path=str(tls.ca))
    with (
        RunningReceiver(tmp_path, database_url, config(tls=secured)) as node,
        socket.create_connection((LOOPBACK, node.receiver.port)),
    ):
        assert echoscu(node.peer(tls=tls))
