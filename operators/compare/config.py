"""Settings of the compare stage."""

from dataclasses import dataclass

from operators.domain.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig:
    """When a change, or the absence of one, is stated.

    Attributes
    ----------
    stable_from_cosine
        Least cosine, in [-1, 1], between the embeddings of current and prior for a finding present on both to be
        called stable.
    stable_within_prob
        Largest difference, in [0, 1], between the two probabilities of presence for the same.
    long_interval_days
        An interval between the studies longer than this many days is named as a caution.
    """

    stable_from_cosine: float = 0.9
    stable_within_prob: float = 0.15
    long_interval_days: int = 730

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of its range."""
        if not -1 <= self.stable_from_cosine <= 1:
            raise ConfigError("compare.stable_from_cosine must be in [-1, 1]")
        if not 0 <= self.stable_within_prob <= 1:
            raise ConfigError("compare.stable_within_prob must be in [0, 1]")
        if self.long_interval_days < 1:
            raise ConfigError("compare.long_interval_days must be 1 or more")
