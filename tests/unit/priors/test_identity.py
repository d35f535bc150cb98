from dataclasses import replace

import pytest

from operators.domain.messages import Patient
from operators.priors.identity import Identity, compare_identity
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
