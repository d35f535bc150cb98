"""Settings of the compare stage."""

from dataclasses import dataclass

from operators.domain.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareConfig:
    """When a presence, a change, or the absence of one, is stated.

    Attributes
    ----------
    present_from_prob
        Least calibrated probability, in [0, 1], at which a finding is called present, even where the bundle's own cut
        is lower; between that and the bundle's cut for absence it is undetermined.
    state_stability
        Whether a finding present on both images may be called stable. Only for a bundle whose similarity has been
        shown to tell change from no change; otherwise such a finding is reported as present on both.
    stable_from_cosine
        Least cosine, in [-1, 1], between the embeddings of current and prior for a finding to be called stable.
    stable_within_prob
        Largest difference, in [0, 1], between the two probabilities of presence for a finding to be called stable.
    long_interval_days
        An interval between the studies longer than this many days is named as a caution.
    """

    # A cut that keeps false alarms rare among normal films may still call present what is likelier absent: of the 20
    # held-out films that interval-cxr-small 0.1.0 puts above its cut for effusion (0.16), 6 show one.
    present_from_prob: float = 0.5
    # Measured with that bundle: of pairs of held-out films of DIFFERENT patients with pneumonia found on both, 96 %
    # have a cosine of 0.9 or more. Similarity is no evidence of "no change" there, so stability is not stated.
    state_stability: bool = False
    stable_from_cosine: float = 0.9
    stable_within_prob: float = 0.15
    long_interval_days: int = 730

    def __post_init__(self) -> None:
        """Raise ConfigError for a value out of its range."""
        if not -1 <= self.stable_from_cosine <= 1:
            raise ConfigError("compare.stable_from_cosine must be in [-1, 1]")
        if not (0 <= self.stable_within_prob <= 1 and 0 <= self.present_from_prob <= 1):
            raise ConfigError("compare.stable_within_prob and compare.present_from_prob must be in [0, 1]")
        if self.long_interval_days < 1:
            raise ConfigError("compare.long_interval_days must be 1 or more")
