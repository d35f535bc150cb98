"""The C-STORE command sets against pynetdicom's own encoder and decoder."""

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode, encode

from operators.receive.command import StoreCommand, store_command, store_response


def _request(**changes: object) -> bytes:
    primitive = C_STORE()
    primitive.MessageID = 7
    primitive.AffectedSOPClassUID = CTImageStorage
    primitive.AffectedSOPInstanceUID = "1.2.3.45"
    primitive.Priority = 2
    primitive.DataSet = BytesIO(b"\0\0")
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    for keyword, value in changes.items():
        setattr(message.command_set, keyword, value)
    return bytes(encode(message.command_set, True, True) or b"")


def test_a_request_is_read() -> None:
    assert store_command(_request()) == StoreCommand(
        message_id=7, sop_class_uid=CTImageStorage, sop_instance_uid="1.2.3.45", has_data_set=True
    )


def test_a_request_without_a_data_set_says_so() -> None:
    command = store_command(_request(CommandDataSetType=0x0101))

    assert command is not None
    assert not command.has_data_set


@pytest.mark.parametrize(
    "command_set",
    [_request(CommandField=0x0030), _request(AffectedSOPInstanceUID=None), _request()[:40], b"", b"\xff" * 64],
    ids=["echo", "no instance", "cut", "empty", "garbage"],
)
def test_what_is_no_c_store_request_is_none(command_set: bytes) -> None:
    assert store_command(command_set) is None


@pytest.mark.parametrize(("status", "comment"), [(0x0000, ""), (0xA700, "Out of resources, send again later")])
def test_a_response_is_understood_by_pynetdicom(status: int, comment: str) -> None:
    command = StoreCommand(message_id=65535, sop_class_uid=CTImageStorage, sop_instance_uid="1.2.3", has_data_set=True)

    answer: Dataset = decode(BytesIO(store_response(command, status, comment)), True, True)

    assert answer.CommandField == 0x8001
    assert answer.CommandGroupLength == len(store_response(command, status, comment)) - 12
    assert (answer.MessageIDBeingRespondedTo, answer.Status) == (65535, status)
    assert (answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID) == (CTImageStorage, "1.2.3")
    assert answer.CommandDataSetType == 0x0101
    assert answer.get("ErrorComment", "") == comment
