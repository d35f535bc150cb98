"""Differences of acquisition, and what they forbid to state."""

from typing import Any

import pytest

from models.shared.vocabulary import load_vocabulary
from operators.compare.cautions import cautions_between, cautions_of_image, load_cautions, withholding
from operators.domain.messages import Image, ReadScope, Study
from tests.support.comparing import header, study

HEART = 71
EFFUSION = 12


def film(*, date: str = "20240302", time: str = "101500", **facts: Any) -> tuple[Study, Image]:
    of = study(header(**facts), study_date=date, study_time=time)
    return of, of.images[0]


def between(current: tuple[Study, Image], prior: tuple[Study, Image]) -> tuple[str, ...]:
    return cautions_between(current, prior, long_interval_days=730)


def earlier(**facts: Any) -> tuple[Study, Image]:
    return film(date="20240210", **facts)


def test_films_made_alike_need_no_caution() -> None:
    assert between(film(), earlier()) == ()


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"view_position": "AP"}, "projection-differs"),
        ({"view_position": ""}, "projection-unknown"),
        ({"modality": "CR"}, "modality-differs"),
        ({"patient_orientation": "R\\F"}, "orientation-differs"),
        ({"body_part": ""}, "body-part-unknown"),
    ],
)
def test_difference_is_named_whichever_film_it_is_on(facts: dict[str, str], code: str) -> None:
    assert between(film(**facts), earlier()) == (code,)
    assert between(film(), earlier(**facts)) == (code,)


@pytest.mark.parametrize(
    ("now", "before", "code"),
    [
        (ReadScope(phase="native"), ReadScope(phase="portal-venous"), "phase-differs"),
        (ReadScope(kernel="soft"), ReadScope(kernel="sharp"), "kernel-differs"),
        (ReadScope(weighting="t1"), ReadScope(weighting="flair"), "weighting-differs"),
        (ReadScope(plane="axial"), ReadScope(plane="sagittal"), "plane-differs"),
        (ReadScope(phase="unknown"), ReadScope(phase="native"), None),
        (ReadScope(phase="native"), ReadScope(phase="native"), None),
    ],
)
def test_difference_of_two_series_is_named(now: ReadScope, before: ReadScope, code: str | None) -> None:
    ct = {"modality": "CT", "view_position": "", "body_part": ""}
    found = cautions_between(film(**ct), earlier(**ct), long_interval_days=730, scopes=(now, before))
    assert found == ((code,) if code else ())


def test_no_change_is_stated_between_planes_that_are_set_by_hand() -> None:
    ultrasound = {"modality": "US", "view_position": ""}
    codes = between(film(**ultrasound), earlier(**ultrasound))
    assert codes == ("freehand-plane",)
    assert withholding(codes, 300) == "freehand-plane"


def test_unprocessed_film_beside_a_processed_one_is_named() -> None:
    raw = {"presentation_intent": "FOR PROCESSING"}
    assert between(film(**raw), earlier()) == ("processing-differs", "unprocessed-image")
    assert between(film(**raw), earlier(**raw)) == ("unprocessed-image",)


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [("L", "R", True), ("L", "U", True), ("U", "B", False), ("U", "", False), ("L", "", False), ("L", "L", False)],
)
def test_laterality_differs_only_where_both_films_state_a_side(one: str, other: str, differs: bool) -> None:
    assert ("laterality-differs" in between(film(laterality=one), earlier(laterality=other))) is differs


@pytest.mark.parametrize(
    ("now", "before", "uncertain"),
    [
        (("20240302", "101500"), ("20240301", "235959"), False),
        (("20240302", "101500"), ("20240302", "101400"), False),
        (("20240302", "10:15:00"), ("20240302", "101400.5"), False),
        (("20240302", "1015"), ("20240302", "101500"), True),
        (("20240302", "101500"), ("20240302", ""), True),
        (("20240302", "101500"), ("20240303", "080000"), True),
        (("20240302", "101500"), ("", ""), True),
        (("not a date", ""), ("20240301", ""), True),
    ],
)
def test_order_is_certain_only_where_dates_and_times_tell_it(
    now: tuple[str, str], before: tuple[str, str], uncertain: bool
) -> None:
    codes = between(film(date=now[0], time=now[1]), film(date=before[0], time=before[1]))
    assert ("order-uncertain" in codes) is uncertain


def test_interval_longer_than_configured_is_named() -> None:
    assert cautions_between(film(), earlier(), long_interval_days=20) == ("interval-long",)
    assert cautions_between(film(), earlier(), long_interval_days=21) == ()


def test_single_film_is_only_doubted_for_itself() -> None:
    assert cautions_of_image(*film()) == ()
    assert cautions_of_image(*film(view_position="", body_part="")) == ("projection-unknown", "body-part-unknown")


def test_heart_is_not_compared_across_projections_but_effusion_is() -> None:
    assert withholding(("projection-differs",), HEART) == "projection-differs"
    assert withholding(("projection-differs",), EFFUSION) is None


def test_weightiest_caution_is_the_one_that_is_named() -> None:
    assert withholding(("projection-differs", "order-uncertain"), HEART) == "order-uncertain"


def test_caution_that_withholds_nothing_withholds_nothing() -> None:
    assert withholding(("modality-differs", "interval-long"), HEART) is None


def test_table_names_entities_of_the_vocabulary_only() -> None:
    known = {entity.index for entity in load_vocabulary().of_modality("2D-CXR")}
    named = {index for caution in load_cautions().values() for index in caution.withholds or ()}
    assert named <= known
    assert HEART in named
