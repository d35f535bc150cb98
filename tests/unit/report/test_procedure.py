"""What the reports of each modality say was done."""

from itertools import chain

import pytest
from pydicom.sr.codedict import codes as pydicom_codes

from models.shared.codes import code
from operators.report.procedure import ANY_IMAGING, PROCEDURES, procedure_reported


@pytest.mark.parametrize(
    ("modality", "value", "scheme"),
    [
        ("CT", "25045-6", "LN"),
        ("MR", "25056-3", "LN"),
        ("US", "363679005", "SCT"),
        ("DX", "363679005", "SCT"),
        ("CR", "363679005", "SCT"),
    ],
)
def test_procedure_follows_from_the_modality(modality: str, value: str, scheme: str) -> None:
    procedure = code(procedure_reported(modality))
    assert (procedure.value, procedure.scheme) == (value, scheme)


@pytest.mark.parametrize("modality", ["", "OT", "XX", "ct"])
def test_procedure_of_any_other_modality_is_an_imaging_procedure(modality: str) -> None:
    assert procedure_reported(modality) == ANY_IMAGING


@pytest.mark.parametrize("name", sorted({ANY_IMAGING, *PROCEDURES.values()}))
def test_procedures_are_of_the_context_group_that_validators_ask_for(name: str) -> None:
    assert code(name).for_dicom() in pydicom_codes.cid100


@pytest.mark.parametrize("modality", sorted(PROCEDURES))
def test_modalities_that_have_a_procedure_can_be_named_in_the_image_library_too(modality: str) -> None:
    assert code(f"modality_{modality}").value == modality


def test_context_group_has_still_no_ultrasound() -> None:
    # where an edition of the standard brings one, it should be said instead of "Imaging procedure"
    words = chain.from_iterable(concept.meaning.lower().split() for concept in pydicom_codes.cid100.concepts.values())
    assert not {"us", "ultrasound", "ultrasonography"} & set(words)
