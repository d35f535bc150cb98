r"""Ultrasound: a study enters, its images that the model can read leave, best first, each with the frame to read.

A study holds many planes of several organs, and one of them speaks for it. Headers alone decide: plain B-mode before
colour, stills before loops, originals before copies; of a loop its representative frame, else the middle one. Value 4
of Image Type says how an image was made (PS3.3 C.8.5.6.1.1); measurement pages and M-mode strips are no images of an
organ.
"""

from functools import partial

from pydicom.uid import (
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from models.encoder.engine import FamilyInfo
from operators.domain import anatomy
from operators.domain.messages import Image, InstanceHeader, Study
from operators.domain.radiograph import words_of
from operators.domain.reasons import ReasonCode
from operators.encode.planes import read_plane
from operators.encode.reading import Candidate, Choice, Shown, is_foreign

_SCREENS = frozenset({SecondaryCaptureImageStorage, MultiFrameTrueColorSecondaryCaptureImageStorage})
_PAGES = frozenset({"REPORT", "WORKSHEET", "DOSE", "CAD", "MEASUREMENT", "MEASUREMENTS", "CALCULATION", "SCREENSHOT"})
_M_MODE, _SPECTRAL, _COLOUR = 0x0022, 0x000C, 0x0130
_SERVED = (*anatomy.BREAST, *anatomy.THYROID, *anatomy.UPPER_ABDOMEN, *anatomy.VEINS)


class StillReader:
    """Reads one frame of an ultrasound study; of a prior, one of the same side and description if there is one."""

    def __init__(self, family: FamilyInfo, max_frame_px: int) -> None:
        self._family = family
        self._max_frame_px = max_frame_px

    def choose(self, study: Study, like: Shown | None) -> Choice:
        """Sort the study's images. Raises nothing: headers alone are looked at."""
        judged = [(image, self._reason_to_skip(image.header, study)) for image in study.images]
        readable = [image for image, reason in judged if reason is None]
        readable.sort(key=lambda image: _unsuitability(image.header, like.image.header if like else None))
        skipped = tuple((image.header.instance_uid, reason) for image, reason in judged if reason is not None)
        foreign = is_foreign([reason for _, reason in skipped])
        why_none = ReasonCode.MODALITY_NOT_SERVED if foreign else ReasonCode.NO_READABLE_VIEW
        return Choice(candidates=tuple(map(self._candidate, readable)), skipped=skipped, why_none=why_none)

    def _candidate(self, image: Image) -> Candidate:
        frame_number = frame_to_read(image.header)
        return Candidate(
            images=(image,),
            read=partial(read_plane, image, frame_number, self._family.input_side_px, self._max_frame_px),
        )

    def _reason_to_skip(self, header: InstanceHeader, study: Study) -> ReasonCode | None:
        if header.modality not in self._family.dicom_modalities or _shows_another_organ(header, study):
            return ReasonCode.MODALITY_NOT_SERVED
        return None if _is_an_image(header) else ReasonCode.IMAGE_NOT_PRIMARY


def frame_to_read(header: InstanceHeader) -> int:
    """Return the number, from 1, of the frame that speaks for an image: the representative one, else the middle."""
    said = header.representative_frame
    return said if said is not None and 1 <= said <= header.frames else (header.frames + 1) // 2


def _shows_another_organ(header: InstanceHeader, study: Study) -> bool:
    """Judge by the first text that names an organ of either list; what says nothing is read."""
    for text in (header.body_part, header.series_description, header.protocol_name, study.study_description):
        words = words_of(text)
        if any(word.startswith(_SERVED) for word in words):
            return False
        if any(word.startswith(anatomy.OTHER_ULTRASOUND) for word in words):
            return True
    return False


def _is_an_image(header: InstanceHeader) -> bool:
    flags = _made_by(header)
    is_strip = bool(flags & (_M_MODE | _SPECTRAL)) and not flags & 1
    return header.sop_class_uid not in _SCREENS and not words_of(header.series_description) & _PAGES and not is_strip


def _made_by(header: InstanceHeader) -> int:
    """Value 4 of Image Type as the hexadecimal flags it holds; plain 2D imaging where it says nothing."""
    values = header.image_type.split("\\")
    try:
        return int(values[3], 16) or 1
    except (IndexError, ValueError):
        return 1


def _unsuitability(header: InstanceHeader, like: InstanceHeader | None) -> tuple[bool | int | str, ...]:
    """Sort key: smaller suits the model, and the image to compare with, better; the instance UID breaks ties."""
    last = 2**31
    return (
        like is not None and bool(like.laterality) and header.laterality != like.laterality,
        like is not None and words_of(header.series_description) != words_of(like.series_description),
        bool(_made_by(header) & _COLOUR),
        header.frames > 1,
        "DERIVED" in header.image_type.upper().split("\\"),
        last if header.series_number is None else header.series_number,
        last if header.instance_number is None else header.instance_number,
        header.instance_uid,
    )
