"""Which image of a study is read, and why each of the others is not."""

from itertools import permutations

import pytest
from pydicom.uid import SecondaryCaptureImageStorage

from operators.domain.messages import InstanceHeader
from operators.domain.radiograph import Projection
from operators.domain.reasons import ReasonCode
from operators.encode.views import ViewChoice, choose_views
from tests.support.comparing import header, study

SERVED = ("CR", "DX")
A, B = "1.2.3.1", "1.2.3.2"


def choose(*headers: InstanceHeader, prefer: Projection | None = None, description: str = "") -> ViewChoice:
    return choose_views(study(*headers, study_description=description), SERVED, prefer=prefer)


def order_of(*headers: InstanceHeader, prefer: Projection | None = None) -> list[str]:
    return [image.header.instance_uid for image in choose(*headers, prefer=prefer).candidates]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"view_position": "PA"}, {"view_position": "AP"}),
        ({"view_position": "AP"}, {"view_position": "", "patient_orientation": "L\\F"}),
        ({}, {"presentation_intent": "FOR PROCESSING"}),
        ({"view_position": "AP"}, {"view_position": "PA", "presentation_intent": "FOR PROCESSING"}),
        ({"presentation_intent": "FOR PRESENTATION"}, {"presentation_intent": ""}),
        ({"image_type": "ORIGINAL\\PRIMARY"}, {"image_type": "DERIVED\\PRIMARY"}),
        ({"patient_orientation": "L\\F"}, {"patient_orientation": "R\\F"}),
        ({"content_time": "101600"}, {"content_time": "101500.5"}),
        ({"instance_number": 10}, {"instance_number": 9}),
        ({"frames": 1}, {"frames": 12}),
    ],
)
def test_better_image_is_read_first_whatever_the_order(better: dict[str, str], worse: dict[str, str]) -> None:
    # the worse image has the lower UID, which would otherwise decide
    good, bad = header(B, **better), header(A, **worse)
    assert order_of(good, bad) == order_of(bad, good) == [B, A]


def test_equal_images_are_ordered_by_their_uid_in_any_order_of_arrival() -> None:
    headers = [header(f"1.2.{number}") for number in range(4)]
    orders = {tuple(order_of(*arrival)) for arrival in permutations(headers)}
    assert orders == {("1.2.0", "1.2.1", "1.2.2", "1.2.3")}


def test_prior_is_read_in_the_projection_of_the_current() -> None:
    pa, ap = header(A, view_position="PA"), header(B, view_position="AP")
    assert order_of(pa, ap, prefer=Projection.AP) == [B, A]


def test_only_a_stated_projection_is_preferred() -> None:
    pa, vague = header(B, view_position="PA"), header(A, view_position="FRONTAL")
    assert order_of(pa, vague, prefer=Projection.FRONTAL) == [B, A]


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"modality": "MG"}, ReasonCode.MODALITY_NOT_SERVED),
        ({"modality": "CT"}, ReasonCode.MODALITY_NOT_SERVED),
        ({"body_part": "HAND"}, ReasonCode.MODALITY_NOT_SERVED),
        ({"view_position": "LL"}, ReasonCode.VIEW_NOT_FRONTAL),
        ({"image_type": "DERIVED\\SECONDARY"}, ReasonCode.IMAGE_NOT_PRIMARY),
        ({"image_type": "ORIGINAL\\PRIMARY\\LOCALIZER"}, ReasonCode.IMAGE_NOT_PRIMARY),
        ({"sop_class_uid": SecondaryCaptureImageStorage}, ReasonCode.IMAGE_NOT_PRIMARY),
        ({"series_description": "Dose report"}, ReasonCode.IMAGE_NOT_PRIMARY),
        ({"series_description": "Bone suppressed"}, ReasonCode.IMAGE_NOT_PRIMARY),
        ({"rows": 3000, "columns": 1000}, ReasonCode.IMAGE_NOT_PRIMARY),
    ],
)
def test_image_that_is_not_read_is_named_with_its_reason(facts: dict[str, str], reason: ReasonCode) -> None:
    choice = choose(header(A), header(B, **facts))
    assert [image.header.instance_uid for image in choice.candidates] == [A]
    assert choice.skipped == ((B, reason),)


def test_processed_film_that_calls_itself_derived_is_the_film() -> None:
    assert order_of(header(A, image_type="DERIVED\\PRIMARY")) == [A]


def test_unknown_projection_beside_a_frontal_image_is_left_out() -> None:
    choice = choose(header(A), header(B, view_position=""))
    assert choice.skipped == ((B, ReasonCode.OTHER_IMAGE_READ),)


def test_wider_of_two_images_of_unknown_projection_is_read_first() -> None:
    portrait = header(A, view_position="", rows=2400, columns=2000)
    landscape = header(B, view_position="", rows=2000, columns=2400)
    assert order_of(portrait, landscape) == [B, A]


def test_film_without_a_body_part_is_read() -> None:
    assert order_of(header(A, body_part="")) == [A]


def test_film_without_a_body_part_is_not_read_when_the_study_is_of_something_else() -> None:
    choice = choose(header(A, body_part=""), description="Left knee")
    assert choice.skipped == ((A, ReasonCode.MODALITY_NOT_SERVED),)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([header(A, modality="MG"), header(B, modality="US")], ReasonCode.MODALITY_NOT_SERVED),
        ([header(A, body_part="HAND")], ReasonCode.MODALITY_NOT_SERVED),
        ([header(A, view_position="LL")], ReasonCode.NO_READABLE_VIEW),
        ([header(A, view_position="LL"), header(B, modality="MG")], ReasonCode.NO_READABLE_VIEW),
        ([], ReasonCode.NO_READABLE_VIEW),
    ],
)
def test_study_without_a_candidate_says_why(headers: list[InstanceHeader], why: ReasonCode) -> None:
    assert choose(*headers).why_none is why
