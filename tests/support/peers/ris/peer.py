"""The RIS inside this process: a thread with an MLLP server of the hl7 package."""

import asyncio
import contextlib
import re
import ssl
import threading
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import hl7
from hl7.mllp import InvalidBlockError, start_hl7_server

from app.postgres.ports import LOOPBACK, free_port
from tests.support.peers.process import PeerNotReadyError, wait_until
from tests.support.peers.ris.journal import (
    Journal,
    MessageRefusedError,
    RisMessage,
    contents_by_control_id,
    control_id_of,
    parse_strictly,
)
from tests.support.peers.tls import TlsMaterial

_LARGEST_MESSAGE_BYTES = 64 * 2**20
_START_S = 10.0
_ROUNDS_TO_CONNECT = 10
_SEPARATORS = re.compile(r"[|^~\\&]")


class Answer(StrEnum):
    """How the RIS answers; whatever it does, the message was received and is in the journal."""

    AA = "AA"
    AE = "AE"
    AR = "AR"
    SILENT = "silent"
    CLOSE = "close"


class RisPeer:
    """A RIS on loopback; `answer` may be changed at any time, `stop` and `start` take it away and bring it back.

    What breaks the standard is answered with AE, whatever `answer` says. With `tls` it speaks TLS, and asks for a
    client certificate when `client_certificate_required`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        answer: Answer = Answer.AA,
        tls: TlsMaterial | None = None,
        client_certificate_required: bool = False,
    ) -> None:
        self.port = free_port() if port is None else port
        self.answer = answer
        self._tls = _tls_context(tls, client_certificate_required) if tls is not None else None
        self._journal = Journal(folder.resolve())
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._conversations: dict[asyncio.Task[None], Any] = {}

    @property
    def messages(self) -> list[RisMessage]:
        """Everything that was received, in order, resent messages as often as they came."""
        return list(self._journal.messages)

    def distinct(self) -> dict[str, set[bytes]]:
        """Return the different byte strings that came under each control id (MSH-10); one each is as it should be."""
        return contents_by_control_id(self.messages)

    def wait_for(self, count: int, timeout_s: float = 30.0) -> list[RisMessage]:
        """Return the messages once there are `count`. Raises TimeoutError."""
        if not wait_until(lambda: len(self._journal.messages) >= count, timeout_s):
            raise TimeoutError(f"{len(self._journal.messages)} of {count} messages came")
        return self.messages

    def start(self) -> Self:
        """Listen. Raises PeerNotReadyError when the port is taken."""
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), name="ris-peer", daemon=True)
        self._thread.start()
        if not wait_until(lambda: listening.is_set() or not self._is_running(), _START_S) or not listening.is_set():
            raise PeerNotReadyError(f"the RIS cannot listen on port {self.port}")
        return self

    def stop(self) -> None:
        """Stop listening and cut all connections."""
        if self._thread is None:
            return
        if self._loop is not None and self._over is not None and self._is_running():
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        return self if self._thread is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _run(self, listening: threading.Event) -> None:
        with contextlib.suppress(OSError), asyncio.Runner() as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve(listening))

    async def _serve(self, listening: threading.Event) -> None:
        self._over = asyncio.Event()
        server = await start_hl7_server(
            self._connected, LOOPBACK, self.port, limit=_LARGEST_MESSAGE_BYTES, ssl=self._tls
        )
        listening.set()
        await self._over.wait()
        # What was accepted a moment ago must get its conversation before the server closes, else nobody would cut it.
        for listener in server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(_ROUNDS_TO_CONNECT):
            await asyncio.sleep(0)
        server.close()
        for conversation, writer in list(self._conversations.items()):
            conversation.cancel()
            writer.transport.abort()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    def _connected(self, reader: Any, writer: Any) -> None:
        conversation = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._conversations[conversation] = writer
        conversation.add_done_callback(lambda ended: self._conversations.pop(ended, None))

    async def _converse(self, reader: Any, writer: Any) -> None:
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, InvalidBlockError, ValueError):
            pass  # the other side went away or does not speak MLLP
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: Any, writer: Any) -> bool:
        """Take one message and answer it; return whether the conversation goes on."""
        raw: bytes = await reader.readblock()
        acknowledgement, message = answered(raw, self.answer)
        self._journal.append(message)
        if message.answer == Answer.CLOSE:
            return False
        if message.answer != Answer.SILENT:
            writer.writeblock(acknowledgement)
            await writer.drain()
        return True


def answered(raw: bytes, answer: Answer) -> tuple[bytes, RisMessage]:
    """Return the acknowledgement of a message and the message as the journal keeps it."""
    fault = ""
    try:
        parsed = parse_strictly(raw)
    except MessageRefusedError as refused:
        fault = str(refused)
        answer = Answer.AE if answer is Answer.AA else answer
        parsed = _header_alone(raw)
    message = RisMessage(
        raw=raw, received_at=datetime.now(UTC), answer=answer.value, control_id=control_id_of(raw), fault=fault
    )
    acknowledgement = str(parsed.create_ack(answer.value if len(answer.value) == 2 else "AA")).rstrip("\r") + "\r"
    if fault:
        acknowledgement += f"ERR|||207^Application internal error^HL70357|E||||{_SEPARATORS.sub(' ', fault)}\r"
    return acknowledgement.encode("utf-8"), message


def _header_alone(raw: bytes) -> hl7.Message:
    return hl7.parse(f"MSH|^~\\&|||||||ACK^ACK|{control_id_of(raw)}|P|2.5.1\r")


def _tls_context(tls: TlsMaterial, client_certificate_required: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.server_certificate, tls.server_key)
    if client_certificate_required:
        context.load_verify_locations(tls.ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
