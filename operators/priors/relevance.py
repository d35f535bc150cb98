"""Which studies of the patient are worth comparing with: candidates enter, decisions with their reasons leave.

The answer does not depend on the order of the candidates, and no reason holds patient data.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from operators.domain.ids import AccessionNumber, StudyUid
from operators.domain.messages import PriorDecision, Study
from operators.priors.bodypart import Shows, study_shows
from operators.priors.candidates import Candidate, WantedImage
from operators.priors.config import PriorsConfig, RelevanceRule
from operators.priors.identity import Identity, compare_identity
from operators.priors.images import ViewMatch, readable_images, view_match, wanted_images
from operators.priors.timeline import Moment, moment_of


class DecisionCode(StrEnum):
    """Why a candidate was chosen or left; values are kept in the database and never change."""

    CHOSEN = "chosen"
    OVER_LIMIT = "over-limit"
    OTHER_ISSUER = "other-issuer"
    ISSUER_MISSING = "issuer-missing"
    DEMOGRAPHICS_DISAGREE = "demographics-disagree"
    CURRENT_UNDATED = "current-undated"
    UNDATED = "undated"
    NOT_EARLIER = "not-earlier"
    TOO_OLD = "too-old"
    OTHER_MODALITY = "other-modality"
    NOT_EXAMINED = "not-examined"
    NO_IMAGES = "no-images"
    OTHER_BODY_PART = "other-body-part"
    BODY_PART_UNKNOWN = "body-part-unknown"
    OTHER_VIEW = "other-view"
    NOT_DELIVERED = "not-delivered"
    GONE = "gone"
    UNREADABLE = "unreadable"


REASON_SENTENCES: dict[DecisionCode, str] = {
    DecisionCode.CHOSEN: "Same body part and modality, earlier, and close enough in time.",
    DecisionCode.OVER_LIMIT: "Relevant, but other priors are more so.",
    DecisionCode.OTHER_ISSUER: "Its patient ID was issued by somebody else.",
    DecisionCode.ISSUER_MISSING: "Only one side names the issuer of the patient ID.",
    DecisionCode.DEMOGRAPHICS_DISAGREE: "Birth date or sex differ under the same patient ID.",
    DecisionCode.CURRENT_UNDATED: "The current study has no date, so nothing can be shown to be earlier.",
    DecisionCode.UNDATED: "It has no valid date.",
    DecisionCode.NOT_EARLIER: "It is not earlier than the current study.",
    DecisionCode.TOO_OLD: "It is older than the rule allows.",
    DecisionCode.OTHER_MODALITY: "The rule does not compare with its modality.",
    DecisionCode.NOT_EXAMINED: "Too many newer candidates were looked at before it.",
    DecisionCode.NO_IMAGES: "It holds no image of a modality that the rule compares with.",
    DecisionCode.OTHER_BODY_PART: "It shows another body part.",
    DecisionCode.BODY_PART_UNKNOWN: "It does not say which body part it shows.",
    DecisionCode.OTHER_VIEW: "It holds only other views than the current study.",
    DecisionCode.NOT_DELIVERED: "It is relevant, but the PACS did not deliver it in time.",
    DecisionCode.GONE: "It is relevant, but the PACS no longer has it.",
    DecisionCode.UNREADABLE: "It is relevant, but what the PACS delivered cannot be read.",
}

BY_IDENTITY = {
    Identity.OTHER_ISSUER: DecisionCode.OTHER_ISSUER,
    Identity.ISSUER_MISSING: DecisionCode.ISSUER_MISSING,
    Identity.DEMOGRAPHICS_DISAGREE: DecisionCode.DEMOGRAPHICS_DISAGREE,
}
SOMEBODY_ELSE = frozenset({DecisionCode.OTHER_ISSUER, DecisionCode.DEMOGRAPHICS_DISAGREE, DecisionCode.ISSUER_MISSING})
"""The study may be another patient's: nothing of it but its UID is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The decisions, chosen ones first, and the images to fetch for the chosen, most relevant prior first."""

    decisions: tuple[PriorDecision, ...]
    images: tuple[WantedImage, ...]


def rule_for(current: Study, rules: Sequence[RelevanceRule]) -> RelevanceRule | None:
    """Return the first rule that serves the current study's modality and body part."""
    for rule in rules:
        if set(current.modalities) & set(rule.modalities):
            shows = study_shows(rule, [image.header for image in current.images], current.study_description)
            if shows is Shows.THIS or (shows is Shows.UNKNOWN and rule.accept_unknown_body_part):
                return rule
    return None


def candidates_of(current: Study, answers: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return the answers that name this patient ID exactly, without the current study; newest first, stable."""
    same_id = (
        answer
        for answer in answers
        if answer.study_uid != current.study_uid
        and compare_identity(current.patient, answer.patient, trust_missing_issuer=True) is not Identity.OTHER_ID
    )
    return tuple(sorted(same_id, key=_recency))


def refuse_unopened(
    current: Study, candidate: Candidate, rule: RelevanceRule, config: PriorsConfig
) -> DecisionCode | None:
    """Why the candidate is left by what its study level says; None when its images are worth looking up."""
    identity = compare_identity(current.patient, candidate.patient, trust_missing_issuer=config.trust_missing_issuer)
    if identity is not Identity.SAME:
        return BY_IDENTITY[identity]
    refusal = _refuse_by_time(current, candidate, rule)
    if refusal is None and candidate.modalities and not set(candidate.modalities) & set(rule.prior_modalities):
        return DecisionCode.OTHER_MODALITY
    return refusal


def choose(current: Study, answers: Iterable[Candidate], rule: RelevanceRule, config: PriorsConfig) -> Choice:
    """Decide on every candidate; the best `config.max_priors` of the relevant ones are chosen.

    Ranked by: same modality as the current study's rule, same view, most recent, study UID.
    """
    candidates = _one_a_study(current, candidates_of(current, answers), config)
    codes = {candidate.study_uid: _refuse(current, candidate, rule, config) for candidate in candidates}
    relevant = sorted(
        (candidate for candidate in candidates if codes[candidate.study_uid] is None),
        key=lambda candidate: _rank_key(current, candidate, rule),
    )
    chosen = relevant[: config.max_priors]
    ranks = {candidate.study_uid: rank for rank, candidate in enumerate(chosen)}
    decisions = [
        _decision(candidate, codes[candidate.study_uid], ranks.get(candidate.study_uid)) for candidate in candidates
    ]
    wanted = [image for prior in chosen for image in wanted_images(current, prior, rule)]
    return Choice(decisions=_in_order(decisions), images=tuple(wanted))


def withdraw(decisions: Iterable[PriorDecision], study_uid: StudyUid, code: DecisionCode) -> tuple[PriorDecision, ...]:
    """Return the decisions with one chosen prior left for the given reason; the ranks behind it move up."""
    kept = [
        replace(decision, rank=None, reason_code=code.value, reason=REASON_SENTENCES[code])
        if decision.study_uid == study_uid
        else decision
        for decision in decisions
    ]
    chosen = sorted((decision for decision in kept if decision.chosen), key=lambda decision: decision.rank or 0)
    ranks = {decision.study_uid: rank for rank, decision in enumerate(chosen)}
    return _in_order(
        [
            _hidden(replace(decision, rank=ranks.get(decision.study_uid)), DecisionCode(decision.reason_code))
            for decision in kept
        ]
    )


def _refuse(current: Study, candidate: Candidate, rule: RelevanceRule, config: PriorsConfig) -> DecisionCode | None:
    refusal = refuse_unopened(current, candidate, rule, config)
    if refusal is not None:
        return refusal
    return _refuse_by_content(current, candidate, rule)


def _refuse_by_content(current: Study, candidate: Candidate, rule: RelevanceRule) -> DecisionCode | None:
    if candidate.images is None:
        return DecisionCode.NOT_EXAMINED
    images = readable_images(candidate.images, rule)
    if not images:
        return DecisionCode.NO_IMAGES
    shows = study_shows(rule, images, candidate.study_description)
    if shows is Shows.OTHER:
        return DecisionCode.OTHER_BODY_PART
    if shows is Shows.UNKNOWN and not rule.accept_unknown_body_part:
        return DecisionCode.BODY_PART_UNKNOWN
    if view_match(current, candidate, rule) is ViewMatch.OTHER:
        return DecisionCode.OTHER_VIEW
    return None


def _refuse_by_time(current: Study, candidate: Candidate, rule: RelevanceRule) -> DecisionCode | None:
    now, then = _moment(current), _moment(candidate)
    if now is None:
        return DecisionCode.CURRENT_UNDATED
    if then is None:
        return DecisionCode.UNDATED
    if not then.is_before(now):
        return DecisionCode.NOT_EARLIER
    return DecisionCode.TOO_OLD if then.days_before(now) > rule.max_age_days else None


def _moment(study: Study | Candidate) -> Moment | None:
    return moment_of(study.study_date, study.study_time)


def _recency(candidate: Candidate) -> tuple[int, int, str]:
    """Sort key: newest first, undated last, the same whatever order the answers came in."""
    moment = _moment(candidate)
    if moment is None:
        return (0, 0, candidate.study_uid)
    return (-moment.day.toordinal(), -moment.earliest_us, candidate.study_uid)


def _rank_key(current: Study, candidate: Candidate, rule: RelevanceRule) -> tuple[bool, int, tuple[int, int, str]]:
    images = readable_images(candidate.images or (), rule)
    is_other_modality = not any(image.modality in rule.modalities for image in images)
    return is_other_modality, view_match(current, candidate, rule), _recency(candidate)


def _one_a_study(current: Study, candidates: Sequence[Candidate], config: PriorsConfig) -> list[Candidate]:
    """Keep one answer a study; where answers for a study disagree on its patient, the one that may be another's."""
    kept: dict[StudyUid, Candidate] = {}
    for candidate in sorted(candidates, key=repr):
        identity = compare_identity(
            current.patient, candidate.patient, trust_missing_issuer=config.trust_missing_issuer
        )
        if candidate.study_uid not in kept or identity is not Identity.SAME:
            kept[candidate.study_uid] = candidate
    return sorted(kept.values(), key=_recency)


def _decision(candidate: Candidate, refusal: DecisionCode | None, rank: int | None) -> PriorDecision:
    code = refusal or (DecisionCode.OVER_LIMIT if rank is None else DecisionCode.CHOSEN)
    decision = PriorDecision(
        study_uid=candidate.study_uid,
        study_date=candidate.study_date,
        study_time=candidate.study_time,
        modalities=candidate.modalities,
        study_description=candidate.study_description,
        accession_number=candidate.accession_number,
        rank=rank,
        reason_code=code.value,
        reason=REASON_SENTENCES[code],
    )
    return _hidden(decision, code)


def _hidden(decision: PriorDecision, code: DecisionCode) -> PriorDecision:
    if code not in SOMEBODY_ELSE:
        return decision
    blank = AccessionNumber("")
    return replace(decision, study_date="", study_time="", study_description="", accession_number=blank, modalities=())


def _in_order(decisions: Sequence[PriorDecision]) -> tuple[PriorDecision, ...]:
    """Chosen ones by rank, then the others as they were."""
    return tuple(sorted(decisions, key=lambda decision: (decision.rank is None, decision.rank or 0)))
