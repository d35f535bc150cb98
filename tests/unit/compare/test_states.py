"""The rule that turns two readings of an entity into a state."""

import math

import pytest

from operators.compare.config import CompareConfig
from operators.compare.presence import presence_of
from operators.compare.states import Evidence, Rule, Seen, decide, judge
from operators.domain.errors import ConfigError
from operators.domain.messages import ChangeState, Presence
from tests.support.comparing import term

CONFIG = CompareConfig(state_stability=True, stable_from_cosine=0.9, stable_within_prob=0.15)


def evidence(prior: float, current: float, cosine: float | None = 1.0) -> Evidence:
    return Evidence(current=seen(current), prior=seen(prior), similarity_cosine=cosine)


def seen(prob: float) -> Seen:
    return Seen(prob=prob, presence=presence_of(prob, term()))


@pytest.mark.parametrize(
    ("prob", "presence"),
    [
        (0.0, Presence.ABSENT),
        (0.299, Presence.ABSENT),
        (0.3, Presence.UNDETERMINED),
        (0.699, Presence.UNDETERMINED),
        (0.7, Presence.PRESENT),
        (1.0, Presence.PRESENT),
        (math.nan, Presence.UNDETERMINED),
        (-0.1, Presence.UNDETERMINED),
        (1.1, Presence.UNDETERMINED),
    ],
)
def test_presence_is_cut_at_two_thresholds(prob: float, presence: Presence) -> None:
    assert presence_of(prob, term(present_from=0.7, absent_below=0.3)) is presence


def test_cuts_that_overlap_determine_nothing_between_them() -> None:
    assert presence_of(0.5, term(present_from=0.4, absent_below=0.6)) is Presence.UNDETERMINED


@pytest.mark.parametrize(
    ("prob", "presence"), [(0.16, Presence.UNDETERMINED), (0.5, Presence.PRESENT), (0.04, Presence.ABSENT)]
)
def test_what_is_likelier_absent_is_not_called_present_however_low_the_cut(prob: float, presence: Presence) -> None:
    rare = term(present_from=0.156, absent_below=0.048)
    assert presence_of(prob, rare, present_from_prob=0.5) is presence


def test_similarity_is_no_evidence_unless_it_is_set_to_be() -> None:
    assert decide(evidence(0.9, 0.9, 1.0), CompareConfig()).rule == Rule.EXTENT_NOT_JUDGED


@pytest.mark.parametrize(
    ("prior", "current", "cosine", "state", "rule"),
    [
        (0.1, 0.9, 0.0, ChangeState.NEW, Rule.PRESENCE_CHANGED),
        (0.9, 0.1, 0.0, ChangeState.RESOLVED, Rule.PRESENCE_CHANGED),
        (0.1, 0.1, 0.0, ChangeState.ABSENT, Rule.ABSENT_ON_BOTH),
        (0.9, 0.9, 0.95, ChangeState.STABLE, Rule.NO_CHANGE_MEASURED),
        (0.9, 0.9, 0.89, ChangeState.UNDETERMINED, Rule.EXTENT_NOT_JUDGED),
        (0.8, 0.96, 0.95, ChangeState.UNDETERMINED, Rule.EXTENT_NOT_JUDGED),
        (0.9, 0.9, None, ChangeState.UNDETERMINED, Rule.EXTENT_NOT_JUDGED),
        (0.5, 0.9, 1.0, ChangeState.UNDETERMINED, Rule.PRESENCE_UNDETERMINED),
        (0.9, 0.5, 1.0, ChangeState.UNDETERMINED, Rule.PRESENCE_UNDETERMINED),
        (0.5, 0.1, 1.0, ChangeState.UNDETERMINED, Rule.PRESENCE_UNDETERMINED),
    ],
)
def test_state_follows_from_both_presences(
    prior: float, current: float, cosine: float | None, state: ChangeState, rule: Rule
) -> None:
    verdict = decide(evidence(prior, current, cosine), CONFIG)
    assert (verdict.state, verdict.rule) == (state, rule)


@pytest.mark.parametrize(
    ("prior", "current", "cosine", "confidence"),
    [(0.2, 0.9, 0.0, 0.72), (0.9, 0.2, 0.0, 0.72), (0.2, 0.1, 0.0, 0.72), (0.9, 0.9, 1.0, 0.81), (0.5, 0.9, 1.0, 0.0)],
)
def test_confidence_is_the_probability_of_what_is_stated(
    prior: float, current: float, cosine: float, confidence: float
) -> None:
    assert decide(evidence(prior, current, cosine), CONFIG).confidence == pytest.approx(confidence)


def always_new(_evidence: Evidence, _config: CompareConfig) -> tuple[ChangeState, Rule]:
    return ChangeState.NEW, Rule.PRESENCE_CHANGED


def worse_by_any_margin(evidence: Evidence, _config: CompareConfig) -> tuple[ChangeState, Rule]:
    is_worse = evidence.current.prob > evidence.prior.prob
    return (ChangeState.WORSE if is_worse else ChangeState.BETTER), Rule.PRESENCE_CHANGED


def test_rule_that_does_not_flip_with_the_images_is_not_believed() -> None:
    verdict = decide(evidence(0.1, 0.9), CONFIG, rule=always_new)
    assert (verdict.state, verdict.swapped) == (ChangeState.UNDETERMINED, ChangeState.NEW)
    assert verdict.rule == Rule.SWAP_DISAGREES
    assert verdict.confidence == 0


def test_rule_that_flips_with_the_images_is_believed_where_it_flips() -> None:
    assert decide(evidence(0.8, 0.9), CONFIG, rule=worse_by_any_margin).state is ChangeState.WORSE
    assert decide(evidence(0.9, 0.8), CONFIG, rule=worse_by_any_margin).state is ChangeState.BETTER
    assert decide(evidence(0.9, 0.9), CONFIG, rule=worse_by_any_margin).state is ChangeState.UNDETERMINED


@pytest.mark.parametrize(("prior", "current"), [(0.1, 0.9), (0.9, 0.1), (0.9, 0.9)])
def test_caution_withholds_change_and_stability(prior: float, current: float) -> None:
    verdict = decide(evidence(prior, current), CONFIG, withheld_by="projection-differs")
    assert (verdict.state, verdict.rule) == (ChangeState.UNDETERMINED, "projection-differs")
    assert verdict.confidence == 0


def test_caution_does_not_withhold_absence_on_both() -> None:
    assert decide(evidence(0.1, 0.1), CONFIG, withheld_by="projection-differs").state is ChangeState.ABSENT


def test_extent_is_never_stated_by_the_rule() -> None:
    probs = [step / 20 for step in range(21)]
    states = {judge(evidence(a, b, cosine), CONFIG)[0] for a in probs for b in probs for cosine in (-1.0, 0.5, 1.0)}
    assert states == {
        ChangeState.NEW,
        ChangeState.RESOLVED,
        ChangeState.STABLE,
        ChangeState.ABSENT,
        ChangeState.UNDETERMINED,
    }


@pytest.mark.parametrize(
    "settings",
    [{"stable_from_cosine": 1.1}, {"stable_within_prob": -0.1}, {"present_from_prob": 1.1}, {"long_interval_days": 0}],
)
def test_senseless_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        CompareConfig(**settings)  # type: ignore[arg-type]  # one of them is an int
