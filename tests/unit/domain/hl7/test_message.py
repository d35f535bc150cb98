"""Messages that come in: header, character sets, segments, escapes."""

import pytest

from operators.domain.hl7.identifiers import Identifier, read_identifier
from operators.domain.hl7.message import Separators, check_header, read_header, read_message
from operators.domain.hl7.refusals import MessageRefusedError, RefusalReason
from tests.support.adt import adt

USUAL = read_header(adt(("1", "2")).encode()).separators


def refused(raw: bytes, character_set: str = "ASCII") -> RefusalReason | None:
    try:
        check_header(read_message(raw, character_set).header)
    except MessageRefusedError as error:
        return error.reason
    return None


def test_header_tells_sender_kind_and_control_id() -> None:
    header = read_header(adt(("1", "2"), msh_3="RIS^1.2^ISO", msh_9="ADT^A40^ADT_A39").encode())
    assert (header.sender, header.kind, header.control_id) == (("RIS", "MAIN"), ("ADT", "A40"), "MSG1")
    assert (header.version, header.field(99), header.component(3, 9)) == ("2.5.1", "", "")


def test_own_separators_are_followed() -> None:
    message = read_message(b"MSH#*!?@#RIS#M###2026##ADT*A40#9#P#2.5\rPID#1##A*X!B\r", "ASCII")
    assert message.header.kind == ("ADT", "A40")
    assert message.segments[1].repetitions(3, message.header.separators) == ("A*X", "B")


@pytest.mark.parametrize("ending", ["\r", "\n", "\r\n"])
def test_segments_end_as_senders_end_them(ending: str) -> None:
    raw = adt(("1", "2")).replace("\r", ending).encode()
    assert [segment.name for segment in read_message(raw, "ASCII").segments] == [
        "MSH",
        "EVN",
        "PID",
        "PD1",
        "MRG",
        "PV1",
    ]


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("UNICODE UTF-8", "utf_8"),
        ("utf-8", "utf_8"),
        ("8859/7", "iso8859_7"),
        ("~ISO IR87", "iso2022_jp"),
        ("ASCII~ISO IR159", "iso2022_jp_2"),
        ("GB 18030-2000", "gb18030"),
    ],
)
def test_text_is_read_in_the_character_set_that_it_names(charset: str, codec: str) -> None:
    raw = adt(("1", "2"), charset=charset).encode(codec)
    assert read_message(raw, "ASCII").segments[2].fields[5] == "Σμιθ^Planted"


def test_trailing_bytes_that_look_like_separators_are_not_taken_for_such() -> None:
    # The second byte of the first character is that of a backslash: text is decoded before it is cut.
    raw = adt(("1", "2"), charset="BIG-5").replace("Σμιθ^Planted", "功能").encode("big5")
    assert b"\\" in raw.split(b"PID", 1)[1]
    assert read_message(raw, "ASCII").segments[2].fields[5] == "功能"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", RefusalReason.NOT_HL7),
        (b"GET / HTTP/1.1\r\n", RefusalReason.NOT_HL7),
        (b"FHS|^~\\&|\r", RefusalReason.NOT_HL7),
        (adt(("1", "2"), control_id="").encode(), RefusalReason.HEADER_INCOMPLETE),
        (adt(("1", "2"), msh_9="").encode(), RefusalReason.HEADER_INCOMPLETE),
        (adt(("1", "2"), version="").encode(), RefusalReason.HEADER_INCOMPLETE),
        (adt(("1", "2"), control_id="X" * 1000).encode(), RefusalReason.HEADER_INCOMPLETE),
        (b"MSH|^^\\&|A|||||ADT^A40|1|P|2.5\r", RefusalReason.HEADER_INCOMPLETE),
        (adt(("1", "2"), version="3").encode(), RefusalReason.VERSION),
        (adt(("1", "2"), charset="KLINGON").encode(), RefusalReason.CHARACTER_SET),
        (adt(("1", "2")).replace("Smith", "Smïth").encode("latin-1"), RefusalReason.TEXT),
        (adt(("1", "2"), charset="UNICODE UTF-8").encode("iso8859_7"), RefusalReason.TEXT),
        ((adt(("1", "2")) * 2).encode(), RefusalReason.SEVERAL_MESSAGES),
        (adt(("1", "2")).encode(), None),
    ],
)
def test_what_is_no_message_is_refused_with_its_reason(raw: bytes, reason: RefusalReason | None) -> None:
    assert refused(raw) is reason


def test_the_set_of_the_settings_serves_messages_that_name_none() -> None:
    raw = adt(("1", "2")).replace("Smith", "Smïth").encode("latin-1")
    assert read_message(raw, "8859/1").segments[2].fields[5] == "Smïth^Planted"


def test_a_repetition_has_the_same_fingerprint_with_another_time_and_no_other_message_has() -> None:
    first, again, other = (
        read_message(adt((pid, "2"), msh_7=time).encode(), "ASCII").fingerprint
        for pid, time in (("1", "20260301"), ("1", "20260302"), ("3", "20260301"))
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("A\\T\\B", "A&B"),
        ("\\F\\\\S\\\\R\\\\E\\", "|^~\\"),
        ("\\X41\\\\X0d\\", "A\r"),
        ("\\H\\bold\\N\\", "bold"),
        ("one \\ two", "one \\ two"),
        ("plain", "plain"),
    ],
)
def test_escapes_are_undone(text: str, meant: str) -> None:
    assert USUAL.unescape(text) == meant


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("A1", Identifier(value="A1")),
        ("A1^^^HOSP&1.2.3&ISO^MR", Identifier(value="A1", namespace="HOSP", universal_id="1.2.3", type_code="MR")),
        ("A1^^^&1.2.3&ISO", Identifier(value="A1", universal_id="1.2.3")),
        ("A\\T\\1^7^M10^HO\\S\\SP^MR^X^20200101", Identifier(value="A&1", namespace="HO^SP", type_code="MR")),
        ('""', Identifier(value="")),
        (" A1 ", Identifier(value="A1")),
        ("A\\X1F\\1", Identifier(value="A 1")),
    ],
)
def test_identifier_is_read_in_parts(text: str, read: Identifier) -> None:
    assert read_identifier(text, USUAL) == read


def test_identifier_is_read_with_other_separators() -> None:
    own = Separators(field="#", component="*", repetition="!", escape="?", subcomponent="@")
    assert read_identifier("A^1***H@1.2", own) == Identifier(value="A^1", namespace="H", universal_id="1.2")
