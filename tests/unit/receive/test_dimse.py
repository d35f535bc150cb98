"""Fragments of messages as peers may cut them: C-STORE data reach the sink once and in order, the rest is passed on."""

from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode, encode
from pynetdicom.sop_class import Verification

from operators.receive.command import StoreCommand
from operators.receive.dimse import StoreDimse, data_primitive


class Sink:
    def __init__(self, command: StoreCommand, transfer_syntax_uid: str, calling_ae: str) -> None:
        self.opened_with = (command.sop_instance_uid, transfer_syntax_uid, calling_ae)
        self.content = b""
        self.ended = ""

    def write(self, fragment: memoryview) -> None:
        self.content += bytes(fragment)

    def finish(self) -> tuple[int, str]:
        self.ended = "finished"
        return 0xA700, "later"

    def discard(self) -> None:
        self.ended = "discarded"


class Peer:
    """A DIMSE provider with what it opened, sent and passed on."""

    def __init__(self) -> None:
        self.sinks: list[Sink] = []
        self.sent: list[Any] = []
        context = SimpleNamespace(transfer_syntax=[ExplicitVRLittleEndian])
        requestor = SimpleNamespace(primitive=SimpleNamespace(calling_ae_title=" SCU "))
        dul = SimpleNamespace(send_pdu=self.sent.append)
        association: Any = SimpleNamespace(
            _accepted_cx={1: context, 3: context}, requestor=requestor, dul=dul, dimse_timeout=None,
            get_handlers=lambda event: [],
        )  # fmt: skip
        self.dimse = StoreDimse(association, self.open)

    def open(self, command: StoreCommand, *, transfer_syntax_uid: str, calling_ae: str) -> Sink:
        self.sinks.append(Sink(command, transfer_syntax_uid, calling_ae))
        return self.sinks[-1]

    def take(self, *values: bytes, context_id: int = 1) -> None:
        self.dimse.receive_primitive(data_primitive([(context_id, memoryview(value)) for value in values]))


def _encoded(message: Any, primitive: Any) -> bytes:
    filled = message()
    filled.primitive_to_message(primitive)
    return bytes(encode(filled.command_set, True, True) or b"")


def _store_command(**changes: Any) -> bytes:
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 5, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CTImageStorage, "1.2.3"
    primitive.DataSet = changes.get("data", BytesIO(b"\0\0"))
    return _encoded(C_STORE_RQ, primitive)


def _echo_command() -> bytes:
    primitive = C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 6, Verification
    return _encoded(C_ECHO_RQ, primitive)


@pytest.fixture
def peer() -> Peer:
    return Peer()


def test_fragments_reach_the_sink_and_the_answer_is_sent(peer: Peer) -> None:
    command = _store_command()

    peer.take(b"\x01" + command[:20])
    peer.take(b"\x03" + command[20:], b"\x00one ", b"\x00two ")
    peer.take(b"\x02three")

    (sink,) = peer.sinks
    assert sink.opened_with == ("1.2.3", ExplicitVRLittleEndian, "SCU")
    assert (sink.content, sink.ended) == (b"one two three", "finished")
    ((context_id, answer),) = peer.sent[0].presentation_data_value_list
    response: Any = decode(BytesIO(bytes(answer[1:])), True, True)
    assert (context_id, answer[0]) == (1, 0x03)
    assert (response.CommandField, response.Status, response.ErrorComment) == (0x8001, 0xA700, "later")


def test_two_objects_after_each_other_have_their_own_sinks(peer: Peer) -> None:
    for content in (b"first", b"second"):
        peer.take(b"\x03" + _store_command(), b"\x02" + content)

    assert [sink.content for sink in peer.sinks] == [b"first", b"second"]
    assert len(peer.sent) == 2


def test_a_request_without_a_data_set_is_answered(peer: Peer) -> None:
    peer.take(b"\x03" + _store_command(data=None))

    assert [(sink.content, sink.ended) for sink in peer.sinks] == [(b"", "finished")]


def test_another_message_is_passed_on(peer: Peer) -> None:
    peer.take(b"\x03" + _echo_command())

    context_id, message = peer.dimse.get_msg()
    assert (context_id, message.MessageID) == (1, 6)
    assert peer.sinks == []


def test_an_association_that_ends_in_the_middle_discards(peer: Peer) -> None:
    peer.take(b"\x03" + _store_command(), b"\x00half")

    peer.dimse.close()

    assert peer.sinks[0].ended == "discarded"
    assert peer.sent == []


def test_a_request_in_the_middle_of_another_discards_the_first(peer: Peer) -> None:
    peer.take(b"\x03" + _store_command(), b"\x00half", b"\x03" + _store_command(), b"\x02whole")

    assert [(sink.content, sink.ended) for sink in peer.sinks] == [(b"half", "discarded"), (b"whole", "finished")]


def test_a_context_that_was_not_accepted_breaks_the_association(peer: Peer) -> None:
    with pytest.raises(ValueError, match="presentation context"):
        peer.take(b"\x03" + _store_command(), context_id=5)


def test_an_endless_command_breaks_the_association(peer: Peer) -> None:
    for _ in range(15):
        peer.take(b"\x01" + b"x" * 4096)

    with pytest.raises(ValueError, match="too long"):
        peer.take(b"\x01" + b"x" * 4097)
