"""The C-STORE messages of PS3.7 9.3.1 as values: the command set of a request enters, that of the response leaves."""

import struct
from dataclasses import dataclass

_COMMAND_FIELD, _MESSAGE_ID, _DATA_SET_TYPE = 0x0100, 0x0110, 0x0800
_SOP_CLASS_UID, _SOP_INSTANCE_UID = 0x0002, 0x1000
_RESPONDED_MESSAGE_ID, _STATUS, _ERROR_COMMENT = 0x0120, 0x0900, 0x0902
_C_STORE_RQ, _C_STORE_RSP = 0x0001, 0x8001
_NO_DATA_SET = 0x0101
_HEAD = struct.Struct("<HHL")  # command sets are Implicit VR Little Endian (PS3.7 6.3.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCommand:
    """A C-STORE-RQ (PS3.7 table 9.3-1): which object is announced, and whether a data set follows."""

    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool


def store_command(command_set: bytes) -> StoreCommand | None:
    """Return the request, or None when the command is another one or lacks what a request must have."""
    elements = _elements(command_set)
    message_id = _number(elements, _MESSAGE_ID)
    if _number(elements, _COMMAND_FIELD) != _C_STORE_RQ or message_id is None:
        return None
    if not elements.get(_SOP_CLASS_UID) or not elements.get(_SOP_INSTANCE_UID):
        return None
    return StoreCommand(
        message_id=message_id,
        sop_class_uid=_text(elements[_SOP_CLASS_UID]),
        sop_instance_uid=_text(elements[_SOP_INSTANCE_UID]),
        has_data_set=_number(elements, _DATA_SET_TYPE) != _NO_DATA_SET,
    )


def store_response(command: StoreCommand, status: int, comment: str) -> bytes:
    """Return the command set of the C-STORE-RSP (PS3.7 table 9.3-2); a comment goes with failures, 64 characters."""
    body = b"".join(
        (
            _element(_SOP_CLASS_UID, _uid(command.sop_class_uid)),
            _element(_COMMAND_FIELD, struct.pack("<H", _C_STORE_RSP)),
            _element(_RESPONDED_MESSAGE_ID, struct.pack("<H", command.message_id)),
            _element(_DATA_SET_TYPE, struct.pack("<H", _NO_DATA_SET)),
            _element(_STATUS, struct.pack("<H", status)),
            _element(_ERROR_COMMENT, _padded(comment.encode("ascii", "replace")[:64], b" ")) if comment else b"",
            _element(_SOP_INSTANCE_UID, _uid(command.sop_instance_uid)),
        )
    )
    return _element(0x0000, struct.pack("<L", len(body))) + body


def _elements(command_set: bytes) -> dict[int, bytes]:
    """Values by element number of group 0000; what is cut off is left out."""
    found: dict[int, bytes] = {}
    position = 0
    while position + _HEAD.size <= len(command_set):
        group, number, length = _HEAD.unpack_from(command_set, position)
        position += _HEAD.size
        value = command_set[position : position + length]
        position += length
        if group == 0 and len(value) == length:
            found[number] = value
    return found


def _number(elements: dict[int, bytes], number: int) -> int | None:
    value = elements.get(number, b"")
    return int.from_bytes(value, "little") if len(value) == 2 else None


def _text(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii", "replace")


def _uid(text: str) -> bytes:
    return _padded(text.encode("ascii", "replace"), b"\0")


def _padded(value: bytes, padding: bytes) -> bytes:
    return value + padding if len(value) % 2 else value


def _element(number: int, value: bytes) -> bytes:
    return _HEAD.pack(0, number, len(value)) + value
