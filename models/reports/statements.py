"""What a report says of one entity at one place: the values that the parser gives and its users take."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Presence(StrEnum):
    """Whether the report states the entity."""

    PRESENT = "present"
    ABSENT = "absent"
    UNCERTAIN = "uncertain"


class Change(StrEnum):
    """How the report compares the entity with an earlier study; NONE where it does not."""

    NEW = "new"
    RESOLVED = "resolved"
    WORSE = "worse"
    BETTER = "better"
    STABLE = "stable"
    NONE = "none"


class Severity(StrEnum):
    """How much of it there is, in four steps."""

    MINIMAL = "minimal"
    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


class Side(StrEnum):
    """Side of the patient."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


class SectionKind(StrEnum):
    """What a section of a report is about. Only findings, impression and text without a heading make statements."""

    NONE = "none"
    FINDINGS = "findings"
    IMPRESSION = "impression"
    COMPARISON = "comparison"
    INDICATION = "indication"
    HISTORY = "history"
    TECHNIQUE = "technique"
    RECOMMENDATION = "recommendation"
    OTHER = "other"

    @property
    def is_stated(self) -> bool:
        """Whether the radiologist states there what the images show."""
        return self in (SectionKind.NONE, SectionKind.FINDINGS, SectionKind.IMPRESSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Characters `start` to `end` (excluded) of the report, counted from 0."""

    start: int
    end: int

    def of(self, text: str) -> str:
        """Give the characters themselves."""
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One thing that a report says.

    `entity_index` and `entity` are the vocabulary's; `finding` is the finer concept that the words named and `code`
    the name of its code in codes.csv; `organ` (codes.csv) and `site` say where, `zones` are the lung zones meant
    ("right lower"), empty where the text is not that exact. `span` holds the words of the finding, `sentence` counts
    the sentences of the report from 0.
    """

    entity_index: int
    entity: str
    finding: str
    code: str
    organ: str
    site: str
    side: Side | None
    zones: tuple[str, ...]
    presence: Presence
    change: Change
    severity: Severity | None
    span: Span
    section: SectionKind
    sentence: int
