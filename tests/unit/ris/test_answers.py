"""Acknowledgements as a RIS reads them."""

import hl7
import pytest

from operators.domain.hl7.message import read_header
from operators.domain.hl7.refusals import ERROR_TEXTS, RefusalReason
from operators.notify.acks import read_answer
from operators.ris.answers import answer
from tests.support.adt import adt
from tests.support.priors import NOW


def answered(raw: bytes, refusal: RefusalReason | None = None) -> bytes:
    return answer(read_header(raw), refusal, NOW)


def test_acceptance_goes_back_to_the_sender_with_its_control_id() -> None:
    message = hl7.parse(answered(adt(("1", "2"), msh_6="RAD").encode()).decode())
    header = message.segment("MSH")
    assert [str(header[n]) for n in (3, 4, 5, 6)] == ["INTERVAL", "RAD", "RIS", "MAIN"]
    assert [str(header[n]) for n in (9, 11, 12)] == ["ACK^A40^ACK", "P", "2.5.1"]
    assert [str(field) for field in message.segment("MSA")] == ["MSA", "AA", "MSG1"]
    assert [str(segment[0]) for segment in message] == ["MSH", "MSA"]


def test_the_same_answer_has_the_same_control_id() -> None:
    raw = adt(("1", "2")).encode()
    assert answered(raw) == answered(raw)
    assert answered(raw) != answered(raw, RefusalReason.DEFECT)


@pytest.mark.parametrize("reason", RefusalReason)
@pytest.mark.parametrize("version", ["2.5.1", "2.5", "2.3.1", "2.2"])
def test_a_refusal_is_read_by_our_own_reader_in_every_version(reason: RefusalReason, version: str) -> None:
    read = read_answer(answered(adt(("1", "2"), version=version).encode(), reason))
    assert read is not None
    assert (read.code, read.control_id, read.error_code) == (reason.value.answer, "MSG1", reason.value.error_code)
    assert reason.value.error_code in ERROR_TEXTS


def test_old_versions_get_the_error_segment_of_their_time() -> None:
    message = hl7.parse(answered(adt(("1", "2"), version="2.3.1").encode(), RefusalReason.EVENT).decode())
    assert str(message.segment("ERR")[1]) == "^^^201&Unsupported event code&HL70357"
    assert str(message.segment("MSA")[3]) == RefusalReason.EVENT.value.sentence


@pytest.mark.parametrize(
    ("accept", "application", "code"),
    [("", "", "AA"), ("AL", "NE", "CA"), ("AL", "", "CA"), ("AL", "AL", "AA"), ("NE", "AL", "AA"), ("NE", "NE", "AA")],
)
def test_the_mode_of_the_answer_is_the_one_asked_for(accept: str, application: str, code: str) -> None:
    read = read_answer(answered(adt(("1", "2"), msh_15=accept, msh_16=application).encode()))
    assert read is not None
    assert read.code == code


@pytest.mark.parametrize(("charset", "codec"), [("UNICODE UTF-8", "utf_8"), ("8859/7", "iso8859_7")])
def test_an_answer_is_in_the_character_set_of_its_message(charset: str, codec: str) -> None:
    raw = adt(("1", "2"), charset=charset, msh_3="ΡΙΣ").encode(codec)
    header = hl7.parse(answered(raw).decode(codec)).segment("MSH")
    assert (str(header[5]), str(header[18])) == ("ΡΙΣ", charset)


def test_own_separators_are_answered_with_their_own() -> None:
    raw = b"MSH#*!?@#RIS#M###2026##ADT*A40#9#P#2.5\r"
    assert answered(raw, RefusalReason.EVENT).split(b"\r")[1:3] == [
        b"MSA#AR#9",
        b"ERR###201*Unsupported event code*HL70357#E####This node does not take this trigger event.",
    ]


def test_what_has_no_header_is_answered_all_the_same() -> None:
    message = hl7.parse(answer(None, RefusalReason.NOT_HL7, NOW).decode())
    assert [str(field) for field in message.segment("MSA")] == ["MSA", "AR"]
    assert str(message.segment("ERR")[3]) == "100^Segment sequence error^HL70357"
