"""The tables of the lexicon fit each other, the vocabulary and the codes."""

import shutil
from pathlib import Path

import pytest

from models.reports.lexicon import LEXICON_FOLDER, MODALITY_COLUMNS, LexiconError, load_lexicon
from models.shared.codes import codes
from models.shared.vocabulary import load_vocabulary

_MODALITY_OF = {column: modality for modality, column in MODALITY_COLUMNS.items()}


def test_every_entity_belongs_to_its_modality() -> None:
    lexicon, vocabulary = load_lexicon(), load_vocabulary()
    meanings = [meaning for rows in lexicon.meanings.values() for meaning in rows.values()]
    tables = [meaning.entities for meaning in meanings] + [organ.entities for organ in lexicon.organs.values()]
    for entities in tables:
        for column, index in entities.items():
            assert vocabulary.entity(index).modality == _MODALITY_OF[column]


def test_every_code_and_organ_is_known() -> None:
    lexicon = load_lexicon()
    for rows in lexicon.meanings.values():
        for meaning in rows.values():
            if meaning.at:
                assert meaning.at in {"=", *lexicon.organs}
                assert meaning.code in codes()
    assert {organ.code for organ in lexicon.organs.values() if organ.code} <= set(codes())


def test_most_of_the_film_vocabulary_can_be_said() -> None:
    lexicon = load_lexicon()
    meanings = [meaning.entities for rows in lexicon.meanings.values() for meaning in rows.values()]
    organs = [organ.entities for organ in lexicon.organs.values()]
    said = {entities["cxr"] for entities in (*meanings, *organs) if "cxr" in entities}
    unsaid = {entity.index for entity in load_vocabulary().of_modality("2D-CXR")} - said
    # Pulmonary veins, asymmetry of the spine, and pneumomediastinum as a disease (its finding is said).
    assert unsaid == {31, 64, 65}


@pytest.mark.parametrize(
    ("table", "row", "what"),
    [
        ("terms", "cardiomegaly,cardiomegaly,,", "occurs twice"),
        ("terms", "new words,no such term,,", "unknown: no such term"),
        ("terms", "...,cardiomegaly,,", "an empty phrase"),
        ("places", "new place,no_such_organ,,", "unknown: no_such_organ"),
        ("compounds", "mass,nodule,no_such_term", "unknown: no_such_term"),
    ],
)
def test_a_table_that_contradicts_another_is_refused(tmp_path: Path, table: str, row: str, what: str) -> None:
    folder = tmp_path / "lexicon"
    shutil.copytree(LEXICON_FOLDER, folder)
    with (folder / f"{table}.csv").open("a", encoding="utf-8") as file:
        file.write(row + "\n")
    with pytest.raises(LexiconError, match=what):
        load_lexicon(folder)
