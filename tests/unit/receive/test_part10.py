"""Reading what was received: the header whatever the encoding, and the defects that must be noticed."""

import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)

from operators.domain.headers import read_header
from operators.domain.implementation import IMPLEMENTATION_CLASS_UID
from operators.receive.part10 import BadObjectError, Defect, ReceivedObject, file_preface, read_received
from tests.support.objects import basic_text_sr, dx_from_image, encapsulated_pdf

_PIXELS = np.arange(32 * 16, dtype=np.uint16).reshape(32, 16)


def _body(ds: FileDataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    meta = ds.file_meta
    del ds.file_meta
    ds.preamble = None
    buffer = BytesIO()
    if syntax == ExplicitVRBigEndian:
        ds["PixelData"].value = _PIXELS.astype(">u2").tobytes()
    pydicom.dcmwrite(buffer, ds, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
    ds.file_meta = meta
    if syntax == DeflatedExplicitVRLittleEndian:
        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        return deflater.compress(buffer.getvalue()) + deflater.flush()
    return buffer.getvalue()


def _read(folder: Path, body: bytes, syntax: UID = ExplicitVRLittleEndian) -> ReceivedObject:
    preface = file_preface(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="1.2.3", transfer_syntax_uid=syntax
    )
    path = folder / "received.dcm"
    path.write_bytes(preface + body)
    return read_received(path, data_set_at=len(preface), transfer_syntax_uid=syntax)


def _defect(folder: Path, body: bytes, syntax: UID = ExplicitVRLittleEndian) -> Defect:
    with pytest.raises(BadObjectError) as caught:
        _read(folder, body, syntax)
    return caught.value.defect


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda uid: uid.keyword,
)
def test_the_header_is_read_in_every_encoding(syntax: UID, tmp_path: Path) -> None:
    ds = dx_from_image(_PIXELS, PatientName="Müller^Jürgen", SpecificCharacterSet="ISO_IR 100", InstanceNumber="7")

    received = _read(tmp_path, _body(ds, syntax), syntax)

    assert received.has_pixels
    assert received.header == read_header(ds, transfer_syntax_uid=syntax)
    assert (received.header.patient.name, received.header.instance_number) == ("Müller^Jürgen", 7)


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
    ids=lambda uid: uid.keyword,
)
@pytest.mark.parametrize("missing_bytes", [1, 100, 700])
def test_a_data_set_that_ends_early_is_noticed(syntax: UID, missing_bytes: int, tmp_path: Path) -> None:
    body = _body(dx_from_image(np.tile(_PIXELS, (2, 2))), syntax) if syntax != ExplicitVRBigEndian else b""
    body = body or _body(dx_from_image(_PIXELS), syntax)

    assert _defect(tmp_path, body[:-missing_bytes], syntax) in {Defect.TRUNCATED, Defect.UNREADABLE}


def _encapsulated(*fragments: bytes) -> FileDataset:
    ds = dx_from_image(_PIXELS)
    ds.PixelData = encapsulate(list(fragments))
    ds["PixelData"].is_undefined_length = True
    return ds


def test_encapsulated_pixels_are_walked_to_their_end(tmp_path: Path) -> None:
    body = _body(_encapsulated(b"\xff\xd8" * 50, b"\xff\xd8" * 70))

    assert _read(tmp_path, body, JPEGLSLossless).has_pixels
    assert _defect(tmp_path, body[:-60], JPEGLSLossless) is Defect.TRUNCATED
    assert _defect(tmp_path, body[:-4], JPEGLSLossless) is Defect.TRUNCATED


def test_encapsulated_pixels_cut_where_an_item_ends_are_noticed(tmp_path: Path) -> None:
    body = _body(_encapsulated(b"\xff\xd8" * 50, b"\xff\xd8" * 70))
    delimiter, last_item = 8, 8 + 140

    assert body[-delimiter:] == b"\xfe\xff\xdd\xe0\0\0\0\0"
    assert _defect(tmp_path, body[:-delimiter], JPEGLSLossless) is Defect.TRUNCATED
    assert _defect(tmp_path, body[: -delimiter - last_item], JPEGLSLossless) is Defect.TRUNCATED


def test_encapsulated_pixels_without_a_fragment_are_none(tmp_path: Path) -> None:
    ds = dx_from_image(_PIXELS)
    ds.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0"
    ds["PixelData"].is_undefined_length = True

    assert not _read(tmp_path, _body(ds), JPEGLSLossless).has_pixels


def test_something_else_among_the_fragments_is_noticed(tmp_path: Path) -> None:
    body = _body(_encapsulated(b"\xff\xd8" * 50)).replace(b"\xfe\xff\x00\xe0", b"\xfe\xff\x01\xe0")

    assert _defect(tmp_path, body, JPEGLSLossless) is Defect.UNREADABLE


@pytest.mark.parametrize("ds", [basic_text_sr(), encapsulated_pdf()], ids=["sr", "pdf"])
def test_a_document_has_no_pixels(ds: FileDataset, tmp_path: Path) -> None:
    received = _read(tmp_path, _body(ds))

    assert not received.has_pixels
    assert received.header.instance_uid == ds.SOPInstanceUID


def test_empty_pixel_data_are_no_pixels(tmp_path: Path) -> None:
    assert not _read(tmp_path, _body(dx_from_image(_PIXELS, PixelData=b""))).has_pixels


def test_a_document_that_ends_early_is_noticed(tmp_path: Path) -> None:
    body = _body(encapsulated_pdf(b"%PDF" + b"x" * 100_000))

    assert _defect(tmp_path, body[:-50_000]) is Defect.TRUNCATED


def test_long_values_are_stepped_over_and_the_header_after_them_is_read(tmp_path: Path) -> None:
    ds = dx_from_image(_PIXELS)
    ds.private_block(0x0009, "INTERVAL TEST", create=True).add_new(0x10, "OB", b"\0" * 3_000_000)

    received = _read(tmp_path, _body(ds))

    assert received.has_pixels
    assert received.header == read_header(ds, transfer_syntax_uid=ExplicitVRLittleEndian)


def test_functional_groups_before_the_pixels_do_not_matter(tmp_path: Path) -> None:
    ds = dx_from_image(_PIXELS, SOPClassUID=EnhancedCTImageStorage, NumberOfFrames="200")
    ds.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(200)]
    ds["PerFrameFunctionalGroupsSequence"].is_undefined_length = True

    received = _read(tmp_path, _body(ds))

    assert (received.has_pixels, received.header.frames) == (True, 200)


@pytest.mark.parametrize(
    "body", [b"Dear colleague,\r\nthis is no image. " * 40, bytes(range(256)) * 20, b"\xff" * 5000], ids=str
)
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian], ids=lambda uid: uid.keyword)
def test_what_is_no_data_set_raises_or_has_no_identifiers(body: bytes, syntax: UID, tmp_path: Path) -> None:
    try:
        received = _read(tmp_path, body, syntax)
    except BadObjectError:
        return
    assert (received.header.instance_uid, received.header.study_uid) == ("", "")


def test_a_deflate_stream_that_is_none_is_noticed(tmp_path: Path) -> None:
    assert _defect(tmp_path, b"\xff" * 100, DeflatedExplicitVRLittleEndian) is Defect.UNREADABLE


def test_the_preface_is_a_file_head_that_pydicom_reads(tmp_path: Path) -> None:
    ds = dx_from_image(_PIXELS)
    preface = file_preface(
        sop_class_uid=ds.SOPClassUID,
        sop_instance_uid=ds.SOPInstanceUID,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        source_ae_title="SENDER1",
    )
    path = tmp_path / "file.dcm"
    path.write_bytes(preface + _body(ds))

    read = pydicom.dcmread(path)

    meta = read.file_meta
    assert meta.FileMetaInformationGroupLength == len(preface) - 128 - 4 - 12
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (ds.SOPClassUID, ds.SOPInstanceUID)
    assert (meta.TransferSyntaxUID, meta.SourceApplicationEntityTitle) == (ExplicitVRLittleEndian, "SENDER1")
    assert (meta.ImplementationClassUID, meta.ImplementationVersionName) == (IMPLEMENTATION_CLASS_UID, "INTERVAL")
    assert read.PixelData == ds.PixelData
