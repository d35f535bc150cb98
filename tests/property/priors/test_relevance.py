from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from operators.domain.messages import Study
from operators.priors.candidates import Candidate
from operators.priors.config import CHEST_FILM, PriorsConfig
from operators.priors.identity import Identity, compare_identity
from operators.priors.relevance import DecisionCode, choose
from operators.priors.timeline import moment_of
from tests.support.priors import PATIENT, candidate, current_study, image_header

PATIENTS = st.builds(
    lambda patient_id, issuer, birth_date, sex: replace(
        PATIENT, patient_id=patient_id, issuer=issuer, birth_date=birth_date, sex=sex
    ),
    st.sampled_from(["P-1"] * 8 + ["p-1", "P-1 ", "P-10", "", "*"]),
    st.sampled_from(["SITE", "SITE", "SITE", "", "OTHER"]),
    st.sampled_from(["19500101", "19500101", "19500101", "", "19500102"]),
    st.sampled_from(["F", "F", "F", "M", ""]),
)
DATES = st.sampled_from([*["20240301", "20240302", "20230101"] * 2, "20240303", "20100101", "", "garbage", "20241350"])
TIMES = st.sampled_from(["", "10", "1010", "100959.9", "101000", "101001", "99", "x"])
UIDS = st.integers(min_value=5, max_value=9).map(lambda number: f"1.2.{number}")


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    study_uid = draw(UIDS)
    images = draw(
        st.lists(
            st.builds(
                lambda number, modality, body_part, view: image_header(
                    study_uid, number, modality=modality, body_part=body_part, view_position=view
                ),
                st.integers(min_value=1, max_value=3),
                st.sampled_from(["DX", "DX", "CR", "CT", "SR"]),
                st.sampled_from(["CHEST", "CHEST", "HAND", ""]),
                st.sampled_from(["PA", "AP", "LL", ""]),
            ),
            max_size=3,
        )
    )
    made = candidate(study_uid, images=images, study_date=draw(DATES), study_time=draw(TIMES), patient=draw(PATIENTS))
    return made if draw(st.booleans()) else replace(made, modalities=())


CURRENTS = st.builds(
    lambda patient, study_date, study_time: current_study(
        patient=patient, study_date=study_date, study_time=study_time
    ),
    st.one_of(st.just(PATIENT), PATIENTS),
    st.one_of(st.just("20240302"), DATES),
    TIMES,
)
CONFIGS = st.builds(
    lambda trust, most: PriorsConfig(trust_missing_issuer=trust, max_priors=most),
    st.booleans(),
    st.integers(min_value=1, max_value=4),
)
LIKELY = st.builds(
    lambda study_uid, study_date, study_time: candidate(study_uid, study_date=study_date, study_time=study_time),
    UIDS,
    DATES,
    TIMES,
)
MANY = st.lists(st.one_of(LIKELY, candidates()), max_size=5)


@given(CURRENTS, MANY, CONFIGS)
def test_no_prior_is_another_patients_or_not_earlier(
    current: Study, answers: list[Candidate], config: PriorsConfig
) -> None:
    trust = config.trust_missing_issuer
    now = moment_of(current.study_date, current.study_time)
    for decision in choose(current, answers, CHEST_FILM, config).decisions:
        said = [answer for answer in answers if answer.study_uid == decision.study_uid]
        by_id = {compare_identity(current.patient, answer.patient, trust_missing_issuer=trust) for answer in said}
        assert by_id - {Identity.OTHER_ID}
        if decision.chosen:
            assert by_id - {Identity.OTHER_ID} == {Identity.SAME}
            assert decision.study_uid != current.study_uid
            then = moment_of(decision.study_date, decision.study_time)
            assert now is not None
            assert then is not None
            assert then.is_before(now)


@given(CURRENTS, MANY, CONFIGS, st.randoms(use_true_random=False))
def test_decisions_do_not_depend_on_the_order_of_the_answers(
    current: Study, answers: list[Candidate], config: PriorsConfig, random: Random
) -> None:
    shuffled = list(answers)
    random.shuffle(shuffled)
    assert choose(current, answers, CHEST_FILM, config) == choose(current, shuffled, CHEST_FILM, config)


@given(CURRENTS, MANY, CONFIGS)
def test_ranks_are_gapless_limited_and_only_on_the_chosen(
    current: Study, answers: list[Candidate], config: PriorsConfig
) -> None:
    choice = choose(current, answers, CHEST_FILM, config)
    ranks = [decision.rank for decision in choice.decisions if decision.rank is not None]
    assert ranks == list(range(len(ranks)))
    assert len(ranks) <= config.max_priors
    for decision in choice.decisions:
        assert decision.chosen is (decision.reason_code == DecisionCode.CHOSEN.value)
    assert len({decision.study_uid for decision in choice.decisions}) == len(choice.decisions)
    assert {image.study_uid for image in choice.images} == {d.study_uid for d in choice.decisions if d.chosen}


@given(CURRENTS, MANY, CONFIGS)
def test_no_reason_repeats_patient_data(current: Study, answers: list[Candidate], config: PriorsConfig) -> None:
    named = replace(current, patient=replace(current.patient, name="Zyxwvut^Qrst"))
    for decision in choose(named, answers, CHEST_FILM, config).decisions:
        assert not any(planted in decision.reason for planted in ("Zyxwvut", "P-1", "19500101", "2024"))
