"""The readings of one image enter, what each of its entities amounts to leaves: present, absent or undetermined."""

from collections.abc import Mapping, Sequence

from operators.compare.states import Seen
from operators.domain.messages import EntityReading, EntityTerm, Presence

_PLACE = "anatomy"
"""Kind of the entities that name a structure; one is present when the structure is abnormal in any way."""


def presence_of(prob: float, term: EntityTerm, *, present_from_prob: float = 0.0) -> Presence:
    """Return what a calibrated probability amounts to.

    Present from the entity's cut `present_from` on, but not below `present_from_prob`; absent below `absent_below`;
    between them, where `prob` is not a probability, or where the entity was never measured, undetermined.
    """
    if term.present_from is None or term.absent_below is None:  # nobody measured it
        return Presence.UNDETERMINED
    is_present = max(term.present_from, present_from_prob) <= prob <= 1
    is_absent = 0 <= prob < term.absent_below
    if is_present == is_absent:
        return Presence.UNDETERMINED
    return Presence.PRESENT if is_present else Presence.ABSENT


def seen_on(readings: Sequence[EntityReading], *, present_from_prob: float = 0.0) -> Mapping[int, Seen]:
    """Return what an image shows, by entity index.

    A structure is not called normal beside a finding in it: the two contradict each other, and the broader statement
    is the one withdrawn.
    """
    alone = {
        each.entity.index: presence_of(each.presence_prob, each.entity, present_from_prob=present_from_prob)
        for each in readings
    }
    affected = {
        each.entity.anatomy
        for each in readings
        if each.entity.kind != _PLACE and alone[each.entity.index] is Presence.PRESENT
    }
    return {
        each.entity.index: Seen(
            prob=each.presence_prob, presence=_coherent(each.entity, alone[each.entity.index], affected)
        )
        for each in readings
    }


def _coherent(term: EntityTerm, presence: Presence, affected: set[str]) -> Presence:
    is_contradicted = term.kind == _PLACE and presence is Presence.ABSENT and term.anatomy in affected
    return Presence.UNDETERMINED if is_contradicted else presence
