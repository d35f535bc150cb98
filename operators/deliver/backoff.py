"""How long to wait before the next attempt: failed attempts and an identity enter, seconds leave. Pure."""

from operators.deliver.config import OutboxConfig
from operators.domain.ids import digest

_SPREAD = 0.25


def wait_s(config: OutboxConfig, attempts: int, identity: str) -> float:
    """Return seconds to wait after `attempts` failed ones (1 or more): doubling up to the longest, then spread.

    The spread takes up to a quarter off, by a hash of the document's identity and the attempt: entries that failed
    together do not all come back together, and yet nothing is random.
    """
    doubled = min(config.longest_wait_s, config.first_wait_s * 2.0 ** min(attempts - 1, 64))
    fraction = int(digest("backoff", identity, str(attempts))[:8], 16) / 0xFFFFFFFF
    return doubled * (1.0 - _SPREAD * fraction)
