"""DICOM files as received: a request's facts become the bytes before its data set; a file becomes its header.

Only the header is read, whatever the object's size; values longer than a text can be are stepped over.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import Enum, auto
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from operators.domain.headers import read_header
from operators.domain.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from operators.domain.messages import InstanceHeader

_PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})  # Float, Double Float and plain Pixel Data
_ITEM, _ITEM_DELIMITER_SEQUENCE = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_STEP_OVER_BYTES = 65536
_INFLATED_HEADER_BYTES = 8 * 2**20
_INFLATED_MAX_BYTES = 4 * 2**30
_INFLATE_STEP_BYTES = 2**20
# What pydicom raises on bytes that are no data set; anything else is a defect of ours and must surface.
_READER_ERRORS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)


class Defect(Enum):
    """What is wrong with an object that cannot be taken."""

    UNREADABLE = auto()
    TRUNCATED = auto()


class BadObjectError(Exception):
    """The data set cannot be taken for what it is."""

    def __init__(self, defect: Defect) -> None:
        self.defect = defect
        super().__init__(defect.name.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedObject:
    """What the header of a received file says. `has_pixels`: it holds pixel data that are not empty."""

    header: InstanceHeader
    has_pixels: bool


def file_preface(
    *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str = ""
) -> bytes:
    """Return preamble, prefix and file meta information (PS3.10 7.1) for a data set that follows as it was sent."""
    elements = b"".join(
        (
            struct.pack("<HH2sxxL", 2, 0x0001, b"OB", 2) + b"\x00\x01",
            _element(0x0002, b"UI", sop_class_uid),
            _element(0x0003, b"UI", sop_instance_uid),
            _element(0x0010, b"UI", transfer_syntax_uid),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _element(0x0016, b"AE", source_ae_title) if source_ae_title else b"",
        )
    )
    group_length = struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(elements))
    return b"\0" * 128 + b"DICM" + group_length + elements


def _element(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def read_received(path: Path, *, data_set_at: int, transfer_syntax_uid: str) -> ReceivedObject:
    """Read the header of a file whose data set starts at `data_set_at`.

    Raises BadObjectError when it is no data set or ends before its data do, OSError when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(data_set_at)
            if transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
                stream, size = _inflated(file)
                return _read(stream, size, transfer_syntax_uid)
            size = file.seek(0, SEEK_END)
            file.seek(data_set_at)
            return _read(file, size, transfer_syntax_uid)
    except _READER_ERRORS as exc:
        raise BadObjectError(Defect.UNREADABLE) from exc


def _read(stream: BinaryIO, size: int, transfer_syntax_uid: str) -> ReceivedObject:
    """Read up to the pixel data. `size` is where the whole data set ends; `stream` may hold its beginning only."""
    implicit, little = _encoding(transfer_syntax_uid)
    watch = _Watch(stream, size)
    ds: Dataset = read_dataset(stream, implicit, little, stop_when=watch, defer_size=_STEP_OVER_BYTES)
    if watch.is_truncated:
        raise BadObjectError(Defect.TRUNCATED)
    has_pixels = False
    if watch.pixels is not None:
        at, length = watch.pixels
        stream.seek(at)
        has_pixels = _walk_items(stream, size) if length == _UNDEFINED else length > 0
    return ReceivedObject(header=read_header(ds, transfer_syntax_uid=transfer_syntax_uid), has_pixels=has_pixels)


def _encoding(transfer_syntax_uid: str) -> tuple[bool, bool]:
    """(is implicit VR, is little endian); private and future transfer syntaxes are as PS3.5 A.4 has them."""
    uid = UID(transfer_syntax_uid)
    if not uid.is_transfer_syntax or uid.is_private:
        return False, True
    return uid.is_implicit_VR, uid.is_little_endian


class _Watch:
    """Sees every element of the data set before it is read; stops at the pixel data, and where the data end early."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self.pixels: tuple[int, int] | None = None
        self.is_truncated = False

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        del vr
        at = self._stream.tell()
        self.is_truncated = length != _UNDEFINED and at + length > self._size
        if tag in _PIXEL_TAGS:
            self.pixels = (at, length)
        return self.is_truncated or self.pixels is not None


def _walk_items(stream: BinaryIO, size: int) -> bool:
    """Step over the items of encapsulated pixel data (PS3.5 A.4); return whether any fragment holds something.

    Only the delimiter says that no fragment is missing: an object may have been cut where an item ends.
    """
    found, position, items = False, stream.tell(), 0
    while True:
        head = stream.read(8)
        if len(head) < 8:
            raise BadObjectError(Defect.TRUNCATED)
        group, number, length = struct.unpack("<HHL", head)
        tag = group << 16 | number
        if tag == _ITEM_DELIMITER_SEQUENCE:
            return found
        if tag != _ITEM:
            raise BadObjectError(Defect.UNREADABLE)
        position += 8 + length
        if position > size:
            raise BadObjectError(Defect.TRUNCATED)
        found = found or (items > 0 and length > 0)  # the first item is the offset table
        items += 1
        stream.seek(position)


def _inflated(file: BinaryIO) -> tuple[BinaryIO, int]:
    """Inflate a deflated data set (PS3.5 A.5) step by step: its beginning as a stream, and the size of the whole."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    beginning, size = bytearray(), 0
    pending = file.read(_INFLATE_STEP_BYTES)
    while pending and not inflater.eof:
        piece = inflater.decompress(pending, _INFLATE_STEP_BYTES)
        size += len(piece)
        if len(beginning) < _INFLATED_HEADER_BYTES:
            beginning += piece
        if size > _INFLATED_MAX_BYTES:
            raise BadObjectError(Defect.UNREADABLE)
        pending = inflater.unconsumed_tail or file.read(_INFLATE_STEP_BYTES)
    if not inflater.eof:
        raise BadObjectError(Defect.TRUNCATED)
    return BytesIO(bytes(beginning)), size
