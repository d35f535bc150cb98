"""When a revision closes."""

from datetime import UTC, datetime, timedelta

import pytest

from operators.assemble.closing import ClosedBy, OpenRevision, why_close
from operators.assemble.config import AssembleConfig
from operators.domain.errors import ConfigError
from operators.domain.ids import Revision

_NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_CONFIG = AssembleConfig(quiet_s=30.0, max_age_s=900.0)


def _at(seconds: float) -> datetime:
    return _NOON + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("last_s", "now_s", "by"),
    [
        (0.0, 0.0, None),
        (0.0, 29.999, None),
        (0.0, 30.0, ClosedBy.QUIET),
        (880.0, 899.999, None),
        (890.0, 900.0, ClosedBy.AGE),
        (800.0, 900.0, ClosedBy.QUIET),
        (10.0, -5.0, None),
    ],
)
def test_quiet_or_old_enough_closes(last_s: float, now_s: float, by: ClosedBy | None) -> None:
    opened = OpenRevision(revision=Revision(1), opened_at=_NOON, last_instance_at=_at(last_s))

    assert why_close(opened, _at(now_s), _CONFIG) is by


@pytest.mark.parametrize(
    "settings",
    [{"quiet_s": 0.0}, {"quiet_s": 60.0, "max_age_s": 30.0}, {"settle_s": -1.0}, {"check_every_s": 0.0}],
)
def test_a_wrong_setting_is_named(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="assemble"):
        AssembleConfig(**settings)
