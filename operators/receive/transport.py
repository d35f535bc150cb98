"""pynetdicom's acceptor without its waiting: the same state machine, woken by data instead of looking for them.

As it comes, pynetdicom polls every millisecond from two threads per association, reads 4 KiB at a time and copies every
byte of pixel data several times. Here a thread sleeps until its socket or its user has something, and a PDU of data is
read in one go into a buffer that is used again for the next.
"""

import logging
import queue
import select
import socket
import struct
import threading
from contextlib import suppress
from typing import Any

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket

from operators.receive.dimse import OpenSink, StoreDimse, data_primitive

logger = logging.getLogger(__name__)

_LARGEST_PDU_BYTES = 32 * 2**20
_LOOK_UP_S = 0.25
_P_DATA_TF = 0x04  # PS3.8 9.3.1
_PDU_HEAD_BYTES = 6
_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux; it holds until the kernel thinks otherwise
_PDV_HEAD = struct.Struct(">LB")


class _NewsQueue(queue.Queue[Any]):
    """A queue whose every item rings the bell of the association's reactor."""

    def __init__(self, bell: threading.Event) -> None:
        super().__init__()
        self._bell = bell

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._bell.set()


class _Pacer(threading.Event):
    """The checkpoint that the reactor passes every round: lets it pass on news, else four times a second."""

    def __init__(self) -> None:
        super().__init__()
        self.bell = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.bell.wait(_LOOK_UP_S)
        self.bell.clear()
        return super().wait(timeout)


class EagerSocket(AssociationSocket):  # type: ignore[misc] # pynetdicom is not typed for us
    """A socket that reads as much at a time as there is, and takes back what was read too early."""

    pushed_back = b""

    def recv(self, nr_bytes: int) -> bytearray:
        """Read `nr_bytes`; fewer only when the peer closed the connection. Raises OSError for an absurd length."""
        if nr_bytes > _LARGEST_PDU_BYTES:
            raise OSError("the PDU is too long")
        if self.pushed_back:
            early, self.pushed_back = self.pushed_back[:nr_bytes], self.pushed_back[nr_bytes:]
            return bytearray(early)
        received = bytearray(nr_bytes)
        del received[self.fill(memoryview(received)) :]
        return received

    def fill(self, target: memoryview) -> int:
        """Fill `target`; return how many bytes came before the peer closed the connection. Raises OSError."""
        connection = self.socket
        if connection is None:
            raise OSError("the connection is closed")
        filled = 0
        while filled < len(target):
            count = connection.recv_into(target[filled:])
            if count == 0:
                break
            filled += count
            _acknowledge(connection)
        return filled


def _acknowledge(connection: socket.socket) -> None:
    """Have what was read acknowledged now.

    The kernel would wait up to 40 ms, and so would a sender with Nagle's algorithm, as dcmtk is by default, before it
    sends the last, short segment of every object.
    """
    if _QUICK_ACK is not None:
        connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)


class _DataPdu:
    """A received P-DATA-TF PDU (PS3.8 9.3.5), its values as views into the buffer."""

    def __init__(self, body: memoryview) -> None:
        self._values: list[tuple[int, memoryview]] = []
        position = 0
        while position < len(body):
            length, context_id = _PDV_HEAD.unpack_from(body, position)
            value = body[position + 5 : position + 4 + length]
            if length < 2 or len(value) != length - 1:
                raise ValueError("a presentation data value ends outside its PDU")
            self._values.append((context_id, value))
            position += 4 + length

    def to_primitive(self) -> P_DATA:
        """Return the primitive for the DIMSE provider."""
        return data_primitive(self._values)


class EagerDul(DULServiceProvider):  # type: ignore[misc] # pynetdicom is not typed for us
    """The upper layer provider, asleep while neither the peer nor the local user has anything for it."""

    def __init__(self, assoc: "StoreAssociation", bell: threading.Event) -> None:
        super().__init__(assoc)
        self.daemon = True
        self.to_user_queue = _NewsQueue(bell)
        self._run_loop_delay = 0
        self._waker, self._woken = socket.socketpair()
        self._waker.setblocking(False)
        self._buffer = bytearray()

    def send_pdu(self, primitive: Any) -> None:
        """Queue a primitive for the peer."""
        super().send_pdu(primitive)
        if threading.current_thread() is not self:
            with suppress(OSError):  # full: it will wake anyway; closed: it has ended
                self._waker.send(b"\0")

    def run_reactor(self) -> None:
        """Run until the association has ended."""
        try:
            super().run_reactor()
        except Exception as exc:  # noqa: BLE001 - the boundary of the thread: the peer broke the protocol
            logger.warning("association.broken", extra={"kind": type(exc).__name__})
        finally:
            self._waker.close()
            self._woken.close()
            self.assoc.dimse.close()

    def _is_transport_event(self) -> bool:
        if self.event_queue.empty() and self.state_machine.current_state != "Sta13":
            self._sleep()
        happened = bool(super()._is_transport_event())
        if self.state_machine.current_state == "Sta2" and "Evt17" in self.event_queue.queue:
            self.to_user_queue.put(None)  # gone before it asked for an association: the user need not wait for it
        return happened

    def _sleep(self) -> None:
        connection = self.socket.socket if self.socket is not None else None
        if connection is None or connection.fileno() < 0:
            ready, _, _ = select.select([self._woken], [], [], _LOOK_UP_S)
        elif getattr(connection, "pending", int)():  # a TLS socket may hold bytes that select cannot see
            return
        else:
            ready, _, _ = select.select([connection, self._woken], [], [], _LOOK_UP_S)
        if self._woken in ready:
            self._woken.recv(4096)

    def _read_pdu_data(self) -> None:
        """Read a PDU; see the base class for the events. The frequent kind is read without copying."""
        if self.socket is None:
            self.event_queue.put("Evt17")  # transport connection closed
            return
        try:
            head = self.socket.recv(_PDU_HEAD_BYTES)
            length = int.from_bytes(head[2:], "big")
            if len(head) < _PDU_HEAD_BYTES or head[0] != _P_DATA_TF or length > _LARGEST_PDU_BYTES:
                self.socket.pushed_back = bytes(head)
                super()._read_pdu_data()
                return
            body = self._body(length)
            filled = self.socket.fill(body)
        except OSError:
            self.event_queue.put("Evt17")
            return
        if filled < length:
            self.event_queue.put("Evt17")
            return
        try:
            pdu = _DataPdu(body)
        except (ValueError, struct.error):
            self.event_queue.put("Evt19")  # unrecognized or invalid PDU
            return
        self._recv_pdu.put(pdu)
        self.event_queue.put("Evt10")  # P-DATA-TF PDU

    def _body(self, length: int) -> memoryview:
        """Return room for a PDU: the buffer's, once nothing of the PDU before it is in use any more."""
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        return memoryview(self._buffer)[:length]


class StoreAssociation(Association):  # type: ignore[misc] # pynetdicom is not typed for us
    """An accepted association made of the parts above."""

    def __init__(self, ae: ApplicationEntity, mode: str, open_sink: OpenSink) -> None:
        super().__init__(ae, mode)
        pacer = _Pacer()
        pacer.set()
        self._reactor_checkpoint = pacer
        self.dul = EagerDul(self, pacer.bell)
        self.dimse = StoreDimse(self, open_sink)
        self.dimse.msg_queue = _NewsQueue(pacer.bell)
        for name in ("acse_timeout", "dimse_timeout", "network_timeout"):
            setattr(self, name, getattr(ae, name))  # they also belong to the new upper layer provider
