"""The compare stage: cases enter, findings and sentences that a radiologist reads leave."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from operators.compare.config import CompareConfig
from operators.compare.grounding import strike_unsupported
from operators.compare.stage import CompareStage
from operators.compare.states import Rule
from operators.domain.ids import InstanceUid, SeriesUid, StudyUid
from operators.domain.messages import (
    ChangeState,
    Comparison,
    EntityFinding,
    EntityReading,
    Presence,
    PriorOutcome,
    ReadScope,
    RetrievedCase,
    Sentence,
    SimilarCase,
    Study,
)
from operators.domain.reasons import ReasonCode
from tests.support.comparing import header, reading, retrieved, search, study, term, unit

PLEURA, PNEUMOTHORAX, CONSOLIDATION, EFFUSION, ATELECTASIS, HEART = 3, 6, 9, 12, 35, 71


def compare(case: RetrievedCase, **settings: Any) -> Comparison:
    return CompareStage(CompareConfig(**settings))(case).comparison


def texts(comparison: Comparison, about: str) -> list[str]:
    return [sentence.text for sentence in comparison.sentences if sentence.about == about]


def test_first_sentence_says_what_was_compared_and_the_next_why() -> None:
    comparison = compare(retrieved({EFFUSION: 0.9}, {EFFUSION: 0.1}))
    assert texts(comparison, "comparison") == [
        "The DX study of 2024-03-02 is compared with the DX study of 2024-02-10, 21 days earlier.",
        "Why this prior was chosen: same body part, most recent.",
    ]


def test_new_and_resolved_findings_are_told_first() -> None:
    case = retrieved(
        {CONSOLIDATION: 0.1, PNEUMOTHORAX: 0.1, EFFUSION: 0.9}, {CONSOLIDATION: 0.1, PNEUMOTHORAX: 0.9, EFFUSION: 0.1}
    )
    told = [sentence.text for sentence in compare(case).sentences if sentence.entity_indices]
    assert told == [
        "The model finds pleural effusion that it does not find on the prior: new.",
        "The model finds pneumothorax on the prior but no longer on the current image: resolved.",
        "The model finds on neither image: lung consolidation.",
    ]


def test_finding_on_both_images_is_stable_only_where_the_embeddings_agree() -> None:
    now = [reading(0.9, index=EFFUSION, embedding=unit(1, 0)), reading(0.9, index=ATELECTASIS, embedding=unit(1, 0))]
    before = [
        reading(0.9, index=EFFUSION, embedding=unit(1, 0.1)),
        reading(0.9, index=ATELECTASIS, embedding=unit(1, 1)),
    ]
    comparison = compare(retrieved(now, before), state_stability=True)
    assert texts(comparison, "unchanged") == ["The model finds pleural effusion on both images and measures no change."]
    assert texts(comparison, "present") == [
        "The model finds atelectasis on both images; it does not judge whether the extent has changed."
    ]
    stable, open_ = comparison.findings
    assert (stable.state, open_.state) == (ChangeState.STABLE, ChangeState.UNDETERMINED)
    assert stable.similarity_cosine == pytest.approx(1 / np.hypot(1, 0.1))


def test_finding_is_not_called_present_below_the_configured_probability() -> None:
    readings = [reading(0.4, entity=term(EFFUSION, present_from=0.2, absent_below=0.1))]
    (strict,) = compare(retrieved(readings, readings)).findings
    (lax,) = compare(retrieved(readings, readings), present_from_prob=0.3).findings
    assert (strict.current, strict.prior) == (Presence.UNDETERMINED, Presence.UNDETERMINED)
    assert (lax.current, lax.prior) == (Presence.PRESENT, Presence.PRESENT)


def test_undetermined_findings_share_one_sentence() -> None:
    case = retrieved({EFFUSION: 0.5, ATELECTASIS: 0.5}, {EFFUSION: 0.5, ATELECTASIS: 0.1})
    assert texts(compare(case), "undetermined") == [
        "Undetermined on the current image: pleural effusion and atelectasis."
    ]


@pytest.mark.parametrize(
    ("current", "prior", "about", "text"),
    [
        (
            0.9,
            0.5,
            "present",
            "The model finds pleural effusion on the current image; the prior leaves it undetermined.",
        ),
        (
            0.5,
            0.9,
            "undetermined",
            "The model finds pleural effusion on the prior; the current image leaves it undetermined.",
        ),
        (
            0.1,
            0.5,
            "absent",
            "The model does not find pleural effusion on the current image; the prior leaves it undetermined.",
        ),
    ],
)
def test_half_of_a_comparison_is_told_as_half(current: float, prior: float, about: str, text: str) -> None:
    assert texts(compare(retrieved({EFFUSION: current}, {EFFUSION: prior})), about) == [text]


def test_without_a_prior_presence_is_told_and_nothing_is_determined() -> None:
    comparison = compare(retrieved({EFFUSION: 0.9, ATELECTASIS: 0.5, HEART: 0.1}, None))
    assert [(f.state, f.rule, f.prior, f.prior_prob, f.prior_region) for f in comparison.findings] == [
        (ChangeState.UNDETERMINED, Rule.NO_PRIOR, None, None, None)
    ] * 3
    assert comparison.prior is None
    assert comparison.prior_image is None
    assert [sentence.text for sentence in comparison.sentences if sentence.entity_indices] == [
        "The model finds: pleural effusion.",
        "Undetermined on the current image: atelectasis.",
        "The model does not find: enlargement of cardiac chambers.",
    ]


def test_no_prior_and_could_not_ask_are_told_in_different_words() -> None:
    told = {
        outcome: texts(compare(retrieved({EFFUSION: 0.9}, None, search=search(outcome))), "comparison")
        for outcome in PriorOutcome
    }
    assert len({sentences[0] for sentences in told.values()}) == len(PriorOutcome)
    assert "No prior exists" in told[PriorOutcome.NONE_EXISTS][0]
    assert "does not mean that none exists" in told[PriorOutcome.COULD_NOT_ASK][0]


@pytest.mark.parametrize("outcome", list(PriorOutcome))
def test_search_tells_the_particulars_itself(outcome: PriorOutcome) -> None:
    asked = replace(search(outcome), sentence="The PACS did not answer in time.")
    told = texts(compare(retrieved({EFFUSION: 0.9}, None, search=asked)), "comparison")
    assert told[1:] == ["The PACS did not answer in time."]


def test_unreadable_prior_is_told_with_its_reason() -> None:
    case = retrieved(
        {EFFUSION: 0.9},
        None,
        search=search(PriorOutcome.FOUND),
        unreadable_priors=((StudyUid("1.1"), ReasonCode.TRUNCATED),),
    )
    assert texts(compare(case), "comparison") == [
        "A prior was chosen, but it could not be read, so nothing is compared.",
        "The image ends before its pixel data does.",
    ]


def test_other_unreadable_priors_are_counted_beside_the_one_compared_with() -> None:
    unreadable = ((StudyUid("1.7"), ReasonCode.TRUNCATED), (StudyUid("1.8"), ReasonCode.NO_PIXELS))
    case = retrieved({EFFUSION: 0.9}, {EFFUSION: 0.9}, unreadable_priors=unreadable)
    assert texts(compare(case), "comparison")[-1] == "2 other earlier studies were chosen too, but could not be read."


def test_heart_size_is_not_compared_across_projections() -> None:
    prior = study(header("1.1.1", view_position="AP"), uid="1.1", study_date="20240210")
    case = retrieved({HEART: 0.9, EFFUSION: 0.9}, {HEART: 0.1, EFFUSION: 0.1}, prior_study=prior)
    comparison = compare(case)
    assert comparison.cautions == ("projection-differs",)
    heart, effusion = comparison.findings
    assert (heart.state, heart.rule) == (ChangeState.UNDETERMINED, "projection-differs")
    assert (heart.current, heart.prior) == (Presence.PRESENT, Presence.ABSENT)
    assert effusion.state is ChangeState.NEW
    assert len(texts(comparison, "caution")) == 1


def test_entity_not_read_on_the_prior_is_undetermined() -> None:
    (finding,) = compare(retrieved({EFFUSION: 0.9}, {HEART: 0.9})).findings
    assert (finding.state, finding.rule, finding.prior) == (ChangeState.UNDETERMINED, Rule.NOT_READ_ON_PRIOR, None)


def pleura(prob: float, anatomy: str = "Pleura") -> EntityReading:
    return reading(prob, entity=replace(term(PLEURA), kind="anatomy", anatomy=anatomy))


def test_structure_is_not_called_normal_beside_a_finding_in_it() -> None:
    comparison = compare(retrieved([reading(0.9), pleura(0.1)], [reading(0.1), pleura(0.1)]))
    effusion, structure = comparison.findings
    assert (effusion.state, structure.state) == (ChangeState.NEW, ChangeState.UNDETERMINED)
    assert (structure.current, structure.prior) == (Presence.UNDETERMINED, Presence.ABSENT)
    assert structure.current_prob == 0.1


def test_structure_is_called_normal_beside_a_finding_elsewhere() -> None:
    comparison = compare(retrieved([reading(0.9), pleura(0.1, anatomy="Sternum")], None))
    assert comparison.findings[1].current is Presence.ABSENT


def test_abnormal_structure_and_the_finding_in_it_do_not_contradict_each_other() -> None:
    comparison = compare(retrieved([reading(0.9), pleura(0.9)], None))
    assert texts(comparison, "present") == ["The model finds: pleural effusion and abnormality of the pleura."]


def test_embeddings_of_different_width_are_not_called_similar() -> None:
    case = retrieved(
        [reading(0.9, embedding=unit(1, 0))],
        [reading(0.9, embedding=unit(1, 0, 0))],
    )
    (finding,) = compare(case).findings
    assert (finding.similarity_cosine, finding.state) == (None, ChangeState.UNDETERMINED)


def test_similar_cases_of_other_patients_pass_by_the_comparison() -> None:
    other = SimilarCase(
        entity_index=EFFUSION,
        rank=1,
        study_uid=StudyUid("9.9"),
        instance_uid=InstanceUid("9.9.9"),
        score_cosine=0.9,
        presence_prob=0.8,
    )
    compared = CompareStage(CompareConfig())(replace(retrieved({EFFUSION: 0.9}, None), similar=(other,)))
    assert compared.similar == (other,)
    assert "9.9" not in str(compared.comparison)


@pytest.mark.parametrize(
    ("date", "time", "told"),
    [
        ("20240302", "080000", ", taken on the same day."),
        ("20240301", "080000", ", 1 day earlier."),
        ("20240229", "080000", ", 2 days earlier."),
        ("20240303", "080000", "2024-03-03."),
    ],
)
def test_interval_is_told_in_days(date: str, time: str, told: str) -> None:
    prior = study(header("1.1.1"), uid="1.1", study_date=date, study_time=time)
    first = texts(compare(retrieved({EFFUSION: 0.9}, {EFFUSION: 0.1}, prior_study=prior)), "comparison")[0]
    assert first.endswith(told)


@pytest.mark.parametrize(
    ("view", "told"),
    [
        ("AP", "Of the 2 images of the current study one, an AP view, was read."),
        ("", "Of the 2 images of the current study one was read."),
    ],
)
def test_one_image_that_stands_for_several_is_told(view: str, told: str) -> None:
    current = study(header("1.2.1", view_position=view), header("1.2.2", view_position="LL"))
    assert told in texts(compare(retrieved({EFFUSION: 0.9}, None, current_study=current)), "comparison")


def read_as(scope: ReadScope, current: Study) -> list[str]:
    """Return what is told of the comparison where that was read of the current study."""
    case = retrieved({EFFUSION: 0.9}, None, current_study=current)
    encoded = replace(case.encoded, current=replace(case.encoded.current, scope=scope))
    return texts(compare(replace(case, encoded=encoded)), "comparison")


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_one_series_of_slices_that_stands_for_several_is_told(modality: str) -> None:
    slices = [header(f"1.2.1.{n}", modality=modality, series_uid=SeriesUid("1.2.1")) for n in range(3)]
    scout = header("1.2.2.1", modality=modality, series_uid=SeriesUid("1.2.2"))
    told = read_as(ReadScope(slices=3, plane="axial"), study(*slices, scout))
    assert "Of the 2 series of the current study one was read, as a volume of 3 slices (axial)." in told


def test_slices_of_the_only_series_are_not_counted_as_images_left_out() -> None:
    current = study(*(header(f"1.2.1.{n}", modality="CT") for n in range(3)))
    told = read_as(ReadScope(slices=3, notes=("Slices that were sent twice were dropped: 1.",)), current)
    assert "The series was read, as a volume of 3 slices." in told
    assert "Slices that were sent twice were dropped: 1." in told
    assert not any("images of the current study" in sentence for sentence in told)


def test_one_multi_frame_object_of_several_is_told_as_a_series() -> None:
    objects = [header(f"1.2.{n}.1", modality="MR", frames=30, series_uid=SeriesUid(f"1.2.{n}")) for n in (1, 2)]
    told = read_as(ReadScope(slices=30, weighting="t1", plane="axial", frame_number=15), study(*objects))
    assert "Of the 2 series of the current study one was read, as a volume of 30 slices (t1, axial)." in told


def test_one_modality_that_stands_for_several_is_told() -> None:
    slices = [header(f"1.2.1.{n}", modality="CT", series_uid=SeriesUid("1.2.1")) for n in range(3)]
    told = read_as(ReadScope(slices=3), study(*slices, header("1.2.2", modality="MR")))
    assert "The study holds CT and MR images, which are not read together: the CT images were read." in told


def test_one_frame_that_stands_for_a_clip_is_told() -> None:
    told = read_as(ReadScope(frame_number=12), study(header("1.2.1", modality="US", frames=30)))
    assert "Of its 30 frames one, number 12, was read." in told


def test_of_what_nobody_measured_nothing_is_stated_and_nothing_named() -> None:
    unmeasured = replace(term(EFFUSION), present_from=None, absent_below=None)
    now = [reading(0.99, entity=unmeasured), reading(0.9, index=ATELECTASIS)]
    before = [reading(0.01, entity=unmeasured), reading(0.1, index=ATELECTASIS)]
    comparison = compare(retrieved(now, before))
    by_index = {finding.entity.index: finding for finding in comparison.findings}
    finding = by_index[EFFUSION]
    assert (finding.state, finding.current, finding.rule) == ("undetermined", "undetermined", "not-measured")
    assert (finding.current_prob, finding.prior_prob) == (None, None)
    assert finding.similarity_cosine is not None
    (sentence,) = [each for each in comparison.sentences if each.entity_indices == (EFFUSION,)]
    assert "nothing is stated" in sentence.text
    assert "effusion" not in sentence.text
    assert by_index[ATELECTASIS].state == "new"


def test_one_ultrasound_image_that_stands_for_several_is_told() -> None:
    current = study(*(header(f"1.2.{n}", modality="US", view_position="") for n in (1, 2, 3)))
    told = texts(compare(retrieved({EFFUSION: 0.9}, None, current_study=current)), "comparison")
    assert "Of the 3 images of the current study one was read." in told


def test_study_without_a_date_is_told_so() -> None:
    current = study(header("1.2.1"), study_date="")
    comparison = compare(retrieved({EFFUSION: 0.9}, {EFFUSION: 0.1}, current_study=current))
    assert texts(comparison, "comparison")[0] == (
        "The DX study of unknown date is compared with the DX study of 2024-02-10."
    )
    assert comparison.findings[0].rule == "order-uncertain"


def effusion_is_new() -> tuple[Sentence, tuple[EntityFinding, ...]]:
    comparison = compare(retrieved({EFFUSION: 0.9, HEART: 0.1}, {EFFUSION: 0.1, HEART: 0.1}))
    (sentence,) = [each for each in comparison.sentences if each.about == "change"]
    return sentence, comparison.findings


def test_supported_sentence_is_kept() -> None:
    sentence, findings = effusion_is_new()
    assert strike_unsupported([sentence], findings) == (sentence,)


@pytest.mark.parametrize(
    "forged",
    [
        {"entity_indices": ()},
        {"entity_indices": (HEART,)},
        {"entity_indices": (EFFUSION, HEART)},
        {"entity_indices": (4711,)},
        {"entity_indices": (EFFUSION, 4711)},
        {"text": "Nothing is wrong.", "about": "comparison"},
        {"about": "absent"},
        {"about": "comparison"},
        {"about": "comparison", "entity_indices": ()},
        {"about": "small talk"},
        {"text": "The model finds left pleural effusion that it does not find on the prior: new."},
        {"text": "The model finds severe pleural effusion that it does not find on the prior: new."},
        {"text": "The model finds pneumothorax that it does not find on the prior: new."},
        {"text": "The model finds pleural effusion and pneumothorax that it does not find on the prior: new."},
        {"text": "The model finds pleural effusion on the prior but no longer on the current image: resolved."},
        {"text": "The model finds pleural effusion."},
        {"text": ""},
    ],
)
def test_sentence_that_its_findings_do_not_support_is_struck(forged: dict[str, Any]) -> None:
    sentence, findings = effusion_is_new()
    assert strike_unsupported([replace(sentence, **forged)], findings) == ()


def test_sentence_on_a_state_that_was_withdrawn_is_struck() -> None:
    sentence, findings = effusion_is_new()
    withdrawn = tuple(replace(finding, state=ChangeState.UNDETERMINED) for finding in findings)
    assert strike_unsupported([sentence], withdrawn) == ()


def test_sentence_on_the_comparison_may_not_smuggle_in_a_finding() -> None:
    _, findings = effusion_is_new()
    smuggler = Sentence(text="It was chosen for the pneumothorax.", entity_indices=(), about="comparison")
    honest = Sentence(text="It was chosen as the most recent.", entity_indices=(), about="comparison")
    assert strike_unsupported([smuggler, honest], findings) == (honest,)
