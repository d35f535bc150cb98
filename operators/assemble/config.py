"""Settings of the assemble stage."""

from dataclasses import dataclass

from operators.domain.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembleConfig:
    """When a study is complete.

    `quiet_s` seconds after the latest image of any of its series it closes; `max_age_s` seconds after the first one it
    closes even if images keep coming. `settle_s` seconds after the latest image it is shown as assembling instead of
    receiving. `check_every_s` is how often, at most, the open studies are looked at.
    """

    quiet_s: float = 30.0
    max_age_s: float = 900.0
    settle_s: float = 3.0
    check_every_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.quiet_s <= self.max_age_s:
            raise ConfigError("assemble: quiet_s must be above 0 and not above max_age_s")
        if self.settle_s < 0 or self.check_every_s <= 0:
            raise ConfigError("assemble: settle_s must not be below 0, check_every_s must be above 0")
