"""What a draft says, as plain values: a Comparison enters, the content that every rendering shares leaves.

Every assessed entity gets a finding group with its evidence region, but for those that were seen on neither image: they
are carried as coded evidence by the sentence that tells of them. Where nothing at all was seen, TID 1500 still wants a
group: then each entity that was looked for gets one that says "absent", and its region is the whole image, because that
is what was read to say so.

An entity that nobody measured gets no group, whatever the model answered: there is no probability to give and nothing
to state. One sentence says that there are such entities. Where none was measured, as in an imported model, the draft
holds one group that says of the image as a whole that nothing was determined: it names what was read, and by what.
"""

from dataclasses import dataclass, replace

from operators.domain.errors import PermanentError
from operators.domain.messages import (
    ChangeState,
    Comparison,
    EntityFinding,
    Image,
    Presence,
    PriorOutcome,
    Region,
    Sentence,
)
from operators.domain.reasons import ReasonCode
from operators.report.identity import DraftIdentity, image_tracking_uid, tracking_uid
from operators.report.node import NodeIdentity

_ORDER = (
    ChangeState.NEW,
    ChangeState.WORSE,
    ChangeState.RESOLVED,
    ChangeState.BETTER,
    ChangeState.STABLE,
    ChangeState.UNDETERMINED,
    ChangeState.ABSENT,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """One entity of the draft.

    `number` is the same in every rendering. `region` is the evidence, on the image the finding speaks of: the prior for
    what is no longer seen, else the current one; `is_whole_image` when the finding is an absence. `change` is None when
    there was nothing to compare with. `previous_region` is the evidence on the prior for what was seen there too.
    """

    number: int
    finding: EntityFinding
    tracking_identifier: str
    tracking_uid: str
    observation_uid: str
    change: ChangeState | None
    region: Region
    is_on_prior: bool
    is_whole_image: bool
    previous_region: Region | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnassessedImage:
    """The image that was read where the model may state nothing of it; `region` is the whole of it."""

    tracking_identifier: str
    tracking_uid: str
    observation_uid: str
    region: Region


@dataclass(frozen=True, slots=True, kw_only=True)
class NarrativeSentence:
    """One sentence of the narrative; the groups and the silent findings it rests on.

    It rests on nothing only where it speaks of the comparison itself.
    """

    text: str
    groups: tuple[FindingGroup, ...]
    silent: tuple[EntityFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """All that a rendering needs besides the images: the comparison, its finding groups, its narrative.

    `is_compared`: a prior was compared with. `comparison_sentence` says what was compared, or why nothing was.
    `unassessed` is there where no entity was measured; then there are no groups.
    """

    comparison: Comparison
    is_compared: bool
    comparison_sentence: str
    groups: tuple[FindingGroup, ...]
    silent: tuple[EntityFinding, ...]
    narrative: tuple[NarrativeSentence, ...]
    unassessed: UnassessedImage | None

    @property
    def narrative_text(self) -> str:
        """Return the whole narrative as one text, a sentence a line."""
        return "\n".join(sentence.text for sentence in self.narrative)


def report_content(comparison: Comparison, node: NodeIdentity, identity: DraftIdentity) -> ReportContent:
    """Return what the draft of a comparison says.

    Raises PermanentError(REPORT_INVALID) when the comparison assessed nothing: there is nothing to report then.
    """
    if not comparison.findings:
        raise PermanentError(ReasonCode.REPORT_INVALID, why="the comparison assessed no entity")
    sentences = _grounded(comparison)
    measured = tuple(finding for finding in comparison.findings if finding.is_measured)
    reported, silent = _split(measured)
    told = [index for sentence in sentences for index in sentence.entity_indices]
    ordered = sorted(reported, key=lambda finding: (_first_mention(finding, told), *_importance(finding)))
    groups = tuple(_group(number, f, comparison, node, identity) for number, f in enumerate(ordered, start=1))
    return ReportContent(
        comparison=comparison,
        is_compared=comparison.prior is not None,
        comparison_sentence=comparison_sentence(comparison),
        groups=groups,
        silent=silent,
        narrative=tuple(_tied(sentence, groups, silent) for sentence in sentences),
        unassessed=None if measured else _unassessed(comparison, node, identity),
    )


def comparison_sentence(comparison: Comparison) -> str:
    """Say what was compared; that no prior exists and that none could be asked for are different sentences."""
    if comparison.prior is not None:
        when = dated(comparison.prior.study_date)
        which = comparison.prior.study_description or "/".join(comparison.prior.modalities)
        return f"Compared with the previous study of {when} ({which})." if which else f"Compared with {when}."
    outcome = comparison.search.outcome
    if outcome is PriorOutcome.COULD_NOT_ASK:
        return f"No comparison: previous studies could not be asked for. {comparison.search.sentence}"
    if outcome is PriorOutcome.NONE_EXISTS:
        return f"No comparison: the archive holds no previous study. {comparison.search.sentence}"
    if outcome is PriorOutcome.NONE_RELEVANT:
        return f"No comparison: no previous study is comparable. {comparison.search.sentence}"
    return f"No comparison: the previous study could not be read. {comparison.search.sentence}"


def dated(date_text: str) -> str:
    """DICOM DA text as people write dates in every country alike; what is no date is called unknown."""
    digits = date_text.replace(".", "").strip()
    if len(digits) != 8 or not digits.isdigit():
        return "unknown date"
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}"


def _grounded(comparison: Comparison) -> tuple[Sentence, ...]:
    """Leave out every sentence that rests on an entity of which the comparison holds no finding."""
    known = {finding.entity.index for finding in comparison.findings}
    return tuple(sentence for sentence in comparison.sentences if known.issuperset(sentence.entity_indices))


def _tied(sentence: Sentence, groups: tuple[FindingGroup, ...], silent: tuple[EntityFinding, ...]) -> NarrativeSentence:
    named = set(sentence.entity_indices)
    return NarrativeSentence(
        text=sentence.text,
        groups=tuple(group for group in groups if group.finding.entity.index in named),
        silent=tuple(finding for finding in silent if finding.entity.index in named),
    )


def _split(findings: tuple[EntityFinding, ...]) -> tuple[tuple[EntityFinding, ...], tuple[EntityFinding, ...]]:
    silent = tuple(finding for finding in findings if _is_silent(finding))
    if len(silent) == len(findings):
        return findings, ()
    return tuple(finding for finding in findings if not _is_silent(finding)), silent


def _is_silent(finding: EntityFinding) -> bool:
    """Whether the entity was looked for and seen on neither image, on the one image where there is no prior."""
    return finding.current is Presence.ABSENT and finding.prior in (None, Presence.ABSENT)


def _first_mention(finding: EntityFinding, told: list[int]) -> int:
    """Place in the narrative, so that numbers rise as the text is read; what it does not name comes last."""
    return told.index(finding.entity.index) if finding.entity.index in told else len(told)


def _importance(finding: EntityFinding) -> tuple[int, int, float, int]:
    seen = (Presence.PRESENT, Presence.UNDETERMINED, Presence.ABSENT).index(finding.current)
    return _ORDER.index(finding.state), seen, -finding.stated_prob, finding.entity.index


def _group(
    number: int, finding: EntityFinding, comparison: Comparison, node: NodeIdentity, identity: DraftIdentity
) -> FindingGroup:
    is_whole_image = _is_silent(finding)
    is_on_prior = finding.current is Presence.ABSENT and not is_whole_image and finding.prior_region is not None
    region = finding.prior_region if is_on_prior and finding.prior_region is not None else finding.current_region
    if is_whole_image:
        region = _whole(comparison.current_image, finding.current_region)
    was_seen = finding.prior not in (None, Presence.ABSENT)
    return FindingGroup(
        number=number,
        finding=finding,
        tracking_identifier=finding.entity.name,
        tracking_uid=tracking_uid(node, comparison, finding.entity),
        observation_uid=identity.observation_uid(finding.entity),
        change=finding.state if comparison.prior is not None else None,
        region=region,
        is_on_prior=is_on_prior,
        is_whole_image=is_whole_image,
        previous_region=finding.prior_region if was_seen and not is_on_prior else None,
    )


def _unassessed(comparison: Comparison, node: NodeIdentity, identity: DraftIdentity) -> UnassessedImage:
    some_region = comparison.findings[0].current_region
    image = comparison.current_image
    on_image = replace(
        some_region,
        instance_uid=image.header.instance_uid,
        sop_class_uid=image.header.sop_class_uid,
        frame_number=comparison.current_scope.frame_number,
    )
    return UnassessedImage(
        tracking_identifier="Image read, nothing assessed",
        tracking_uid=image_tracking_uid(node, comparison),
        observation_uid=identity.image_observation_uid(),
        region=_whole(image, on_image),
    )


def _whole(image: Image, region: Region) -> Region:
    """Return the whole frame that the region lies on; the region itself when the header names no size."""
    header = image.header
    if not header.rows or not header.columns:
        return region
    return replace(region, left_px=0.0, top_px=0.0, right_px=float(header.columns), bottom_px=float(header.rows))
