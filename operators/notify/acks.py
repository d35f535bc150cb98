"""Acknowledgements: the content of a block that a peer answered with enters, what it means leaves."""

from dataclasses import dataclass
from enum import Enum

from operators.notify.config import ErrorPolicy


class Outcome(Enum):
    """What an answer means for the message."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """MSA-1, MSA-2 and the error code (ERR-3.1 from version 2.5, MSA-6.1 before), as the peer wrote them."""

    code: str
    control_id: str
    error_code: str


def read_answer(message: bytes) -> Answer | None:
    """Read an acknowledgement; None when the block is not one. Only ASCII parts are used: the set does not matter."""
    segments = [line for line in message.decode("latin-1").replace("\n", "\r").split("\r") if line]
    header = next((line for line in segments if line.startswith("MSH") and len(line) > 4), None)
    if header is None:
        return None
    separator, component = header[3], header[4]
    fields = {line[:3]: line.split(separator) for line in reversed(segments)}
    acknowledgement = fields.get("MSA", [])
    if len(acknowledgement) < 3:
        return None
    error = _field(fields.get("ERR", []), 3) or _field(acknowledgement, 6)
    return Answer(
        code=acknowledgement[1].strip(),
        control_id=acknowledgement[2].strip(),
        error_code=error.split(component)[0].strip(),
    )


def _field(fields: list[str], number: int) -> str:
    return fields[number] if len(fields) > number else ""


# HL7 table 0357: 206 the application record is locked, 207 application internal error. All others speak of content.
_PASSING_ERRORS = frozenset({"", "206", "207"})


def outcome_of(answer: Answer, policy: ErrorPolicy) -> Outcome:
    """Say what MSA-1 (table 0008) means: original mode AA, AE, AR and enhanced mode CA, CE, CR (2.9.2, 2.9.3)."""
    if answer.code in {"AA", "CA"}:
        return Outcome.ACCEPTED
    if answer.code not in {"AE", "CE"} or policy is ErrorPolicy.PARK:
        return Outcome.REFUSED
    if policy is ErrorPolicy.RETRY or answer.error_code in _PASSING_ERRORS:
        return Outcome.RETRY
    return Outcome.REFUSED
