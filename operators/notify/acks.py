"""MLLP blocks and the answers in them: bytes as they come off the wire enter, whole blocks and their meaning leave."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from operators.notify.config import ErrorPolicy

# HL7 v2.5.1 Appendix C (Minimal Lower Layer Protocol).
BLOCK_START: Final = b"\x0b"
BLOCK_END: Final = b"\x1c\x0d"
ANSWER_MAX_BYTES: Final = 1 << 20


class AnswerTooLargeError(ValueError):
    """A block grew past what any acknowledgement needs: the peer does not speak MLLP to us."""


def block(message: bytes) -> bytes:
    """Wrap one message in a block. Raises ValueError when the message holds the block's own delimiters."""
    if BLOCK_START in message or BLOCK_END[:1] in message:
        raise ValueError("the message holds a delimiter of the block")
    return BLOCK_START + message + BLOCK_END


class BlockBuffer:
    """Collects bytes in any portions and gives back whole blocks; what stands between blocks is skipped."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, portion: bytes) -> list[bytes]:
        """Take a portion; return the contents of the blocks that it completes. Raises AnswerTooLargeError."""
        self._held += portion
        blocks = []
        while (end := self._held.find(BLOCK_END)) >= 0:
            whole, self._held = self._held[:end], self._held[end + len(BLOCK_END) :]
            start = whole.find(BLOCK_START)
            if start >= 0:
                blocks.append(whole[start + 1 :])
        if len(self._held) > ANSWER_MAX_BYTES:
            raise AnswerTooLargeError
        return blocks


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
