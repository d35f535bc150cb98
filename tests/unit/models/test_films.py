"""Reading a data folder: which films may train and judge, and what the label map says of them."""

import csv
from pathlib import Path

import pytest

from models.encoder.films import (
    DataError,
    DataErrorCode,
    load_label_map,
    read_duplicate_patients,
    read_films,
    truth_table,
)
from models.shared.vocabulary import EntityKind, load_vocabulary

COLUMNS = ("image", "dataset", "patient_id", "view", "findings", "licence", "licence_class", "orig_width", "sha256")


def _row(**changes: str) -> dict[str, str]:
    row = {
        "image": "images/a.png",
        "dataset": "nih14",
        "patient_id": "P1",
        "view": "PA",
        "findings": "Effusion|Edema",
        "licence": "free",
        "licence_class": "open",
        "orig_width": "1024",
        "sha256": "00",
    }
    return row | changes


def _folder(path: Path, *rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> Path:
    with (path / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    "changes",
    [{"licence_class": "nc"}, {"licence_class": ""}, {"dataset": "hannover"}, {"orig_width": "64"}, {"orig_width": ""}],
    ids=["non-commercial", "licence unknown", "no findings", "too small", "size unknown"],
)
def test_a_film_that_may_not_train_is_left_out(changes: dict[str, str], tmp_path: Path) -> None:
    films = read_films(_folder(tmp_path, _row(), _row(image="images/b.png", **changes)))
    assert [film.image for film in films] == ["images/a.png"]


def test_a_folder_without_usable_films_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_films(_folder(tmp_path, _row(licence_class="nc")))
    assert caught.value.code is DataErrorCode.NO_FILMS


def test_a_folder_without_metadata_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_films(tmp_path)
    assert caught.value.code is DataErrorCode.NO_METADATA


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_films(_folder(tmp_path, _row(), columns=COLUMNS[:-1]))
    assert (caught.value.code, caught.value.subject) == (DataErrorCode.MISSING_COLUMN, "sha256")


def test_truth_follows_the_label_map(tmp_path: Path) -> None:
    rules = load_label_map()
    (truth,) = truth_table(read_films(_folder(tmp_path, _row())), rules)
    present = {rule.index for rule, is_present in zip(rules, truth, strict=True) if is_present}
    assert present == {12, 3, 68}  # effusion; pleura; and parenchyma, by the oedema


def test_every_mapped_entity_is_one_of_films_and_anatomy_only_where_said() -> None:
    for rule in load_label_map():
        entity = load_vocabulary().entity(rule.index)
        assert entity.modality == "2D-CXR"
        assert (entity.kind is EntityKind.ANATOMY) == (rule.match == "anatomy")


def test_duplicates_are_none_where_no_list_is(tmp_path: Path) -> None:
    assert read_duplicate_patients(tmp_path) == []
