"""The MLLP listener: connections enter, every block on them is answered once what it says is durable.

One thread accepts, one more serves each connection. Blocks of one connection are served in their order, also when
several come in one portion. What has not wholly come when the node stops is not answered: its sender repeats it.
"""

import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import psycopg

from operators.domain.clock import Clock
from operators.domain.errors import TransientError
from operators.domain.hl7.framing import BlockBuffer, BlockTooLargeError, block
from operators.domain.hl7.message import Header, read_header, read_message
from operators.domain.hl7.refusals import MessageRefusedError, RefusalReason
from operators.domain.listening import bind
from operators.domain.server_tls import server_context
from operators.ris.answers import answer
from operators.ris.config import RisConfig
from operators.ris.inbox import Letter, RisInbox
from operators.ris.judging import judge

logger = logging.getLogger(__name__)

_LOOK_S = 0.25
_PORTION_BYTES = 65536
_ANSWER_WITHIN_S = 10.0
_HANDSHAKE_WITHIN_S = 10.0
_STOP_WITHIN_S = 10.0
_FORGET_EVERY_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Answers one block at a time."""

    config: RisConfig
    inbox: RisInbox
    clock: Clock

    def answer_to(self, content: bytes, peer: str) -> bytes:
        """Keep the message of a block, do what it says, and return the acknowledgement. Nothing is raised."""
        header: Header | None = None
        refused: RefusalReason | None
        try:
            header = read_header(content)
            refused = self._take(content, peer)
        except MessageRefusedError as error:
            refused = error.reason
            logger.warning("ris.refused", extra={"reason": refused.name, "peer": peer})
        except TransientError as error:
            refused = RefusalReason.DATABASE_AWAY
            logger.warning("ris.put_off", extra={"code": error.code.value})
        except Exception as exc:  # noqa: BLE001 - the boundary of the thread: a defect must not look like success
            refused = RefusalReason.DEFECT
            logger.error("ris.defect", extra={"kind": type(exc).__name__})  # noqa: TRY400 - no values in logs
        return answer(header, refused, self.clock.now())

    def refuse_beginning(self, beginning: bytes) -> bytes:
        """Return the answer to a message that is too large, of which the beginning came."""
        header: Header | None = None
        with contextlib.suppress(MessageRefusedError):
            header = read_header(beginning)
        return answer(header, RefusalReason.TOO_LARGE, self.clock.now())

    def _take(self, content: bytes, peer: str) -> RefusalReason | None:
        message = read_message(content, self.config.character_set)
        judge(message.header, self.config, self.inbox.types)
        return self.inbox.take(Letter(message=message, content=content, peer=peer, at=self.clock.now()))


@dataclass(slots=True, eq=False)
class _Conversation:
    """One connection."""

    connection: socket.socket
    peer: str
    reader: Reader
    stopping: threading.Event
    buffer: BlockBuffer = field(init=False)
    since_s: float = field(init=False)
    was_inside: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.buffer = BlockBuffer(self.reader.config.maximum_message_bytes)
        self.since_s = self.reader.clock.monotonic_s()

    def run(self, tls: ssl.SSLContext | None) -> None:
        """Serve until the peer hangs up, breaks the protocol, or is silent for too long."""
        try:
            self._serve(tls)
        except BlockTooLargeError as error:
            logger.warning("ris.too_large", extra={"peer": self.peer})
            with contextlib.suppress(OSError):
                self._say(self.reader.refuse_beginning(error.beginning))
        except (OSError, ValueError) as exc:
            logger.info("ris.connection_broken", extra={"peer": self.peer, "kind": type(exc).__name__})
        finally:
            self.connection.close()

    def _serve(self, tls: ssl.SSLContext | None) -> None:
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if tls is not None:
            self.connection.settimeout(_HANDSHAKE_WITHIN_S)
            self.connection = tls.wrap_socket(self.connection, server_side=True)
        for content in self._blocks():
            self._say(self.reader.answer_to(content, self.peer))

    def _blocks(self) -> Iterator[bytes]:
        while not self.stopping.is_set():
            portion = self._portion()
            if portion is None:
                if self._is_late():
                    logger.info("ris.silent", extra={"peer": self.peer, "inside": self.was_inside})
                    return
                continue
            if not portion:
                return
            blocks = self.buffer.feed(portion)
            yield from blocks
            self._note(has_ended=bool(blocks))
            if self._is_late():
                logger.info("ris.slow", extra={"peer": self.peer})
                return

    def _portion(self) -> bytes | None:
        """Return what came, b"" when the peer hung up, None when nothing came for a moment."""
        self.connection.settimeout(_LOOK_S)
        try:
            return self.connection.recv(_PORTION_BYTES)
        except TimeoutError:
            return None

    def _note(self, *, has_ended: bool) -> None:
        """Begin to count anew when a block has begun or ended, or something came between blocks."""
        is_inside = self.buffer.is_inside
        if has_ended or not is_inside or not self.was_inside:
            self.since_s = self.reader.clock.monotonic_s()
        self.was_inside = is_inside

    def _is_late(self) -> bool:
        config = self.reader.config
        patience_s = config.message_timeout_s if self.was_inside else config.idle_timeout_s
        return self.reader.clock.monotonic_s() - self.since_s > patience_s

    def _say(self, acknowledgement: bytes) -> None:
        self.connection.settimeout(_ANSWER_WITHIN_S)
        self.connection.sendall(block(acknowledgement))


class RisListener:
    """Listens for HL7 messages. `start` once, `stop` once."""

    def __init__(self, config: RisConfig, inbox: RisInbox, clock: Clock) -> None:
        self._config = config
        self._inbox = inbox
        self._clock = clock
        self._reader = Reader(config=config, inbox=inbox, clock=clock)
        self._tls: ssl.SSLContext | None = None
        self._listening: socket.socket | None = None
        self._port = config.port
        self._stopping = threading.Event()
        self._open: set[threading.Thread] = set()
        self._thread = threading.Thread(target=self._accept, name="ris-listener", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    def start(self) -> None:
        """Bind the port and begin to accept.

        Raises ConfigError for TLS files that cannot be used and, with PORT_IN_USE, for a taken port.
        """
        if self._config.tls is not None:
            self._tls = server_context(self._config.tls, "ris.tls")
        self._listening = bind(self._config.bind, self._config.port, what="HL7 port")
        self._port = int(self._listening.getsockname()[1])
        self._listening.settimeout(_LOOK_S)
        self._thread.start()
        logger.info("ris.listening", extra={"port": self.port})

    def stop(self) -> None:
        """Accept nothing more; return when the messages at hand are answered."""
        if self._listening is None or self._stopping.is_set():
            return
        self._stopping.set()
        self._thread.join()
        deadline_s = self._clock.monotonic_s() + _STOP_WITHIN_S
        for thread in tuple(self._open):
            thread.join(max(deadline_s - self._clock.monotonic_s(), 0.0))
        logger.info("ris.stopped")

    def _accept(self) -> None:
        if self._listening is None:
            return
        forget_at_s = self._clock.monotonic_s()
        with self._listening as listening:
            while not self._stopping.is_set():
                if self._clock.monotonic_s() >= forget_at_s:
                    self._forget()
                    forget_at_s = self._clock.monotonic_s() + _FORGET_EVERY_S
                try:
                    connection, address = listening.accept()
                except TimeoutError:
                    continue
                except OSError as exc:  # no descriptor left, or the peer was gone before it was accepted
                    logger.warning("ris.not_accepted", extra={"kind": type(exc).__name__})
                    self._stopping.wait(_LOOK_S)
                    continue
                self._welcome(connection, str(address[0]))

    def _welcome(self, connection: socket.socket, peer: str) -> None:
        self._open = {thread for thread in self._open if thread.is_alive()}
        reason = ""
        if not self._config.admits(peer):
            reason = "address"
        elif len(self._open) >= self._config.maximum_connections:
            reason = "too many"
        if reason:
            logger.warning("ris.turned_away", extra={"peer": peer, "reason": reason})
            connection.close()
            return
        conversation = _Conversation(connection, peer, self._reader, self._stopping)
        thread = threading.Thread(target=conversation.run, args=(self._tls,), name="ris-connection", daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:  # the machine has no thread left; those that end make room
            logger.warning("ris.not_accepted", extra={"kind": type(exc).__name__})
            connection.close()
            return
        self._open.add(thread)

    def _forget(self) -> None:
        """Remove messages kept for long enough; a database that is away is asked again in an hour."""
        try:
            self._inbox.forget_before(self._clock.now() - timedelta(days=self._config.keep_days))
        except (TransientError, psycopg.Error) as error:
            logger.warning("ris.not_forgotten", extra={"kind": type(error).__name__})
