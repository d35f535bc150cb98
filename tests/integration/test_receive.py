"""The C-STORE listener against real senders: what is stored, what is answered, and that nothing is lost or told."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from app.migrate import migrate
from app.postgres import EmbeddedPostgres
from app.postgres.ports import LOOPBACK
from operators.domain.database import Pool, open_pool
from operators.domain.errors import ConfigError
from operators.domain.reasons import ReasonCode
from operators.receive.config import SpoolConfig, TlsConfig
from operators.receive.part10 import file_preface
from operators.receive.receiver import bind
from tests.support.objects import (
    absurd_size,
    basic_text_sr,
    ct_slice,
    dx_from_image,
    encapsulated_pdf,
    key_objects,
    presentation_state,
    save,
)
from tests.support.peers.dcmtk import dcmsend, echoscu, storescu
from tests.support.peers.process import wait_until
from tests.support.peers.programs import path_of, require
from tests.support.peers.tls import TlsMaterial, make_tls
from tests.support.receiving import RunningReceiver, config, data_set_of, database_from, rows, send_raw
from tests.support.transcoding import LOSSLESS_SYNTAXES, LOSSY_SYNTAXES, missing_program, transcoded

pytestmark = pytest.mark.peer

_PLANTED = "Planted^Patricia"
_PROPOSAL = {
    "ImplicitVRLittleEndian": "-xi", "JPEGLosslessSV1": "-xs", "JPEGLSLossless": "-xt", "JPEG2000Lossless": "-xv",
    "RLELossless": "-xr", "DeflatedExplicitVRLittleEndian": "-xd", "ExplicitVRBigEndian": "-xb",
}  # fmt: skip
_REFUSALS = "SELECT called_ae, reason FROM refusals"
_STUDIES = "SELECT study_uid, revision, state FROM revisions ORDER BY study_uid, revision"
_IMAGE = np.arange(64 * 48, dtype=np.uint16).reshape(64, 48) % 4096


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    require("storescu", "dcmsend", "echoscu")


@pytest.fixture(scope="module")
def database_url(postgres_url: str, template: str) -> Iterator[str]:
    """One database for the module, emptied before each test: a listener process takes a second to start."""
    yield from database_from(postgres_url, template, "receive")


@pytest.fixture(scope="module")
def pool(database_url: str) -> Iterator[Pool]:
    with open_pool(database_url, max_size=4) as opened:
        yield opened


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[RunningReceiver]:
    with RunningReceiver(tmp_path_factory.mktemp("shared"), database_url, config()) as running:
        yield running


@pytest.fixture(autouse=True)
def empty(pool: Pool) -> None:
    with pool.connection() as connection:
        connection.execute("TRUNCATE studies, revisions, instances, refusals, counters, documents CASCADE")


@pytest.fixture
def node(shared: RunningReceiver, empty: None) -> RunningReceiver:
    shared.forget()
    return shared


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    require("openssl")
    return make_tls(tmp_path_factory.mktemp("tls"))


def _dx(folder: Path, name: str = "dx", **attributes: object) -> Path:
    return save(dx_from_image(_IMAGE, seed=name, **attributes), folder / f"{name}.dcm")


def _only_path(node: RunningReceiver, pool: Pool) -> Path:
    (row,) = rows(pool, "SELECT path FROM instances")
    return node.spool_root / str(row["path"])


def test_echo_is_answered(node: RunningReceiver) -> None:
    assert echoscu(node.peer())


def test_an_object_is_a_file_and_a_row_when_success_is_answered(
    node: RunningReceiver, pool: Pool, tmp_path: Path
) -> None:
    path = _dx(tmp_path)

    assert storescu([path], node.peer(calling="MODALITY1")).all_stored

    (row,) = rows(pool, "SELECT * FROM instances")
    kept = node.spool_root / row["path"]
    assert data_set_of(kept) == data_set_of(path)
    assert (row["revision"], row["calling_ae"], row["size_bytes"]) == (1, "MODALITY1", kept.stat().st_size)
    assert [(revision["revision"], revision["state"]) for revision in rows(pool, _STUDIES)] == [(1, "receiving")]
    assert node.parts() == []


@pytest.fixture(scope="module", params=[*LOSSLESS_SYNTAXES, *LOSSY_SYNTAXES], ids=lambda uid: uid.keyword)
def encoded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image in each of the usual transfer syntaxes."""
    if missing := missing_program(request.param):
        pytest.skip(f"{missing} is not installed")
    folder = tmp_path_factory.mktemp("encoded")
    eight_bits = (_IMAGE >> 4).astype(np.uint8)
    return transcoded(save(dx_from_image(eight_bits, seed="ts"), folder / "ts.dcm"), request.param, folder)


def test_a_data_set_is_kept_byte_by_byte_as_sent(encoded: Path, node: RunningReceiver, pool: Pool) -> None:
    assert send_raw(encoded, node.peer())[0] == 0x0000

    kept = _only_path(node, pool)
    assert data_set_of(kept) == data_set_of(encoded)
    syntax = pydicom.dcmread(encoded, stop_before_pixels=True).file_meta.TransferSyntaxUID
    assert pydicom.dcmread(kept, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    assert rows(pool, "SELECT transfer_syntax_uid FROM instances") == [{"transfer_syntax_uid": str(syntax)}]


def test_dcmtk_may_send_every_transfer_syntax(encoded: Path, node: RunningReceiver, pool: Pool) -> None:
    original = pydicom.dcmread(encoded)
    option = _PROPOSAL.get(original.file_meta.TransferSyntaxUID.keyword)

    sent = storescu([encoded], node.peer(), options=[option]) if option else dcmsend([encoded], node.peer())

    assert sent.all_stored, sent.text
    kept = pydicom.dcmread(_only_path(node, pool))
    assert kept.file_meta.TransferSyntaxUID == original.file_meta.TransferSyntaxUID
    assert kept.PixelData == original.PixelData


def test_a_private_storage_class_is_stored(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    preface = file_preface(
        sop_class_uid="1.3.46.670589.5.0.1", sop_instance_uid="1.2.3", transfer_syntax_uid=ExplicitVRLittleEndian
    )
    ds = dx_from_image(_IMAGE, SOPInstanceUID="1.2.3", SOPClassUID="1.3.46.670589.5.0.1")
    path = tmp_path / "private.dcm"
    path.write_bytes(preface + data_set_of(save(ds, tmp_path / "public.dcm")))

    status, _ = send_raw(path, node.peer())

    assert status == 0x0000
    assert rows(pool, "SELECT sop_class_uid FROM instances") == [{"sop_class_uid": "1.3.46.670589.5.0.1"}]


def test_an_object_larger_than_memory_buffers_arrives_whole(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    path = save(ct_slice(seed="big", size_px=4096), tmp_path / "big.dcm")

    assert dcmsend([path], node.peer()).all_stored

    assert data_set_of(_only_path(node, pool)) == data_set_of(path)


def test_the_same_object_twice_is_answered_with_success_and_stored_once(
    node: RunningReceiver, pool: Pool, tmp_path: Path
) -> None:
    path = _dx(tmp_path)
    assert storescu([path], node.peer()).all_stored
    rows(pool, "UPDATE revisions SET state = 'queued' RETURNING 1")

    assert storescu([path], node.peer()).all_stored

    assert len(node.files()) == len(rows(pool, "SELECT 1 FROM instances")) == 1
    assert [(one["revision"], one["state"]) for one in rows(pool, _STUDIES)] == [(1, "queued")]
    assert [one.duplicate for one in node.wait_for_stored(2)] == [False, True]


def test_an_object_whose_file_is_gone_is_stored_again(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    path = _dx(tmp_path)
    assert storescu([path], node.peer()).all_stored
    node.files()[0].unlink()
    rows(pool, "UPDATE revisions SET state = 'done' RETURNING 1")

    assert storescu([path], node.peer()).all_stored

    assert data_set_of(_only_path(node, pool)) == data_set_of(path)
    assert [(one["revision"], one["state"]) for one in rows(pool, _STUDIES)] == [(1, "done")]


def test_a_corrected_object_takes_the_place_of_the_wrong_one_and_opens_the_next_revision(
    node: RunningReceiver, pool: Pool, tmp_path: Path
) -> None:
    wrong, right = (
        _dx(tmp_path, patient, SOPInstanceUID="1.2.3.4.5", StudyInstanceUID="1.2.3.4", PatientID=patient)
        for patient in ("WRONG", "RIGHT")
    )
    assert storescu([wrong], node.peer()).all_stored
    rows(pool, "UPDATE revisions SET state = 'done' RETURNING 1")

    for _ in range(2):
        assert storescu([right], node.peer()).all_stored

    assert rows(pool, "SELECT patient_id FROM studies") == [{"patient_id": "RIGHT"}]
    assert [(one["revision"], one["state"]) for one in rows(pool, _STUDIES)] == [(1, "done"), (2, "receiving")]
    (row,) = rows(pool, "SELECT path FROM instances")
    assert data_set_of(node.spool_root / row["path"]) == data_set_of(right)
    assert rows(pool, "SELECT value FROM counters WHERE name = 'objects_replaced'") == [{"value": 1}]


def test_a_whole_image_takes_the_place_of_a_damaged_one(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    """Pixel data shorter than the image says are a whole data set: work parks it, and asks for it again."""
    whole = _dx(tmp_path)
    ds = pydicom.dcmread(whole)
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 4]
    assert storescu([save(ds, tmp_path / "damaged.dcm")], node.peer()).all_stored
    rows(pool, "UPDATE revisions SET state = 'parked' RETURNING 1")

    assert storescu([whole], node.peer()).all_stored

    assert [one["state"] for one in rows(pool, _STUDIES)] == ["parked", "receiving"]
    (row,) = rows(pool, "SELECT path FROM instances")
    assert data_set_of(node.spool_root / row["path"]) == data_set_of(whole)


def test_an_image_after_the_closing_opens_the_next_revision(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    study = {"StudyInstanceUID": "1.2.3.4"}
    assert storescu([_dx(tmp_path, "first", **study)], node.peer()).all_stored
    rows(pool, "UPDATE revisions SET state = 'working' RETURNING 1")

    assert storescu([_dx(tmp_path, "late", **study)], node.peer()).all_stored

    assert [(one["revision"], one["state"]) for one in rows(pool, _STUDIES)] == [(1, "working"), (2, "receiving")]


def test_objects_without_pixels_open_nothing(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    image = dx_from_image(_IMAGE, seed="referenced")
    documents = [basic_text_sr(), key_objects(image), encapsulated_pdf(), presentation_state(image)]
    no_pixels = dx_from_image(_IMAGE, seed="empty")
    del no_pixels.PixelData
    paths = [save(ds, tmp_path / f"{number}.dcm") for number, ds in enumerate([*documents, no_pixels])]

    assert dcmsend(paths, node.peer()).all_stored

    assert rows(pool, _STUDIES) == []
    assert [row["revision"] for row in rows(pool, "SELECT revision FROM instances")] == [0] * len(paths)


def test_our_own_document_is_answered_with_success_and_not_stored_again(
    node: RunningReceiver, pool: Pool, tmp_path: Path
) -> None:
    image, report = _dx(tmp_path), basic_text_sr(seed="ours")
    assert storescu([image], node.peer()).all_stored
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO documents (identity, study_uid, revision, kind, content, sha256) "
            "SELECT %s, study_uid, 1, 'sr', '', '' FROM studies",
            (str(report.SOPInstanceUID),),
        )
    rows(pool, "UPDATE revisions SET state = 'done' RETURNING 1")

    assert storescu([save(report, tmp_path / "sr.dcm")], node.peer()).all_stored

    assert len(node.files()) == 1
    assert [(one["revision"], one["state"]) for one in rows(pool, _STUDIES)] == [(1, "done")]
    assert rows(pool, "SELECT value FROM counters WHERE name = 'objects_own'") == [{"value": 1}]


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
    good = _dx(tmp_path)
    preface = good.read_bytes()[: -len(data_set_of(good))]
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(preface + damage(data_set_of(good)))

    answered, comment = send_raw(bad, node.peer())

    assert (answered, bool(comment)) == (status, True)
    assert (node.files(), node.parts(), rows(pool, "SELECT 1 FROM instances")) == ([], [], [])
    assert storescu([good], node.peer()).all_stored


def test_an_object_that_is_not_the_one_announced_is_refused(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    good = _dx(tmp_path)
    preface = file_preface(
        sop_class_uid=SecondaryCaptureImageStorage, sop_instance_uid="1.2.3", transfer_syntax_uid=ExplicitVRLittleEndian
    )
    other = tmp_path / "other.dcm"
    other.write_bytes(preface + data_set_of(good))

    assert send_raw(other, node.peer())[0] == 0xA900
    assert (node.files(), rows(pool, "SELECT 1 FROM instances")) == ([], [])


def test_an_object_of_absurd_size_is_taken_as_sent(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    assert storescu([save(absurd_size(), tmp_path / "absurd.dcm")], node.peer()).all_stored

    (row,) = rows(pool, "SELECT header FROM instances")
    assert (row["header"]["rows"], row["header"]["columns"]) == (65535, 65535)


def test_names_in_other_scripts_reach_the_tables(node: RunningReceiver, pool: Pool, tmp_path: Path) -> None:
    greek = _dx(tmp_path, "greek", SpecificCharacterSet="ISO_IR 126", PatientName="Διονυσιος")
    name = "Yamada^Tarou=山田^太郎"
    japanese = _dx(tmp_path, "japanese", SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName=name)

    assert storescu([greek, japanese], node.peer()).all_stored

    names = {row["patient_name"] for row in rows(pool, "SELECT patient_name FROM studies")}
    assert names == {"Διονυσιος", name}


def test_an_unknown_calling_ae_is_refused_and_counted_by_name(tmp_path: Path, database_url: str, pool: Pool) -> None:
    with RunningReceiver(tmp_path, database_url, config(calling_ae_titles=("CT1", "PACS"))) as node:
        refused = [storescu([_dx(tmp_path)], node.peer(calling="STRANGER")) for _ in range(2)]
        assert storescu([_dx(tmp_path)], node.peer(calling="CT1")).all_stored

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
        sent = storescu([_dx(tmp_path)], node.peer())

        assert sent.files[0].status == 0xA700
        assert (node.files(), node.parts(), rows(pool, "SELECT 1 FROM instances")) == ([], [], [])


def test_a_sender_can_repeat_what_was_refused_while_the_database_was_away(tmp_path: Path, open_folder: Path) -> None:
    server = EmbeddedPostgres(open_folder / f"away-{tmp_path.name}")
    url = server.start()
    migrate(url)
    path = _dx(tmp_path)
    try:
        with RunningReceiver(tmp_path, url, config(database_wait_s=0.5)) as node:
            assert storescu([_dx(tmp_path, "before")], node.peer()).all_stored
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
            assert storescu([_dx(tmp_path, "before")], node.peer()).all_stored
            server.stop()
            server.start()

            assert storescu([_dx(tmp_path, "after")], node.peer()).all_stored
    finally:
        server.stop()


def test_no_patient_data_in_the_log_whatever_is_sent(node: RunningReceiver, tmp_path: Path) -> None:
    phi = {"PatientName": _PLANTED, "PatientID": "PLANTED-ID", "PatientBirthDate": "19010203"}
    good = _dx(tmp_path, **phi)
    odd = dx_from_image(_IMAGE, seed="odd", **phi)
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
        paths = [_dx(tmp_path), save(ct_slice(seed="tls", size_px=2048), tmp_path / "tls.dcm")]

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


def test_a_listener_that_is_killed_is_replaced_and_leaves_no_half_file(
    tmp_path: Path, database_url: str, pool: Pool
) -> None:
    with RunningReceiver(tmp_path, database_url, config()) as node:
        assert storescu([_dx(tmp_path, "before")], node.peer()).all_stored
        (node.spool_root / "incoming" / "listener0-half.part").write_bytes(b"half")
        (pid,) = node.receiver.pids()
        os.kill(pid, signal.SIGKILL)

        assert wait_until(lambda: storescu([_dx(tmp_path, "after")], node.peer()).all_stored, 15.0)

        assert node.parts() == []
        assert len(rows(pool, "SELECT 1 FROM instances")) == len(node.files()) == 2


def test_an_association_that_breaks_off_leaves_no_half_file(node: RunningReceiver, tmp_path: Path) -> None:
    big = save(ct_slice(seed="broken", size_px=2048), tmp_path / "big.dcm")
    assert storescu([_dx(tmp_path)], node.peer()).all_stored

    sender = subprocess.Popen([path_of("storescu"), "-aec", "INTERVAL", LOOPBACK, str(node.receiver.port), str(big)])
    time.sleep(0.02)
    sender.kill()
    sender.wait()

    assert wait_until(lambda: node.parts() == [], 10.0)


def test_a_taken_port_is_named(node: RunningReceiver) -> None:
    with pytest.raises(ConfigError, match=str(node.receiver.port)) as caught:
        bind(LOOPBACK, node.receiver.port, again_s=0.0)

    assert caught.value.code is ReasonCode.PORT_IN_USE


def test_the_inbox_ends_when_the_receiver_has_stopped(tmp_path: Path, database_url: str) -> None:
    with RunningReceiver(tmp_path, database_url, config(processes=2)) as node:
        assert storescu([_dx(tmp_path)], node.peer()).all_stored

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

    assert [row["revision"] for row in rows(pool, _STUDIES)] == [1]
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
    assert [row["revision"] for row in rows(pool, _STUDIES)] == [1]
