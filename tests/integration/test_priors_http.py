"""The DICOMweb adapter against a server on a socket that misbehaves as told: what HTTP can do to a search."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from operators.domain.errors import ConfigError, PermanentError, TransientError
from operators.domain.ids import InstanceUid, SeriesUid, StudyUid
from operators.domain.reasons import ReasonCode
from operators.priors.archive import GoneError
from operators.priors.candidates import WantedImage
from operators.priors.config import PriorsConfig
from operators.priors.dicomweb import DicomWebArchive
from tests.support.peers.programs import require
from tests.support.peers.tls import TlsMaterial, make_tls

WANTED = WantedImage(
    study_uid=StudyUid("1.2.1"), series_uid=SeriesUid("1.2.1.1"), instance_uid=InstanceUid("1.2.1.1.1")
)
BOUNDARY = "a-boundary"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
Answer = tuple[int, dict[str, str], bytes]


class ScriptedServer(ThreadingHTTPServer):
    """Answers every GET by `answer(path, query, headers)` and remembers what was asked."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "http" if context is None else "https"
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answer: Callable[[str, dict[str, list[str]]], Answer] = lambda path, query: rows([])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/pacs"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that the client broke off."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedServer

    def do_GET(self) -> None:
        self.server.requests.append((self.path, dict(self.headers)))
        parts = urlsplit(self.path)
        status, headers, body = self.server.answer(parts.path, parse_qs(parts.query))
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if headers.get("Connection") == "close":
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the method it overrides
        """Keep the test's output quiet."""


def running(context: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    server = ScriptedServer(context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    yield from running()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    require("openssl")
    return make_tls(tmp_path_factory.mktemp("tls"))


def demanding(tls: TlsMaterial, *, newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> ssl.SSLContext:
    """Return the context of a server that wants a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.server_certificate, tls.server_key)
    context.load_verify_locations(tls.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = newest
    return context


@pytest.fixture
def tls_server(tls: TlsMaterial) -> Iterator[ScriptedServer]:
    yield from running(demanding(tls))


@pytest.fixture
def tls_1_2_server(tls: TlsMaterial) -> Iterator[ScriptedServer]:
    yield from running(demanding(tls, newest=ssl.TLSVersion.TLSv1_2))


def archive_of(server: ScriptedServer, **settings: Any) -> DicomWebArchive:
    return DicomWebArchive(PriorsConfig(**{"url": server.url, "read_timeout_s": 5.0, **settings}))


def rows(answers: list[dict[str, Any]]) -> Answer:
    return 200, {"Content-Type": "application/dicom+json"}, json.dumps(answers).encode()


def study_row(study_uid: str, patient_id: str = "P-1") -> dict[str, Any]:
    return {
        "0020000D": {"vr": "UI", "Value": [study_uid]},
        "00100020": {"vr": "LO", "Value": [patient_id]},
        "00080061": {"vr": "CS", "Value": ["DX", "SR"]},
    }


def multipart(*parts: bytes) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"\r\n".join(head + part for part in parts) + f"\r\n--{BOUNDARY}--\r\n".encode()


def answering(status: int, body: bytes = b"", **headers: str) -> Callable[[str, dict[str, list[str]]], Answer]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda path, query: (status, named, body)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_transient(server: ScriptedServer, status: int) -> None:
    server.answer = answering(status, b"trouble with P-1")
    with pytest.raises(TransientError) as caught:
        archive_of(server).find_studies("P-1")
    assert (caught.value.code, caught.value.facts["status"]) == (ReasonCode.PACS_AWAY, status)
    assert "P-1" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_refused_are_waited_for(server: ScriptedServer, tmp_path: Path, status: int) -> None:
    server.answer = answering(status, b"no")
    archive = archive_of(server)
    for ask in (lambda: archive.find_studies("P-1"), lambda: archive.fetch(WANTED, tmp_path / "a.dcm")):
        with pytest.raises(TransientError) as caught:
            ask()
        assert (caught.value.code, caught.value.facts["status"]) == (ReasonCode.PACS_REFUSED, status)
        assert "P-1" not in str(caught.value)


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_refusal_is_permanent(server: ScriptedServer, status: int) -> None:
    server.answer = answering(status, b"no")
    with pytest.raises(PermanentError) as caught:
        archive_of(server).find_studies("P-1")
    assert (caught.value.code, caught.value.facts["status"]) == (ReasonCode.PACS_REFUSED, status)
    assert "P-1" not in str(caught.value)


def test_nothing_listening_is_transient() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/pacs"
        with pytest.raises(TransientError) as caught:
            DicomWebArchive(PriorsConfig(url=url)).find_studies("P-1")
    assert caught.value.code is ReasonCode.PACS_AWAY


def test_a_server_that_stays_silent_is_transient(server: ScriptedServer) -> None:
    release = threading.Event()

    def wait(path: str, query: dict[str, list[str]]) -> Answer:
        release.wait(10)
        return rows([])

    server.answer = wait
    try:
        with pytest.raises(TransientError) as caught:
            archive_of(server, read_timeout_s=0.2).find_studies("P-1")
    finally:
        release.set()
    assert caught.value.code is ReasonCode.PACS_AWAY


def test_a_connection_closed_while_idle_is_opened_again(server: ScriptedServer) -> None:
    server.answer = lambda path, query: (200, {"Connection": "close"}, b"[]")
    archive = archive_of(server)
    assert archive.find_studies("P-1").candidates == archive.find_studies("P-1").candidates == ()


def test_an_answer_that_is_no_json_is_a_refusal(server: ScriptedServer) -> None:
    server.answer = answering(200, b"<html>Sign in</html>")
    with pytest.raises(PermanentError) as caught:
        archive_of(server).find_studies("P-1")
    assert caught.value.code is ReasonCode.PACS_REFUSED


def test_no_content_is_no_study(server: ScriptedServer) -> None:
    server.answer = answering(204)
    answers = archive_of(server).find_studies("P-1")
    assert (answers.candidates, answers.is_complete) == ((), True)


def test_pages_are_read_until_one_brings_nothing_new(server: ScriptedServer) -> None:
    every = [study_row(f"1.2.{number}") for number in range(130)]

    def capped(path: str, query: dict[str, list[str]]) -> Answer:
        offset = int(query["offset"][0])
        return rows(every[offset : offset + 60])

    server.answer = capped
    answers = archive_of(server, page_size=100).find_studies("P-1")
    assert len(answers.candidates) == 130
    assert answers.is_complete
    assert answers.candidates[0].modalities == ("DX", "SR")


def test_a_server_that_ignores_the_offset_does_not_hold_the_search_up(server: ScriptedServer) -> None:
    server.answer = lambda path, query: rows([study_row(f"1.2.{number}") for number in range(80)])
    answers = archive_of(server, page_size=50).find_studies("P-1")
    assert (len(answers.candidates), answers.is_complete) == (80, True)


def test_more_answers_than_are_looked_at_make_the_search_incomplete(server: ScriptedServer) -> None:
    def endless(path: str, query: dict[str, list[str]]) -> Answer:
        offset = int(query["offset"][0])
        return rows([study_row(f"1.2.{offset + number}") for number in range(10)])

    server.answer = endless
    assert not archive_of(server, page_size=10, max_answers=40).find_studies("P-1").is_complete


def test_queries_are_percent_encoded_and_attributes_are_named(server: ScriptedServer) -> None:
    server.answer = lambda path, query: rows([study_row("1.2.1", "A B/C+1&2")])
    archive_of(server).find_studies("A B/C+1&2")
    query = server.requests[0][0].partition("?")[2]
    assert "PatientID=A%20B%2FC%2B1%262" in query
    assert "includefield=IssuerOfPatientID" in query
    assert len(server.requests) == 1


def test_an_id_that_the_server_may_not_have_decoded_is_asked_for_by_wildcard(server: ScriptedServer) -> None:
    def literal(path: str, query: dict[str, list[str]]) -> Answer:
        asked = server.requests[-1][0].partition("PatientID=")[2].partition("&")[0]
        return rows([study_row("1.2.1", "AB 12"), study_row("1.2.2", "ABC12")] if asked == "AB*12" else [])

    server.answer = literal
    answers = archive_of(server).find_studies("AB 12")
    assert [candidate.patient.patient_id for candidate in answers.candidates] == ["AB 12", "ABC12"]


def test_an_id_of_hardly_more_than_wildcards_leaves_the_search_incomplete(server: ScriptedServer) -> None:
    answers = archive_of(server).find_studies("王小明")
    assert (answers.candidates, answers.is_complete) == ((), False)
    assert len(server.requests) == 1


def test_an_id_that_the_server_cannot_write_leaves_the_search_incomplete(server: ScriptedServer) -> None:
    server.answer = lambda path, query: rows([study_row("1.2.1", "-1234")])
    assert not archive_of(server).find_studies("王-1234").is_complete
    server.answer = lambda path, query: rows([study_row("1.2.1", "Ä-12345")])
    assert archive_of(server).find_studies("王-1234").is_complete


def test_answers_with_uids_that_are_none_are_dropped(server: ScriptedServer) -> None:
    server.answer = lambda path, query: rows([study_row("../../etc"), study_row(".."), {}, study_row("1.2.1")])
    assert [candidate.study_uid for candidate in archive_of(server).find_studies("P-1").candidates] == ["1.2.1"]


def test_the_host_header_keeps_its_port(server: ScriptedServer) -> None:
    archive_of(server).find_studies("P-1")
    assert server.requests[0][1]["Host"] == f"127.0.0.1:{server.server_port}"


def test_basic_and_bearer_identity_are_sent(server: ScriptedServer) -> None:
    archive_of(server, authentication="basic", username="jürgen", password="päss").find_studies("P-1")
    archive_of(server, authentication="bearer", token="tok").find_studies("P-1")
    assert [headers["Authorization"] for _, headers in server.requests] == ["Basic asO8cmdlbjpww6Rzcw==", "Bearer tok"]


def test_qido_and_wado_may_have_paths_of_their_own(server: ScriptedServer, tmp_path: Path) -> None:
    archive = archive_of(server, qido_path="qido-rs", wado_path="/wado-rs/")
    archive.find_studies("P-1")
    server.answer = answering(404)
    with pytest.raises(GoneError):
        archive.fetch(WANTED, tmp_path / "a.dcm")
    assert [urlsplit(path).path for path, _ in server.requests] == [
        "/pacs/qido-rs/studies",
        "/pacs/wado-rs/studies/1.2.1/series/1.2.1.1/instances/1.2.1.1.1",
    ]


def test_an_object_is_written_byte_for_byte_as_it_came(server: ScriptedServer, tmp_path: Path) -> None:
    content = (b"\r\n--a-bound" + bytes(range(256))) * 5000  # the beginning of the boundary occurs in the pixels
    server.answer = answering(200, multipart(content), Content_Type=MULTIPART)
    archive_of(server).fetch(WANTED, tmp_path / "deep" / "a.dcm")
    assert (tmp_path / "deep" / "a.dcm").read_bytes() == content
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.dcm"]
    assert "transfer-syntax=*" in server.requests[0][1]["Accept"]


def test_an_object_sent_without_a_multipart_message_is_taken(server: ScriptedServer, tmp_path: Path) -> None:
    server.answer = answering(200, b"DICM", Content_Type="application/dicom; transfer-syntax=1.2.840.10008.1.2.1")
    archive_of(server).fetch(WANTED, tmp_path / "a.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == b"DICM"


def test_a_server_without_any_transfer_syntax_is_asked_without_it(server: ScriptedServer, tmp_path: Path) -> None:
    def picky(path: str, query: dict[str, list[str]]) -> Answer:
        if "transfer-syntax" in server.requests[-1][1]["Accept"]:
            return 406, {}, b""
        return 200, {"Content-Type": MULTIPART}, multipart(b"DICM")

    server.answer = picky
    archive_of(server).fetch(WANTED, tmp_path / "a.dcm")
    assert (tmp_path / "a.dcm").read_bytes() == b"DICM"


TRUNCATED = multipart(b"x" * 5000)[:3000]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": MULTIPART},
        {"Content-Type": MULTIPART, "Content-Length": "5100", "Connection": "close"},
        {"Content-Type": "application/dicom", "Content-Length": "5100", "Connection": "close"},
    ],
)
def test_an_object_cut_short_leaves_no_file_and_is_transient(
    server: ScriptedServer, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.answer = lambda path, query: (200, headers, TRUNCATED)
    with pytest.raises(TransientError) as caught:
        archive_of(server).fetch(WANTED, tmp_path / "a.dcm")
    assert caught.value.code is ReasonCode.PACS_AWAY
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/html", b"<html>"), ("multipart/related", b"x"), (MULTIPART, b"no boundary at all"), ("", b"x")],
)
def test_an_answer_that_is_no_object_is_a_refusal(
    server: ScriptedServer, tmp_path: Path, content_type: str, body: bytes
) -> None:
    server.answer = answering(200, body, Content_Type=content_type)
    with pytest.raises(PermanentError) as caught:
        archive_of(server).fetch(WANTED, tmp_path / "a.dcm")
    assert caught.value.code is ReasonCode.PACS_REFUSED
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_the_file_is_transient_and_not_the_pacs_fault(server: ScriptedServer, tmp_path: Path) -> None:
    server.answer = answering(200, multipart(b"DICM"), Content_Type=MULTIPART)
    (tmp_path / "file").write_text("where a folder should be")
    with pytest.raises(TransientError) as caught:
        archive_of(server).fetch(WANTED, tmp_path / "file" / "a.dcm")
    assert caught.value.code is ReasonCode.STORAGE_FULL


def test_client_certificate_and_authority_are_used(tls_server: ScriptedServer, tls: TlsMaterial) -> None:
    identity = {"client_certificate": tls.client_certificate, "client_key": tls.client_key}
    assert archive_of(tls_server, ca_file=tls.ca, **identity).find_studies("P-1").is_complete


def test_a_pacs_whose_certificate_is_not_trusted_is_waited_for(tls_server: ScriptedServer) -> None:
    with pytest.raises(TransientError) as caught:
        archive_of(tls_server).find_studies("P-1")
    assert caught.value.code is ReasonCode.PACS_REFUSED
    assert caught.value.facts["kind"] == "certificate not trusted"


def test_a_pacs_that_wants_a_certificate_we_do_not_have_refuses(
    tls_1_2_server: ScriptedServer, tls: TlsMaterial
) -> None:
    with pytest.raises(TransientError) as caught:
        archive_of(tls_1_2_server, ca_file=tls.ca).find_studies("P-1")
    assert caught.value.code is ReasonCode.PACS_REFUSED


def test_a_refusal_that_the_closing_connection_may_swallow_is_never_an_empty_answer(
    tls_server: ScriptedServer, tls: TlsMaterial
) -> None:
    # In TLS 1.3 the alert follows the handshake, and a reset can overtake it: then it looks like a PACS that is away.
    with pytest.raises(TransientError) as caught:
        archive_of(tls_server, ca_file=tls.ca).find_studies("P-1")
    assert caught.value.code in (ReasonCode.PACS_REFUSED, ReasonCode.PACS_AWAY)


def test_a_certificate_file_that_is_not_there_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ca_file"):
        DicomWebArchive(PriorsConfig(url="https://127.0.0.1/", ca_file=tmp_path / "none.pem"))


def test_secrets_are_not_printed() -> None:
    config = PriorsConfig(url="http://h/", authentication="basic", username="u", password="geheim", token="geheim2")
    assert "geheim" not in repr(config)


def test_asking_writes_no_patient_id_to_the_log(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    server.answer = lambda path, query: rows([study_row("1.2.1", "ZZ-PLANTED")])
    with caplog.at_level("INFO"):
        archive_of(server).find_studies("ZZ-PLANTED")
    assert "ZZ-PLANTED" not in unquote(caplog.text)
