"""The table of codes against pydicom's dictionaries, the contract's states and the vocabulary."""

import csv
from collections import Counter
from typing import cast

import pytest
from pydicom.sr._concepts_dict import concepts
from pydicom.sr.codedict import codes as pydicom_codes

from models.shared.codes import (
    CODES_PATH,
    ENTITY_CODES_PATH,
    LOCAL_SCHEME,
    Code,
    UnknownCodeError,
    change_code,
    code,
    codes,
    entity_code_names,
    presence_code,
)
from models.shared.vocabulary import load_vocabulary

SCHEMES_OF_PYDICOM = frozenset(concepts)
SINCE_PREVIOUS_MAMMOGRAM = {"129721008", "129722001", "129723006", "129728002", "129729005"}


def meanings_in_pydicom(row: Code) -> set[str]:
    """Every meaning under which pydicom's dictionaries list a value of a scheme."""
    listed = cast("dict[str, dict[str, tuple[str, list[int]]]]", concepts.get(row.scheme, {}))
    return {by_value[row.value][0] for by_value in listed.values() if row.value in by_value}


@pytest.mark.parametrize("row", codes().values(), ids=lambda row: row.name)
def test_what_pydicom_knows_it_knows_by_the_same_meaning(row: Code) -> None:
    meanings = meanings_in_pydicom(row)
    assert not meanings or row.meaning in meanings


def test_clinical_codes_but_the_named_ones_are_known_to_pydicom() -> None:
    clinical = [row for row in codes().values() if row.scheme in {"SCT", "DCM", "LN", "NCIt"}]
    unknown = {row.name for row in clinical if not meanings_in_pydicom(row)}
    assert unknown == {"change_new", "change_resolved", "change_worse", "change_better", "stable", "increased"}


def test_no_code_speaks_of_mammograms() -> None:
    for row in codes().values():
        assert row.value not in SINCE_PREVIOUS_MAMMOGRAM, row.name
        assert not any("mammogra" in meaning.lower() for meaning in meanings_in_pydicom(row)), row.name


@pytest.mark.parametrize("row", codes().values(), ids=lambda row: row.name)
def test_rows_fit_the_attributes_that_carry_them(row: Code) -> None:
    assert 0 < len(row.value) <= 16  # Code Value (0008,0100) is an SH
    assert 0 < len(row.scheme) <= 16
    assert 0 < len(row.meaning) <= 64  # Code Meaning (0008,0104) is an LO
    assert row.source
    assert row.scheme in SCHEMES_OF_PYDICOM | {LOCAL_SCHEME, "RFC5646"}
    assert row.is_local == (row.scheme == LOCAL_SCHEME)


def test_names_are_unique_and_local_values_too() -> None:
    with CODES_PATH.open(encoding="utf-8", newline="") as file:
        names = Counter(row["name"] for row in csv.DictReader(file))
    assert max(names.values()) == 1
    local = Counter(row.value for row in codes().values() if row.is_local)
    assert max(local.values()) == 1


@pytest.mark.parametrize("state", ["new", "resolved", "worse", "better", "stable", "absent", "undetermined"])
def test_every_state_of_the_contract_has_a_code(state: str) -> None:
    assert change_code(state).name == f"change_{state}"


def test_states_have_seven_different_codes() -> None:
    states = ("new", "resolved", "worse", "better", "stable", "absent", "undetermined")
    assert len({change_code(state).value for state in states}) == 7


def test_presence_codes_are_those_of_the_present_absent_context_group() -> None:
    group = {pydicom_code.value for pydicom_code in pydicom_codes.cid240.concepts.values()}
    assert {presence_code(presence).value for presence in ("present", "absent", "undetermined")} == group


@pytest.mark.parametrize("name", ["procedure_radiography", "procedure_ct", "procedure_mr", "procedure_imaging"])
def test_procedures_reported_are_of_the_context_group_that_validators_ask_for(name: str) -> None:
    assert code(name).for_dicom() in pydicom_codes.cid100


def test_every_chest_entity_has_a_finding_and_a_site_under_its_own_name() -> None:
    with ENTITY_CODES_PATH.open(encoding="utf-8", newline="") as file:
        listed = {int(row["index"]): row["entity"] for row in csv.DictReader(file)}
    vocabulary = load_vocabulary()
    assert listed == {
        entity.index: entity.name for entity in vocabulary.by_index.values() if entity.modality == "2D-CXR"
    }
    for index in listed:
        finding, site = entity_code_names(index)
        assert code(finding).meaning
        assert code(site).meaning


def test_entities_are_told_apart_by_their_codes_but_for_the_one_that_occurs_twice() -> None:
    pairs = Counter(entity_code_names(index) for index in range(75))
    # the vocabulary has pneumomediastinum as an abnormality (17) and as a disease (64)
    assert {pair for pair, count in pairs.items() if count > 1} == {("pneumomediastinum", "mediastinum")}


@pytest.mark.parametrize("key", ["no_such_code", "", "change_"])
def test_an_unknown_name_is_an_error(key: str) -> None:
    with pytest.raises(UnknownCodeError):
        code(key)


def test_an_entity_of_another_modality_has_no_codes_yet() -> None:
    with pytest.raises(UnknownCodeError):
        entity_code_names(100)


def test_a_code_turns_into_pydicoms_triple() -> None:
    triple = code("pleural_effusion").for_dicom()
    assert (triple.value, triple.scheme_designator, triple.meaning) == ("60046008", "SCT", "Pleural effusion")
