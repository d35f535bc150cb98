"""Which images of a prior are worth fetching, and whether its views fit the current study's."""

from collections.abc import Iterable, Sequence
from enum import IntEnum

from pydicom.uid import UID

from operators.domain.messages import InstanceHeader, Study
from operators.domain.radiograph import Projection, projection_of, words_of
from operators.priors.bodypart import Shows, image_shows
from operators.priors.candidates import Candidate, WantedImage
from operators.priors.config import RelevanceRule

_FEW_IMAGES = 8
"""A series of fewer objects is likelier a localizer or a page than slices; an enhanced object may be alone in one."""


class ViewMatch(IntEnum):
    """How the views of two studies fit, best first. FRONTAL views fit each other, PA or AP."""

    SAME = 0
    UNKNOWN = 1
    OTHER = 2


def readable_images(images: Iterable[InstanceHeader], rule: RelevanceRule) -> tuple[InstanceHeader, ...]:
    """Return the objects that are images of a modality the rule compares with; our own objects never are."""
    return tuple(image for image in images if image.modality in rule.prior_modalities and _has_pixels(image))


def view_match(current: Study, candidate: Candidate, rule: RelevanceRule) -> ViewMatch:
    """Compare the current study's views with the candidate's readable images."""
    if not rule.compares_views:
        return ViewMatch.SAME
    wanted = _views([image.header for image in current.images])
    offered = _views(readable_images(candidate.images or (), rule))
    if wanted & offered - {Projection.UNKNOWN}:
        return ViewMatch.SAME
    return ViewMatch.UNKNOWN if Projection.UNKNOWN in wanted | offered else ViewMatch.OTHER


def wanted_images(current: Study, prior: Candidate, rule: RelevanceRule) -> tuple[WantedImage, ...]:
    """Return the prior's images to fetch: of the body part, fitting views first, at most the rule's number."""
    images = [
        image
        for image in readable_images(prior.images or (), rule)
        if image_shows(rule, image, prior.study_description) is not Shows.OTHER
    ]
    current_headers = [image.header for image in current.images]
    if rule.whole_series:
        chosen = _whole_series(images, current_headers, rule.max_images)
    else:
        views = _views(current_headers)
        chosen = sorted(images, key=lambda image: _fetch_key(image, views))[: rule.max_images]
    return tuple(
        WantedImage(study_uid=prior.study_uid, series_uid=image.series_uid, instance_uid=image.instance_uid)
        for image in chosen
    )


def _whole_series(
    images: Sequence[InstanceHeader], current: Sequence[InstanceHeader], max_images: int
) -> list[InstanceHeader]:
    """Return whole series, those described as one of the current study first, the first whatever its size.

    Which of them is read is decided when their headers are on disk: the archive does not tell kernel or weighting.
    """
    described = {words_of(header.series_description) for header in current if header.series_description}
    series: dict[str, list[InstanceHeader]] = {}
    for image in images:
        series.setdefault(image.series_uid, []).append(image)

    def key(members: list[InstanceHeader]) -> tuple[bool, bool, int, int, str]:
        first = min(members, key=_place)
        is_alike = words_of(first.series_description) in described
        return not is_alike, len(members) < _FEW_IMAGES, len(members), first.series_number or 0, first.series_uid

    taken: list[InstanceHeader] = []
    for members in sorted(series.values(), key=key):
        if not taken or len(taken) + len(members) <= max_images:
            taken += sorted(members, key=_place)
    return taken


def _place(image: InstanceHeader) -> tuple[int, str]:
    return image.instance_number or 0, image.instance_uid


def _fetch_key(image: InstanceHeader, views: frozenset[Projection]) -> tuple[bool, bool, int, int, str]:
    return (
        _view(image) not in views,
        image.presentation_intent == "FOR PROCESSING",
        image.series_number or 0,
        image.instance_number or 0,
        image.instance_uid,
    )


def _views(images: Sequence[InstanceHeader]) -> frozenset[Projection]:
    return frozenset(_view(image) for image in images)


def _view(image: InstanceHeader) -> Projection:
    projection = projection_of(image)
    return Projection.FRONTAL if projection in (Projection.PA, Projection.AP) else projection


def _has_pixels(image: InstanceHeader) -> bool:
    """Whether it is of an image storage class (PS3.4 B.5); documents and presentation states are not."""
    return "ImageStorage" in UID(image.sop_class_uid).keyword
