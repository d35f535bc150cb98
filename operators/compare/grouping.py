"""One finding enters, the group it is reported in leaves; a group has one sentence template and is reported in order.

Every finding belongs to exactly one group, by its state and the presences it rests on, so nothing is told twice and
nothing is left out.
"""

from dataclasses import dataclass
from enum import StrEnum

from operators.domain.messages import ChangeState, EntityFinding, Presence


class About(StrEnum):
    """What a sentence speaks of; `Sentence.about` holds one of these."""

    COMPARISON = "comparison"
    CAUTION = "caution"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    PRESENT = "present"
    UNDETERMINED = "undetermined"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """How findings alike are told: `template` holds one {} for the phrases, `together` is one sentence for all.

    A template without {} tells of all its findings without naming them.
    """

    name: str
    about: About
    template: str
    together: bool = True


_NEW = Group(
    name="new",
    about=About.CHANGE,
    template="The model finds {} that it does not find on the prior: new.",
    together=False,
)
_RESOLVED = Group(
    name="resolved",
    about=About.CHANGE,
    template="The model finds {} on the prior but no longer on the current image: resolved.",
    together=False,
)
_WORSE = Group(
    name="worse",
    about=About.CHANGE,
    template="The model finds {} on both images, worse than on the prior.",
    together=False,
)
_BETTER = Group(
    name="better",
    about=About.CHANGE,
    template="The model finds {} on both images, better than on the prior.",
    together=False,
)
_STABLE = Group(
    name="stable",
    about=About.UNCHANGED,
    template="The model finds {} on both images and measures no change.",
    together=False,
)
_PRESENT_ON_BOTH = Group(
    name="present-on-both",
    about=About.PRESENT,
    template="The model finds {} on both images; it does not judge whether the extent has changed.",
)
_PRESENT_NOT_COMPARED = Group(
    name="present-not-compared",
    about=About.PRESENT,
    template="The model finds {} on the current image and not on the prior, but does not state it as a change.",
)
_PRESENT_PRIOR_OPEN = Group(
    name="present-prior-open",
    about=About.PRESENT,
    template="The model finds {} on the current image; the prior leaves it undetermined.",
)
_PRESENT = Group(name="present", about=About.PRESENT, template="The model finds: {}.")
_ABSENT_NOT_COMPARED = Group(
    name="absent-not-compared",
    about=About.UNDETERMINED,
    template="The model finds {} on the prior and not on the current image, but does not state it as a change.",
)
_OPEN_PRIOR_PRESENT = Group(
    name="open-prior-present",
    about=About.UNDETERMINED,
    template="The model finds {} on the prior; the current image leaves it undetermined.",
)
_OPEN = Group(name="open", about=About.UNDETERMINED, template="Undetermined on the current image: {}.")
_ABSENT_PRIOR_OPEN = Group(
    name="absent-prior-open",
    about=About.ABSENT,
    template="The model does not find {} on the current image; the prior leaves it undetermined.",
)
_ABSENT_ON_BOTH = Group(
    name="absent-on-both",
    about=About.ABSENT,
    template="The model finds on neither image: {}.",
)
_ABSENT = Group(name="absent", about=About.ABSENT, template="The model does not find: {}.")
_NOT_MEASURED = Group(
    name="not-measured",
    about=About.UNDETERMINED,
    template=(
        "Of entities on which this model was never measured with patients held out from its training nothing is "
        "stated: neither presence, nor absence, nor change."
    ),
)
"""An imported model may serve 75 such entities: their names would bury what is stated."""

GROUPS = (
    *(_NEW, _RESOLVED, _WORSE, _BETTER),
    _STABLE,
    *(_PRESENT_ON_BOTH, _PRESENT_NOT_COMPARED, _PRESENT_PRIOR_OPEN, _PRESENT),
    *(_ABSENT_NOT_COMPARED, _OPEN_PRIOR_PRESENT, _OPEN),
    *(_ABSENT_PRIOR_OPEN, _ABSENT_ON_BOTH, _ABSENT),
    _NOT_MEASURED,
)
"""In the order of the report: what changed, what did not, what is there, what is open, what is not there; at last what
nothing can be said of."""

_BY_STATE = {
    ChangeState.NEW: _NEW,
    ChangeState.RESOLVED: _RESOLVED,
    ChangeState.WORSE: _WORSE,
    ChangeState.BETTER: _BETTER,
    ChangeState.STABLE: _STABLE,
    ChangeState.ABSENT: _ABSENT_ON_BOTH,
}

_BY_PRESENCES = {
    (Presence.PRESENT, Presence.PRESENT): _PRESENT_ON_BOTH,
    (Presence.PRESENT, Presence.ABSENT): _PRESENT_NOT_COMPARED,
    (Presence.PRESENT, Presence.UNDETERMINED): _PRESENT_PRIOR_OPEN,
    (Presence.PRESENT, None): _PRESENT,
    (Presence.ABSENT, Presence.PRESENT): _ABSENT_NOT_COMPARED,
    (Presence.ABSENT, Presence.ABSENT): _ABSENT_ON_BOTH,
    (Presence.ABSENT, Presence.UNDETERMINED): _ABSENT_PRIOR_OPEN,
    (Presence.ABSENT, None): _ABSENT,
    (Presence.UNDETERMINED, Presence.PRESENT): _OPEN_PRIOR_PRESENT,
    (Presence.UNDETERMINED, Presence.ABSENT): _OPEN,
    (Presence.UNDETERMINED, Presence.UNDETERMINED): _OPEN,
    (Presence.UNDETERMINED, None): _OPEN,
}
"""(current, prior) to the group of an undetermined finding; no prior reading is None."""


def group_of(finding: EntityFinding) -> Group:
    """Return the group that tells this finding."""
    if not finding.is_measured:
        return _NOT_MEASURED
    return _BY_STATE.get(finding.state) or _BY_PRESENCES[finding.current, finding.prior]
