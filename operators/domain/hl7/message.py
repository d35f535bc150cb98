"""Messages that come in: the content of a block enters, its header, then its segments as text leave.

The header is read before the character set is known, as Latin-1: what of it goes back into an answer comes out byte for
byte as it came in. Segments end with a carriage return; a line feed in its place or after it is passed over.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from operators.domain.hl7.charsets import CHARACTER_SETS
from operators.domain.hl7.refusals import MessageRefusedError, RefusalReason
from operators.domain.ids import digest

# Up to the first control character but ESC, by which Japanese sets switch: none of these may go back into a block.
_HEADER = re.compile(rb"MSH[!-/:-@\[-`{-~][^\x00-\x1a\x1c-\x1f]{3,}")
_SEPARATORS = re.compile(r"[!-/:-@\[-`{-~]{1,5}")
_VERSION = re.compile(r"2\.[1-9](\.[0-9])?")
_PLAIN = re.compile(r"[^\x00-\x1f\x7f]{1,999}")
_SEGMENT_END = re.compile("\r\n|[\r\n]")
_ESCAPES = ("F", "S", "R", "E", "T")
# HL7 table 0211: names that are read besides those that are written, and common misspellings.
_ALSO_READ = {
    "": "ascii",
    "ISO IR6": "ascii",
    "ISO IR159": "iso2022_jp_2",
    "UTF-8": "utf_8",
    "UTF8": "utf_8",
    "ISO-8859-1": "iso8859_1",
    "8859-1": "iso8859_1",
}
_JAPANESE = ("ISO IR159", "ISO IR87")


@dataclass(frozen=True, slots=True, kw_only=True)
class Separators:
    """The characters of MSH-1 and MSH-2."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str

    def unescape(self, text: str) -> str:
        r"""Undo the escapes of separators (2.7.1) and of hexadecimal text (`\X..\`); other sequences are left out."""
        if self.escape not in text:
            return text
        mark = re.escape(self.escape)
        return re.sub(f"{mark}([^{mark}]*){mark}", self._meant, text)

    def _meant(self, found: re.Match[str]) -> str:
        said = found[1]
        if said in _ESCAPES:
            meant = (self.field, self.component, self.repetition, self.escape, self.subcomponent)
            return meant[_ESCAPES.index(said)]
        if said[:1] == "X" and re.fullmatch("([0-9A-Fa-f]{2})+", said[1:]):
            return bytes.fromhex(said[1:]).decode("latin-1")
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """MSH of a message as it came, escapes and all; `fields[n - 1]` is MSH-n."""

    separators: Separators
    fields: tuple[str, ...]

    def field(self, number: int) -> str:
        """Return MSH-`number`; empty when it is not there."""
        return self.fields[number - 1] if number <= len(self.fields) else ""

    def component(self, number: int, component: int) -> str:
        """Return a component of MSH-`number`, from 1."""
        parts = self.field(number).split(self.separators.component)
        return parts[component - 1].strip() if component <= len(parts) else ""

    @property
    def control_id(self) -> str:
        """MSH-10."""
        return self.field(10)

    @property
    def version(self) -> str:
        """MSH-12, the version alone."""
        return self.component(12, 1)

    @property
    def kind(self) -> tuple[str, str]:
        """Message type and trigger event, for example ("ADT", "A40")."""
        return self.component(9, 1), self.component(9, 2)

    @property
    def sender(self) -> tuple[str, str]:
        """Sending application and facility, the first component of each."""
        return self.component(3, 1), self.component(4, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One segment as it came, escapes and all; `fields[0]` is its name, and of all but MSH `fields[n]` is field n."""

    fields: tuple[str, ...]

    @property
    def name(self) -> str:
        """The segment's name."""
        return self.fields[0]

    def repetitions(self, number: int, separators: Separators) -> tuple[str, ...]:
        """Return the repetitions of a field that hold something."""
        text = self.fields[number] if number < len(self.fields) else ""
        return tuple(part for part in text.split(separators.repetition) if part.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message in Unicode. `fingerprint` is the same for a repetition, even one with a new time in MSH-7."""

    header: Header
    segments: tuple[Segment, ...]
    fingerprint: str


def read_header(raw: bytes) -> Header:
    """Return the header of anything that has one, as Latin-1. Raises MessageRefusedError(NOT_HL7)."""
    found = _HEADER.match(raw.lstrip())
    if found is None:
        raise MessageRefusedError(RefusalReason.NOT_HL7)
    return _header(found[0].decode("latin-1"))


def check_header(header: Header) -> None:
    """Raise MessageRefusedError for a header that lacks something or is not plain text, or is not of HL7 v2."""
    kind, control, given = header.kind[0], header.control_id, header.field(2)
    has_separators = bool(_SEPARATORS.fullmatch(given)) and len({*given, header.field(1)}) == len(given) + 1
    is_plain = all(map(_PLAIN.fullmatch, filter(None, header.fields)))
    if not (kind and header.version and has_separators and is_plain and control.strip()):
        raise MessageRefusedError(RefusalReason.HEADER_INCOMPLETE)
    if not _VERSION.fullmatch(header.version):
        raise MessageRefusedError(RefusalReason.VERSION)


def read_message(raw: bytes, character_set: str) -> Message:
    """Return the message; `character_set` is that of a message whose MSH-18 says nothing.

    Raises MessageRefusedError.
    """
    text = _decoded(raw.lstrip(), read_header(raw), character_set)
    lines = [line for line in _SEGMENT_END.split(text) if line.strip()]
    header = _header(lines[0])
    if any(line.startswith("MSH" + header.separators.field) for line in lines[1:]):
        raise MessageRefusedError(RefusalReason.SEVERAL_MESSAGES)
    timeless = (*header.fields[:6], "", *header.fields[7:])
    return Message(
        header=header,
        segments=tuple(Segment(fields=tuple(line.split(header.separators.field))) for line in lines),
        fingerprint=digest(*timeless, "\r", *lines[1:]),
    )


def _header(line: str) -> Header:
    separator = line[3]
    fields = line.split(separator)
    given = fields[1] + "^~\\&"[len(fields[1]) :]
    separators = Separators(
        field=separator, component=given[0], repetition=given[1], escape=given[2], subcomponent=given[3]
    )
    return Header(separators=separators, fields=(separator, *fields[1:]))


def _decoded(raw: bytes, header: Header, character_set: str) -> str:
    names = [name.strip().upper() for name in header.field(18).split(header.separators.repetition)]
    codec = _codec_of([name for name in names if name] or [character_set])
    if codec is None:
        raise MessageRefusedError(RefusalReason.CHARACTER_SET)
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        raise MessageRefusedError(RefusalReason.TEXT) from None  # its text would show the bytes


def _codec_of(names: Sequence[str]) -> str | None:
    """Return the codec: that of a Japanese set, which contains ASCII, if one is among them, else of the first."""
    name = next((name for name in _JAPANESE if name in names), names[0])
    entry = CHARACTER_SETS.get(name)
    return entry.codec if entry else _ALSO_READ.get(name)
