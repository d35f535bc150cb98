"""Identifiers: NewTypes for what DICOM calls a UID or a number, and names derived from facts.

Nothing in Interval is named at random: the same study, revision, priors, model and configuration give the same
SOP Instance UIDs and HL7 control ids on every machine and after every restart.
"""

import hashlib
from typing import NewType

StudyUid = NewType("StudyUid", str)
SeriesUid = NewType("SeriesUid", str)
InstanceUid = NewType("InstanceUid", str)
AccessionNumber = NewType("AccessionNumber", str)
AeTitle = NewType("AeTitle", str)
Destination = NewType("Destination", str)
Revision = NewType("Revision", int)

UUID_ROOT = "2.25"
"""Root of UIDs that are UUIDs written as one decimal number (PS3.5 B.2)."""

_UID_MAX_CHARS = 64
_SEPARATOR = "\x1f"


def digest(*parts: str) -> str:
    """SHA-256 of the parts in order, as 64 hexadecimal characters; parts are separated, never merely joined."""
    return hashlib.sha256(_SEPARATOR.join(parts).encode()).hexdigest()


def derive_uid(root: str, *parts: str) -> str:
    """Return the DICOM UID (PS3.5 9) that belongs to `parts` under `root`, always the same one.

    Under the root 2.25 the number is a version-8 UUID (128 bits); under an own root it fills the 64 characters.
    Raises ValueError when the root leaves fewer than 20 digits for the number.
    """
    number = int(digest(*parts), 16)
    if root == UUID_ROOT:
        uuid = (number >> 128) & ~(0xF << 76) & ~(0x3 << 62) | (0x8 << 76) | (0x2 << 62)
        return f"{root}.{uuid}"
    room = _UID_MAX_CHARS - len(root) - 1
    if room < 20:
        raise ValueError("the UID root is too long: it leaves fewer than 20 digits")
    return f"{root}.{str(number)[: min(room, 39)]}"


def control_id(*parts: str) -> str:
    """Return the HL7 message control id (MSH-10, at most 20 characters in v2.5.1) that belongs to `parts`."""
    return "IV" + digest(*parts)[:18].upper()


def pseudonym(value: str) -> str:
    """Return a short stable name for logs in place of an identifier: 12 hexadecimal characters."""
    return digest("log", value)[:12]
