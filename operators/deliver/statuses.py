"""What an archive's status means for a document: a DIMSE status or STOW failure reason enters, an outcome leaves."""

from enum import IntEnum, StrEnum

from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import Destination
from operators.domain.reasons import ReasonCode


class Outcome(StrEnum):
    """What is to be done with the document."""

    STORED = "stored"
    AGAIN = "again"
    REFUSED_US = "refused-us"
    REFUSED = "refused"


class Status(IntEnum):
    """Statuses and failure reasons with a meaning of their own (PS3.7 Annex C, PS3.4 B.2.3, PS3.18 10.5.3)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    DUPLICATE_INSTANCE = 0x0111
    NOT_AUTHORISED = 0x0124
    RESOURCE_LIMITATION = 0x0213
    UNKNOWN = 0xFFFF


# Azure Health Data Services: "already exists", of the B0xx range (its DICOM conformance statement, store responses).
_ALREADY_THERE = frozenset({int(Status.DUPLICATE_INSTANCE), 0xB00E})
_PASSING = frozenset({int(Status.PROCESSING_FAILURE), int(Status.RESOURCE_LIMITATION)})


def outcome_of(status: int) -> Outcome:
    """Outcome of a C-STORE response's status (PS3.4 Annex B.2.3): warnings are stored, A7xx passes."""
    if status == Status.SUCCESS or status in _ALREADY_THERE or status >> 12 == 0xB:
        return Outcome.STORED
    if status in _PASSING or status >> 8 == 0xA7:
        return Outcome.AGAIN
    return Outcome.REFUSED_US if status == Status.NOT_AUTHORISED else Outcome.REFUSED


def outcome_of_failure(reason: int) -> Outcome:
    """Outcome of a Failure Reason (0008,1197) in a STOW response; here only "already there" is as good as stored."""
    if reason in _ALREADY_THERE:
        return Outcome.STORED
    outcome = outcome_of(reason)
    return Outcome.REFUSED if outcome is Outcome.STORED else outcome


def raise_for(outcome: Outcome, destination: Destination, *, status: str) -> None:
    """Raise what an outcome asks for; return when the document is stored.

    Raises TransientError when it is to be sent again, PermanentError when the archive refuses this document.
    """
    if outcome is Outcome.AGAIN:
        raise TransientError(ReasonCode.PACS_AWAY, destination=destination, status=status)
    if outcome is Outcome.REFUSED_US:
        raise TransientError(ReasonCode.PACS_REFUSED, destination=destination, status=status)
    if outcome is Outcome.REFUSED:
        raise PermanentError(ReasonCode.PACS_REFUSED, destination=destination, status=status)
