"""Reading: a dataset, a DICOM file or an ordinary image file enters, a GreyFrame or a frame's values leave."""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from models.shared.pixels.decoders import DECODERS
from models.shared.pixels.errors import PixelError, PixelErrorCode
from models.shared.pixels.frame import GreyFrame, find_content_box
from models.shared.pixels.grey import grey_frame, modality_values, padding_mask
from models.shared.pixels.guard import (
    DAMAGE_ERRORS,
    PIXEL_KEYWORDS,
    PixelLimits,
    attribute,
    check_codestream,
    check_header,
    check_length,
    frame_count,
    transfer_syntax,
    whole_number,
)

_DEFAULT_LIMITS = PixelLimits()
_MAX_INFLATED_BYTES = 2**30  # a deflated object names its size only inside what has to be inflated
_INFLATE_STEP_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameValues:
    """One frame after the modality transform: `values` (rows, columns) float32, `padding` where it holds none."""

    values: npt.NDArray[np.float32]
    padding: npt.NDArray[np.bool_]


def read_frame(ds: Dataset, frame_index: int = 0, *, limits: PixelLimits = _DEFAULT_LIMITS) -> GreyFrame:
    """Grey frame of a dataset that holds its pixel data.

    Raises
    ------
    PixelError
        With the code that says why the pixels cannot be used.
    """
    check_header(ds, frame_index, limits)
    value = _pixel_value(ds)
    stream = BytesIO(value) if isinstance(value, bytes | bytearray) else value
    check_length(ds, stream)
    return grey_frame(ds, _stored_values(ds, ds, stream, frame_index), frame_index)


def read_file_frame(path: Path, frame_index: int = 0, *, limits: PixelLimits = _DEFAULT_LIMITS) -> GreyFrame:
    """Grey frame of a DICOM file. The header is judged before the pixel data are read, and only one frame is read.

    Raises
    ------
    PixelError
        With the code that says why the pixels cannot be used.
    OSError
        The file cannot be opened or read.
    """
    file_meta = _read_file_meta(path)
    if attribute(file_meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return read_frame(_inflated(path, file_meta), frame_index, limits=limits)
    with path.open("rb") as file:
        ds = _read_header(file)
        check_header(ds, frame_index, limits)
        _seek_to_pixel_value(ds, file)
        check_length(ds, file)
        stored = _stored_values(ds, path, file, frame_index)
    return grey_frame(ds, stored, frame_index)


def read_file_header(path: Path) -> Dataset:
    """Header of a DICOM file without its pixel data.

    Raises
    ------
    PixelError
        not-dicom, bad-header, and for a deflated file truncated, absurd-size, decode-failed.
    OSError
        The file cannot be opened or read.
    """
    file_meta = _read_file_meta(path)
    if attribute(file_meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        return _inflated(path, file_meta)
    with path.open("rb") as file:
        return _read_header(file)


def read_file_values(
    path: Path, frame_indices: Sequence[int], *, limits: PixelLimits = _DEFAULT_LIMITS
) -> Iterator[FrameValues]:
    """Values of some frames of a grey DICOM file after its modality transform, in the order asked for.

    The file is opened once. Nothing of the display (window, inversion) is applied.

    Raises
    ------
    PixelError
        With the code that says why the pixels cannot be used; unsupported-photometric for a colour image.
    OSError
        The file cannot be opened or read.
    """
    header = read_file_header(path)
    for index in frame_indices:
        check_header(header, index, limits)
    is_deflated = transfer_syntax(header) == DeflatedExplicitVRLittleEndian
    if is_deflated or frame_count(header) > 1:
        yield from _values_of_dataset(header if is_deflated else _read_whole(path), frame_indices)
        return
    with path.open("rb") as file:
        ds = _read_header(file)
        _seek_to_pixel_value(ds, file)
        check_length(ds, file)
        for index in frame_indices:
            yield _frame_values(ds, _stored_values(ds, path, file, index), index)


def _values_of_dataset(ds: Dataset, frame_indices: Sequence[int]) -> Iterator[FrameValues]:
    value = _pixel_value(ds)
    check_length(ds, BytesIO(value))
    for index in frame_indices:
        yield _frame_values(ds, _stored_values(ds, ds, BytesIO(value), index), index)


def _frame_values(ds: Dataset, stored: npt.NDArray[Any], frame_index: int) -> FrameValues:
    if stored.ndim != 2:
        raise PixelError(PixelErrorCode.UNSUPPORTED_PHOTOMETRIC, axes=stored.ndim)
    values = modality_values(ds, stored, frame_index).astype(np.float32)
    return FrameValues(values=values, padding=padding_mask(ds, stored))


def read_image_file(path: Path) -> GreyFrame:
    """Grey frame of an ordinary image file (PNG, JPEG, ...): 8-bit luminance, alpha dropped; deeper images scaled.

    Raises
    ------
    PixelError
        not-an-image, absurd-size, decode-failed.
    OSError
        The file cannot be opened or read.
    """
    content = path.read_bytes()
    try:
        with Image.open(BytesIO(content)) as image:
            if image.width * image.height > _DEFAULT_LIMITS.max_frame_px:
                raise PixelError(PixelErrorCode.ABSURD_SIZE, rows=image.height, columns=image.width)
            pixels = _luminance(image)
    except UnidentifiedImageError as exc:
        raise PixelError(PixelErrorCode.NOT_AN_IMAGE) from exc
    except (OSError, SyntaxError, zlib.error, Image.DecompressionBombError) as exc:
        raise PixelError(PixelErrorCode.DECODE_FAILED) from exc
    return GreyFrame(pixels=pixels, content_box=find_content_box(pixels))


def _luminance(image: Image.Image) -> npt.NDArray[np.float32]:
    if not image.mode.startswith(("I", "F")):
        return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
    # Pillow's conversion of deeper images to mode L saturates: scale by the format's depth instead.
    values = np.asarray(image, dtype=np.float64)
    largest = 65535.0 if image.mode.startswith("I") else 1.0
    return np.clip(np.nan_to_num(values) / largest, 0, 1).astype(np.float32)


@contextmanager
def _damage_as(code: PixelErrorCode, **facts: object) -> Iterator[None]:
    """Turn what pydicom raises on damaged input into a PixelError; errors of the file system pass."""
    try:
        yield
    except PixelError:
        raise
    except DAMAGE_ERRORS as exc:
        raise PixelError(code, **facts) from exc
    except OSError as exc:
        if exc.errno is not None:
            raise
        raise PixelError(code, **facts) from exc  # pydicom's own: "No tag to read"


def _read_file_meta(path: Path) -> FileMetaDataset:
    try:
        with _damage_as(PixelErrorCode.BAD_HEADER):
            return read_file_meta_info(path)
    except InvalidDicomError as exc:
        raise PixelError(PixelErrorCode.NOT_DICOM) from exc


def _read_header(file: BinaryIO) -> Dataset:
    with _damage_as(PixelErrorCode.BAD_HEADER):
        return pydicom.dcmread(file, stop_before_pixels=True)


def _read_whole(path: Path) -> Dataset:
    with _damage_as(PixelErrorCode.BAD_HEADER):
        return pydicom.dcmread(path)


def _inflated(path: Path, file_meta: FileMetaDataset) -> Dataset:
    """Inflate a whole deflated file (PS3.5 A.5) step by step, so that a small file cannot fill the memory."""
    content = path.read_bytes()
    # 128 bytes of preamble, DICM, and the group length element that counts the rest of group 2 (PS3.10 7.1)
    start = 132 + 12 + whole_number(file_meta, "FileMetaInformationGroupLength")
    inflated = _inflate(content[start:])
    with _damage_as(PixelErrorCode.BAD_HEADER):
        ds = read_dataset(BytesIO(inflated), is_implicit_VR=False, is_little_endian=True)
    ds.file_meta = file_meta
    return ds


def _inflate(pending: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray()
    while pending and not inflater.eof and len(inflated) <= _MAX_INFLATED_BYTES:
        try:
            inflated += inflater.decompress(pending, _INFLATE_STEP_BYTES)
        except zlib.error as exc:
            raise PixelError(PixelErrorCode.DECODE_FAILED, uid=str(DeflatedExplicitVRLittleEndian)) from exc
        pending = inflater.unconsumed_tail
    if len(inflated) > _MAX_INFLATED_BYTES:
        raise PixelError(PixelErrorCode.ABSURD_SIZE, inflated_bytes=len(inflated))
    if not inflater.eof:
        raise PixelError(PixelErrorCode.TRUNCATED, inflated_bytes=len(inflated))
    return bytes(inflated)


def _pixel_value(ds: Dataset) -> Any:
    for keyword in PIXEL_KEYWORDS:
        value = attribute(ds, keyword)
        if value is not None:
            return value
    raise PixelError(PixelErrorCode.NO_PIXELS)


def _seek_to_pixel_value(ds: Dataset, file: BinaryIO) -> None:
    """Step over the tag, VR and length of the pixel data element that reading the header stopped at."""
    syntax = transfer_syntax(ds)
    head_bytes = 8 if syntax.is_implicit_VR else 12  # PS3.5 7.1.2 and 7.1.3
    head = file.read(head_bytes)
    if len(head) < head_bytes:
        raise PixelError(PixelErrorCode.TRUNCATED if head else PixelErrorCode.NO_PIXELS)


def _stored_values(ds: Dataset, source: Dataset | Path, stream: BinaryIO, frame_index: int) -> npt.NDArray[Any]:
    """Decode one frame; integers in native byte order with their unused bits cleared, colour as RGB."""
    syntax = transfer_syntax(ds)
    has_own_bits = not syntax.is_encapsulated or syntax == RLELossless
    options: dict[str, Any] = {"correct_unused_bits": False} if has_own_bits else {}
    if syntax.is_encapsulated:
        options["decoding_plugin"] = DECODERS[syntax]
    with _damage_as(PixelErrorCode.DECODE_FAILED, uid=str(syntax)):
        if syntax.is_encapsulated:
            check_codestream(ds, get_frame(stream, frame_index, number_of_frames=frame_count(ds)))
        values = pixel_array(source, index=frame_index, **options)
    values = values.astype(values.dtype.newbyteorder("="), copy=True)
    return _without_unused_bits(ds, values) if has_own_bits and values.dtype.kind in "iu" else values


def _without_unused_bits(ds: Dataset, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Move the stored bits to the bottom and clear or sign-extend the rest (PS3.5 8.1.1): overlays may hide there."""
    allocated = whole_number(ds, "BitsAllocated")
    stored = whole_number(ds, "BitsStored", allocated)
    if allocated != values.dtype.itemsize * 8 or stored == allocated:
        return values
    high_bit = whole_number(ds, "HighBit", stored - 1)
    if not stored - 1 <= high_bit < allocated:
        high_bit = stored - 1
    aligned: npt.NDArray[Any] = np.right_shift(np.left_shift(values, allocated - 1 - high_bit), allocated - stored)
    return aligned
