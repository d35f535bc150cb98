"""Which image of a study the model reads: a study enters, the images worth reading leave, best first, and the rest.

Every image that is left out is named with its reason. The order depends on the headers alone, never on arrival.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pydicom.uid import (
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameSingleBitSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from operators.domain.messages import Image, InstanceHeader, Study
from operators.domain.radiograph import BodyRegion, Projection, body_region_of, is_mirrored, projection_of, words_of
from operators.domain.reasons import ReasonCode
from operators.encode.reading import Skipped

Judged = tuple[Image, ReasonCode | None]

_SECONDARY_CAPTURES = frozenset(
    {
        SecondaryCaptureImageStorage,
        MultiFrameSingleBitSecondaryCaptureImageStorage,
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
# Values of Image Type (0008,0008) and words of Series Description that name companions of the film, not the film.
# DERIVED\PRIMARY is the film: most digital systems send their processed image so (PS3.3 C.8.11.3.1.1).
_COMPANION_TYPES = frozenset({"SECONDARY", "LOCALIZER", "SCOUT", "DOSE", "CAD", "SUBTRACTION", "SUBTRACTED"})
_COMPANION_WORDS = frozenset(
    {"LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM", "SURVIEW", "DOSE", "CAD", "SUBTRACTION", "SUBTRACTED"}
) | frozenset({"BONESUPPRESSED", "BONESUPPRESSION", "SOFTTISSUE", "DUALENERGY", "TUBEENHANCED", "TUBEANDLINE"})

_LARGEST_SIDE_RATIO = 2.0
"""A film is not more than twice as long as it is wide; a strip or a scout is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewChoice:
    """Images the model can read, best first, and those it does not with the reason for each."""

    candidates: tuple[Image, ...]
    skipped: Skipped

    @property
    def best_projection(self) -> Projection | None:
        """Projection of the image to read first; None when there is none."""
        return projection_of(self.candidates[0].header) if self.candidates else None

    @property
    def why_none(self) -> ReasonCode:
        """Why there is no candidate, for the study as a whole."""
        is_foreign = {reason for _, reason in self.skipped} == {ReasonCode.MODALITY_NOT_SERVED}
        return ReasonCode.MODALITY_NOT_SERVED if is_foreign else ReasonCode.NO_READABLE_VIEW


def choose_views(study: Study, modalities: Iterable[str], *, prefer: Projection | None = None) -> ViewChoice:
    """Sort a study's images into candidates and skipped.

    Parameters
    ----------
    study
        The study; only the headers of its images are looked at.
    modalities
        Values of Modality (0008,0060) that the model serves.
    prefer
        Projection to put before all others: that of the current study when a prior's image is chosen. Only PA and
        AP can be preferred.
    """
    served = frozenset(modalities)
    judged = [(image, _reason_to_skip(image.header, served, study.study_description)) for image in study.images]
    judged = _without_doubtful(judged)
    candidates = [image for image, reason in judged if reason is None]
    # Three stable sorts, least weighty first: instance UID, latest exposure, then what suits the model.
    candidates.sort(key=lambda image: image.header.instance_uid)
    candidates.sort(key=lambda image: _recency(image.header), reverse=True)
    wanted = prefer if prefer in {Projection.PA, Projection.AP} else None
    candidates.sort(key=lambda image: _unsuitability(image.header, wanted))
    skipped = tuple((image.header.instance_uid, reason) for image, reason in judged if reason is not None)
    return ViewChoice(candidates=tuple(candidates), skipped=skipped)


def _without_doubtful(judged: list[Judged]) -> list[Judged]:
    """Skip images of unknown projection beside a known frontal one: they are likely its lateral."""
    remaining = {projection_of(image.header) for image, reason in judged if reason is None}
    if remaining <= {Projection.UNKNOWN}:
        return judged
    return [
        (image, reason or ReasonCode.OTHER_IMAGE_READ)
        if projection_of(image.header) is Projection.UNKNOWN
        else (image, reason)
        for image, reason in judged
    ]


def _reason_to_skip(header: InstanceHeader, modalities: frozenset[str], study_description: str) -> ReasonCode | None:
    if header.modality not in modalities or body_region_of(header, study_description) is BodyRegion.OTHER:
        return ReasonCode.MODALITY_NOT_SERVED
    if not _is_the_film(header):
        return ReasonCode.IMAGE_NOT_PRIMARY
    if projection_of(header) is Projection.NOT_FRONTAL:
        return ReasonCode.VIEW_NOT_FRONTAL
    return None


def _is_the_film(header: InstanceHeader) -> bool:
    types = frozenset(value.strip().upper() for value in header.image_type.split("\\"))
    return (
        header.sop_class_uid not in _SECONDARY_CAPTURES
        and not types & _COMPANION_TYPES
        and not words_of(header.series_description) & _COMPANION_WORDS
        and not _is_strip(header)
    )


def _is_strip(header: InstanceHeader) -> bool:
    sides = (header.rows or 0, header.columns or 0)
    return min(sides) > 0 and max(sides) > _LARGEST_SIDE_RATIO * min(sides)


def _unsuitability(header: InstanceHeader, prefer: Projection | None) -> tuple[float, ...]:
    """Sort key: smaller suits the model better. Unprocessed detector data look least like what it was trained on."""
    projection = projection_of(header)
    intent = header.presentation_intent.strip().upper()
    return (
        intent == "FOR PROCESSING",
        projection is not prefer,
        _PROJECTION_ORDER.index(projection),
        is_mirrored(header),
        intent != "FOR PRESENTATION",
        "DERIVED" in header.image_type.upper().split("\\"),
        header.frames > 1,
        # Among images that say nothing of their projection the wider one is likelier frontal.
        -_width_ratio(header) if projection is Projection.UNKNOWN else 0.0,
    )


_PROJECTION_ORDER = (Projection.PA, Projection.AP, Projection.FRONTAL, Projection.UNKNOWN)


def _width_ratio(header: InstanceHeader) -> float:
    return round((header.columns or 0) / header.rows, 2) if header.rows else 0.0


def _recency(header: InstanceHeader) -> tuple[str, int, int]:
    """Sort key: the larger was taken later. A repeated exposure replaces the first one."""
    return (
        header.content_time.replace(":", "").strip(),
        header.instance_number if header.instance_number is not None else -1,
        header.series_number if header.series_number is not None else -1,
    )
