"""STOW-RS and C-STORE to real archives: the document arrives byte for byte, and every refusal has its meaning."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from operators.deliver.config import DicomTls, StowDestination
from operators.deliver.cstore import CStoreSender
from operators.deliver.stow import StowSender
from operators.domain.drafts import Document, DocumentKind, DraftReport, Sender
from operators.domain.errors import PermanentError, TransientError
from operators.domain.reasons import ReasonCode
from tests.support.archives import NAME, PACS, data_set, store_to
from tests.support.comparisons import comparison
from tests.support.drafts import draft_of
from tests.support.peers import Orthanc, Storescp, TlsMaterial, free_port, make_tls, open_folder, require

pytestmark = pytest.mark.peer


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
