"""What a RIS received: raw bytes in, strictly read messages and a durable journal of them out."""

import base64
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import hl7

JOURNAL = "journal.jsonl"
_SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}\|")
# HL7 v2.5.1 table 0211 -> Python codec; an empty MSH-18 means ASCII.
_CODECS = {
    "": "ascii",
    "ASCII": "ascii",
    **{f"8859/{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
    "UNICODE UTF-8": "utf-8",
    "UNICODE UTF-16": "utf-16",
    "GB 18030-2000": "gb18030",
    "BIG-5": "big5",
    "CNS 11643-1992": "euc_tw",
    "KS X 1001": "euc_kr",
    "ISO IR87": "iso2022_jp",
    "ISO IR159": "iso2022_jp_2",
}


class MessageRefusedError(Exception):
    """A message that a strict receiver does not take; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RisMessage:
    """One message as it came over the wire, without the MLLP frame; `answer` is the code it was answered with."""

    raw: bytes
    received_at: datetime
    answer: str
    control_id: str
    fault: str = ""

    @property
    def text(self) -> str:
        """The message in its own character set. Raises MessageRefusedError."""
        return decode(self.raw)

    @property
    def parsed(self) -> hl7.Message:
        """The message as the hl7 package reads it. Raises MessageRefusedError."""
        return parse_strictly(self.raw)


def decode(raw: bytes) -> str:
    """Return the text, by the character set of MSH-18. Raises MessageRefusedError."""
    header = raw.split(b"\r", 1)[0].split(raw[3:4] or b"|")
    named = header[17].decode("ascii", errors="replace") if len(header) > 17 else ""
    names = [name for name in named.split("~") if name] or [""]
    if names[-1] not in _CODECS:
        raise MessageRefusedError(f"MSH-18 names an unknown character set: {named}")
    try:
        return raw.decode(_CODECS[names[-1]])
    except UnicodeDecodeError as exc:
        raise MessageRefusedError(f"the text is not in the character set of MSH-18 ({named or 'ASCII'})") from exc


def parse_strictly(raw: bytes) -> hl7.Message:
    """Return the message. Raises MessageRefusedError for what many engines let pass and some choke on."""
    if not raw.startswith(b"MSH|^~\\&|"):
        raise MessageRefusedError("the message does not begin with MSH and the usual separators")
    if b"\n" in raw:
        raise MessageRefusedError("a line feed in the message: segments end with a carriage return")
    if not raw.endswith(b"\r"):
        raise MessageRefusedError("the last segment does not end with a carriage return")
    text = decode(raw)
    if any(_SEGMENT.match(segment) is None for segment in text[:-1].split("\r")):
        raise MessageRefusedError("a segment without a name of three characters")
    _check_header(text.split("\r", 1)[0].split("|"))
    return hl7.parse(text)


def _check_header(header: list[str]) -> None:
    for number, name in ((7, "time"), (9, "type"), (10, "control id"), (11, "processing id"), (12, "version")):
        if len(header) < number or not header[number - 1]:
            raise MessageRefusedError(f"MSH-{number} ({name}) is empty")
    if "^" not in header[8]:
        raise MessageRefusedError("MSH-9 names no event")


def control_id_of(raw: bytes) -> str:
    """Return MSH-10 of anything that has one, else an empty text."""
    header = raw.split(b"\r", 1)[0].split(b"|")
    return header[9].decode("ascii", errors="replace") if len(header) > 9 else ""


class Journal:
    """A folder with one line of JSON and one .hl7 file for each message, durable when `append` returns."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._path = folder / JOURNAL
        self.messages: list[RisMessage] = read_journal(self._path)

    def append(self, message: RisMessage) -> None:
        """Keep the message, synced to the disk."""
        line = {
            "received_at": message.received_at.isoformat(),
            "control_id": message.control_id,
            "answer": message.answer,
            "fault": message.fault,
            "message": base64.b64encode(message.raw).decode("ascii"),
        }
        (self._folder / f"{len(self.messages) + 1:05}.hl7").write_bytes(message.raw)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.messages.append(message)


def contents_by_control_id(messages: Sequence[RisMessage]) -> dict[str, set[bytes]]:
    """Return the different byte strings that came under each control id (MSH-10); one each is as it should be."""
    found: dict[str, set[bytes]] = {}
    for message in messages:
        found.setdefault(message.control_id, set()).add(message.raw)
    return found


def read_journal(path: Path) -> list[RisMessage]:
    """Return the messages of a journal; a last line that was cut by a kill is left out: it was never answered."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0]
    return [_message(json.loads(line)) for line in whole.splitlines() if line]


def _message(line: dict[str, str]) -> RisMessage:
    return RisMessage(
        raw=base64.b64decode(line["message"]),
        received_at=datetime.fromisoformat(line["received_at"]).astimezone(UTC),
        answer=line["answer"],
        control_id=line["control_id"],
        fault=line["fault"],
    )
