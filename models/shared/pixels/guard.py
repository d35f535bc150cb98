"""Checks before anything is decoded: a header enters, nothing leaves but a PixelError when decoding would be unsafe."""

import struct
from dataclasses import dataclass
from io import SEEK_END, BytesIO
from typing import Any, BinaryIO

from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.sequence import Sequence
from pydicom.uid import UID

from models.shared.pixels.decoders import is_decodable
from models.shared.pixels.errors import PixelError, PixelErrorCode

PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_ITEM_TAG = (0xFFFE, 0xE000)
_DELIMITER_TAG = (0xFFFE, 0xE0DD)
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"  # ISO 10918-1 table B.1: SOI, EOI
_STANDALONE_JPEG_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}  # F7: JPEG-LS


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelLimits:
    """The largest image that is decoded: pixels of one frame, and frames of one object."""

    max_frame_px: int = 64_000_000
    max_frames: int = 20_000


# What pydicom and its decoders raise on damaged input; anything else is a defect of ours and must surface.
DAMAGE_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


def attribute(ds: Dataset, keyword: str) -> Any:
    """Value of an attribute, None where it is absent. pydicom converts at first access, so that damage shows here.

    Raises
    ------
    PixelError
        bad-header.
    """
    try:
        return ds.get(keyword)
    except DAMAGE_ERRORS as exc:
        raise PixelError(PixelErrorCode.BAD_HEADER, keyword=keyword) from exc


def sequence_items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Items of a sequence attribute, none where it is absent. Raises PixelError (bad-header) for another VR."""
    value = attribute(ds, keyword)
    if value is not None and not isinstance(value, Sequence):
        raise PixelError(PixelErrorCode.BAD_HEADER, keyword=keyword)
    return list(value or [])


def transfer_syntax(ds: Dataset) -> UID:
    """Transfer syntax of a dataset as read; raises PixelError (unsupported-transfer-syntax) where it names none."""
    file_meta = getattr(ds, "file_meta", None)
    uid = attribute(file_meta, "TransferSyntaxUID") if file_meta is not None else None
    if not uid or not isinstance(uid, str):
        raise PixelError(PixelErrorCode.UNSUPPORTED_TRANSFER_SYNTAX, uid="none")
    return UID(uid)


def whole_number(ds: Dataset, keyword: str, default: int | None = None) -> int:
    """Return one integer attribute; raises PixelError (bad-header) where it is missing, many-valued or no number."""
    value = attribute(ds, keyword)
    try:
        return int(default if value is None and default is not None else value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise PixelError(PixelErrorCode.BAD_HEADER, keyword=keyword) from exc


def frame_count(ds: Dataset) -> int:
    """Read Number of Frames; absent, empty and 0 mean one."""
    return whole_number(ds, "NumberOfFrames", 1) or 1


def check_header(ds: Dataset, frame_index: int, limits: PixelLimits) -> None:
    """Refuse what must not be decoded. The pixel data themselves need not be read yet.

    Raises
    ------
    PixelError
        no-pixels, bad-header, absurd-size, no-such-frame, unsupported-transfer-syntax.
    """
    if not any(keyword in ds for keyword in ("Rows", "Columns")):
        raise PixelError(PixelErrorCode.NO_PIXELS)
    rows, columns = whole_number(ds, "Rows"), whole_number(ds, "Columns")
    frames = frame_count(ds)
    if not (rows > 0 and columns > 0 and rows * columns <= limits.max_frame_px and 0 < frames <= limits.max_frames):
        raise PixelError(PixelErrorCode.ABSURD_SIZE, rows=rows, columns=columns, frames=frames)
    if not 0 <= frame_index < frames:
        raise PixelError(PixelErrorCode.NO_SUCH_FRAME, frame_index=frame_index, frames=frames)
    _check_bits(ds)
    uid = transfer_syntax(ds)
    if not is_decodable(uid):
        raise PixelError(PixelErrorCode.UNSUPPORTED_TRANSFER_SYNTAX, uid=str(uid))


def _check_bits(ds: Dataset) -> None:
    allocated = whole_number(ds, "BitsAllocated")
    stored = whole_number(ds, "BitsStored", allocated)
    samples = whole_number(ds, "SamplesPerPixel", 1)
    sign = whole_number(ds, "PixelRepresentation", 0)
    # PS3.5 8.1.1: BitsAllocated is 1 or a multiple of 8; C.7.6.3.1.1: one or three samples
    if (
        allocated not in {1, 8, 16, 32, 64}
        or not 0 < stored <= allocated
        or samples not in {1, 3}
        or sign not in {0, 1}
    ):
        raise PixelError(PixelErrorCode.BAD_HEADER, bits_allocated=allocated, bits_stored=stored, samples=samples)


def check_length(ds: Dataset, source: BinaryIO) -> None:
    """Refuse pixel data that end early. `source` is at the first byte of the pixel data's value.

    Native data must hold every frame that the header promises; of encapsulated data every item must be whole and the
    sequence delimited (a delimiter that the reader has already eaten is not missed). Leaves the position as it was.

    Raises
    ------
    PixelError
        truncated, no-pixels.
    """
    start = source.tell()
    end = source.seek(0, SEEK_END)
    source.seek(start)
    if end == start:
        raise PixelError(PixelErrorCode.NO_PIXELS)
    if transfer_syntax(ds).is_encapsulated:
        _walk_items(source, start, end)
        source.seek(start)
        return
    expected = native_length_bytes(ds)
    if end - start < expected:
        raise PixelError(PixelErrorCode.TRUNCATED, expected_bytes=expected, actual_bytes=end - start)


def native_length_bytes(ds: Dataset) -> int:
    """Bytes that the uncompressed pixel data of all frames take, without the padding byte."""
    samples = whole_number(ds, "Rows") * whole_number(ds, "Columns") * whole_number(ds, "SamplesPerPixel", 1)
    if attribute(ds, "PhotometricInterpretation") == "YBR_FULL_422":  # PS3.3 C.7.6.3.1.2: chrominance at half rate
        samples = samples // 3 * 2
    return (samples * whole_number(ds, "BitsAllocated") * frame_count(ds) + 7) // 8


def _walk_items(source: BinaryIO, start: int, end: int) -> None:
    """Step over the items of encapsulated pixel data (PS3.5 A.4) without reading their values."""
    position = start
    while position + 8 <= end:
        source.seek(position)
        group, element, length = struct.unpack("<HHL", source.read(8))
        if (group, element) == _DELIMITER_TAG:
            return
        if (group, element) != _ITEM_TAG:
            raise PixelError(PixelErrorCode.DECODE_FAILED, item_at_byte=position - start)
        position += 8 + length
    if position != end:
        raise PixelError(PixelErrorCode.TRUNCATED, expected_bytes=position - start, actual_bytes=end - start)


def check_codestream(ds: Dataset, codestream: bytes) -> None:
    """Refuse a JPEG, JPEG-LS or JPEG 2000 frame that must not be decoded.

    One whose own size is not the header's, since decoders allocate by the former; one of JPEG or JPEG-LS without its
    end marker, since decoders fill what is missing with grey and say nothing.

    Raises
    ------
    PixelError
        decode-failed, truncated.
    """
    size = codestream_size(codestream)
    expected = (whole_number(ds, "Rows"), whole_number(ds, "Columns"))
    if size is not None and size != expected:
        raise PixelError(PixelErrorCode.DECODE_FAILED, header_size=expected, codestream_size=size)
    if codestream[:2] == _JPEG_START and not codestream.rstrip(b"\0").endswith(_JPEG_END):
        raise PixelError(PixelErrorCode.TRUNCATED, actual_bytes=len(codestream))


def codestream_size(codestream: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG family codestream declares; None for other codings (RLE) or if unsaid."""
    if codestream[:2] == _JPEG_START:
        return _jpeg_size(codestream)
    start = codestream.find(b"\xff\x4f\xff\x51", 0, 512)  # SOC and SIZ of ISO 15444-1, possibly inside JP2 boxes
    if start < 0 or len(codestream) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4L", codestream, start + 8)
    return bottom - top, right - left


def _jpeg_size(codestream: bytes) -> tuple[int, int] | None:
    stream = BytesIO(codestream)
    stream.seek(2)
    while True:
        head = stream.read(2)
        if len(head) < 2 or head[0] != 0xFF:
            return None
        marker = head[1]
        if marker == 0xFF:  # fill byte, ISO 10918-1 B.1.1.2
            stream.seek(-1, 1)
            continue
        if marker in _STANDALONE_JPEG_MARKERS:
            continue
        segment = stream.read(7)
        if len(segment) < 7:
            return None
        length, _, rows, columns = struct.unpack(">HBHH", segment)
        if marker in _JPEG_FRAME_MARKERS:
            return (rows, columns) if rows else None  # 0: given later by DNL
        stream.seek(length - 7, 1)
