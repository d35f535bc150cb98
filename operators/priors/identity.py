"""Whether an answer speaks of the same patient: two Patients enter, what stands between them leaves."""

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum

from operators.domain.messages import Patient

_SEXES = frozenset({"M", "F", "O"})


class Identity(StrEnum):
    """What comparing two identities came to."""

    SAME = "same"
    OTHER_ID = "other-id"
    OTHER_ISSUER = "other-issuer"
    ISSUER_MISSING = "issuer-missing"
    DEMOGRAPHICS_DISAGREE = "demographics-disagree"


def compare_identity(current: Patient, answer: Patient, *, trust_missing_issuer: bool) -> Identity:
    """Compare patient ID (exactly; archives match it without case or by wildcard), issuer, birth date and sex.

    An empty patient ID is nobody's. Birth dates and sexes disagree where both are given and differ. Where one side
    alone names an issuer the answer is trusted only if that is allowed and both birth dates are given.
    """
    if not current.patient_id.strip() or current.patient_id.strip() != answer.patient_id.strip():
        return Identity.OTHER_ID
    issuers = current.issuer.strip(), answer.issuer.strip()
    if all(issuers) and issuers[0] != issuers[1]:
        return Identity.OTHER_ISSUER
    births = _digits(current.birth_date), _digits(answer.birth_date)
    sexes = current.sex.strip().upper(), answer.sex.strip().upper()
    if (all(births) and births[0] != births[1]) or (set(sexes) <= _SEXES and sexes[0] != sexes[1]):
        return Identity.DEMOGRAPHICS_DISAGREE
    if any(issuers) and not all(issuers) and not (trust_missing_issuer and all(births)):
        return Identity.ISSUER_MISSING
    return Identity.SAME


def under_own_name(
    current: Patient, others: Iterable[Patient], answer: Patient, *, trust_missing_issuer: bool
) -> Patient:
    """Return the answer's patient under the current patient's identifier, where it bears another one of his.

    `others` are the identifiers that were merged with the current one. Birth date and sex stay the answer's, and an
    issuer that only one side names stays missing on one side: the comparison afterwards judges them as ever.
    """
    for other in others:
        said = replace(current, patient_id=other.patient_id, issuer=other.issuer)
        identity = compare_identity(said, answer, trust_missing_issuer=trust_missing_issuer)
        if identity is Identity.ISSUER_MISSING:
            issuer = "" if current.issuer else answer.issuer
            return replace(answer, patient_id=current.patient_id, issuer=issuer)
        if identity in (Identity.SAME, Identity.DEMOGRAPHICS_DISAGREE):
            return replace(answer, patient_id=current.patient_id, issuer=current.issuer)
    return answer


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isdigit())
