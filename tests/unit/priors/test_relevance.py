from dataclasses import replace
from typing import Any

import pytest
from pydicom.uid import (
    BasicTextSRStorage,
    CTImageStorage,
    DigitalXRayImageStorageForProcessing,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
)

from operators.domain.ids import InstanceUid, SeriesUid, StudyUid
from operators.domain.messages import InstanceHeader, PriorDecision
from operators.priors.candidates import Candidate
from operators.priors.config import CHEST_CT, CHEST_FILM, PriorsConfig, RelevanceRule
from operators.priors.relevance import (
    REASON_SENTENCES,
    DecisionCode,
    candidates_of,
    choose,
    refuse_unopened,
    rule_for,
    withdraw,
)
from tests.support.priors import PATIENT, candidate, current_study, image_header

CONFIG = PriorsConfig()


def decide(*candidates: Candidate, config: PriorsConfig = CONFIG, **current: Any) -> dict[str, PriorDecision]:
    choice = choose(current_study(**current), candidates, config.rules[0], config)
    return {decision.study_uid: decision for decision in choice.decisions}


def code_of(answer: Candidate, **current: Any) -> str:
    return decide(answer, **current)[answer.study_uid].reason_code


def test_an_earlier_chest_film_of_the_same_patient_is_chosen() -> None:
    decision = decide(candidate("1.2.1"))["1.2.1"]
    assert (decision.rank, decision.reason_code, decision.accession_number) == (0, "chosen", "A1")


CHEST_PA = image_header("1.2.1")
REFUSALS: dict[str, tuple[Candidate, DecisionCode]] = {
    "later": (candidate("1.2.1", study_date="20240303"), DecisionCode.NOT_EARLIER),
    "same day, later": (
        candidate("1.2.1", study_date="20240302", study_time="101001"),
        DecisionCode.NOT_EARLIER,
    ),
    "same day, same time": (
        candidate("1.2.1", study_date="20240302", study_time="101000"),
        DecisionCode.NOT_EARLIER,
    ),
    "same day, no time": (candidate("1.2.1", study_date="20240302", study_time=""), DecisionCode.NOT_EARLIER),
    "no date": (candidate("1.2.1", study_date=""), DecisionCode.UNDATED),
    "too old": (candidate("1.2.1", study_date="20140101"), DecisionCode.TOO_OLD),
    "other issuer": (candidate("1.2.1", patient=replace(PATIENT, issuer="X")), DecisionCode.OTHER_ISSUER),
    "other birth date": (
        candidate("1.2.1", patient=replace(PATIENT, birth_date="20000101")),
        DecisionCode.DEMOGRAPHICS_DISAGREE,
    ),
    "issuer and birth date missing": (
        candidate("1.2.1", patient=replace(PATIENT, birth_date="", issuer="")),
        DecisionCode.ISSUER_MISSING,
    ),
    "CT": (candidate("1.2.1", images=[replace(CHEST_PA, modality="CT")]), DecisionCode.OTHER_MODALITY),
    "our own draft alone": (
        candidate("1.2.1", modalities=("DX", "SR"), images=[replace(CHEST_PA, sop_class_uid=BasicTextSRStorage)]),
        DecisionCode.NO_IMAGES,
    ),
    "PDF said to be DX": (
        candidate("1.2.1", images=[replace(CHEST_PA, sop_class_uid=EncapsulatedPDFStorage)]),
        DecisionCode.NO_IMAGES,
    ),
    "presentation state": (
        candidate("1.2.1", images=[replace(CHEST_PA, sop_class_uid=GrayscaleSoftcopyPresentationStateStorage)]),
        DecisionCode.NO_IMAGES,
    ),
    "hand": (
        candidate("1.2.1", images=[replace(CHEST_PA, body_part="HAND")], study_description="Hand"),
        DecisionCode.OTHER_BODY_PART,
    ),
    "hand, description says chest": (
        candidate("1.2.1", images=[replace(CHEST_PA, body_part="HAND")], study_description="Chest"),
        DecisionCode.OTHER_BODY_PART,
    ),
    "nothing said": (
        candidate("1.2.1", images=[replace(CHEST_PA, body_part="")], study_description="XR"),
        DecisionCode.BODY_PART_UNKNOWN,
    ),
    "thoracic spine": (
        candidate("1.2.1", images=[replace(CHEST_PA, body_part="")], study_description="Thoracic spine AP"),
        DecisionCode.BODY_PART_UNKNOWN,
    ),
    "lateral only": (
        candidate("1.2.1", images=[replace(CHEST_PA, view_position="LL")]),
        DecisionCode.OTHER_VIEW,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_each_candidate_gets_its_reason(case: str) -> None:
    answer, expected = REFUSALS[case]
    assert code_of(answer) == expected.value


def test_a_candidate_whose_images_were_not_looked_up_is_not_chosen() -> None:
    assert code_of(replace(candidate("1.2.1"), images=None)) == DecisionCode.NOT_EXAMINED.value


def test_without_a_date_of_its_own_nothing_is_earlier() -> None:
    assert code_of(candidate("1.2.1"), study_date="") == DecisionCode.CURRENT_UNDATED.value


def test_an_earlier_study_of_the_same_day_is_chosen() -> None:
    assert code_of(candidate("1.2.1", study_date="20240302", study_time="0930")) == "chosen"


@pytest.mark.parametrize(
    ("body_part", "description"),
    [
        ("CHEST", ""),
        ("THORAX", ""),
        ("CHEST PA", ""),
        ("CHESTABDOMEN", ""),
        ("TÓRAX", ""),
        ("", "Röntgen Thorax in 2 Ebenen"),
        ("", "Thoraxaufnahme im Liegen"),
        ("", "CXR portable"),
        ("", "Rx tórax PA"),
        ("UNKNOWN", "Chest"),
        ("", "胸部"),
        ("", "RX ΘΩΡΑΚΟΣ"),
    ],
)
def test_a_chest_is_known_by_body_part_or_description(body_part: str, description: str) -> None:
    image = replace(CHEST_PA, body_part=body_part)
    assert code_of(candidate("1.2.1", images=[image], study_description=description)) == "chosen"


def test_the_series_description_counts_where_body_part_is_missing() -> None:
    image = replace(CHEST_PA, body_part="", series_description="THORAX p.a.")
    assert code_of(candidate("1.2.1", images=[image], study_description="")) == "chosen"


def test_an_unknown_body_part_is_accepted_when_the_rule_says_so() -> None:
    config = PriorsConfig(rules=(replace(CHEST_FILM, accept_unknown_body_part=True),))
    answer = candidate("1.2.1", images=[replace(CHEST_PA, body_part="")], study_description="")
    assert decide(answer, config=config)["1.2.1"].reason_code == "chosen"


def test_views_come_before_recency_and_recency_before_age() -> None:
    oblique = replace(image_header("1.2.3"), view_position="")
    ranked = [
        candidate("1.2.1", study_date="20220101"),
        candidate("1.2.2", study_date="20230101"),
        candidate("1.2.3", study_date="20240101", images=[oblique]),
    ]
    decisions = decide(*ranked, config=PriorsConfig(max_priors=3))
    assert [decision.study_uid for decision in decisions.values()] == ["1.2.2", "1.2.1", "1.2.3"]
    assert [decision.rank for decision in decisions.values()] == [0, 1, 2]


def test_pa_and_ap_are_the_same_view() -> None:
    bedside = replace(image_header("1.2.2"), view_position="AP")
    decisions = decide(candidate("1.2.1"), candidate("1.2.2", study_date="20240201", images=[bedside]))
    assert decisions["1.2.2"].rank == 0


def test_a_prior_of_the_same_modality_comes_before_another() -> None:
    rule = RelevanceRule(name="x", modalities=("DX",), prior_modalities=("DX", "CT"), compares_views=False)
    ct = image_header("1.2.2", modality="CT")
    recent_ct = candidate("1.2.2", study_date="20240301", images=[ct])
    choice = choose(current_study(), [recent_ct, candidate("1.2.1")], rule, CONFIG)
    assert [decision.study_uid for decision in choice.decisions] == ["1.2.1", "1.2.2"]


def test_relevant_priors_beyond_the_limit_are_left_with_that_reason() -> None:
    answers = [candidate(f"1.2.{n}", study_date=f"2023010{n}") for n in (1, 2, 3)]
    decisions = decide(*answers)
    assert decisions["1.2.1"].reason_code == DecisionCode.OVER_LIMIT.value
    assert [decision.rank for decision in decisions.values()] == [0, 1, None]


def test_an_answer_of_another_patient_id_leaves_no_decision() -> None:
    assert decide(candidate("1.2.1", patient=replace(PATIENT, patient_id="p-1"))) == {}


def test_the_current_study_is_not_its_own_prior() -> None:
    assert candidates_of(current_study(), [candidate("1.2.9", study_date="20200101")]) == ()


def test_of_a_study_that_may_be_somebody_elses_only_the_uid_is_kept() -> None:
    decision = decide(candidate("1.2.1", patient=replace(PATIENT, issuer="X")))["1.2.1"]
    assert (decision.study_date, decision.study_description, decision.accession_number) == ("", "", "")
    assert decision.modalities == ()


def test_a_study_that_answers_for_two_patients_is_refused() -> None:
    decisions = decide(candidate("1.2.1"), candidate("1.2.1", patient=replace(PATIENT, sex="M")))
    assert decisions["1.2.1"].reason_code == DecisionCode.DEMOGRAPHICS_DISAGREE.value


def test_answers_that_differ_on_one_study_give_the_same_decision_in_either_order() -> None:
    answers = [candidate("1.2.1", study_description="Chest"), candidate("1.2.1", study_description="Chest PA")]
    assert decide(*answers) == decide(*reversed(answers))


def test_candidates_that_the_study_level_rules_out_are_not_opened() -> None:
    unopened = replace(candidate("1.2.1", study_date="20250101"), images=None)
    assert refuse_unopened(current_study(), unopened, CHEST_FILM, CONFIG) is DecisionCode.NOT_EARLIER
    silent = replace(candidate("1.2.1"), images=None, modalities=())
    assert refuse_unopened(current_study(), silent, CHEST_FILM, CONFIG) is None


def test_wanted_images_are_fitting_views_for_presentation_and_of_the_body_part() -> None:
    images = [
        image_header("1.2.1", 1, view_position="LL"),
        image_header(
            "1.2.1", 2, sop_class_uid=DigitalXRayImageStorageForProcessing, presentation_intent="FOR PROCESSING"
        ),
        image_header("1.2.1", 3),
        image_header("1.2.1", 4, body_part="HAND"),
        image_header("1.2.1", 5, modality="SR", sop_class_uid=BasicTextSRStorage),
    ]
    choice = choose(current_study(), [candidate("1.2.1", images=images)], CHEST_FILM, CONFIG)
    assert [image.instance_uid for image in choice.images] == ["1.2.1.1.3", "1.2.1.1.2", "1.2.1.1.1"]
    limited = replace(CHEST_FILM, max_images=1)
    choice = choose(current_study(), [candidate("1.2.1", images=images)], limited, CONFIG)
    assert [image.instance_uid for image in choice.images] == ["1.2.1.1.3"]


def test_rules_serve_by_modality_and_body_part() -> None:
    hand = [image_header("1.2.9", body_part="HAND")]
    assert rule_for(current_study(), CONFIG.rules) is CHEST_FILM
    assert rule_for(current_study(images=hand), CONFIG.rules) is None
    assert rule_for(current_study(images=[image_header("1.2.9", modality="MR")]), CONFIG.rules) is None


def test_a_withdrawn_prior_makes_room_for_the_next_rank() -> None:
    answers = [candidate(f"1.2.{n}", study_date=f"2023010{n}") for n in (1, 2)]
    before = choose(current_study(), answers, CHEST_FILM, CONFIG).decisions
    after = withdraw(before, StudyUid("1.2.2"), DecisionCode.GONE)
    assert [(d.study_uid, d.rank, d.reason_code) for d in after] == [("1.2.1", 0, "chosen"), ("1.2.2", None, "gone")]


def test_every_code_has_a_sentence() -> None:
    assert set(REASON_SENTENCES) == set(DecisionCode)


def ct(study_uid: str, series: int, count: int, **facts: Any) -> list[InstanceHeader]:
    """Return the headers of one CT series."""
    uid = f"{study_uid}.{series}"
    said: dict[str, Any] = {
        "modality": "CT",
        "sop_class_uid": CTImageStorage,
        "view_position": "",
        "series_uid": SeriesUid(uid),
        "series_number": series,
        **facts,
    }
    return [
        replace(image_header(study_uid, n), instance_uid=InstanceUid(f"{uid}.{n}"), **said) for n in range(1, count + 1)
    ]


def fetched(rule: RelevanceRule, current: list[InstanceHeader], prior: list[InstanceHeader]) -> list[tuple[str, int]]:
    """Return the series that are fetched of the prior, in order, with the number of their images."""
    wanted = choose(
        current_study(images=current), [candidate("1.2.1", images=prior)], rule, PriorsConfig(rules=(rule,))
    ).images
    return [
        (uid, sum(image.series_uid == uid for image in wanted)) for uid in dict.fromkeys(w.series_uid for w in wanted)
    ]


def test_whole_series_are_fetched_the_one_described_alike_first() -> None:
    lung = ct("1.2.1", 3, 12, series_description="Lung 1.0 B70f")
    soft = ct("1.2.1", 2, 9, series_description="Chest 3.0 B30f")
    scout = ct("1.2.1", 1, 2, series_description="Topogram")
    current = ct("1.2.9", 5, 4, series_description="Lung 1.0 B70f")
    assert fetched(CHEST_CT, current, [*scout, *soft, *lung]) == [("1.2.1.3", 12), ("1.2.1.2", 9), ("1.2.1.1", 2)]
    assert fetched(replace(CHEST_CT, max_images=15), current, [*scout, *soft, *lung]) == [
        ("1.2.1.3", 12),
        ("1.2.1.1", 2),
    ]


def test_first_series_is_fetched_whole_however_long_it_is() -> None:
    current = ct("1.2.9", 5, 4)
    assert fetched(replace(CHEST_CT, max_images=10), current, ct("1.2.1", 2, 30)) == [("1.2.1.2", 30)]


DEFAULT_RULES: dict[str, dict[str, Any]] = {
    "chest CT": {"modality": "CT", "body_part": "CHEST"},
    "brain MR": {"modality": "MR", "body_part": "BRAIN"},
    "breast ultrasound": {"modality": "US", "body_part": "BREAST"},
    "thyroid ultrasound": {"modality": "US", "body_part": "", "study_description": "Schilddrüse"},
    "abdominal ultrasound": {"modality": "US", "body_part": "LIVER"},
}


@pytest.mark.parametrize("name", DEFAULT_RULES)
def test_every_family_has_a_rule_that_compares_it_with_its_own_kind_alone(name: str) -> None:
    facts = DEFAULT_RULES[name]
    current = current_study(
        images=[image_header("1.2.9", **facts)], study_description=facts.get("study_description", "")
    )
    rule = rule_for(current, CONFIG.rules)
    assert rule is not None
    assert rule.name == name
    assert rule.prior_modalities == (facts["modality"],)


def test_ultrasound_of_another_organ_is_no_prior() -> None:
    breast, liver = (
        image_header(uid, modality="US", body_part=part) for uid, part in (("1.2.9", "BREAST"), ("1.2.1", "LIVER"))
    )
    rule = rule_for(current_study(images=[breast]), CONFIG.rules)
    assert rule is not None
    choice = choose(current_study(images=[breast]), [candidate("1.2.1", images=[liver])], rule, CONFIG)
    assert [decision.reason_code for decision in choice.decisions] == ["other-body-part"]
