"""Why an object gives no pixels: one error class with a stable code and facts, never patient data.

ValueError
    PixelError          code: PixelErrorCode, facts: numbers and UIDs of the object's encoding only
"""

from collections.abc import Mapping
from enum import StrEnum


class PixelErrorCode(StrEnum):
    """Stable codes; a parked study carries one of them as its reason."""

    NOT_DICOM = "not-dicom"
    NOT_AN_IMAGE = "not-an-image"
    NO_PIXELS = "no-pixels"
    BAD_HEADER = "bad-header"
    ABSURD_SIZE = "absurd-size"
    NO_SUCH_FRAME = "no-such-frame"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported-transfer-syntax"
    UNSUPPORTED_PHOTOMETRIC = "unsupported-photometric"
    TRUNCATED = "truncated"
    DECODE_FAILED = "decode-failed"


_SENTENCES: Mapping[PixelErrorCode, str] = {
    PixelErrorCode.NOT_DICOM: "The file is not a DICOM object.",
    PixelErrorCode.NOT_AN_IMAGE: "The file is not an image that can be read.",
    PixelErrorCode.NO_PIXELS: "The object has no pixel data.",
    PixelErrorCode.BAD_HEADER: "The attributes that describe the pixels are missing or contradict each other.",
    PixelErrorCode.ABSURD_SIZE: "The image is larger than the limit, or has no extent.",
    PixelErrorCode.NO_SUCH_FRAME: "The object has fewer frames than were asked for.",
    PixelErrorCode.UNSUPPORTED_TRANSFER_SYNTAX: "The transfer syntax of the pixel data is not supported.",
    PixelErrorCode.UNSUPPORTED_PHOTOMETRIC: "The photometric interpretation is not supported.",
    PixelErrorCode.TRUNCATED: "The pixel data end before the image does.",
    PixelErrorCode.DECODE_FAILED: "The pixel data could not be decoded.",
}


class PixelError(ValueError):
    """An object whose pixels cannot be used.

    Parameters
    ----------
    code
        What is wrong, from a closed list.
    facts
        Keyed facts about the encoding (sizes, UIDs of the standard, keywords); never a patient's data.
    """

    def __init__(self, code: PixelErrorCode, **facts: object) -> None:
        self.code = code
        self.facts = facts
        detail = ", ".join(f"{name}={value}" for name, value in facts.items())
        super().__init__(f"{_SENTENCES[code]} ({detail})" if detail else _SENTENCES[code])
