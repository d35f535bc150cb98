"""When a revision is open and what an arriving image does to it: a clock and a moment enter, the next clock leaves.

Receive opens and extends revisions by `after_arrival`, assemble closes them; both write the outcome under the lock of
the study's row, so that an image is in exactly one revision and a closed revision gains no image.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from operators.domain.ids import Revision

OPEN_STATES = ("receiving", "assembling")
"""States in which a revision still takes images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionClock:
    """What decides a revision's closing: when its first and its latest image came, and whether it is still open."""

    revision: Revision
    opened_at: datetime
    last_instance_at: datetime
    is_open: bool


def after_arrival(latest: RevisionClock | None, at: datetime) -> RevisionClock:
    """Return the revision that an image received at `at` belongs to, given the study's latest revision so far.

    An open revision is extended, never back in time; after a closed one, or without any, the next number is opened.
    """
    if latest is not None and latest.is_open:
        return replace(latest, last_instance_at=max(latest.last_instance_at, at))
    number = Revision(1 if latest is None else latest.revision + 1)
    return RevisionClock(revision=number, opened_at=at, last_instance_at=at, is_open=True)
