from dataclasses import replace

import pytest

from operators.domain.messages import Patient
from operators.priors.identity import Identity, compare_identity, under_own_name
from tests.support.priors import PATIENT


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (PATIENT, Identity.SAME),
        (replace(PATIENT, name="Married^Name"), Identity.SAME),
        (replace(PATIENT, patient_id=" P-1 "), Identity.SAME),
        (replace(PATIENT, patient_id="p-1"), Identity.OTHER_ID),
        (replace(PATIENT, patient_id="P-10"), Identity.OTHER_ID),
        (replace(PATIENT, patient_id=""), Identity.OTHER_ID),
        (replace(PATIENT, issuer="OTHER"), Identity.OTHER_ISSUER),
        (replace(PATIENT, issuer="site"), Identity.OTHER_ISSUER),
        (replace(PATIENT, birth_date="19500102"), Identity.DEMOGRAPHICS_DISAGREE),
        (replace(PATIENT, birth_date="1950.01.01"), Identity.SAME),
        (replace(PATIENT, birth_date=""), Identity.SAME),
        (replace(PATIENT, sex="M"), Identity.DEMOGRAPHICS_DISAGREE),
        (replace(PATIENT, sex=""), Identity.SAME),
        (replace(PATIENT, sex="?"), Identity.SAME),
        (replace(PATIENT, issuer=""), Identity.SAME),
        (replace(PATIENT, issuer="", birth_date=""), Identity.ISSUER_MISSING),
        (replace(PATIENT, issuer="", birth_date="19500102"), Identity.DEMOGRAPHICS_DISAGREE),
    ],
)
def test_identity_of_an_answer(answer: Patient, expected: Identity) -> None:
    assert compare_identity(PATIENT, answer, trust_missing_issuer=True) is expected


def test_a_missing_issuer_is_not_trusted_when_that_is_not_allowed() -> None:
    answer = replace(PATIENT, issuer="")
    assert compare_identity(PATIENT, answer, trust_missing_issuer=False) is Identity.ISSUER_MISSING
    assert compare_identity(answer, PATIENT, trust_missing_issuer=False) is Identity.ISSUER_MISSING
    assert compare_identity(answer, answer, trust_missing_issuer=False) is Identity.SAME


def test_two_empty_patient_ids_are_not_the_same_patient() -> None:
    nobody = replace(PATIENT, patient_id="")
    assert compare_identity(nobody, nobody, trust_missing_issuer=True) is Identity.OTHER_ID


def under_one_name(answer: Patient, *, trusting: bool = True) -> Identity:
    """Judge an answer for patient NEW of SITE, into whom OLD of SITE was merged."""
    current = Patient(patient_id="NEW", issuer="SITE", birth_date="19500101", sex="F")
    merged = (Patient(patient_id="OLD", issuer="SITE"),)
    said = under_own_name(current, merged, answer, trust_missing_issuer=trusting)
    return compare_identity(current, said, trust_missing_issuer=trusting)


@pytest.mark.parametrize(
    ("facts", "trusting", "identity"),
    [
        ({"patient_id": "OLD", "issuer": "SITE"}, True, Identity.SAME),
        ({"patient_id": "NEW", "issuer": "SITE"}, True, Identity.SAME),
        ({"patient_id": "OLD", "issuer": "SITE", "birth_date": "19600101"}, True, Identity.DEMOGRAPHICS_DISAGREE),
        ({"patient_id": "OLD", "issuer": "OTHER"}, True, Identity.OTHER_ID),
        ({"patient_id": "old", "issuer": "SITE"}, True, Identity.OTHER_ID),
        ({"patient_id": "OLD"}, True, Identity.SAME),
        ({"patient_id": "OLD"}, False, Identity.ISSUER_MISSING),
        ({"patient_id": "OLD", "birth_date": ""}, True, Identity.ISSUER_MISSING),
        ({"patient_id": "STRANGER", "issuer": "SITE"}, True, Identity.OTHER_ID),
    ],
)
def test_an_answer_under_a_merged_identifier_is_judged_like_one_under_the_own(
    facts: dict[str, str], *, trusting: bool, identity: Identity
) -> None:
    answer = Patient(**{"birth_date": "19500101", "sex": "F", **facts})
    assert under_one_name(answer, trusting=trusting) is identity
