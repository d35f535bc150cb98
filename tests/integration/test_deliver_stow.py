"""STOW-RS to an archive that answers as it pleases: what is sent, and what every answer means."""

import json
from pathlib import Path
from typing import Any

import pytest

from operators.deliver.config import StowDestination
from operators.deliver.stow import StowSender
from operators.domain.drafts import Document, DraftReport
from operators.domain.errors import PermanentError, TransientError
from operators.domain.reasons import ReasonCode
from tests.support.archives import NAME, PACS, Script, http_archive
from tests.support.comparisons import comparison
from tests.support.drafts import draft_of
from tests.support.peers import TlsMaterial, make_tls, require

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def draft(tmp_path_factory: pytest.TempPathFactory) -> DraftReport:
    return draft_of(comparison(tmp_path_factory.mktemp("films"), PatientName=NAME))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    require("openssl")
    return make_tls(tmp_path_factory.mktemp("keys"))


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
