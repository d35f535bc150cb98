"""What both images show of one entity enters; its state since the prior, the rule that decided and a confidence leave.

The rule says nothing of extent. A finding present on both images is stable only where the settings let similarity
count as evidence and it supports that nothing changed; otherwise it is undetermined. WORSE and BETTER are never stated.

Confidence is the probability of the stated pair of presences, from the calibrated probabilities of both images taken as
independent: new (1-prior)*current, resolved prior*(1-current), absent (1-prior)*(1-current), stable prior*current
scaled by the similarity's share of [0, 1]. An undetermined finding states nothing and has confidence 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from operators.compare.config import CompareConfig
from operators.domain.messages import ChangeState, Presence


class Rule(StrEnum):
    """Which rule decided; reports show it, tests pin it."""

    PRESENCE_CHANGED = "presence-changed"
    ABSENT_ON_BOTH = "absent-on-both"
    NO_CHANGE_MEASURED = "no-change-measured"
    EXTENT_NOT_JUDGED = "extent-not-judged"
    PRESENCE_UNDETERMINED = "presence-undetermined"
    NO_PRIOR = "no-prior"
    NOT_READ_ON_PRIOR = "not-read-on-prior"
    NOT_MEASURED = "not-measured"
    SWAP_DISAGREES = "swap-disagrees"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one image shows of an entity: its calibrated probability, in [0, 1], and what that amounts to."""

    prob: float
    presence: Presence


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the rule sees of one entity on both images. `similarity_cosine` is None where it is not a number."""

    current: Seen
    prior: Seen
    similarity_cosine: float | None

    def swapped(self) -> "Evidence":
        """Return the same evidence with current and prior exchanged."""
        return Evidence(current=self.prior, prior=self.current, similarity_cosine=self.similarity_cosine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A state and what it rests on. `rule` is a Rule, or the code of the caution that withheld the state."""

    state: ChangeState
    swapped: ChangeState
    rule: str
    confidence: float


Judge = Callable[[Evidence, CompareConfig], tuple[ChangeState, Rule]]

MIRROR = {
    ChangeState.NEW: ChangeState.RESOLVED,
    ChangeState.RESOLVED: ChangeState.NEW,
    ChangeState.WORSE: ChangeState.BETTER,
    ChangeState.BETTER: ChangeState.WORSE,
    ChangeState.STABLE: ChangeState.STABLE,
    ChangeState.ABSENT: ChangeState.ABSENT,
    ChangeState.UNDETERMINED: ChangeState.UNDETERMINED,
}
"""What each state becomes when current and prior change places."""

_OF_PRESENCES = {
    (Presence.ABSENT, Presence.PRESENT): (ChangeState.NEW, Rule.PRESENCE_CHANGED),
    (Presence.PRESENT, Presence.ABSENT): (ChangeState.RESOLVED, Rule.PRESENCE_CHANGED),
    (Presence.ABSENT, Presence.ABSENT): (ChangeState.ABSENT, Rule.ABSENT_ON_BOTH),
}
"""(prior, current) to the state that follows from presence alone."""


def judge(evidence: Evidence, config: CompareConfig) -> tuple[ChangeState, Rule]:
    """Say the state of one entity, current against prior, and the rule it follows from."""
    presences = (evidence.prior.presence, evidence.current.presence)
    if Presence.UNDETERMINED in presences:
        return ChangeState.UNDETERMINED, Rule.PRESENCE_UNDETERMINED
    if presences in _OF_PRESENCES:
        return _OF_PRESENCES[presences]
    if _is_unchanged(evidence, config):
        return ChangeState.STABLE, Rule.NO_CHANGE_MEASURED
    return ChangeState.UNDETERMINED, Rule.EXTENT_NOT_JUDGED


def _is_unchanged(evidence: Evidence, config: CompareConfig) -> bool:
    return (
        config.state_stability
        and evidence.similarity_cosine is not None
        and evidence.similarity_cosine >= config.stable_from_cosine
        and abs(evidence.current.prob - evidence.prior.prob) <= config.stable_within_prob
    )


def decide(
    evidence: Evidence, config: CompareConfig, *, withheld_by: str | None = None, rule: Judge = judge
) -> Verdict:
    """Judge the evidence both ways round and state only what flips with it.

    Parameters
    ----------
    evidence, config
        What the rule sees.
    withheld_by
        Code of a caution about this entity, under which no change and no stability is stated; None where there is none.
    rule
        The rule to apply; it is not trusted to be symmetric.
    """
    state, why = rule(evidence, config)
    swapped, _ = rule(evidence.swapped(), config)
    if MIRROR[state] is not swapped:
        return _undetermined(Rule.SWAP_DISAGREES, swapped)
    if withheld_by is not None and state not in {ChangeState.ABSENT, ChangeState.UNDETERMINED}:
        return _undetermined(withheld_by)
    return Verdict(state=state, swapped=swapped, rule=why.value, confidence=confidence_of(state, evidence))


def undetermined_without_prior(rule: Rule) -> Verdict:
    """Return the verdict on an entity that has no prior reading."""
    return _undetermined(rule)


def _undetermined(rule: str, swapped: ChangeState = ChangeState.UNDETERMINED) -> Verdict:
    return Verdict(state=ChangeState.UNDETERMINED, swapped=swapped, rule=str(rule), confidence=0.0)


def confidence_of(state: ChangeState, evidence: Evidence) -> float:
    """Confidence in [0, 1] of a state, as the module says; 0 for what is not stated by this rule."""
    current, prior = evidence.current.prob, evidence.prior.prob
    by_state = {
        ChangeState.NEW: (1 - prior) * current,
        ChangeState.RESOLVED: prior * (1 - current),
        ChangeState.ABSENT: (1 - prior) * (1 - current),
        ChangeState.STABLE: prior * current * (1 + (evidence.similarity_cosine or 0.0)) / 2,
    }
    confidence = by_state.get(state, 0.0)
    return min(1.0, max(0.0, confidence)) if math.isfinite(confidence) else 0.0
