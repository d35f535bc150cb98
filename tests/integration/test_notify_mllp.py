"""The MLLP client against peers that behave as real ones do, on real sockets: good, silent, slow, odd and rejecting."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from operators.domain.drafts import Document, DocumentKind
from operators.domain.errors import ConfigError, PermanentError, TransientError
from operators.domain.hl7.framing import BlockBuffer, block
from operators.domain.reasons import ReasonCode
from operators.notify.config import ErrorPolicy, MllpDestination, TlsFiles
from operators.notify.mllp import MllpSender
from operators.notify.oru import build_oru
from tests.support.peers.tls import TlsMaterial, make_tls
from tests.unit.notify.drafts import a_draft, destination

Answering = Callable[[socket.socket, bytes], None]


@dataclass
class ScriptedRis:
    """A peer on a free port; `answering` is called with each message and writes whatever it likes."""

    answering: Answering
    tls: ssl.SSLContext | None = None
    messages: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, plain: socket.socket) -> None:
        try:
            connection = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
        except OSError:
            plain.close()
            return
        self._open.append(connection)
        buffer = BlockBuffer(1 << 20)
        try:
            while portion := connection.recv(65536):
                for content in buffer.feed(portion):
                    self.messages.append(content)
                    self.answering(connection, content)
        except OSError:
            pass
        connection.close()


def control_id_of(message: bytes) -> bytes:
    return message.split(b"\r", 1)[0].split(b"|")[9]


def answer(message: bytes, code: bytes = b"AA", control_id: bytes | None = None, error: bytes = b"") -> bytes:
    answered = control_id_of(message) if control_id is None else control_id
    tail = b"ERR|||" + error + b"|E\r" if error else b""
    return block(b"MSH|^~\\&|RIS||INTERVAL||20260101||ACK^R01|9|P|2.5.1\rMSA|" + code + b"|" + answered + b"\r" + tail)


def accept(connection: socket.socket, message: bytes) -> None:
    connection.sendall(answer(message))


@contextmanager
def ris(answering: Answering = accept, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedRis]:
    peer = ScriptedRis(answering=answering, tls=tls)
    try:
        yield peer
    finally:
        peer.close()


@contextmanager
def sender(peer: ScriptedRis, **wishes: Any) -> Iterator[MllpSender]:
    carrier = MllpSender(to(peer, **wishes))
    try:
        yield carrier
    finally:
        carrier.close()


def to(peer: ScriptedRis, **wishes: Any) -> MllpDestination:
    return destination(**{"port": peer.port, "ack_timeout_s": 5.0, **wishes})


def a_message() -> Document:
    return build_oru(a_draft(), destination())


def test_accepted_message_arrives_as_it_is() -> None:
    with ris() as peer, sender(peer) as carrier:
        carrier.send(a_message())

        assert peer.messages == [a_message().content]


def test_resend_is_byte_identical() -> None:
    with ris() as peer, sender(peer) as carrier:
        document = a_message()
        carrier.send(document)
        carrier.send(document)

        assert peer.messages[0] == peer.messages[1]
        assert peer.connections == 2


def test_kept_connection_carries_several_messages() -> None:
    with ris() as peer, sender(peer, keep_connection=True) as carrier:
        carrier.send(a_message())
        carrier.send(a_message())

        assert len(peer.messages) == 2
        assert peer.connections == 1


def test_kept_connection_that_the_peer_closed_is_opened_again() -> None:
    def accept_and_hang_up(connection: socket.socket, message: bytes) -> None:
        connection.sendall(answer(message))
        connection.shutdown(socket.SHUT_RDWR)

    with ris(accept_and_hang_up) as peer, sender(peer, keep_connection=True) as carrier:
        carrier.send(a_message())
        carrier.send(a_message())

        assert peer.connections == 2


def test_answer_in_single_bytes_is_understood() -> None:
    def drip(connection: socket.socket, message: bytes) -> None:
        for byte in answer(message):
            connection.sendall(bytes([byte]))

    with ris(drip) as peer, sender(peer) as carrier:
        carrier.send(a_message())

        assert len(peer.messages) == 1


def test_answer_to_another_message_is_passed_over() -> None:
    def late_then_right(connection: socket.socket, message: bytes) -> None:
        connection.sendall(answer(message, b"AR", b"SOMEOTHER") + answer(message))

    with ris(late_then_right) as peer, sender(peer) as carrier:
        carrier.send(a_message())

        assert len(peer.messages) == 1


def test_answer_to_another_message_alone_is_no_answer() -> None:
    def foreign(connection: socket.socket, message: bytes) -> None:
        connection.sendall(answer(message, b"AA", b"SOMEOTHER"))

    with ris(foreign) as peer, sender(peer, ack_timeout_s=0.3) as carrier:
        with pytest.raises(TransientError) as caught:
            carrier.send(a_message())

        assert caught.value.code is ReasonCode.RIS_AWAY


@pytest.mark.parametrize("keep", [False, True])
def test_silent_peer_is_away(keep: bool) -> None:
    def silent(connection: socket.socket, message: bytes) -> None:
        del connection, message

    with ris(silent) as peer, sender(peer, ack_timeout_s=0.3, keep_connection=keep) as carrier:
        with pytest.raises(TransientError) as caught:
            carrier.send(a_message())

        assert caught.value.code is ReasonCode.RIS_AWAY
        assert caught.value.facts["why"] == "no answer in time"


def test_late_answer_is_never_taken_for_the_next_message() -> None:
    """The first message times out; its late AA must not acknowledge the second, which is rejected."""
    release = threading.Event()

    def late(connection: socket.socket, message: bytes) -> None:
        if len(peer.messages) == 1:
            release.wait(5)
            connection.sendall(answer(message))
        else:
            connection.sendall(answer(message, b"AR"))

    with ris(late) as peer, sender(peer, ack_timeout_s=0.3, keep_connection=True) as carrier:
        with pytest.raises(TransientError):
            carrier.send(a_message())
        release.set()
        with pytest.raises(PermanentError):
            carrier.send(a_message())


def test_dripping_peer_cannot_stretch_the_time_for_an_answer() -> None:
    def drip_noise(connection: socket.socket, message: bytes) -> None:
        del message
        while not stop.wait(0.05):
            connection.sendall(b"x")

    stop = threading.Event()
    with ris(drip_noise) as peer, sender(peer, ack_timeout_s=0.4) as carrier:
        with pytest.raises(TransientError):
            carrier.send(a_message())
        stop.set()


def test_peer_that_hangs_up_is_away() -> None:
    def hang_up(connection: socket.socket, message: bytes) -> None:
        del message
        connection.shutdown(socket.SHUT_RDWR)

    with ris(hang_up) as peer, sender(peer) as carrier, pytest.raises(TransientError):
        carrier.send(a_message())


def test_port_where_nobody_listens_is_away() -> None:
    with ris() as peer:
        port = peer.port

    with pytest.raises(TransientError) as caught:
        MllpSender(destination(port=port)).send(a_message())

    assert caught.value.code is ReasonCode.RIS_AWAY


@pytest.mark.parametrize(
    ("code", "error", "policy", "expected"),
    [
        (b"AR", b"", ErrorPolicy.BY_CODE, PermanentError),
        (b"AE", b"", ErrorPolicy.BY_CODE, TransientError),
        (b"AE", b"204^Unknown key", ErrorPolicy.BY_CODE, PermanentError),
        (b"AE", b"204^Unknown key", ErrorPolicy.RETRY, TransientError),
        (b"CE", b"", ErrorPolicy.PARK, PermanentError),
    ],
)
def test_rejection_is_final_or_passing_as_the_policy_says(
    code: bytes, error: bytes, policy: ErrorPolicy, expected: type[Exception]
) -> None:
    def reject(connection: socket.socket, message: bytes) -> None:
        connection.sendall(answer(message, code, error=error))

    with ris(reject) as peer, sender(peer, on_application_error=policy) as carrier:
        with pytest.raises((PermanentError, TransientError)) as caught:
            carrier.send(a_message())

        assert type(caught.value) is expected
        assert caught.value.code is ReasonCode.RIS_REFUSED
        assert caught.value.facts["answer"] == code.decode()


def test_text_of_a_rejection_is_not_repeated() -> None:
    def reject(connection: socket.socket, message: bytes) -> None:
        connection.sendall(answer(message, b"AR Doe^Jane"))

    with ris(reject) as peer, sender(peer) as carrier, pytest.raises(PermanentError) as caught:
        carrier.send(a_message())

    assert "Doe" not in str(caught.value)


def test_message_that_would_break_the_block_is_refused() -> None:
    document = Document(kind=DocumentKind.ORU, identity="1", sop_class_uid="", content=b"MSH\x1c\r")

    with pytest.raises(PermanentError) as caught:
        MllpSender(destination()).send(document)

    assert caught.value.code is ReasonCode.REPORT_INVALID


# --- TLS ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> TlsMaterial:
    return make_tls(tmp_path_factory.mktemp("keys"))


def _server_side(keys: TlsMaterial, *, ask_for_certificate: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(keys.ca))
    context.load_cert_chain(keys.server_certificate, keys.server_key)
    context.verify_mode = ssl.CERT_REQUIRED if ask_for_certificate else ssl.CERT_NONE
    return context


def test_tls_with_a_certificate_on_both_sides(keys: TlsMaterial) -> None:
    files = TlsFiles(ca_file=keys.ca, certificate_file=keys.client_certificate, key_file=keys.client_key)

    with ris(tls=_server_side(keys, ask_for_certificate=True)) as peer, sender(peer, tls=files) as carrier:
        carrier.send(a_message())

        assert peer.messages == [a_message().content]


def test_tls_checks_the_name_that_it_was_given(keys: TlsMaterial) -> None:
    good = TlsFiles(ca_file=keys.ca, server_name="localhost")
    wrong = TlsFiles(ca_file=keys.ca, server_name="elsewhere.example")

    with ris(tls=_server_side(keys, ask_for_certificate=False)) as peer:
        MllpSender(to(peer, tls=good)).send(a_message())
        with pytest.raises(TransientError) as caught:
            MllpSender(to(peer, tls=wrong)).send(a_message())

        assert caught.value.facts["why"] == "SSLCertVerificationError"
        assert len(peer.messages) == 1


def test_peer_that_the_authority_did_not_sign_is_not_talked_to(keys: TlsMaterial) -> None:
    with ris(tls=_server_side(keys, ask_for_certificate=False)) as peer:
        with pytest.raises(TransientError):
            MllpSender(to(peer, tls=TlsFiles())).send(a_message())

        assert peer.messages == []


def test_missing_client_certificate_sends_nothing(keys: TlsMaterial) -> None:
    with ris(tls=_server_side(keys, ask_for_certificate=True)) as peer:
        with pytest.raises(TransientError):
            MllpSender(to(peer, tls=TlsFiles(ca_file=keys.ca))).send(a_message())

        assert peer.messages == []


def test_tls_to_a_peer_without_tls_is_away(keys: TlsMaterial) -> None:
    with ris() as peer, pytest.raises(TransientError):
        MllpSender(to(peer, tls=TlsFiles(ca_file=keys.ca), connect_timeout_s=0.3)).send(a_message())


def test_missing_tls_file_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="TLS file"):
        MllpSender(destination(tls=TlsFiles(ca_file=tmp_path / "none.pem")))
