r"""HL7 v2 text ("ER7"): values enter, escaped fields, components and segments leave.

Separators are the recommended ones (HL7 v2.5.1 2.5.4): field `|`, component `^`, sub-component `&`, repetition `~`,
escape `\`. Every value passes `escape_line` or `escape_text` exactly once, before it is joined with anything.
"""

import math
import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from operators.domain.messages import study_date_of

SEGMENT_END = "\r"
ENCODING_CHARACTERS = r"^~\&"

# HL7 v2.5.1 2.7.1, formatting codes.
_DELIMITERS = {"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\"}
_LINE_BREAK = re.compile("\r\n|[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_TIME = re.compile(r"(\d{2}):?(\d{2})?:?(\d{2})?")


class LineBreak(StrEnum):
    r"""How a line break inside a text is written: `\.br\` (2.7.6), a repetition (TX, 2.A.78), or its hexadecimal."""

    BR = "br"
    REPEAT = "repeat"
    HEX = "hex"


_BREAKS = {LineBreak.BR: "\\.br\\", LineBreak.REPEAT: "~", LineBreak.HEX: "\\X0D0A\\"}


def _escape_character(character: str) -> str:
    if character in _DELIMITERS:
        return _DELIMITERS[character]
    if character < " " or character == "\x7f":
        return f"\\X{ord(character):02X}\\"
    return character


def escape_line(text: str) -> str:
    r"""Escape a value that is one line by nature (a name, an id, a code); a line break in it becomes a space.

    Other control characters are written as hexadecimal, so that none can end a segment or an MLLP block.
    """
    return "".join(map(_escape_character, _LINE_BREAK.sub(" ", text)))


def escape_text(text: str, line_break: LineBreak) -> str:
    """Escape running text (TX); its line breaks are written as `line_break` says."""
    lines = _LINE_BREAK.split(text)
    return _BREAKS[line_break].join("".join(map(_escape_character, line)) for line in lines)


def components(*parts: str) -> str:
    """Join escaped components; empty ones at the end are left out (2.5.3)."""
    return "^".join(parts).rstrip("^")


def repetitions(parts: Sequence[str]) -> str:
    """Join escaped repetitions of one field."""
    return "~".join(parts)


def segment(name: str, fields: dict[int, str]) -> str:
    """One segment, without its end; `fields` maps the field number (OBR-25 is 25) to its escaped value."""
    last = max((number for number, value in fields.items() if value), default=0)
    return "|".join([name, *(fields.get(number, "") for number in range(1, last + 1))])


def header_segment(fields: dict[int, str]) -> str:
    """Return the MSH segment: MSH-1 is the separator itself, MSH-2 the encoding characters."""
    last = max((number for number, value in fields.items() if value), default=2)
    return "|".join(["MSH", ENCODING_CHARACTERS, *(fields.get(number, "") for number in range(3, last + 1))])


def numeric(value: float, decimals: int) -> str:
    """Write a strict NM value (2.A.47): digits, at most one point, no exponent. Raises ValueError for inf and nan."""
    text = f"{value:.{decimals}f}"
    if not math.isfinite(value) or not _NUMBER.fullmatch(text):
        raise ValueError("not a number that HL7 can carry")
    return text


def timestamp(moment: datetime) -> str:
    """Write a TS value to the second with its zone: YYYYMMDDHHMMSS+ZZZZ. Raises ValueError for a naive moment."""
    if moment.utcoffset() is None:
        raise ValueError("a moment without a zone")
    return moment.strftime("%Y%m%d%H%M%S%z")[:19]


def dicom_date(date_text: str) -> str:
    """Return a DA value as YYYYMMDD; empty when it is not a date."""
    day = study_date_of(date_text)
    return f"{day:%Y%m%d}" if day else ""


def dicom_timestamp(date_text: str, time_text: str) -> str:
    """Join a DA and a TM value as TS, as precise as they are; without a zone, which they do not tell."""
    day = dicom_date(date_text)
    time = _TIME.match(time_text.strip())
    if not day or time is None or time[2] is None:
        return day
    hour, minute, second = int(time[1]), int(time[2]), int(time[3] or 0)
    if hour > 23 or minute > 59 or second > 59:
        return day
    return day + time[1] + time[2] + (time[3] or "")
