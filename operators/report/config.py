"""What an installation may choose about drafts."""

from dataclasses import dataclass
from enum import StrEnum

from operators.domain.errors import ConfigError


class CompanionForm(StrEnum):
    """The readable document that goes with the structured report, for PACS that do not show TID 1500."""

    PDF = "pdf"
    BASIC_TEXT_SR = "basic-text-sr"
    NONE = "none"


class PageSize(StrEnum):
    """Paper of the readable companion."""

    A4 = "a4"
    LETTER = "letter"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """Settings of the report stage.

    `configuration_digest` stands for every setting that can change what a draft says; it enters the draft's identity.
    Series numbers are those of the draft's own series within the current study.
    """

    configuration_digest: str = ""
    companion: CompanionForm = CompanionForm.PDF
    page_size: PageSize = PageSize.A4
    sr_series_number: int = 9901
    companion_series_number: int = 9902

    def __post_init__(self) -> None:
        """Raise ConfigError when two series would share a number or a number is not one."""
        numbers = (self.sr_series_number, self.companion_series_number)
        if min(numbers) < 1 or max(numbers) >= 2**31:
            raise ConfigError("report: a series number must be between 1 and 2147483647")
        if numbers[0] == numbers[1]:
            raise ConfigError("report: sr_series_number and companion_series_number must differ")
