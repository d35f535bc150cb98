"""The DIMSE provider of an association: C-STORE is served here, fragment by fragment; the rest is pynetdicom's.

A data set goes to a sink as it arrives, and the request is answered on the thread that read it: there is no queue, no
copy in memory and no second thread between the socket and the disk.
"""

from typing import Any, Protocol

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from operators.receive.command import StoreCommand, store_command, store_response

_COMMAND, _LAST = 0x01, 0x02  # message control header, PS3.8 E.2
_LARGEST_COMMAND_BYTES = 2**16


class DataSink(Protocol):
    """Takes one data set as it arrives. It keeps its failures until the end: the association goes on."""

    def write(self, fragment: memoryview) -> None:
        """Append a fragment, which is valid during the call only."""
        ...

    def finish(self) -> tuple[int, str]:
        """Store what was written; return the status to answer and the comment that goes with a failure."""
        ...

    def discard(self) -> None:
        """Forget what was written: the association ended in the middle."""
        ...


class OpenSink(Protocol):
    """Makes the sink for a C-STORE request that begins."""

    def __call__(self, command: StoreCommand, *, transfer_syntax_uid: str, calling_ae: str) -> DataSink:
        """Return a new sink."""
        ...


class StoreDimse(DIMSEServiceProvider):  # type: ignore[misc] # pynetdicom is not typed for us
    """Takes the fragments of messages (PS3.8 annex E) one after the other."""

    def __init__(self, assoc: Any, open_sink: OpenSink) -> None:
        super().__init__(assoc)
        self._open_sink = open_sink
        self._command_set = bytearray()
        self._command: StoreCommand | None = None
        self._sink: DataSink | None = None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the fragments of one PDU."""
        for context_id, value in primitive.presentation_data_value_list:
            if value[0] & _COMMAND:
                self._take_command(context_id, value)
            elif self._sink is not None:
                self._take_data(context_id, value)
            else:
                self._pass_on(context_id, bytes(value))

    def close(self) -> None:
        """Discard what was not received to its end: the association has ended."""
        if self._sink is not None:
            self._sink.discard()
            self._sink = None

    def _take_command(self, context_id: int, value: memoryview) -> None:
        self._command_set += value[1:]
        if len(self._command_set) > _LARGEST_COMMAND_BYTES:
            raise ValueError("a command set is too long")
        if not value[0] & _LAST:
            return
        command_set = bytes(self._command_set)
        self._command_set.clear()
        self._command = store_command(command_set)
        if self._command is None:
            self._pass_on(context_id, bytes([_COMMAND | _LAST]) + command_set)
        else:
            self._begin(context_id, self._command)

    def _begin(self, context_id: int, command: StoreCommand) -> None:
        context = self.assoc._accepted_cx.get(context_id)  # noqa: SLF001 - there is no public name for it
        if context is None:
            raise ValueError("a message came in a presentation context that was not accepted")
        self.close()
        self._sink = self._open_sink(
            command,
            transfer_syntax_uid=str(context.transfer_syntax[0]),
            calling_ae=str(self.assoc.requestor.primitive.calling_ae_title).strip(),
        )
        if not command.has_data_set:
            self._finish(context_id)

    def _take_data(self, context_id: int, value: memoryview) -> None:
        if self._sink is not None:
            self._sink.write(value[1:])
            if value[0] & _LAST:
                self._finish(context_id)

    def _finish(self, context_id: int) -> None:
        sink, command = self._sink, self._command
        self._sink = self._command = None
        if sink is not None and command is not None:
            status, comment = sink.finish()
            answer = bytes([_COMMAND | _LAST]) + store_response(command, status, comment)
            self.dul.send_pdu(data_primitive([(context_id, answer)]))

    def _pass_on(self, context_id: int, value: bytes) -> None:
        super().receive_primitive(data_primitive([(context_id, value)]))


def data_primitive(values: list[tuple[int, Any]]) -> P_DATA:
    """Return a P-DATA primitive of presentation data values, not copied."""
    primitive = P_DATA()
    primitive.presentation_data_value_list.extend(values)
    return primitive
