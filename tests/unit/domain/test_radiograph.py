"""What headers say of projection and body part, as modalities really write them."""

import pytest

from operators.domain.radiograph import BodyRegion, Projection, body_region_of, is_mirrored, projection_of
from tests.support.comparing import header


@pytest.mark.parametrize(
    ("view_position", "expected"),
    [
        ("PA", Projection.PA),
        ("AP", Projection.AP),
        ("AP_ERECT", Projection.AP),
        ("AP Supine", Projection.AP),
        ("p.a.", Projection.PA),
        ("a.p. liegend", Projection.AP),
        ("POSTERO-ANTERIOR", Projection.PA),
        ("Antero_Posterior", Projection.AP),
        ("FRONTAL", Projection.FRONTAL),
        ("LL", Projection.NOT_FRONTAL),
        ("RL", Projection.NOT_FRONTAL),
        ("LATERAL", Projection.NOT_FRONTAL),
        ("XTABLE LATERAL", Projection.NOT_FRONTAL),
        ("PA LLD", Projection.NOT_FRONTAL),
        ("AP AXIAL", Projection.NOT_FRONTAL),
        ("LAO", Projection.NOT_FRONTAL),
        ("PA LATERAL", Projection.NOT_FRONTAL),
        ("", Projection.UNKNOWN),
        ("YES", Projection.UNKNOWN),
    ],
)
def test_view_position_tells_the_projection(view_position: str, expected: Projection) -> None:
    assert projection_of(header(view_position=view_position)) is expected


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        ("L\\F", Projection.FRONTAL),
        ("R\\F", Projection.FRONTAL),
        ("LP\\FA", Projection.FRONTAL),
        ("F\\L", Projection.FRONTAL),
        ("A\\F", Projection.NOT_FRONTAL),
        ("P\\F", Projection.NOT_FRONTAL),
        ("L\\A", Projection.NOT_FRONTAL),
        ("L", Projection.UNKNOWN),
        ("L\\L", Projection.UNKNOWN),
        ("", Projection.UNKNOWN),
    ],
)
def test_patient_orientation_stands_in_for_a_missing_view_position(orientation: str, expected: Projection) -> None:
    assert projection_of(header(view_position="", patient_orientation=orientation)) is expected


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Chest PA", Projection.PA),
        ("Thorax ap Bett", Projection.AP),
        ("THORAX SEITLICH", Projection.NOT_FRONTAL),
        ("Chest lat.", Projection.NOT_FRONTAL),
        ("Thorax face", Projection.FRONTAL),
        ("Chest PA and lateral", Projection.UNKNOWN),
        ("Chest AP/PA", Projection.FRONTAL),
        ("Chest 2 views", Projection.UNKNOWN),
    ],
)
def test_series_description_stands_in_for_a_missing_view_position(description: str, expected: Projection) -> None:
    assert projection_of(header(view_position="", series_description=description)) is expected


def test_description_gives_the_direction_that_orientation_cannot() -> None:
    film = header(view_position="", patient_orientation="L\\F", series_description="Chest AP portable")
    assert projection_of(film) is Projection.AP


@pytest.mark.parametrize(
    "contradiction",
    [{"patient_orientation": "A\\F"}, {"series_description": "Chest lateral"}],
)
def test_any_statement_of_a_lateral_view_wins_over_view_position(contradiction: dict[str, str]) -> None:
    assert projection_of(header(view_position="PA", **contradiction)) is Projection.NOT_FRONTAL


@pytest.mark.parametrize(
    ("body_part", "series", "study", "expected"),
    [
        ("CHEST", "", "", BodyRegion.CHEST),
        ("THORAX", "", "", BodyRegion.CHEST),
        ("HAND", "", "", BodyRegion.OTHER),
        ("ABDOMEN", "", "Chest", BodyRegion.OTHER),
        ("CHESTABDOMEN", "", "", BodyRegion.OTHER),
        ("THORACIC SPINE", "", "", BodyRegion.OTHER),
        ("CHEST ABDOMEN", "Chest", "", BodyRegion.OTHER),
        ("BRZUCH", "", "", BodyRegion.OTHER),
        ("胸部", "", "", BodyRegion.CHEST),
        ("HRUDNÍK", "", "", BodyRegion.CHEST),
        ("Θώρακας", "", "", BodyRegion.CHEST),
        ("BRUST", "Thorax pa", "", BodyRegion.CHEST),
        ("CHEST ABDOMEN", "", "", BodyRegion.OTHER),
        ("UNKNOWN", "", "", BodyRegion.UNKNOWN),
        ("", "Knee ap", "", BodyRegion.OTHER),
        ("", "L-Spine", "", BodyRegion.OTHER),
        ("", "Portable", "Chest single view", BodyRegion.CHEST),
        ("", "Abdomen", "Chest and abdomen", BodyRegion.OTHER),
        ("", "", "Chest and abdomen", BodyRegion.UNKNOWN),
        ("", "", "", BodyRegion.UNKNOWN),
    ],
)
def test_body_region_is_read_from_the_part_then_the_descriptions(
    body_part: str, series: str, study: str, expected: BodyRegion
) -> None:
    assert body_region_of(header(body_part=body_part, series_description=series), study) is expected


@pytest.mark.parametrize(("orientation", "mirrored"), [("L\\F", False), ("R\\F", True), ("", False), ("A\\F", False)])
def test_a_frontal_film_shown_the_other_way_round_is_noticed(orientation: str, mirrored: bool) -> None:
    assert is_mirrored(header(patient_orientation=orientation)) is mirrored
