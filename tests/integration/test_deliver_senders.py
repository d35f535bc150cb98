"""STOW-RS and C-STORE to real archives: the document arrives byte for byte, and every refusal has its meaning."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import Comprehensive3DSRStorage, EncapsulatedPDFStorage

from operators.deliver.config import CStoreDestination, DicomTls, StowDestination
from operators.deliver.cstore import CStoreSender
from operators.deliver.stow import StowSender
from operators.domain.drafts import Document, DocumentKind, DraftReport, Sender
from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import AeTitle, Destination
from operators.domain.reasons import ReasonCode
from tests.support.comparisons import comparison
from tests.support.drafts import draft_of
from tests.support.peers import Orthanc, Storescp, TlsMaterial, free_port, make_tls, open_folder, require

pytestmark = pytest.mark.peer

PACS = Destination("pacs")
NAME = "Yamada^Tarou=山田^太郎=やまだ^たろう"


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> DraftReport:
    return draft_of(comparison(tmp_path_factory.mktemp("films"), PatientName=NAME))


@pytest.fixture(scope="module")
def orthanc() -> Iterator[Orthanc]:
    require("Orthanc", "libOrthancDicomWeb.so")
    with open_folder() as folder, Orthanc(folder, users={"interval": "swörd"}) as peer:
        yield peer


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    require("openssl")
    return make_tls(tmp_path_factory.mktemp("keys"))


def stow_to(orthanc: Orthanc, **facts: Any) -> StowDestination:
    known: dict[str, Any] = {"authentication": "basic", "username": "interval", "password": "swörd", **facts}
    return StowDestination(name=PACS, url=orthanc.dicom_web_url, **known)


def store_to(port: int, called_ae: str = "ORTHANC", **facts: Any) -> CStoreDestination:
    return CStoreDestination(name=PACS, host="127.0.0.1", port=port, called_ae=AeTitle(called_ae), **facts)


def stored(orthanc: Orthanc, document: Document) -> list[bytes]:
    found = [one for one in orthanc.archive.instances() if one.sop_instance_uid == document.identity]
    return [orthanc.archive.download(one) for one in found]


def test_stow_stores_every_document_byte_for_byte(orthanc: Orthanc, draft: DraftReport) -> None:
    sender = StowSender(stow_to(orthanc))
    for document in draft.documents:
        sender.send(document)
    sender.close()
    assert [stored(orthanc, document) for document in draft.documents] == [[d.content] for d in draft.documents]


def test_document_that_is_there_already_counts_as_stored(orthanc: Orthanc, draft: DraftReport) -> None:
    sr = draft.document(DocumentKind.SR)
    for _ in range(3):
        StowSender(stow_to(orthanc)).send(sr)
        CStoreSender(store_to(orthanc.dicom_port)).send(sr)
    assert len(stored(orthanc, sr)) == 1


def test_cstore_stores_what_stow_would(orthanc: Orthanc, tmp_path: Path) -> None:
    of = draft_of(comparison(tmp_path, seed_of_current="cstore", PatientName=NAME))
    for document in of.documents:
        CStoreSender(store_to(orthanc.dicom_port)).send(document)
        [kept] = stored(orthanc, document)
        assert data_set(kept) == data_set(document.content)
        assert str(dcmread(BytesIO(kept)).PatientName) == NAME


def test_wrong_password_waits_for_an_admin(orthanc: Orthanc, draft: DraftReport) -> None:
    with pytest.raises(TransientError) as caught:
        StowSender(stow_to(orthanc, password="wrong")).send(draft.documents[0])
    assert caught.value.code is ReasonCode.PACS_REFUSED


@pytest.mark.parametrize("path", ["/dicom-web/nowhere", "/app/explorer.html", "/instances", ""])
def test_wrong_address_in_a_real_archive_stores_nothing_and_waits(orthanc: Orthanc, tmp_path: Path, path: str) -> None:
    of = draft_of(comparison(tmp_path, seed_of_current=f"wrong{len(path)}"))
    to = StowDestination(
        name=PACS,
        url=orthanc.dicom_web_url.removesuffix("/dicom-web") + path,
        authentication="basic",
        username="interval",
        password="swörd",
    )
    with pytest.raises(TransientError) as caught:
        StowSender(to).send(of.documents[0])
    assert caught.value.code is ReasonCode.PACS_REFUSED
    assert stored(orthanc, of.documents[0]) == []


def test_bytes_that_are_no_dicom_are_refused_for_good(orthanc: Orthanc) -> None:
    rubbish = Document(kind=DocumentKind.SR, identity="2.25.1", sop_class_uid="", content=b"not DICOM" * 40)
    with pytest.raises(PermanentError) as caught:
        StowSender(stow_to(orthanc)).send(rubbish)
    assert caught.value.code is ReasonCode.PACS_REFUSED


# pynetdicom drops the socket of a connection that failed without closing it (transport.py, _shutdown_socket).
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nobody_listening_is_away(draft: DraftReport) -> None:
    port = free_port()
    senders: list[Sender] = [
        StowSender(StowDestination(name=PACS, url=f"http://127.0.0.1:{port}/dicom-web")),
        CStoreSender(store_to(port, connect_timeout_s=2)),
    ]
    for sender in senders:
        with pytest.raises(TransientError) as caught:
            sender.send(draft.documents[0])
        assert caught.value.code is ReasonCode.PACS_AWAY


def test_storescp_gets_the_data_set_byte_for_byte_every_time(draft: DraftReport, tmp_path: Path) -> None:
    require("storescp")
    with Storescp(tmp_path) as peer:
        for document in draft.documents:
            CStoreSender(store_to(peer.port, "STORESCP")).send(document)
        first = {path.name: data_set(path.read_bytes()) for path in peer.files}
        for document in draft.documents:
            CStoreSender(store_to(peer.port, "STORESCP")).send(document)
        second = {path.name: data_set(path.read_bytes()) for path in peer.files}
    assert sorted(first.values()) == sorted(data_set(document.content) for document in draft.documents)
    assert second == first


def test_cstore_by_tls_with_a_certificate_of_our_own(draft: DraftReport, tmp_path: Path, keys: TlsMaterial) -> None:
    require("storescp")
    with Storescp(tmp_path, tls=keys) as peer:
        tls = DicomTls(ca_file=keys.ca, certificate_file=keys.client_certificate, key_file=keys.client_key)
        CStoreSender(store_to(peer.port, "STORESCP", tls=tls)).send(draft.documents[0])
        assert len(peer.files) == 1


def test_tls_peer_that_nobody_vouches_for_gets_nothing(draft: DraftReport, tmp_path: Path, keys: TlsMaterial) -> None:
    require("storescp")
    strange = make_tls(tmp_path / "other")
    with Storescp(tmp_path, tls=keys) as peer:
        tls = DicomTls(ca_file=strange.ca)
        with pytest.raises(TransientError):
            CStoreSender(store_to(peer.port, "STORESCP", tls=tls)).send(draft.documents[0])
        assert peer.files == []


# --- archives that answer as they please ------------------------------------------------------------------------------


@dataclass
class Script:
    """What a small HTTP archive answers, and what it was asked."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def http_archive(script: Script, keys: TlsMaterial | None = None) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            script.requests.append((self.path, dict(self.headers), body))
            self.send_response(script.status)
            for name, value in script.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(script.body)))
            self.end_headers()
            self.wfile.write(script.body)

        def log_message(self, *args: object) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if keys is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(keys.ca))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(keys.server_certificate, keys.server_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http{'s' if keys else ''}://127.0.0.1:{server.server_address[1]}/rs"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def failed(uid: str, reason: int) -> bytes:
    item = {"00081155": {"vr": "UI", "Value": [uid]}, "00081197": {"vr": "US", "Value": [reason]}}
    return json.dumps({"00081198": {"vr": "SQ", "Value": [item]}}).encode()


def post(script: Script, document: Document, **facts: Any) -> None:
    with http_archive(script) as url:
        sender = StowSender(StowDestination(name=PACS, url=url, **facts))
        try:
            sender.send(document)
        finally:
            sender.close()


def test_request_is_the_same_every_time_and_holds_the_bytes(draft: DraftReport) -> None:
    script = Script()
    document = draft.documents[1]
    for _ in range(2):
        post(script, document, authentication="bearer", token="t0k3n", stow_path="/stow/")
    (path, headers, body), again = script.requests[0], script.requests[1]
    assert path == "/rs/stow/studies"
    assert headers["Authorization"] == "Bearer t0k3n"
    assert 'type="application/dicom"' in headers["Content-Type"]
    assert document.content in body
    assert again[2] == body
    assert again[1]["Content-Type"] == headers["Content-Type"]


def test_success_with_an_empty_failed_sequence_is_a_success(draft: DraftReport) -> None:
    post(Script(body=b'{"00081198": {"vr": "SQ", "Value": []}}'), draft.documents[0])


@pytest.mark.parametrize("status", [200, 202])
def test_page_that_answers_in_the_archives_place_stores_nothing(draft: DraftReport, status: int) -> None:
    page = Script(status=status, body=b"<!DOCTYPE html><html><form action='/login'>Yamada</form></html>")
    with pytest.raises(TransientError) as caught:
        post(page, draft.documents[0])
    assert caught.value.code is ReasonCode.PACS_REFUSED
    assert "Yamada" not in caught.value.sentence


@pytest.mark.parametrize("status", [200, 202])
def test_archive_that_says_nothing_but_the_status_has_stored(draft: DraftReport, status: int) -> None:
    post(Script(status=status), draft.documents[0])


def test_archive_that_answers_by_xml_has_stored(draft: DraftReport) -> None:
    body = (
        b'<NativeDicomModel><DicomAttribute tag="00081199" vr="SQ" keyword="ReferencedSOPSequence"><Item number="1"/>'
        b"</DicomAttribute></NativeDicomModel>"
    )
    post(Script(body=body, headers={"Content-Type": "application/dicom+xml"}), draft.documents[0])


@pytest.mark.parametrize("status", [200, 202, 409])
def test_instance_that_failed_is_refused_whatever_the_status_says(draft: DraftReport, status: int) -> None:
    document = draft.documents[0]
    with pytest.raises(PermanentError, match="C000h"):
        post(Script(status=status, body=failed(document.identity, 0xC000)), document)


def test_conflict_over_an_instance_that_is_there_is_a_success(draft: DraftReport) -> None:
    document = draft.documents[0]
    post(Script(status=409, body=failed(document.identity, 45070)), document)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_archive_in_trouble_is_away(draft: DraftReport, status: int) -> None:
    with pytest.raises(TransientError) as caught:
        post(Script(status=status), draft.documents[0])
    assert caught.value.code is ReasonCode.PACS_AWAY


@pytest.mark.parametrize("status", [400, 409, 413, 415])
def test_document_that_the_archive_will_not_have_is_refused(draft: DraftReport, status: int) -> None:
    with pytest.raises(PermanentError) as caught:
        post(Script(status=status), draft.documents[0])
    assert caught.value.code is ReasonCode.PACS_REFUSED


@pytest.mark.parametrize("status", [302, 401, 403, 404, 405])
def test_address_or_rights_that_are_wrong_wait_for_an_admin(draft: DraftReport, status: int) -> None:
    script = Script(status=status, headers={"Location": "/elsewhere"})
    with pytest.raises(TransientError) as caught:
        post(script, draft.documents[0])
    assert caught.value.code is ReasonCode.PACS_REFUSED
    assert len(script.requests) == 1


def test_failed_store_never_names_the_patient(draft: DraftReport) -> None:
    with pytest.raises(PermanentError) as caught:
        post(Script(status=400, body="Yamada^Tarou 山田".encode()), draft.documents[0])
    assert "Yamada" not in caught.value.sentence
    assert "山田" not in caught.value.sentence


def test_stow_by_tls_shows_our_certificate(draft: DraftReport, keys: TlsMaterial) -> None:
    script = Script()
    with http_archive(script, keys) as url:
        to = StowDestination(
            name=PACS,
            url=url,
            ca_file=keys.ca,
            client_certificate=keys.client_certificate,
            client_key=keys.client_key,
        )
        sender = StowSender(to)
        sender.send(draft.documents[0])
        sender.close()
    assert len(script.requests) == 1


def test_stow_archive_that_nobody_vouches_for_gets_nothing(
    draft: DraftReport, keys: TlsMaterial, tmp_path: Path
) -> None:
    script = Script()
    with http_archive(script, keys) as url:
        sender = StowSender(StowDestination(name=PACS, url=url, ca_file=make_tls(tmp_path).ca))
        with pytest.raises(TransientError) as caught:
            sender.send(draft.documents[0])
        sender.close()
    assert caught.value.code is ReasonCode.PACS_REFUSED
    assert script.requests == []


@contextmanager
def dicom_archive(
    status: int, *, syntaxes: list[str] | None = None, classes: tuple[str, ...] = ()
) -> Iterator[tuple[int, list[Any]]]:
    entity, got = AE(ae_title="PACS"), []
    for sop_class in classes or (Comprehensive3DSRStorage, EncapsulatedPDFStorage):
        entity.add_supported_context(sop_class, syntaxes or [ExplicitVRLittleEndian])
    entity.require_called_aet = True

    def on_store(event: evt.Event) -> int:
        got.append((event.context.transfer_syntax, event.request.DataSet.getvalue()))
        return status

    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        yield server.socket.getsockname()[1], got
    finally:
        server.shutdown()


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0x0111])
def test_stored_or_already_there_is_a_success(draft: DraftReport, status: int) -> None:
    with dicom_archive(status) as (port, got):
        CStoreSender(store_to(port, "PACS")).send(draft.documents[0])
    assert [content for _, content in got] == [data_set(draft.documents[0].content)]


def test_archive_without_room_gets_it_again(draft: DraftReport) -> None:
    with dicom_archive(0xA700) as (port, _), pytest.raises(TransientError, match="A700h"):
        CStoreSender(store_to(port, "PACS")).send(draft.documents[0])


def test_document_that_is_not_understood_is_refused(draft: DraftReport) -> None:
    with dicom_archive(0xC000) as (port, _), pytest.raises(PermanentError, match="C000h"):
        CStoreSender(store_to(port, "PACS")).send(draft.documents[0])


def test_sop_class_that_the_archive_does_not_take_is_refused_by_name(draft: DraftReport) -> None:
    with dicom_archive(0, classes=(EncapsulatedPDFStorage,)) as (port, _):
        sender = CStoreSender(store_to(port, "PACS"))
        with pytest.raises(PermanentError, match="sr"):
            sender.send(draft.document(DocumentKind.SR))
        sender.send(draft.document(DocumentKind.PDF))


def test_archive_that_knows_only_implicit_vr_gets_the_same_values(draft: DraftReport) -> None:
    sr = draft.document(DocumentKind.SR)
    with dicom_archive(0, syntaxes=[ImplicitVRLittleEndian]) as (port, got):
        CStoreSender(store_to(port, "PACS")).send(sr)
    [(syntax, content)] = got
    assert syntax == ImplicitVRLittleEndian
    assert content != data_set(sr.content)


def test_unknown_ae_title_waits_for_an_admin(draft: DraftReport) -> None:
    with dicom_archive(0) as (port, got), pytest.raises(TransientError) as caught:
        CStoreSender(store_to(port, "SOMEONE")).send(draft.documents[0])
    assert caught.value.code is ReasonCode.PACS_REFUSED
    assert got == []


def data_set(content: bytes) -> bytes:
    """Cut preamble and file meta information off a DICOM file."""
    buffer = BytesIO(content)
    meta = dcmread(buffer, specific_tags=[]).file_meta
    return content[128 + 4 + 12 + meta.FileMetaInformationGroupLength :]
