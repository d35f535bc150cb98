"""The table of codes against pydicom's dictionaries, the contract's states and the vocabulary."""

import csv
import re
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
from models.shared.vocabulary import EntityKind, load_vocabulary

SCHEMES_OF_PYDICOM = frozenset(concepts)
CLINICAL = [row for row in codes().values() if row.scheme in {"SCT", "DCM", "LN", "NCIt", "FMA"}]
SINCE_PREVIOUS_MAMMOGRAM = {"129721008", "129722001", "129723006", "129728002", "129729005"}


def meanings_in_pydicom(row: Code) -> set[str]:
    """Every meaning under which pydicom's dictionaries list a value of a scheme."""
    listed = cast("dict[str, dict[str, tuple[str, list[int]]]]", concepts.get(row.scheme, {}))
    return {by_value[row.value][0] for by_value in listed.values() if row.value in by_value}


def groups_in_pydicom(row: Code) -> set[int]:
    """Every context group in which pydicom's dictionaries list a value of a scheme."""
    listed = cast("dict[str, dict[str, tuple[str, list[int]]]]", concepts.get(row.scheme, {}))
    return {group for by_value in listed.values() if row.value in by_value for group in by_value[row.value][1]}


def groups_named(row: Code) -> set[int]:
    """Context groups that a row gives as its source; a local row may name one whose code was not taken."""
    return set() if row.is_local else {int(group) for group in re.findall(r"CID (\d+)", row.source)}


@pytest.mark.parametrize("row", codes().values(), ids=lambda row: row.name)
def test_what_pydicom_knows_it_knows_by_the_same_meaning(row: Code) -> None:
    meanings = meanings_in_pydicom(row)
    assert not meanings or row.meaning in meanings


@pytest.mark.parametrize("row", CLINICAL, ids=lambda row: row.name)
def test_context_group_that_a_row_names_as_its_source_holds_its_code(row: Code) -> None:
    assert groups_named(row) <= groups_in_pydicom(row)


def test_clinical_codes_but_the_named_ones_are_known_to_pydicom() -> None:
    unknown = {row.name for row in CLINICAL if not meanings_in_pydicom(row)}
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


def test_every_entity_of_the_vocabulary_has_a_finding_and_a_site_under_its_own_name() -> None:
    with ENTITY_CODES_PATH.open(encoding="utf-8", newline="") as file:
        listed = {int(row["index"]): row["entity"] for row in csv.DictReader(file)}
    vocabulary = load_vocabulary()
    assert len(vocabulary.by_index) == 177
    assert listed == {entity.index: entity.name for entity in vocabulary.by_index.values()}
    for index in vocabulary.by_index:
        finding, site = entity_code_names(index)
        assert code(finding).meaning
        assert code(site).meaning


def test_structures_themselves_are_coded_as_abnormal_and_nothing_else_is() -> None:
    # the gallbladder's morphology is listed as a structure of its own: its finding is what sets it apart
    for entity in load_vocabulary().by_index.values():
        finding, _ = entity_code_names(entity.index)
        is_structure = entity.kind is EntityKind.ANATOMY and entity.name != "Gallbladder Morphology"
        assert (finding == "abnormality") is is_structure, entity.name


def test_findings_in_one_structure_are_placed_where_the_structure_is() -> None:
    vocabulary = load_vocabulary()
    sites = {
        (entity.modality, entity.name): entity_code_names(entity.index)[1]
        for entity in vocabulary.by_index.values()
        if entity.kind is EntityKind.ANATOMY
    }
    # a narrower site is named for a few: arteries and veins of the lungs apart
    narrower = {31: "pulmonary_vein", 57: "pulmonary_artery"}
    for entity in vocabulary.by_index.values():
        if entity.kind is EntityKind.ABNORMAL and (entity.modality, entity.anatomy) in sites:
            expected = narrower.get(entity.index) or sites[entity.modality, str(entity.anatomy)]
            assert entity_code_names(entity.index)[1] == expected, entity.name


def test_entities_of_the_same_name_have_the_same_codes_in_every_modality() -> None:
    by_name: dict[str, set[tuple[str, str]]] = {}
    for entity in load_vocabulary().by_index.values():
        by_name.setdefault(entity.name, set()).add(entity_code_names(entity.index))
    assert {name for name, pairs in by_name.items() if len(pairs) > 1} == set()


@pytest.mark.parametrize(
    ("modality", "twice"),
    [
        # each of the two occurs as an abnormality and as a disease: rows 17 and 64, 313 and 319
        ("2D-CXR", {("pneumomediastinum", "mediastinum")}),
        ("3D-CT", set()),
        ("3D-Brain-MRI", set()),
        ("2D-Ultrasound", {("mammary_duct_ectasia", "lactiferous_duct")}),
    ],
)
def test_entities_of_a_modality_are_told_apart_by_their_codes_but_for_those_that_occur_twice(
    modality: str, twice: set[tuple[str, str]]
) -> None:
    pairs = Counter(entity_code_names(entity.index) for entity in load_vocabulary().of_modality(modality))
    assert {pair for pair, count in pairs.items() if count > 1} == twice


@pytest.mark.parametrize(
    ("index", "finding", "site"),
    [
        (100, "Abnormality", "Kidney"),
        (101, "Abnormality", "Wall of gallbladder"),
        (118, "Metastasis", "Chest"),
        (124, "Cholelithiasis", "Gallbladder"),
        (134, "Cystic lesion", "Kidney"),
        (137, "Abnormal position of esophagus", "Esophagus"),
        (200, "Hemorrhage", "Brain cerebrospinal fluid pathway"),
        (207, "Hydrocephalus", "Brain ventricle"),
        (214, "Abnormality", "Pituitary gland and sellar region"),
        (221, "Atrophy", "Brain"),
        (224, "Intracranial hemorrhage (disorder)", "Cranial Cavity"),
        (301, "Soft tissue density lesion", "Thyroid"),
        (307, "Lymphadenopathy", "Axilla"),
        (317, "Breast cancer", "Breast"),
    ],
)
def test_findings_and_sites_say_what_the_entity_names(index: int, finding: str, site: str) -> None:
    names = entity_code_names(index)
    assert (code(names[0]).meaning, code(names[1]).meaning) == (finding, site)


def test_no_entity_is_coded_as_more_than_its_name_says() -> None:
    # codes of PS3.16 that lie near the name of an entity and say more: fatty liver, cyst, stroke, carcinoma
    nearby = {"197315008", "1231824009", "367643001", "230690007", "1187425009"}
    coded = {index for index in load_vocabulary().by_index if code(entity_code_names(index)[0]).value in nearby}
    assert coded == {216}  # "Cysts (e.g., arachnoid cyst, pineal cyst)"


@pytest.mark.parametrize("key", ["no_such_code", "", "change_"])
def test_an_unknown_name_is_an_error(key: str) -> None:
    with pytest.raises(UnknownCodeError):
        code(key)


@pytest.mark.parametrize("index", [75, 99, 156, 225, 321, 399, -1])
def test_a_row_that_no_entity_stands_in_has_no_codes(index: int) -> None:
    with pytest.raises(UnknownCodeError):
        entity_code_names(index)


def test_a_code_turns_into_pydicoms_triple() -> None:
    triple = code("pleural_effusion").for_dicom()
    assert (triple.value, triple.scheme_designator, triple.meaning) == ("60046008", "SCT", "Pleural effusion")
