"""Who counts as the same patient when other patients' cases are looked for. Pure.

A study is withheld when it may be the same patient's: the key of issuer and id is equal, or the ids are equal and one
of the two has no issuer (a modality that does not write it, a PACS that does). Two patients of different issuers who
share a number are different. Whoever was merged with a withheld patient is withheld too. Who has no id is nobody: such
a study is not indexed, since it could neither be withheld from its own patient nor follow a merge.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from operators.domain.messages import Patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Withheld:
    """What must not be answered: patient keys, and ids that are withheld under any issuer."""

    keys: tuple[str, ...]
    ids_of_any_issuer: tuple[str, ...]


def is_known(patient: Patient) -> bool:
    """Whether the patient has an id."""
    return bool(patient.patient_id.strip())


def withheld_for(patients: Iterable[Patient]) -> Withheld:
    """Return what to withhold when cases of others than `patients` are wanted."""
    known = {patient.key: patient for patient in patients if is_known(patient)}.values()
    keys = {patient.key for patient in known}
    without_issuer = {Patient(patient_id=patient.patient_id).key for patient in known}
    return Withheld(
        keys=tuple(sorted(keys | without_issuer)),
        ids_of_any_issuer=tuple(sorted({patient.patient_id for patient in known if not patient.issuer})),
    )


def together(withheld: Withheld, kin: Iterable[Patient]) -> Withheld:
    """Return what to withhold when these patients turned out to be the withheld ones under other identifiers."""
    further = withheld_for(kin)
    return Withheld(
        keys=tuple(sorted({*withheld.keys, *further.keys})),
        ids_of_any_issuer=tuple(sorted({*withheld.ids_of_any_issuer, *further.ids_of_any_issuer})),
    )
