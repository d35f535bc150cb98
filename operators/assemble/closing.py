"""The closing of a revision: its clock and the moment enter, whether and why it closes leaves."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from operators.assemble.config import AssembleConfig
from operators.domain.ids import Revision


class ClosedBy(StrEnum):
    """Why a revision was closed; the values of the column `closed_by`."""

    QUIET = "quiet"
    AGE = "age"
    FORCED = "forced"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRevision:
    """What decides an open revision's closing: when its first and its latest image came."""

    revision: Revision
    opened_at: datetime
    last_instance_at: datetime


def why_close(revision: OpenRevision, now: datetime, config: AssembleConfig) -> ClosedBy | None:
    """Return why the revision closes at `now`, or None while it stays open."""
    if now - revision.last_instance_at >= timedelta(seconds=config.quiet_s):
        return ClosedBy.QUIET
    if now - revision.opened_at >= timedelta(seconds=config.max_age_s):
        return ClosedBy.AGE
    return None
