"""Why a message is not taken: one entry a reason, with what the sender is answered. No sentence holds patient data."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

# HL7 table 0357, message error condition codes.
ERROR_TEXTS: Final = {
    "100": "Segment sequence error",
    "101": "Required field missing",
    "102": "Data type error",
    "103": "Table value not found",
    "200": "Unsupported message type",
    "201": "Unsupported event code",
    "202": "Unsupported processing id",
    "203": "Unsupported version id",
    "204": "Unknown key identifier",
    "205": "Duplicate key identifier",
    "207": "Application internal error",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """MSA-1 (AE: an error in the message or here, AR: never taken here), the code of table 0357, and the sentence."""

    answer: str
    error_code: str
    sentence: str


class RefusalReason(Enum):
    """Reasons of a refusal, in the order in which they are looked for."""

    NOT_HL7 = Refusal("AR", "100", "The block does not begin with an MSH segment.")
    TOO_LARGE = Refusal("AR", "207", "The message is larger than this node takes.")
    HEADER_INCOMPLETE = Refusal("AR", "101", "MSH lacks separators, type, control ID or version, or is no text.")
    VERSION = Refusal("AR", "203", "This node takes versions 2.1 to 2.9 of HL7.")
    PROCESSING_ID = Refusal("AR", "202", "This node does not take messages of this processing ID.")
    SENDER = Refusal("AR", "207", "This node does not take messages of this sender.")
    MESSAGE_TYPE = Refusal("AR", "200", "This node does not take messages of this type.")
    EVENT = Refusal("AR", "201", "This node does not take this trigger event.")
    CHARACTER_SET = Refusal("AE", "103", "MSH-18 names a character set that this node does not read.")
    TEXT = Refusal("AE", "102", "The text is not in the character set that MSH-18 names, or that is set for this node.")
    SEVERAL_MESSAGES = Refusal("AE", "100", "The block holds more than one message.")
    SEGMENTS = Refusal("AE", "100", "PID and MRG segments do not stand in pairs.")
    IDENTIFIER_MISSING = Refusal("AE", "101", "PID-3 or MRG-1 holds no identifier.")
    NO_COUNTERPART = Refusal(
        "AE", "204", "PID-3 holds no single identifier of the assigning authority that issued the one in MRG-1."
    )
    CIRCULAR = Refusal("AE", "205", "The surviving identifier was itself merged into the one that is to go.")
    CONFLICT = Refusal("AE", "205", "The identifier that is to go was merged into another patient's before.")
    DATABASE_AWAY = Refusal("AE", "207", "The database does not answer; send the message again.")
    DEFECT = Refusal("AE", "207", "The node met an error of its own.")


class MessageRefusedError(Exception):
    """A message that is not taken."""

    def __init__(self, reason: RefusalReason) -> None:
        self.reason = reason
        super().__init__(reason.value.sentence)
