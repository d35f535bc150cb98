"""ADT messages that merge patients: a message enters, the pairs of identifiers that it merges leave. Pure.

Taken (HL7 v2.5.1 3.3; structures ADT_A39, ADT_A18, ADT_A30): A40 merge patient, identifier list; A18 merge patient
information; A30 merge person; A34 merge patient ID only; A36 merge patient ID and account; A47 change identifier list,
by which a wrong identifier goes into the right one. PID-3 holds what survives, the MRG-1 after it what goes; a message
may hold several such pairs of segments, and a field several identifiers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from operators.domain.hl7.identifiers import Identifier, read_identifier
from operators.domain.hl7.message import Message, Segment
from operators.domain.hl7.refusals import MessageRefusedError, RefusalReason
from operators.domain.messages import Patient
from operators.patients.config import PatientsConfig

MERGING_EVENTS: Final = {
    "A18": "merge patient information",
    "A30": "merge person information",
    "A34": "merge patient information, patient ID only",
    "A36": "merge patient information, patient ID and account number",
    "A40": "merge patient, patient identifier list",
    "A47": "change patient identifier list",
}
"""Trigger events that are taken (HL7 v2.5.1 3.3)."""

MOVING_EVENTS: Final = frozenset(
    {"A24", "A35", "A37", "A39", "A41", "A42", "A43", "A44", "A45", "A46", "A48", "A49", "A50", "A51"}
)
"""Events that change identifiers in ways that are not taken: never accepted as if they had been."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOrder:
    """The identifier `former` is no longer used; `survivor` takes its place."""

    former: Patient
    survivor: Patient


def is_merge(message: Message, config: PatientsConfig) -> bool:
    """Whether an ADT message merges patients; False: it is accepted and changes nothing.

    Raises MessageRefusedError(EVENT) for a trigger event that is not taken.
    """
    event = message.header.kind[1]
    if event in MERGING_EVENTS:
        return True
    if not event or event in MOVING_EVENTS or not config.acknowledge_other_events:
        raise MessageRefusedError(RefusalReason.EVENT)
    return False


def merges_of(message: Message, config: PatientsConfig) -> tuple[MergeOrder, ...]:
    """Return what a merging message says, each order once.

    An identifier that stands in PID-3 and in MRG-1 alike is no order. Raises MessageRefusedError: SEGMENTS,
    IDENTIFIER_MISSING, NO_COUNTERPART.
    """
    orders = [
        order
        for surviving, going in _pairs(message.segments)
        for order in _paired(_identifiers(message, surviving, 3), _identifiers(message, going, 1), config)
    ]
    return tuple(dict.fromkeys(orders))


def written_out(order: MergeOrder, config: PatientsConfig) -> tuple[MergeOrder, ...]:
    """Return an order for each way in which objects may write the identifiers: of the local issuer, with it or without.

    Which survivor belongs to which former is told by the issuer; where the survivor is another issuer's, all go there.
    """
    formers, survivors = writings(order.former, config), writings(order.survivor, config)
    if len(formers) != len(survivors):
        survivors = survivors[:1] * len(formers)
    orders = (MergeOrder(former=f, survivor=s) for f, s in zip(formers, survivors, strict=True))
    return tuple(order for order in orders if order.former != order.survivor)


def writings(patient: Patient, config: PatientsConfig) -> tuple[Patient, ...]:
    """Return how objects may write an identifier: one of the local issuer with it and without, another as it is."""
    local = config.local_issuer
    if not local or patient.issuer not in ("", local):
        return (patient,)
    return (Patient(patient_id=patient.patient_id, issuer=local), Patient(patient_id=patient.patient_id))


def _pairs(segments: Sequence[Segment]) -> Iterator[tuple[Segment, Segment]]:
    """Yield each PID with the MRG that follows it before another PID does."""
    waiting: Segment | None = None
    for segment in segments:
        if segment.name == "PID":
            if waiting is not None:
                raise MessageRefusedError(RefusalReason.SEGMENTS)
            waiting = segment
        elif segment.name == "MRG":
            if waiting is None:
                raise MessageRefusedError(RefusalReason.SEGMENTS)
            yield waiting, segment
            waiting = None
    if waiting is not None or not any(segment.name == "MRG" for segment in segments):
        raise MessageRefusedError(RefusalReason.SEGMENTS)


def _identifiers(message: Message, segment: Segment, field: int) -> list[Identifier]:
    separators = message.header.separators
    read = [read_identifier(text, separators) for text in segment.repetitions(field, separators)]
    found = [identifier for identifier in read if identifier.value]
    if not found:
        raise MessageRefusedError(RefusalReason.IDENTIFIER_MISSING)
    return found


def _paired(
    surviving: Sequence[Identifier], going: Sequence[Identifier], config: PatientsConfig
) -> Iterator[MergeOrder]:
    stay = {_patient(identifier, config) for identifier in surviving}
    for identifier in going:
        former = _patient(identifier, config)
        if former not in stay:
            yield MergeOrder(former=former, survivor=_patient(_counterpart(identifier, surviving, config), config))


def _counterpart(identifier: Identifier, surviving: Sequence[Identifier], config: PatientsConfig) -> Identifier:
    """Return the identifier of PID-3 that takes the place of one of MRG-1.

    That of the same authority; of several of it, the one of the same type (CX.5). Where one side does not name its
    authority: the only one there is.
    """
    issuer = _patient(identifier, config).issuer
    same = [one for one in surviving if _patient(one, config).issuer == issuer]
    if len(same) > 1:
        same = [one for one in same if one.type_code == identifier.type_code]
    if not same and len(surviving) == 1 and not (issuer and _patient(surviving[0], config).issuer):
        same = list(surviving)
    if len(same) != 1:
        raise MessageRefusedError(RefusalReason.NO_COUNTERPART)
    return same[0]


def _patient(identifier: Identifier, config: PatientsConfig) -> Patient:
    issuer = config.issuer_of(identifier.namespace, identifier.universal_id)
    return Patient(patient_id=identifier.value, issuer=issuer)
