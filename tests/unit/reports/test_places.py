"""Where a finding is said to be: site, side and lung zones, each sentence with all its statements."""

import pytest

from models.reports.parser import parse_report

Where = tuple[str, str, str | None]


def places(sentence: str) -> set[Where]:
    return {(one.finding, one.site, one.side.value if one.side else None) for one in parse_report(sentence)}


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Right lower lobe atelectasis.", {("atelectasis", "lower lobe of lung", "right")}),
        ("Atelectasis in the RLL.", {("atelectasis", "lower lobe of lung", "right")}),
        ("Bibasilar scarring.", {("scarring", "lung base", "both")}),
        ("Middle lobe consolidation.", {("consolidation", "middle lobe of lung", "right")}),
        (
            "Nodules in the right upper and left lower lobes.",
            {("nodule", "upper lobe of lung", "right"), ("nodule", "lower lobe of lung", "left")},
        ),
        ("Scarring at the left apex and base.", {("scarring", "lung apex", "left"), ("scarring", "lung base", "left")}),
        ("Opacities bilaterally, mostly in the bases.", {("opacity", "lung base", "both")}),
        (
            "Atelectasis and a small effusion at the left base.",
            {("atelectasis", "lung base", "left"), ("pleural effusion", "pleura", "left")},
        ),
        (
            "Left lower lobe pneumonia and right effusion.",
            {("pneumonia", "lower lobe of lung", "left"), ("pleural effusion", "pleura", "right")},
        ),
        (
            "In the left upper lobe there is a calcified nodule.",
            {("calcified nodule", "upper lobe of lung", "left")},
        ),
        (
            "The aorta is tortuous and calcified.",
            {("aortic tortuosity", "aorta", None), ("aortic calcification", "aorta", None)},
        ),
        ("Calcified right hilar lymph nodes.", {("lymph node calcification", "mediastinal lymph nodes", "right")}),
        ("The heart is enlarged.", {("cardiomegaly", "heart", None)}),
    ],
)
def test_a_finding_is_told_of_every_place_that_the_sentence_gives_it(sentence: str, expected: set[Where]) -> None:
    assert places(sentence) == expected


def test_zones_need_a_side() -> None:
    (sided,) = parse_report("Left basilar opacity.")
    (sideless,) = parse_report("Basilar opacity.")
    (wide,) = parse_report("Bibasilar opacities.")
    assert sided.zones == ("left lower",)
    assert sideless.zones == ()
    assert wide.zones == ("right lower", "left lower")


def test_a_finding_of_a_bone_outside_the_vocabulary_is_not_told_of_another_bone() -> None:
    assert parse_report("Fracture of the left clavicle.") == ()
    assert parse_report("Degenerative changes of both shoulders.") == ()


def test_several_nodules_are_another_entity_than_one() -> None:
    (one,) = parse_report("Nodule in the left lung.")
    (several,) = parse_report("Multiple nodules in both lungs.")
    assert (one.entity_index, several.entity_index) == (2, 37)


def test_what_is_normal_is_absent_of_every_organ_named() -> None:
    said = parse_report("Heart size, mediastinal contour and pulmonary vascularity are within normal limits.")
    assert {(one.entity, one.presence) for one in said} == {
        ("Cardiac Chambers", "absent"),
        ("Mediastinum", "absent"),
        ("Pulmonary Vasculature", "absent"),
    }


def test_that_one_finding_is_absent_does_not_make_its_organ_normal() -> None:
    assert parse_report("No pulmonary edema.") == ()
    (resolved,) = parse_report("Pulmonary edema has resolved.")
    assert resolved.change == "resolved"
