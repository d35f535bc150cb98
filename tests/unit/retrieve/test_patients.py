"""Who counts as the same patient."""

import pytest

from operators.domain.errors import ConfigError
from operators.domain.messages import Patient
from operators.retrieve.config import RetrieveConfig
from operators.retrieve.patients import withheld_for


def is_withheld(asking: Patient, kept: Patient) -> bool:
    withheld = withheld_for((asking,))
    return kept.key in withheld.keys or kept.patient_id in withheld.ids_of_any_issuer


@pytest.mark.parametrize(
    ("asking", "kept", "same"),
    [
        (Patient(patient_id="1", issuer="A"), Patient(patient_id="1", issuer="A"), True),
        (Patient(patient_id="1", issuer="A"), Patient(patient_id="1"), True),
        (Patient(patient_id="1"), Patient(patient_id="1", issuer="A"), True),
        (Patient(patient_id="1", issuer="A"), Patient(patient_id="1", issuer="B"), False),
        (Patient(patient_id="1", issuer="A"), Patient(patient_id="2", issuer="A"), False),
    ],
)
def test_same_patient_is_told_by_id_and_issuer(asking: Patient, kept: Patient, *, same: bool) -> None:
    assert is_withheld(asking, kept) is same


@pytest.mark.parametrize(
    "settings",
    [
        {"cases_per_entity": -1},
        {"cases_per_entity": 101},
        {"fetch_factor": 0},
        {"hnsw_from_rows": 0},
        {"hnsw_ef_search": 39},
    ],
)
def test_setting_out_of_range_is_refused_by_name(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        RetrieveConfig(**settings)
