"""The engine's arrays enter; one EntityReading per entity, its evidence in the image's own pixels, leaves."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.encoder.engine import EntityReadings, FamilyInfo, ServedEntity
from models.encoder.evidence import evidence_region
from models.shared.codes import UnknownCodeError, entity_code_names
from models.shared.pixels import to_image_points
from operators.domain.errors import ConfigError
from operators.domain.messages import EntityReading, EntityTerm, Region
from operators.domain.reasons import ReasonCode
from operators.encode.reading import ReadImage


def entity_terms(info: FamilyInfo) -> tuple[EntityTerm, ...]:
    """Terms of the entities a family serves, with their codes and the cuts that the bundle was admitted on.

    Raises ConfigError(BUNDLE_UNUSABLE) when no codes are kept for one of them: its findings could not be reported.
    """
    try:
        return tuple(_term(entity) for entity in info.entities)
    except UnknownCodeError as exc:
        what = f"The model bundle {info.bundle_id} serves an entity that cannot be reported: {exc}."
        raise ConfigError(what, ReasonCode.BUNDLE_UNUSABLE) from exc


def _term(entity: ServedEntity) -> EntityTerm:
    finding_code, site_code = entity_code_names(entity.index)
    return EntityTerm(
        index=entity.index,
        name=entity.name,
        kind=entity.kind.value,
        anatomy=entity.anatomy or "",
        finding_code=finding_code,
        site_code=site_code,
        present_from=entity.measured.threshold_present if entity.measured else None,
        absent_below=entity.measured.threshold_absent if entity.measured else None,
    )


def readings_of(
    read: ReadImage, terms: Sequence[EntityTerm], readings: EntityReadings, row: int, mass_share: float
) -> tuple[EntityReading, ...]:
    """Make readings of the image in `row` of the engine's answer, in the order of `terms`."""
    return tuple(
        EntityReading(
            entity=term,
            presence_prob=float(readings.presence_prob[row, column]),
            embedding=readings.embeddings[row, column],
            attention=readings.attention[row, column],
            region=region_on_image(read, readings.attention[row, column], mass_share),
        )
        for column, term in enumerate(terms)
    )


def region_on_image(read: ReadImage, attention: NDArray[np.float32], mass_share: float) -> Region:
    """Where an attention map (n,) over the model's input points to, in the image's own pixels."""
    evidence = evidence_region(attention, mass_share=mass_share)
    corners = [(evidence.x, evidence.y), (evidence.x + evidence.width, evidence.y + evidence.height)]
    (left_px, top_px), (right_px, bottom_px) = to_image_points(corners, read.frame)
    return Region(
        instance_uid=read.image.header.instance_uid,
        sop_class_uid=read.image.header.sop_class_uid,
        frame_number=1,
        left_px=float(left_px),
        top_px=float(top_px),
        right_px=float(right_px),
        bottom_px=float(bottom_px),
    )
