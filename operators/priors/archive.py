"""The archive as the priors stage needs it, and the two ways it can lack something."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from operators.domain.errors import PermanentError
from operators.domain.reasons import ReasonCode
from operators.priors.candidates import Candidate, WantedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Studies that the archive names for a patient ID; other patients' may be among them.

    `is_complete`: there is no ground to believe that the archive holds more of them than it gave.
    """

    candidates: tuple[Candidate, ...]
    is_complete: bool


WAITED_FOR = frozenset({ReasonCode.PACS_AWAY, ReasonCode.PACS_REFUSED})
"""Codes of a TransientError that is the archive's: waited for until it is too late, then done without priors."""


class GoneError(PermanentError):
    """The archive does not have what was asked for."""

    def __init__(self, status: int) -> None:
        super().__init__(ReasonCode.PACS_REFUSED, status=status)


class Archive(Protocol):
    """Where earlier studies are. Each method raises one of WAITED_FOR, or PermanentError(PACS_REFUSED).

    TransientError(PACS_REFUSED): the archive refuses us, whatever is asked (credentials, certificate).
    PermanentError(PACS_REFUSED): it refuses this request.
    """

    def find_studies(self, patient_id: str) -> Answers:
        """Return the studies that the archive names for a patient ID."""
        ...

    def open_study(self, candidate: Candidate, modalities: Sequence[str]) -> Candidate:
        """Return the candidate with the headers of its objects of these modalities."""
        ...

    def fetch(self, image: WantedImage, path: Path) -> None:
        """Write the object to `path` as the archive holds it, without keeping it whole in memory.

        Raises GoneError when the archive does not have it, TransientError(STORAGE_FULL) when there is no room.
        """
        ...
