"""What sentences call the entities."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from models.shared.vocabulary import EntityKind, load_vocabulary
from operators.compare.cautions import load_cautions
from operators.compare.phrases import listed, load_phrases, phrase_of
from operators.domain.reasons import REASONS
from operators.priors.relevance import REASON_SENTENCES
from tests.support.comparing import term


def test_every_entity_has_a_phrase_of_its_own_within_its_modality() -> None:
    phrases, vocabulary = load_phrases(), load_vocabulary()
    assert set(phrases) == set(vocabulary.by_index)
    for modality in vocabulary.router_index:
        told = Counter(phrases[entity.index] for entity in vocabulary.of_modality(modality))
        assert {phrase for phrase, count in told.items() if count > 1} == set()


@pytest.mark.parametrize("phrase", sorted(set(load_phrases().values())))
def test_phrases_are_plain_words_that_fit_into_a_sentence(phrase: str) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)?( [a-z]+(-[a-z]+)?)*", phrase)
    assert phrase.split(maxsplit=1)[0] not in {"a", "an", "the", "no"}


@pytest.mark.parametrize(("index", "phrase"), load_phrases().items())
def test_structures_are_called_abnormal_and_findings_by_their_own_word(index: int, phrase: str) -> None:
    is_structure = load_vocabulary().entity(index).kind is EntityKind.ANATOMY
    assert phrase.startswith(("abnormality of ", "abnormal shape of ")) is is_structure


def test_same_name_is_called_the_same_in_every_modality() -> None:
    by_name: dict[str, set[str]] = {}
    for entity in load_vocabulary().by_index.values():
        by_name.setdefault(entity.name, set()).add(load_phrases()[entity.index])
    assert {name for name, phrases in by_name.items() if len(phrases) > 1} == set()


def test_sentences_that_tell_no_finding_hold_no_phrase() -> None:
    # else a caution, or the reason for a prior, would be struck as one that smuggles in a finding
    said = [
        *(caution.sentence for caution in load_cautions().values()),
        *(reason.sentence for reason in REASONS.values()),
        *REASON_SENTENCES.values(),
    ]
    found = [(phrase, text) for text in said for phrase in load_phrases().values() if phrase in text.lower()]
    assert found == []


@pytest.mark.parametrize(
    ("index", "phrase"),
    [
        (12, "pleural effusion"),
        (107, "abnormal shape or size of the liver"),
        (113, "signs of chronic obstructive pulmonary disease or emphysema"),
        (115, "renal calcification"),
        (133, "abnormality of the liver"),
        (154, "signs of interstitial lung disease"),
        (200, "hemorrhage in ventricles or cisterns of the brain"),
        (204, "inflammation of structures next to the brain"),
        (221, "cerebral atrophy"),
        (222, "primary intracranial tumor"),
        (307, "axillary lymph node enlargement"),
        (309, "abnormality of veins"),
        (313, "mammary duct ectasia"),
        (319, "signs of mammary duct ectasia"),
    ],
)
def test_entity_is_called_as_a_reader_would_say_it(index: int, phrase: str) -> None:
    assert phrase_of(replace(term(index), name=load_vocabulary().entity(index).name)) == phrase


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("Pleural effusion (including loculated effusion) in Pleura", "pleural effusion in pleura"),
        ("Liver_Hepatic Parenchyma", "liver/hepatic parenchyma"),
        ("Renal calcification in Kidneys_Renal Parenchyma", "renal calcification in kidneys/renal parenchyma"),
        ("CT sign", "CT sign"),
        ("Loss of signal on T2 in White Matter", "loss of signal on T2 in white matter"),
        ("MRI finding_DWI Restriction", "MRI finding/DWI restriction"),
    ],
)
def test_entity_without_a_phrase_is_called_by_its_name_without_explanations(name: str, phrase: str) -> None:
    assert phrase_of(replace(term(9999), name=name)) == phrase


@pytest.mark.parametrize(
    ("phrases", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_phrases_are_listed_as_english_does(phrases: list[str], text: str) -> None:
    assert listed(phrases) == text
