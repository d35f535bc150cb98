"""Reading objects in every transfer syntax, and refusing with a code what cannot or must not be decoded."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG4HP41,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from models.shared.pixels import PixelError, PixelErrorCode, PixelLimits, read_file_frame, read_frame
from models.shared.pixels.guard import codestream_size
from tests.support.objects import (
    absurd_size,
    as_bytes,
    basic_text_sr,
    ct_slice,
    dx_from_image,
    encapsulated_pdf,
    key_objects,
    presentation_state,
    save,
    text_file,
    truncated,
)
from tests.support.transcoding import LOSSLESS_SYNTAXES, LOSSY_SYNTAXES, missing_program, transcoded

FILM = np.random.default_rng(5).integers(0, 4096, (60, 50)).astype(np.uint16)
SMOOTH = (np.hypot(*np.mgrid[-1:1:96j, -1:1:80j]) * 150).astype(np.uint8)


def transcode(path: Path, syntax: UID, folder: Path) -> Path:
    """Re-encode, or skip where the encoder is not installed."""
    if program := missing_program(syntax):
        pytest.skip(f"{program} (dcmtk) is not installed")
    return transcoded(path, syntax, folder)


def code_of(path: Path, **arguments: object) -> PixelErrorCode:
    with pytest.raises(PixelError) as caught:
        read_file_frame(path, **arguments)  # type: ignore[arg-type]  # the tests choose the arguments
    return caught.value.code


@pytest.mark.peer
@pytest.mark.parametrize("syntax", LOSSLESS_SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize(
    "source",
    [
        lambda: dx_from_image(FILM, BitsStored=12, HighBit=11, WindowCenter="2048", WindowWidth="4096"),
        lambda: dx_from_image(SMOOTH),
        lambda: ct_slice(size_px=64),
    ],
    ids=["twelve bits", "eight bits", "signed"],
)
def test_lossless_syntaxes_give_the_same_frame(
    source: Callable[[], pydicom.FileDataset], syntax: UID, tmp_path: Path
) -> None:
    original = source()
    path = transcode(save(original, tmp_path / "object.dcm"), syntax, tmp_path)

    assert pydicom.dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID == syntax
    expected = read_frame(original).pixels
    assert np.array_equal(read_file_frame(path).pixels, expected)
    assert np.array_equal(read_frame(pydicom.dcmread(path)).pixels, expected)


@pytest.mark.peer
@pytest.mark.parametrize("syntax", LOSSY_SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_lossy_syntaxes_give_nearly_the_same_frame(syntax: UID, tmp_path: Path) -> None:
    original = dx_from_image(SMOOTH)
    path = transcode(save(original, tmp_path / "object.dcm"), syntax, tmp_path)
    assert read_file_frame(path).pixels == pytest.approx(read_frame(original).pixels, abs=8 / 255)


@pytest.mark.peer
def test_lossy_twelve_bits_keep_their_depth(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 4095, 64).astype(np.uint16), (64, 1))
    original = dx_from_image(ramp, BitsStored=12, HighBit=11, WindowCenter="2048", WindowWidth="4096")
    (syntax,) = (syntax for syntax in LOSSY_SYNTAXES if syntax.keyword == "JPEGExtended12Bit")
    path = transcode(save(original, tmp_path / "object.dcm"), syntax, tmp_path)
    assert read_file_frame(path).pixels == pytest.approx(read_frame(original).pixels, abs=0.01)


@pytest.mark.parametrize("make", [basic_text_sr, key_objects, encapsulated_pdf], ids=["SR", "KO", "PDF"])
def test_documents_have_no_pixels(make: Callable[[], pydicom.FileDataset], tmp_path: Path) -> None:
    assert code_of(save(make(), tmp_path / "document.dcm")) is PixelErrorCode.NO_PIXELS


def test_a_presentation_state_has_no_pixels(tmp_path: Path) -> None:
    path = save(presentation_state(dx_from_image(SMOOTH)), tmp_path / "state.dcm")
    assert code_of(path) is PixelErrorCode.NO_PIXELS


@pytest.mark.parametrize("keep", ["header", "empty"])
def test_an_image_without_its_pixel_data_has_no_pixels(keep: str, tmp_path: Path) -> None:
    ds = dx_from_image(SMOOTH)
    if keep == "header":
        del ds.PixelData
    else:
        ds.PixelData = b""
    assert code_of(save(ds, tmp_path / "object.dcm")) is PixelErrorCode.NO_PIXELS
    with pytest.raises(PixelError) as caught:
        read_frame(ds)
    assert caught.value.code is PixelErrorCode.NO_PIXELS


def test_a_text_file_is_not_dicom(tmp_path: Path) -> None:
    assert code_of(text_file(tmp_path / "note.dcm")) is PixelErrorCode.NOT_DICOM


def test_an_empty_file_is_not_dicom(tmp_path: Path) -> None:
    (tmp_path / "empty.dcm").touch()
    assert code_of(tmp_path / "empty.dcm") is PixelErrorCode.NOT_DICOM


@pytest.mark.parametrize("keep_fraction", [0.5, 0.9, 0.999])
def test_native_pixel_data_that_end_early_are_truncated(keep_fraction: float, tmp_path: Path) -> None:
    path = save(dx_from_image(np.tile(FILM, (4, 4))), tmp_path / "object.dcm")
    assert code_of(truncated(path, keep_fraction=keep_fraction)) is PixelErrorCode.TRUNCATED


@pytest.mark.peer
@pytest.mark.parametrize(
    "syntax", [JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless], ids=lambda s: s.keyword
)
@pytest.mark.parametrize("keep_fraction", [0.5, 0.95])
def test_encapsulated_pixel_data_that_end_early_are_truncated(
    syntax: UID, keep_fraction: float, tmp_path: Path
) -> None:
    path = transcode(save(dx_from_image(np.tile(FILM, (4, 4))), tmp_path / "object.dcm"), syntax, tmp_path)
    assert code_of(truncated(path, keep_fraction=keep_fraction)) is PixelErrorCode.TRUNCATED


@pytest.mark.peer
def test_a_deflated_object_that_ends_early_is_truncated(tmp_path: Path) -> None:
    (syntax,) = (syntax for syntax in LOSSLESS_SYNTAXES if syntax.is_deflated)
    path = transcode(save(dx_from_image(FILM), tmp_path / "object.dcm"), syntax, tmp_path)
    assert code_of(truncated(path, keep_fraction=0.8)) is PixelErrorCode.TRUNCATED


def test_absurd_size_is_refused_from_the_header_alone(tmp_path: Path) -> None:
    ds = absurd_size()
    del ds.PixelData
    assert code_of(save(ds, tmp_path / "object.dcm")) is PixelErrorCode.ABSURD_SIZE


@pytest.mark.parametrize(("keyword", "value"), [("Rows", 0), ("Columns", 0), ("NumberOfFrames", 2_000_000_000)])
def test_sizes_without_sense_are_refused(keyword: str, value: int) -> None:
    ds = dx_from_image(SMOOTH)
    setattr(ds, keyword, value)
    with pytest.raises(PixelError) as caught:
        read_frame(ds)
    assert caught.value.code is PixelErrorCode.ABSURD_SIZE


def test_the_size_limit_is_the_callers(tmp_path: Path) -> None:
    path = save(dx_from_image(SMOOTH), tmp_path / "object.dcm")
    assert code_of(path, limits=PixelLimits(max_frame_px=SMOOTH.size - 1)) is PixelErrorCode.ABSURD_SIZE
    assert read_file_frame(path, limits=PixelLimits(max_frame_px=SMOOTH.size)).rows == 96


@pytest.mark.parametrize("change", [{"BitsAllocated": 12}, {"BitsStored": 17}, {"SamplesPerPixel": 2}, {"Rows": None}])
def test_a_header_that_contradicts_itself_is_refused(change: dict[str, int | None]) -> None:
    ds = dx_from_image(FILM)
    for keyword, value in change.items():
        setattr(ds, keyword, value)
    with pytest.raises(PixelError) as caught:
        read_frame(ds)
    assert caught.value.code is PixelErrorCode.BAD_HEADER


def test_video_is_an_unsupported_transfer_syntax(tmp_path: Path) -> None:
    ds = dx_from_image(SMOOTH)
    ds.file_meta.TransferSyntaxUID = MPEG4HP41
    ds.PixelData = encapsulate([b"\0\0\0\1 not really a video"])
    ds["PixelData"].is_undefined_length = True
    assert code_of(save(ds, tmp_path / "object.dcm")) is PixelErrorCode.UNSUPPORTED_TRANSFER_SYNTAX


def test_a_dataset_without_transfer_syntax_is_refused() -> None:
    ds = dx_from_image(SMOOTH)
    del ds.file_meta.TransferSyntaxUID
    with pytest.raises(PixelError) as caught:
        read_frame(ds)
    assert caught.value.code is PixelErrorCode.UNSUPPORTED_TRANSFER_SYNTAX


def jpeg_file(codestream: bytes, folder: Path) -> Path:
    ds = dx_from_image(SMOOTH)
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([codestream])
    ds["PixelData"].is_undefined_length = True
    return save(ds, folder / "object.dcm")


def test_rubbish_in_place_of_a_codestream_cannot_be_decoded(tmp_path: Path) -> None:
    assert code_of(jpeg_file(b"\xff\xd8 rubbish, not a picture \xff\xd9", tmp_path)) is PixelErrorCode.DECODE_FAILED


def test_a_codestream_larger_than_its_header_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    bomb = b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB3B", 11, 8, 60000, 60000, 1, 1, 0x11, 0) + b"\xff\xd9"
    with pytest.raises(PixelError, match="60000") as caught:
        read_file_frame(jpeg_file(bomb, tmp_path))
    assert caught.value.code is PixelErrorCode.DECODE_FAILED


def test_a_small_deflated_file_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.shared.pixels.reading._MAX_INFLATED_BYTES", 2**22)
    ds = dx_from_image(SMOOTH)
    ds.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
    content = as_bytes(ds)
    start = 132 + 12 + struct.unpack_from("<L", content, 140)[0]
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path = tmp_path / "bomb.dcm"
    path.write_bytes(content[:start] + deflate.compress(bytes(2**24)) + deflate.flush())
    assert path.stat().st_size < 2**16
    assert code_of(path) is PixelErrorCode.ABSURD_SIZE


def test_only_the_frame_that_is_asked_for_is_read_from_a_long_file(tmp_path: Path) -> None:
    ds = dx_from_image(SMOOTH, NumberOfFrames=40)
    ds.PixelData = b"".join(np.full_like(SMOOTH, level).tobytes() for level in range(40))
    path = save(ds, tmp_path / "object.dcm")
    assert round(float(read_file_frame(path, 37).pixels.max() * 255)) == 37
    assert code_of(path, frame_index=40) is PixelErrorCode.NO_SUCH_FRAME


def test_texts_and_facts_of_errors_hold_nothing_of_the_patient() -> None:
    ds = dx_from_image(SMOOTH, PatientName="Planted^Name", PatientID="PLANTED-1", Rows=0)
    with pytest.raises(PixelError) as caught:
        read_frame(ds)
    assert "lanted" not in f"{caught.value} {caught.value.facts}".casefold()
    assert "PLANTED" not in str(caught.value)


@pytest.mark.parametrize(
    ("codestream", "size"),
    [
        (b"", None),
        (b"\xff\xd8", None),
        (b"\xff\xd8\xff\xe0\x00\x04\x01\x02", None),
        (b"\xff\xd8\xff\xff\xff\xc3\x00\x0b\x10\x00\x20\x00\x30\x01\x01\x11\x00", (32, 48)),
        (b"\xff\xd8\xff\xf7\x00\x0b\x08\x01\x00\x00\x40\x01\x01\x11\x00", (256, 64)),
        (b"\xff\x4f\xff\x51\x00\x29\x00\x00" + struct.pack(">4L", 70, 90, 6, 10), (80, 64)),
    ],
)
def test_size_of_a_codestream(codestream: bytes, size: tuple[int, int] | None) -> None:
    assert codestream_size(codestream) == size
