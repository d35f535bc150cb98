"""The DICOMweb adapter against a server on a socket that misbehaves as told: statuses, silence, identity and trust."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

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
from tests.support.scripted_web import Answer, ScriptedServer, answering, archive_of, rows, running, study_row

WANTED = WantedImage(
    study_uid=StudyUid("1.2.1"), series_uid=SeriesUid("1.2.1.1"), instance_uid=InstanceUid("1.2.1.1.1")
)


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
