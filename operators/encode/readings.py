"""The engine's arrays enter; one EntityReading per entity, its evidence in the image's own pixels, leaves."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.encoder.engine import EntityReadings, ServedEntity
from models.encoder.evidence import evidence_region
from models.shared.pixels import to_image_points
from operators.domain.messages import EntityReading, EntityTerm, Region
from operators.encode.reading import ReadImage

CodesOf = Callable[[int], tuple[str, str]]
"""From an entity's index to the names of its finding code and its site code in models/shared/codes.csv."""


def entity_terms(entities: Sequence[ServedEntity], codes_of: CodesOf) -> tuple[EntityTerm, ...]:
    """Terms of the entities a bundle serves, with their codes and the cuts that the bundle was admitted on."""
    return tuple(_term(entity, *codes_of(entity.index)) for entity in entities)


def _term(entity: ServedEntity, finding_code: str, site_code: str) -> EntityTerm:
    return EntityTerm(
        index=entity.index,
        name=entity.name,
        kind=entity.kind.value,
        anatomy=entity.anatomy or "",
        finding_code=finding_code,
        site_code=site_code,
        present_from=entity.threshold_present,
        absent_below=entity.threshold_absent,
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
