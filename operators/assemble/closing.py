"""The closing of a revision: its clock and the moment enter, whether and why it closes leaves."""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from operators.assemble.config import AssembleConfig
from operators.domain.lifecycle import RevisionClock


class ClosedBy(StrEnum):
    """Why a revision was closed; the values of the column `closed_by`."""

    QUIET = "quiet"
    AGE = "age"
    FORCED = "forced"


def why_close(clock: RevisionClock, now: datetime, config: AssembleConfig) -> ClosedBy | None:
    """Return why the revision closes at `now`, or None while it stays open or was closed before."""
    if not clock.is_open:
        return None
    if now - clock.last_instance_at >= timedelta(seconds=config.quiet_s):
        return ClosedBy.QUIET
    if now - clock.opened_at >= timedelta(seconds=config.max_age_s):
        return ClosedBy.AGE
    return None


def closed(clock: RevisionClock) -> RevisionClock:
    """Return the revision closed: the next image opens another."""
    return replace(clock, is_open=False)
