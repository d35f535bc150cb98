"""The entity vocabulary."""

import json
from pathlib import Path

import pytest

from models.shared.vocabulary import EntityKind, UnknownEntityError, load_vocabulary

RANGES = {"2D-CXR": (0, 74), "3D-CT": (100, 155), "3D-Brain-MRI": (200, 224), "2D-Ultrasound": (300, 320)}


def test_pleural_effusion_on_films_is_row_12() -> None:
    name = "Pleural effusion (including localized effusion) in Pleura"
    entity = load_vocabulary().named("2D-CXR", name)
    assert (entity.index, entity.kind, entity.anatomy) == (12, EntityKind.ABNORMAL, "Pleura")


@pytest.mark.parametrize("modality", RANGES)
def test_rows_of_a_modality_fill_their_range(modality: str) -> None:
    first, last = RANGES[modality]
    indices = [entity.index for entity in load_vocabulary().of_modality(modality)]
    assert indices == list(range(first, last + 1))


def test_benchmark_has_the_published_counts() -> None:
    entities = [entity for entity in load_vocabulary().by_index.values() if entity.in_benchmark]
    kinds = [sum(entity.kind is kind for entity in entities) for kind in EntityKind]
    assert dict(zip(EntityKind, kinds, strict=True)) == {"anatomy": 42, "abnormal": 69, "disease": 28}


@pytest.mark.parametrize("index", [75, 99, 400, -1])
def test_unused_rows_are_no_entities(index: int) -> None:
    with pytest.raises(UnknownEntityError):
        load_vocabulary().entity(index)


def test_a_name_is_looked_up_in_its_own_modality() -> None:
    with pytest.raises(UnknownEntityError):
        load_vocabulary().named("3D-CT", "Pleural effusion (including localized effusion) in Pleura")


def test_unknown_modality_is_refused() -> None:
    with pytest.raises(UnknownEntityError):
        load_vocabulary().of_modality("CT")


def test_a_table_with_a_repeated_index_is_refused(tmp_path: Path) -> None:
    row = {"index": 1, "modality": "2D-CXR", "kind": "anatomy", "name": "A", "anatomy": "A", "in_benchmark": True}
    table = {"table_rows": 2, "router_index": {"2D-CXR": 1}, "conditions": [row, row | {"name": "B"}]}
    path = tmp_path / "conditions.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match="twice"):
        load_vocabulary(path)
