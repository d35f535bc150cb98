"""Acknowledgements of messages that came in: a header and a verdict enter, the bytes of an ACK leave. Pure.

Everything of our own is ASCII, and what goes back of the message's header goes back byte for byte: an answer is in the
character set of its message, which MSH-18 repeats. Nothing of a patient is in it.
"""

from datetime import datetime

from operators.domain.hl7.er7 import SEGMENT_END, timestamp
from operators.domain.hl7.message import Header, Separators
from operators.domain.hl7.refusals import ERROR_TEXTS, RefusalReason
from operators.domain.ids import control_id

_USUAL = Separators(field="|", component="^", repetition="~", escape="\\", subcomponent="&")
_NO_HEADER = Header(separators=_USUAL, fields=("|", "^~\\&"))
_NO_ACKNOWLEDGEMENT = ("", "NE")
_DETAILED_FROM = "2.5"  # ERR-2 to ERR-8 exist (HL7 v2.5 2.15.5)


def answer(header: Header | None, refusal: RefusalReason | None, at: datetime) -> bytes:
    """Return the acknowledgement of a message; `refusal` None accepts it, `header` None: it had none.

    Codes are those of the original mode (AA, AE, AR); of the enhanced mode (CA, CE, CR) where MSH-15 asks for an accept
    acknowledgement and MSH-16 for no other (2.9.2, 2.9.3).
    """
    to = header or _NO_HEADER
    code = _in_mode(refusal.value.answer if refusal else "AA", to)
    segments = [_header_segment(to, code, at), _acknowledgement(to, code, refusal)]
    if refusal is not None:
        segments.append(_error(to, refusal))
    return (SEGMENT_END.join(segments) + SEGMENT_END).encode("latin-1")


def _in_mode(code: str, header: Header) -> str:
    asks_accept = header.field(15) not in _NO_ACKNOWLEDGEMENT
    return f"C{code[1]}" if asks_accept and header.field(16) in _NO_ACKNOWLEDGEMENT else code


def _header_segment(to: Header, code: str, at: datetime) -> str:
    event = to.kind[1]
    kind = [part for part in ("ACK", event, "ACK" if event and to.version >= "2.3.1" else "") if part]
    own = control_id("ack", *to.fields, code)
    fields = {
        2: to.field(2),
        3: to.field(5),
        4: to.field(6),
        5: to.field(3),
        6: to.field(4),
        7: timestamp(at),
        9: to.separators.component.join(kind),
        10: own,
        11: to.field(11) or "P",
        12: to.field(12) or "2.5.1",
        18: to.field(18),
        20: to.field(20),
    }
    return _joined("MSH", {number - 1: value for number, value in fields.items()}, to.separators)


def _acknowledgement(to: Header, code: str, refusal: RefusalReason | None) -> str:
    fields = {1: code, 2: to.control_id}
    if refusal is not None and not _is_detailed(to):
        fields |= {3: refusal.value.sentence, 6: _coded(refusal, to.separators.component)}
    return _joined("MSA", fields, to.separators)


def _error(to: Header, refusal: RefusalReason) -> str:
    if not _is_detailed(to):  # ERR-1.4, the code as sub-components
        between = to.separators.component
        return _joined("ERR", {1: between * 3 + _coded(refusal, to.separators.subcomponent)}, to.separators)
    return _joined(
        "ERR", {3: _coded(refusal, to.separators.component), 4: "E", 8: refusal.value.sentence}, to.separators
    )


def _is_detailed(to: Header) -> bool:
    return not to.version or to.version >= _DETAILED_FROM


def _coded(refusal: RefusalReason, between: str) -> str:
    code = refusal.value.error_code
    return between.join((code, ERROR_TEXTS[code], "HL70357"))


def _joined(name: str, fields: dict[int, str], separators: Separators) -> str:
    last = max(number for number, value in fields.items() if value)
    return separators.field.join([name, *(fields.get(number, "") for number in range(1, last + 1))])
