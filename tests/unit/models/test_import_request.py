"""What somebody who imports a checkpoint may choose, and what is refused before anything is read."""

from datetime import date
from typing import Any

import pytest

from models.importing.families import FAMILIES
from models.importing.refusals import refused
from models.importing.request import ImportRequest, RequestError, from_json, name_from, parse_depths, to_json
from models.shared.checkpoints import CheckpointError


def request(**changes: Any) -> ImportRequest:
    given: dict[str, Any] = {"name": "hospital-model", "imported_on": date(2026, 6, 11)} | changes
    return ImportRequest(**given)


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("MedReCo_Retrieval v2.safetensors", "medreco-retrieval-v2"),
        ("model.step_1000.pt", "model-step-1000"),
        ("folder", "folder"),
        ("a" * 80 + ".pth", "a" * 64),
    ],
)
def test_a_bundle_is_named_after_its_file(file_name: str, name: str) -> None:
    assert request(name=name_from(file_name)).name == name


def test_a_file_without_any_letter_needs_a_name() -> None:
    with pytest.raises(RequestError, match="--name"):
        name_from("___.pt")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../elsewhere"},
        {"name": ".hidden"},
        {"name": ""},
        {"version": "1 0"},
        {"modalities": ()},
        {"modalities": ("3D-PET",)},
        {"side_px": 0},
        {"top_k": -1},
        {"depths": {"3D-CT": 0}},
        {"depths": {"3D-PET": 10}},
        {"depths": {"2D-CXR": 2}},
    ],
)
def test_a_choice_that_cannot_be_meant_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RequestError):
        request(**changes)


def test_each_family_is_imported_once_with_its_published_depth() -> None:
    chosen = request(modalities=("3D-CT", "2D-CXR", "3D-CT"), depths={"3D-CT": 40})
    assert [(family.modality, chosen.depth(family)) for family in chosen.families] == [("3D-CT", 40), ("2D-CXR", 1)]
    assert [request().depth(family) for family in FAMILIES.values()] == [1, 240, 30, 1]
    assert {family.modality: family.router for family in FAMILIES.values()} == {
        "3D-CT": 0,
        "2D-CXR": 1,
        "3D-Brain-MRI": 2,
        "2D-Ultrasound": 4,
    }


def test_depths_are_read_from_the_command_line() -> None:
    assert parse_depths(["3D-CT=40", "3D-Brain-MRI=20"]) == {"3D-CT": 40, "3D-Brain-MRI": 20}
    for text in ("3D-CT", "3D-CT=", "3D-CT=ten", "3D-CT=-10"):
        with pytest.raises(RequestError):
            parse_depths([text])


def test_a_request_reaches_the_other_process_unchanged() -> None:
    chosen = request(modalities=("3D-CT",), depths={"3D-CT": 40}, license="CC BY-NC 4.0", origin="https://example.org")
    assert from_json(to_json(chosen)) == chosen


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x"}', '{"name": "x", "surprise": 1}'])
def test_a_request_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(RequestError):
        from_json(text)


def test_a_refusal_names_the_culprits_but_not_all_of_them() -> None:
    error = refused("weights.pt", CheckpointError("missing-key", [f"layer.{number}" for number in range(9)]))
    assert error.sentence == ("weights.pt is not a complete checkpoint: it lacks layer.0, layer.1, layer.2 and 6 more.")
    assert refused("weights.pt", CheckpointError("truncated-file", ["weights.pt"])).sentence == (
        "weights.pt is damaged, ends too early, or is no checkpoint."
    )
    assert refused("weights.pt", CheckpointError("news")).sentence == "weights.pt cannot be used (news)."
