"""The MLLP client: a document enters, the RIS has acknowledged it when `send` returns.

A resend is byte-identical because the bytes are the document's; a RIS that sees the same MSH-10 twice can tell.
"""

import logging
import socket
import ssl
import threading
from collections.abc import Iterator

from operators.domain.clock import Clock, SystemClock
from operators.domain.drafts import Document
from operators.domain.errors import ConfigError, PermanentError, TransientError
from operators.domain.hl7.framing import BlockBuffer, BlockTooLargeError, block
from operators.domain.reasons import ReasonCode
from operators.notify.acks import Answer, Outcome, outcome_of, read_answer
from operators.notify.config import MllpDestination, TlsFiles

logger = logging.getLogger(__name__)

_PORTION_BYTES = 65536
_ANSWER_MAX_BYTES = 1 << 20


class MllpSender:
    """Sends to one destination, one message at a time; implements operators.domain.drafts.Sender."""

    def __init__(self, destination: MllpDestination, clock: Clock | None = None) -> None:
        """Read the TLS files. Raises ConfigError when one cannot be used."""
        self._to = destination
        self._clock = clock or SystemClock()
        self._tls = _tls_context(destination) if destination.tls else None
        self._turn = threading.Lock()
        self._kept: socket.socket | None = None

    def send(self, document: Document) -> None:
        """Send the message and wait for its acknowledgement.

        Raises TransientError(RIS_AWAY) when the RIS cannot be reached, is silent for `ack_timeout_s`, hangs up or
        answers with something else, TransientError(RIS_REFUSED) for an error that may pass; PermanentError(RIS_REFUSED)
        when it rejects the message, PermanentError(REPORT_INVALID) when the bytes cannot be put in a block.
        """
        try:
            message = block(document.content)
        except ValueError as exc:
            raise PermanentError(ReasonCode.REPORT_INVALID, why="a delimiter of MLLP in the message") from exc
        with self._turn:
            answer = self._exchange(message, document.identity)
        self._judge(answer)

    def close(self) -> None:
        """Hang up, if a connection is kept."""
        with self._turn:
            self._hang_up()

    def _exchange(self, message: bytes, control_id: str) -> Answer:
        reused = self._kept is not None
        try:
            try:
                return self._once(message, control_id)
            except (ConnectionError, ssl.SSLError):
                # A kept connection may have been closed by the peer while it was idle: once more on a fresh one.
                if not reused:
                    raise
                self._hang_up()
                return self._once(message, control_id)
        except TimeoutError as exc:
            raise self._away("no answer in time") from exc
        except BlockTooLargeError as exc:
            raise self._away("the answer is not MLLP") from exc
        except OSError as exc:
            raise self._away(type(exc).__name__) from exc
        finally:
            if not self._to.keep_connection:
                self._hang_up()

    def _once(self, message: bytes, control_id: str) -> Answer:
        connection = self._kept or self._connect()
        self._kept = connection
        completed = False
        try:
            connection.settimeout(self._to.ack_timeout_s)
            connection.sendall(message)
            for answer in self._answers(connection):
                if answer.control_id == control_id:
                    completed = True
                    return answer
                logger.warning("notify.foreign_answer", extra={"destination": self._to.name})
            raise ConnectionResetError
        finally:
            if not completed:
                # Whatever still comes on this connection would be taken for the answer to the next message.
                self._hang_up()

    def _answers(self, connection: socket.socket) -> Iterator[Answer]:
        """Yield answers until the peer hangs up. Raises TimeoutError when `ack_timeout_s` is over."""
        buffer = BlockBuffer(_ANSWER_MAX_BYTES)
        deadline_s = self._clock.monotonic_s() + self._to.ack_timeout_s
        while True:
            left_s = deadline_s - self._clock.monotonic_s()
            if left_s <= 0:
                raise TimeoutError
            connection.settimeout(left_s)
            portion = connection.recv(_PORTION_BYTES)
            if not portion:
                return
            for content in buffer.feed(portion):
                answer = read_answer(content)
                if answer is not None:
                    yield answer

    def _connect(self) -> socket.socket:
        to = self._to
        plain = socket.create_connection((to.host, to.port), timeout=to.connect_timeout_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None or to.tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=to.tls.server_name or to.host)
        except OSError:
            plain.close()
            raise

    def _hang_up(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _away(self, why: str) -> TransientError:
        return TransientError(ReasonCode.RIS_AWAY, destination=self._to.name, why=why)

    def _judge(self, answer: Answer) -> None:
        outcome = outcome_of(answer, self._to.on_application_error)
        facts = {"destination": self._to.name, "answer": _safe(answer.code), "error": _safe(answer.error_code)}
        if outcome is Outcome.RETRY:
            raise TransientError(ReasonCode.RIS_REFUSED, **facts)
        if outcome is Outcome.REFUSED:
            raise PermanentError(ReasonCode.RIS_REFUSED, **facts)


def _safe(code: str) -> str:
    """Return a peer's code as a fact: short and plain, or only that it was odd. It must not carry a text."""
    return code if len(code) <= 8 and code.isalnum() else "none" if not code else "odd"


def _tls_context(destination: MllpDestination) -> ssl.SSLContext:
    files = destination.tls or TlsFiles()
    try:
        context = ssl.create_default_context(cafile=str(files.ca_file) if files.ca_file else None)
        if files.certificate_file:
            context.load_cert_chain(files.certificate_file, files.key_file, files.key_password)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"notify {destination.name}: a TLS file cannot be used ({type(exc).__name__})") from exc
    return context
