"""The peers themselves: what the other tests rely on when they say that a real peer saw or refused it."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hl7
import httpx
import pydicom
import pytest
from hl7.client import MLLPClient
from pydicom.dataset import Dataset

from tests.support import peers
from tests.support.objects import ct_slice, save, text_file
from tests.support.peers.programs import what_is_missing
from tests.support.peers.ris.journal import JOURNAL, read_journal

pytestmark = pytest.mark.peer

_ROOT = Path(__file__).resolve().parents[2]
_NAMES = (
    "Παπαδοπούλου^Ελένη",
    "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "Łukasiewicz^Żaneta",
    "Müller-Lüdenscheidt^Jörg",
)


def _message(control_id: str = "C1", text: str = "no change", charset: str = "UNICODE UTF-8") -> str:
    return (
        f"MSH|^~\\&|INTERVAL|HOSPITAL|RIS|HOSPITAL|20240102101500+0000||ORU^R01^ORU_R01|{control_id}|P|2.5.1"
        f"||||||{charset}\rOBX|1|TX|18748-4^Diagnostic imaging study^LN||{text}||||||R\r"
    )


def _exchange(port: int, raw: bytes) -> hl7.Message:
    with MLLPClient("127.0.0.1", port) as client:
        client.socket.settimeout(10)
        return hl7.parse(client.send_message(raw).decode().strip("\x0b\x1c\r"))


# --- programs ---------------------------------------------------------------------------------------------------------


def test_missing_program_is_named_with_its_package() -> None:
    assert what_is_missing(["Orthanc", "storescu"]) == (
        "Missing: Orthanc, storescu; on Debian: apt-get install dcmtk orthanc."
    )


def test_command_that_lacks_a_program_ends_with_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        peers.require_or_exit("no-such-program")
    assert ended.value.code == 3
    assert "no-such-program" in capsys.readouterr().err


# --- PACS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Storescp]:
    peers.require("storescp", "storescu", "dcmsend", "echoscu", "findscu")
    with peers.Storescp(tmp_path_factory.mktemp("storescp")) as scp:
        yield scp


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, scp: peers.Storescp) -> Iterator[peers.Orthanc]:
    peers.require("Orthanc", "libOrthancDicomWeb.so")
    folder = tmp_path_factory.mktemp("orthanc")
    with peers.Orthanc(folder, users={"node": "secret"}, modalities={"scp": (scp.ae_title, scp.port)}) as pacs:
        yield pacs


def _peer(pacs: peers.Orthanc) -> peers.Peer:
    return peers.Peer(port=pacs.dicom_port, called=pacs.ae_title)


def _sent(pacs: peers.Orthanc, folder: Path, seed: str, **attributes: Any) -> Dataset:
    ds = ct_slice(seed=seed, size_px=32, **attributes)
    assert peers.storescu([save(ds, folder / f"{seed}.dcm")], _peer(pacs)).all_stored
    return ds


def test_pacs_shows_what_was_stored_by_dicom(pacs: peers.Orthanc, tmp_path: Path) -> None:
    ds = _sent(pacs, tmp_path, "shown")
    (instance,) = pacs.archive.instances(ds.StudyInstanceUID)
    assert (instance.sop_instance_uid, instance.sop_class_uid, instance.modality) == (
        ds.SOPInstanceUID, ds.SOPClassUID, "CT",
    )  # fmt: skip
    (tmp_path / "back.dcm").write_bytes(pacs.archive.download(instance))
    assert pydicom.dcmread(tmp_path / "back.dcm").PixelData == ds.PixelData
    assert ds.StudyInstanceUID in pacs.archive.study_uids()


def test_pacs_keeps_its_data_and_ports_over_a_kill(pacs: peers.Orthanc, tmp_path: Path) -> None:
    ds = _sent(pacs, tmp_path, "survivor")
    before = pacs.archive.statistics()["CountInstances"]
    pacs.kill()
    assert not pacs.is_running
    assert not peers.echoscu(_peer(pacs))
    pacs.start()
    assert pacs.archive.statistics()["CountInstances"] == before
    assert len(pacs.archive.instances(ds.StudyInstanceUID)) == 1


def test_pacs_stores_the_same_instance_once_and_says_success(pacs: peers.Orthanc, tmp_path: Path) -> None:
    ds = _sent(pacs, tmp_path, "twice")
    _sent(pacs, tmp_path, "twice")
    assert len(pacs.archive.instances(ds.StudyInstanceUID)) == 1


def test_pacs_asks_for_the_password_over_dicomweb(pacs: peers.Orthanc) -> None:
    assert httpx.get(f"{pacs.dicom_web_url}/studies").status_code == httpx.codes.UNAUTHORIZED
    assert httpx.get(f"{pacs.dicom_web_url}/studies", auth=("node", "secret")).status_code == httpx.codes.OK


@pytest.mark.parametrize("name", _NAMES)
def test_pacs_answers_names_of_all_scripts(pacs: peers.Orthanc, tmp_path: Path, name: str) -> None:
    ds = _sent(pacs, tmp_path, f"name-{_NAMES.index(name)}", PatientName=name, SpecificCharacterSet="ISO_IR 192")
    asked = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ds.StudyInstanceUID, "PatientName": ""}
    (match,) = peers.findscu(asked, _peer(pacs))
    assert match.PatientName == name


def test_pacs_forwards_a_study_to_another_ae(pacs: peers.Orthanc, scp: peers.Storescp, tmp_path: Path) -> None:
    ds = _sent(pacs, tmp_path, "forwarded")
    assert pacs.archive.send_study(ds.StudyInstanceUID, "scp") == 1
    assert any(path.name.endswith(ds.SOPInstanceUID) for path in scp.files)


def test_pacs_says_when_the_other_ae_is_away(pacs: peers.Orthanc, tmp_path: Path) -> None:
    ds = _sent(pacs, tmp_path, "unforwarded")
    pacs.archive.add_modality("away", "NOBODY", peers.free_port())
    with pytest.raises(httpx.HTTPStatusError):
        pacs.archive.send_study(ds.StudyInstanceUID, "away")


def test_pacs_forgets_a_deleted_study(pacs: peers.Orthanc, tmp_path: Path) -> None:
    ds = _sent(pacs, tmp_path, "deleted")
    pacs.archive.delete_study(ds.StudyInstanceUID)
    assert pacs.archive.instances(ds.StudyInstanceUID) == []


def test_peer_that_cannot_start_says_what_its_log_says(tmp_path: Path) -> None:
    peers.require("Orthanc", "libOrthancDicomWeb.so")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        pacs = peers.Orthanc(tmp_path, settings={"HttpPort": taken.getsockname()[1]})
        with pytest.raises(peers.PeerNotReadyError, match="already in use"):
            pacs.start()
    assert not pacs.is_running


# --- dcmtk ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("send", [peers.storescu, peers.dcmsend])
def test_sender_tells_the_outcome_of_each_file(send: object, scp: peers.Storescp, tmp_path: Path) -> None:
    good = save(ct_slice(seed="good", size_px=32), tmp_path / "good.dcm")
    text = text_file(tmp_path / "text.dcm")
    assert callable(send)
    outcome = send([text, good], peers.Peer(port=scp.port))
    assert [(one.path.name, one.status) for one in outcome.files] == [("text.dcm", None), ("good.dcm", 0x0000)]
    assert outcome.files[0].reason
    assert not outcome.all_stored


def test_sender_tells_a_refusal(tmp_path: Path) -> None:
    peers.require("storescp", "storescu")
    path = save(ct_slice(seed="refused", size_px=32), tmp_path / "refused.dcm")
    with peers.Storescp(tmp_path / "scp", options=["--refuse"]) as scp:
        outcome = peers.storescu([path], peers.Peer(port=scp.port))
    assert not outcome.all_stored
    assert outcome.files[0].status is None
    assert "Reject" in outcome.text


def test_tls_peers_meet_only_with_certificates_of_one_authority(tmp_path: Path) -> None:
    peers.require("storescp", "echoscu", "openssl")
    ours, others = peers.make_tls(tmp_path / "ours"), peers.make_tls(tmp_path / "others")
    with peers.Storescp(tmp_path / "scp", tls=ours) as scp:
        assert peers.echoscu(peers.Peer(port=scp.port, tls=ours))
        assert not peers.echoscu(peers.Peer(port=scp.port, tls=others))
        assert not peers.echoscu(peers.Peer(port=scp.port))


# --- RIS --------------------------------------------------------------------------------------------------------------


def test_ris_takes_names_of_all_scripts_byte_by_byte(tmp_path: Path) -> None:
    with peers.RisPeer(tmp_path) as ris:
        for number, name in enumerate(_NAMES):
            acknowledgement = _exchange(ris.port, _message(f"N{number}", name).encode())
            assert str(acknowledgement.segment("MSA")) == f"MSA|AA|N{number}"
    assert [str(message.parsed.segment("OBX")[5]) for message in ris.messages] == list(_NAMES)
    assert [message.raw for message in ris.messages] == [
        _message(f"N{n}", name).encode() for n, name in enumerate(_NAMES)
    ]


@pytest.mark.parametrize("answer", [peers.Answer.AE, peers.Answer.AR])
def test_ris_refuses_when_told_to(tmp_path: Path, answer: peers.Answer) -> None:
    with peers.RisPeer(tmp_path, answer=answer) as ris:
        assert str(_exchange(ris.port, _message().encode()).segment("MSA")[1]) == answer.value
    assert [message.answer for message in ris.messages] == [answer.value]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (_message(charset="").replace("no change", "verändert").encode(), "character set"),
        (_message(charset="KLINGON").encode(), "unknown character set"),
        (_message().replace("\r", "\n").encode(), "line feed"),
        (_message().rstrip("\r").encode(), "carriage return"),
        (_message(control_id="").encode(), "MSH-10"),
        (_message().replace("ORU^R01^ORU_R01", "ORU").encode(), "MSH-9"),
        (_message().replace("OBX|", "|").encode(), "name of three characters"),
        (b"hello", "MSH"),
    ],
)
def test_ris_answers_what_breaks_the_standard_with_an_error(tmp_path: Path, raw: bytes, fault: str) -> None:
    with peers.RisPeer(tmp_path) as ris:
        acknowledgement = _exchange(ris.port, raw)
    assert str(acknowledgement.segment("MSA")[1]) == "AE"
    assert fault in str(acknowledgement.segment("ERR")[8])
    assert fault in ris.messages[0].fault


def test_ris_takes_pipelined_messages_and_answers_each(tmp_path: Path) -> None:
    framed = b"".join(b"\x0b" + _message(f"P{n}").encode() + b"\x1c\r" for n in range(3))
    with peers.RisPeer(tmp_path) as ris, socket.create_connection(("127.0.0.1", ris.port)) as connection:
        connection.settimeout(10)
        connection.sendall(framed)
        said = b""
        while said.count(b"\x1c\r") < 3:
            said += connection.recv(4096)
    assert [message.control_id for message in ris.messages] == ["P0", "P1", "P2"]
    assert said.count(b"MSA|AA|P") == 3


def test_silent_ris_keeps_the_message_and_says_nothing(tmp_path: Path) -> None:
    with peers.RisPeer(tmp_path, answer=peers.Answer.SILENT) as ris, MLLPClient("127.0.0.1", ris.port) as client:
        client.socket.sendall(b"\x0b" + _message("S1").encode() + b"\x1c\r")
        assert ris.wait_for(1, timeout_s=10)[0].control_id == "S1"
        client.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.socket.recv(1)


def test_closing_ris_keeps_the_message_and_cuts_the_line(tmp_path: Path) -> None:
    with peers.RisPeer(tmp_path, answer=peers.Answer.CLOSE) as ris, MLLPClient("127.0.0.1", ris.port) as client:
        client.socket.settimeout(10)
        client.socket.sendall(b"\x0b" + _message("X1").encode() + b"\x1c\r")
        assert _is_cut(client.socket)
    assert [message.control_id for message in ris.messages] == ["X1"]


def test_ris_goes_away_and_comes_back_on_its_port(tmp_path: Path) -> None:
    ris = peers.RisPeer(tmp_path).start()
    with socket.create_connection(("127.0.0.1", ris.port), timeout=10) as connection:
        ris.stop()
        assert _is_cut(connection)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ris.port))
    with ris:
        _exchange(ris.port, _message("B1").encode())
    assert [message.control_id for message in ris.messages] == ["B1"]


def _is_cut(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except (ConnectionResetError, ssl.SSLError):
        return True


def test_resent_message_that_differs_shows(tmp_path: Path) -> None:
    with peers.RisPeer(tmp_path) as ris:
        for control_id, text in (("A", "same"), ("A", "same"), ("B", "one"), ("B", "other")):
            _exchange(ris.port, _message(control_id, text).encode())
    assert {control_id: len(contents) for control_id, contents in ris.distinct().items()} == {"A": 1, "B": 2}


def test_taken_port_is_told_apart_from_a_listening_ris(tmp_path: Path) -> None:
    with peers.RisPeer(tmp_path / "one") as one, pytest.raises(peers.PeerNotReadyError, match=str(one.port)):
        peers.RisPeer(tmp_path / "two", port=one.port).start()


def test_ris_speaks_tls_and_asks_for_the_client_certificate(tmp_path: Path) -> None:
    peers.require("openssl")
    tls = peers.make_tls(tmp_path / "tls")
    context = ssl.create_default_context(cafile=str(tls.ca))
    context.load_cert_chain(tls.client_certificate, tls.client_key)
    with peers.RisPeer(tmp_path / "ris", tls=tls, client_certificate_required=True) as ris:
        with _wrapped(context, ris.port) as connection:
            connection.sendall(b"\x0b" + _message("T1").encode() + b"\x1c\r")
            assert b"MSA|AA|T1" in connection.recv(4096)
        with _wrapped(ssl.create_default_context(cafile=str(tls.ca)), ris.port) as stranger:
            assert _is_cut(stranger)


def _wrapped(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=10), server_hostname="127.0.0.1")


def test_killed_ris_process_comes_back_with_what_it_acknowledged(tmp_path: Path) -> None:
    with peers.RisProcess(tmp_path) as ris:
        _exchange(ris.port, _message("K1").encode())
        ris.kill()
        ris.start()
        _exchange(ris.port, _message("K2").encode())
        assert [message.control_id for message in ris.wait_for(2)] == ["K1", "K2"]
        assert ris.distinct() == {name: {_message(name).encode()} for name in ("K1", "K2")}
        ris.stop()
        assert not ris.is_running


def test_ris_process_that_finds_its_port_taken_ends_with_exit_code_3(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.peers.ris", "--out", str(tmp_path)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = subprocess.run(
            [*command, "--port", str(taken.getsockname()[1])], cwd=_ROOT, check=False, capture_output=True, timeout=60
        )
    assert done.returncode == 3


def test_journal_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    with peers.RisPeer(tmp_path) as ris:
        _exchange(ris.port, _message("J1").encode())
    with (tmp_path / JOURNAL).open("a") as journal:
        journal.write(json.dumps({"control_id": "J2"})[:-3])
    assert [message.control_id for message in read_journal(tmp_path / JOURNAL)] == ["J1"]


# --- database ---------------------------------------------------------------------------------------------------------


def test_fresh_database_leaves_nothing_behind() -> None:
    with peers.fresh_postgres() as server:
        assert server.is_alive()
        pid = int((server._layout.data_dir / "postmaster.pid").read_text().split()[0])
        folder = server._layout.state_dir.parent
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIG_DFL)
