"""What sentences call the entities."""

from dataclasses import replace

import pytest

from models.shared.vocabulary import load_vocabulary
from operators.compare.phrases import listed, load_phrases, phrase_of
from tests.support.comparing import term


def test_every_chest_film_entity_has_a_phrase_of_its_own() -> None:
    phrases = load_phrases()
    assert set(phrases) == {entity.index for entity in load_vocabulary().of_modality("2D-CXR")}
    assert len(set(phrases.values())) == len(phrases)


def test_pleural_effusion_is_called_so() -> None:
    assert phrase_of(term(12)) == "pleural effusion"


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("Pleural effusion (including loculated effusion) in Pleura", "pleural effusion in Pleura"),
        ("Liver_Hepatic Parenchyma", "liver Hepatic Parenchyma"),
        ("CT sign", "CT sign"),
    ],
)
def test_entity_without_a_phrase_is_called_by_its_name_without_explanations(name: str, phrase: str) -> None:
    assert phrase_of(replace(term(9999), name=name)) == phrase


@pytest.mark.parametrize(
    ("phrases", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_phrases_are_listed_as_english_does(phrases: list[str], text: str) -> None:
    assert listed(phrases) == text
