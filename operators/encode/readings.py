"""The engine's arrays enter; one EntityReading per entity, its evidence in an image's own pixels, leaves."""

from collections.abc import Sequence

from models.encoder.engine import EntityReadings, FamilyInfo, ServedEntity
from models.encoder.evidence import evidence_region
from models.shared.codes import UnknownCodeError, entity_code_names
from operators.domain.errors import ConfigError
from operators.domain.messages import EntityReading, EntityTerm
from operators.domain.reasons import ReasonCode
from operators.encode.reading import Place


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
    place: Place, terms: Sequence[EntityTerm], readings: EntityReadings, row: int, mass_share: float
) -> tuple[EntityReading, ...]:
    """Make readings of the input in `row` of the engine's answer, in the order of `terms`."""
    return tuple(
        EntityReading(
            entity=term,
            presence_prob=float(readings.presence_prob[row, column]),
            embedding=readings.embeddings[row, column],
            attention=readings.attention[row, column],
            region=place.region(evidence_region(readings.attention[row, column], mass_share=mass_share)),
        )
        for column, term in enumerate(terms)
    )
