"""A comparison's structure enters, its English sentences leave: what was compared, then each group of findings."""

from collections.abc import Sequence
from dataclasses import dataclass

from operators.compare.cautions import interval_days, load_cautions
from operators.compare.grouping import GROUPS, About, Group, group_of
from operators.compare.phrases import listed, phrase_of
from operators.domain.ids import StudyUid
from operators.domain.messages import (
    EntityFinding,
    Image,
    PriorDecision,
    PriorOutcome,
    PriorSearch,
    ReadScope,
    Sentence,
    Study,
    study_date_of,
)
from operators.domain.radiograph import Projection, projection_of
from operators.domain.reasons import REASONS, ReasonCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What was compared with what. `prior` is None when nothing was; `unreadable` names chosen priors left out.

    `scope` is what of the current study was read.
    """

    current: tuple[Study, Image]
    prior: tuple[Study, Image] | None
    search: PriorSearch
    unreadable: tuple[tuple[StudyUid, ReasonCode], ...]
    cautions: tuple[str, ...]
    scope: ReadScope


_NOTHING_COMPARED = {
    PriorOutcome.NONE_EXISTS: "No prior exists, so nothing is compared.",
    PriorOutcome.NONE_RELEVANT: "No suitable prior was found, so nothing is compared.",
    PriorOutcome.COULD_NOT_ASK: "No prior could be had, which does not mean that none exists; nothing is compared.",
    PriorOutcome.FOUND: "A prior was found, but its images are not available, so nothing is compared.",
}
"""What is said first; the sentence of the search itself follows and tells the particulars."""


def write_sentences(circumstances: Circumstances, findings: Sequence[EntityFinding]) -> tuple[Sentence, ...]:
    """Write the draft's sentences; every finding is told in exactly one of them."""
    told = [sentence for group in GROUPS for sentence in _about_findings(group, findings)]
    return (*_about_comparison(circumstances), *_about_cautions(circumstances.cautions), *told)


def _about_comparison(circumstances: Circumstances) -> list[Sentence]:
    prior = circumstances.prior
    texts = _why_nothing_is_compared(circumstances) if prior is None else _what_is_compared(circumstances, *prior)
    texts += _what_was_read(*circumstances.current, circumstances.scope)
    return [Sentence(text=text, entity_indices=(), about=About.COMPARISON.value) for text in texts]


def _why_nothing_is_compared(circumstances: Circumstances) -> list[str]:
    if circumstances.unreadable:
        why = REASONS[circumstances.unreadable[0][1]].sentence
        return ["A prior was chosen, but it could not be read, so nothing is compared.", why]
    stem = _NOTHING_COMPARED[circumstances.search.outcome]
    return [stem, circumstances.search.sentence] if circumstances.search.sentence else [stem]


def _what_is_compared(circumstances: Circumstances, prior: Study, prior_image: Image) -> list[str]:
    current, current_image = circumstances.current
    named = f"The {_named(current, current_image)} is compared with the {_named(prior, prior_image)}"
    return [
        f"{named}{_interval(interval_days(current, prior))}.",
        *_why_chosen(circumstances.search, prior.study_uid),
        *_not_readable(circumstances.unreadable),
    ]


def _what_was_read(study: Study, image: Image, scope: ReadScope) -> list[str]:
    """Say that one image, frame or series stands for the study: what only the others show was not looked for."""
    return [*_which_modality(study, image), *_which_images(study, image, scope), *scope.notes]


def _which_modality(study: Study, image: Image) -> list[str]:
    held = sorted({each.header.modality for each in study.images})
    if len(held) < 2:
        return []
    read = image.header.modality
    return [f"The study holds {listed(held)} images, which are not read together: the {read} images were read."]


def _which_images(study: Study, image: Image, scope: ReadScope) -> list[str]:
    if scope.slices:
        return [_which_series(study, scope)]
    texts = []
    if len(study.images) > 1:
        view = _VIEWS.get(projection_of(image.header), "") if image.header.modality not in _NOT_FILMS else ""
        texts.append(f"Of the {len(study.images)} images of the current study one{view} was read.")
    if image.header.frames > 1:
        texts.append(f"Of its {image.header.frames} frames one, number {scope.frame_number}, was read.")
    return texts


def _which_series(study: Study, scope: ReadScope) -> str:
    series = len({each.header.series_uid for each in study.images})
    subject = f"Of the {series} series of the current study one" if series > 1 else "The series"
    kind = ", ".join(fact for fact in (scope.weighting, scope.plane) if fact not in {"", "unknown"})
    return f"{subject} was read, as a volume of {scope.slices} slices{f' ({kind})' if kind else ''}."


_NOT_FILMS = frozenset({"CT", "MR", "US"})
_VIEWS = {Projection.PA: ", a PA view,", Projection.AP: ", an AP view,", Projection.FRONTAL: ", a frontal view,"}


def _named(study: Study, image: Image) -> str:
    day = study_date_of(study.study_date)
    return f"{image.header.modality} study of {day.isoformat() if day else 'unknown date'}"


def _interval(days: int | None) -> str:
    if days is None or days < 0:
        return ""
    if days == 0:
        return ", taken on the same day"
    return f", {days} day{'' if days == 1 else 's'} earlier"


def _why_chosen(search: PriorSearch, prior: StudyUid) -> list[str]:
    decision: PriorDecision | None = next((each for each in search.decisions if each.study_uid == prior), None)
    if decision is None or not decision.reason:
        return []
    return [f"Why this prior was chosen: {decision.reason.rstrip('.')}."]


def _not_readable(unreadable: Sequence[tuple[StudyUid, ReasonCode]]) -> list[str]:
    if not unreadable:
        return []
    count = "One other earlier study was" if len(unreadable) == 1 else f"{len(unreadable)} other earlier studies were"
    return [f"{count} chosen too, but could not be read."]


def _about_cautions(cautions: Sequence[str]) -> list[Sentence]:
    table = load_cautions()
    return [Sentence(text=table[code].sentence, entity_indices=(), about=About.CAUTION.value) for code in cautions]


def _about_findings(group: Group, findings: Sequence[EntityFinding]) -> list[Sentence]:
    members = [finding for finding in findings if group_of(finding) is group]
    if group.together:
        return [_sentence(group, members)] if members else []
    return [_sentence(group, [finding]) for finding in members]


def _sentence(group: Group, findings: Sequence[EntityFinding]) -> Sentence:
    names = listed([phrase_of(finding.entity) for finding in findings])
    return Sentence(
        text=group.template.format(names),
        entity_indices=tuple(finding.entity.index for finding in findings),
        about=group.about.value,
    )
