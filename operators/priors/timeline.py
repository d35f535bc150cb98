"""The order of studies in time: DICOM date and time texts enter, moments that can be compared leave."""

import re
from dataclasses import dataclass
from datetime import date

# PS3.5 6.2: DA is YYYYMMDD, before 1993 YYYY.MM.DD; TM is HH[MM[SS[.FFFFFF]]], with colons before 1993.
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_STEPS_US = (3_600_000_000, 60_000_000, 1_000_000)
_DAY_US = 24 * _STEPS_US[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A day and the span of it, in microseconds from midnight, that a study's time may mean."""

    day: date
    earliest_us: int
    latest_us: int

    def is_before(self, other: "Moment") -> bool:
        """Whether this moment lies before the other, however their precision is understood."""
        if self.day != other.day:
            return self.day < other.day
        return self.latest_us < other.earliest_us

    def days_before(self, other: "Moment") -> int:
        """Whole days between the two dates."""
        return (other.day - self.day).days


def moment_of(study_date: str, study_time: str) -> Moment | None:
    """Return the moment that the texts name; None without a valid date. A missing or odd time means any of that day."""
    day = _day_of(study_date)
    if day is None:
        return None
    earliest_us, latest_us = _span_of(study_time)
    return Moment(day=day, earliest_us=earliest_us, latest_us=latest_us)


def _day_of(text: str) -> date | None:
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return None
    try:
        return date(*(int(part) for part in match.groups()))
    except ValueError:
        return None


def _span_of(text: str) -> tuple[int, int]:
    match = _TIME.fullmatch(text.strip())
    if match is None or any(int(part or 0) > most for part, most in zip(match.groups(), (23, 59, 60), strict=False)):
        return 0, _DAY_US - 1
    earliest_us, width_us = 0, _DAY_US
    for part, step_us in zip(match.groups(), _STEPS_US, strict=False):
        if part is not None:
            earliest_us, width_us = earliest_us + int(part) * step_us, step_us
    fraction = match.group(4)
    if fraction:
        width_us = 10 ** (6 - len(fraction))
        earliest_us += int(fraction) * width_us
    return earliest_us, earliest_us + width_us - 1
