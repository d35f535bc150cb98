import struct
from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sr.codedict import codes

from operators.domain.codec import from_plain, to_plain
from operators.domain.headers import read_header
from operators.domain.messages import InstanceHeader

SYNTAX = "1.2.840.10008.1.2.1"


def element(group: int, number: int, vr: str, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HH", group, number) + vr.encode() + struct.pack("<H", len(value)) + value


def parsed(*elements: bytes) -> Dataset:
    return read_dataset(BytesIO(b"".join(elements)), is_implicit_VR=False, is_little_endian=True)


NAMES = {
    "latin-1": (b"ISO_IR 100", "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),
    "latin-2": (b"ISO_IR 101", "Dvořák^Jiří".encode("iso8859-2"), "Dvořák^Jiří"),
    "greek": (b"ISO_IR 126", "Παπαδόπουλος^Γ".encode("iso8859-7"), "Παπαδόπουλος^Γ"),
    "unicode": (b"ISO_IR 192", "Παπαδόπουλος^Γ".encode(), "Παπαδόπουλος^Γ"),
    "japanese": (
        b"\\ISO 2022 IR 87",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
    ),
    "chinese": (b"GB18030", "王^小东".encode("gb18030"), "王^小东"),
    "undeclared utf-8": (None, "Müller^Jürgen".encode(), "Müller^Jürgen"),
    "undeclared latin-1": (None, "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),
    "declared unicode, sent latin-1": (b"ISO_IR 192", "Müller^Jürgen".encode("latin-1"), "Müller^Jürgen"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_decoded_by_its_character_set(name: str) -> None:
    charset, sent, expected = NAMES[name]
    declared = () if charset is None else (element(0x0008, 0x0005, "CS", charset),)
    header = read_header(parsed(*declared, element(0x0010, 0x0010, "PN", sent)), transfer_syntax_uid=SYNTAX)
    assert header.patient.name == expected


def test_what_is_no_number_is_none_and_what_is_negative_is_one_frame() -> None:
    ds = parsed(
        element(0x0020, 0x0013, "IS", b"first"),
        element(0x0028, 0x0008, "IS", b"-4"),
        element(0x0028, 0x0010, "US", b"\x01\x02\x03\x04"),
        element(0x0028, 0x0011, "US", b""),
    )
    header = read_header(ds, transfer_syntax_uid=SYNTAX)
    assert (header.instance_number, header.frames, header.rows, header.columns) == (None, 1, None, None)


def test_padding_and_control_characters_leave_no_trace() -> None:
    ds = parsed(element(0x0008, 0x1030, "LO", b" Chest\r\nPA \x00"), element(0x0010, 0x0020, "LO", b"AB\x00\x00"))
    header = read_header(ds, transfer_syntax_uid=SYNTAX)
    assert header.study_description == "Chest  PA"
    assert header.patient.patient_id == "AB"


def test_an_empty_object_is_a_header_of_empty_texts() -> None:
    header = read_header(Dataset(), transfer_syntax_uid=SYNTAX)
    assert {header.instance_uid, header.series_uid, header.patient.patient_id, header.modality} == {""}


def test_several_values_are_joined_as_they_are_written() -> None:
    ds = Dataset()
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.PatientOrientation = ["L", "F"]
    header = read_header(ds, transfer_syntax_uid=SYNTAX)
    assert (header.image_type, header.patient_orientation) == ("ORIGINAL\\PRIMARY\\", "L\\F")


@pytest.mark.parametrize(("value", "scheme"), [("272479007", "SCT"), ("R-40888", "SRT")])
def test_view_is_read_from_its_code_where_view_position_is_empty(value: str, scheme: str) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, "postero-anterior"
    ds = Dataset()
    ds.ViewPosition = ""
    ds.ViewCodeSequence = [code]
    assert read_header(ds, transfer_syntax_uid=SYNTAX).view_position == "PA"


def test_body_part_is_read_from_its_code_where_it_is_not_written() -> None:
    chest = codes.SCT.Chest
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = chest.value, "SCT", chest.meaning
    ds = Dataset()
    ds.AnatomicRegionSequence = [code]
    assert read_header(ds, transfer_syntax_uid=SYNTAX).body_part == "CHEST"


def test_requested_procedure_is_found_in_the_request_attributes() -> None:
    request = Dataset()
    request.RequestedProcedureDescription = "Thorax p.a."
    ds = Dataset()
    ds.RequestAttributesSequence = [request]
    assert read_header(ds, transfer_syntax_uid=SYNTAX).requested_procedure == "Thorax p.a."


def test_number_of_the_procedure_is_found_in_the_request() -> None:
    request = Dataset()
    request.RequestedProcedureID = "RP9"
    ds = Dataset()
    ds.RequestAttributesSequence = [Dataset(), request]

    assert read_header(ds, transfer_syntax_uid=SYNTAX).requested_procedure_id == "RP9"


def test_representative_frame_of_a_multi_frame_image_is_kept() -> None:
    ds = Dataset()
    ds.NumberOfFrames, ds.RepresentativeFrameNumber, ds.ProtocolName = "30", 12, "Liver"
    header = read_header(ds, transfer_syntax_uid=SYNTAX)
    assert (header.frames, header.representative_frame, header.protocol_name) == (30, 12, "Liver")


def test_header_that_an_earlier_version_kept_is_read_again() -> None:
    kept = to_plain(InstanceHeader, read_header(Dataset(), transfer_syntax_uid=SYNTAX))
    added = ("protocol_name", "representative_frame")
    header = from_plain(InstanceHeader, {name: value for name, value in kept.items() if name not in added})
    assert (header.protocol_name, header.representative_frame) == ("", None)
