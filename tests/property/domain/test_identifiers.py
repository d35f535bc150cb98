"""Identifiers out of any text: nothing raises, what was written is read, and hl7apy reads the same."""

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_field
from hypothesis import given
from hypothesis import strategies as st

from operators.domain.hl7.er7 import escape_line
from operators.domain.hl7.identifiers import Identifier, read_identifier
from operators.domain.hl7.message import Separators

USUAL = Separators(field="|", component="^", repetition="~", escape="\\", subcomponent="&")
WORDS = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=12).filter(lambda text: text != '""')


def written(value: str, namespace: str, universal_id: str, type_code: str) -> str:
    parts = [escape_line(part) for part in (value, namespace, universal_id, type_code)]
    return f"{parts[0]}^1^M10^{parts[1]}&{parts[2]}&ISO^{parts[3]}^SITE"


@given(WORDS, WORDS, WORDS, WORDS)
def test_what_was_written_is_read(value: str, namespace: str, universal_id: str, type_code: str) -> None:
    read = read_identifier(written(value, namespace, universal_id, type_code), USUAL)
    assert read == Identifier(value=value, namespace=namespace, universal_id=universal_id, type_code=type_code)


@given(WORDS, WORDS, WORDS, WORDS)
def test_hl7apy_reads_the_same(value: str, namespace: str, universal_id: str, type_code: str) -> None:
    text = written(value, namespace, universal_id, type_code)
    field = parse_field(text, "PID_3", version="2.5.1", validation_level=VALIDATION_LEVEL.TOLERANT)
    theirs = (field.cx_1, field.cx_4.hd_1, field.cx_4.hd_2, field.cx_5)
    assert [USUAL.unescape(part.to_er7()) for part in theirs] == [value, namespace, universal_id, type_code]


@given(st.text(max_size=40))
def test_any_text_is_read(text: str) -> None:
    read = read_identifier(text, USUAL)
    assert not any(
        one < " " for part in (read.value, read.namespace, read.universal_id, read.type_code) for one in part
    )
