import hypothesis.strategies as st
from hypothesis import given

from operators.deliver.backoff import wait_s
from operators.deliver.config import OutboxConfig

CONFIGS = st.builds(
    OutboxConfig, first_wait_s=st.floats(0.1, 10), longest_wait_s=st.floats(10, 3600), lease_s=st.just(15.0)
)
ATTEMPTS = st.integers(1, 10_000)


@given(config=CONFIGS, attempts=ATTEMPTS, identity=st.text())
def test_wait_is_within_bounds_and_the_same_every_time(config: OutboxConfig, attempts: int, identity: str) -> None:
    waited = wait_s(config, attempts, identity)
    assert 0.75 * config.first_wait_s <= waited <= config.longest_wait_s
    assert waited == wait_s(config, attempts, identity)


@given(config=CONFIGS, attempts=st.integers(1, 100), identity=st.text())
def test_wait_never_shrinks_by_more_than_the_spread(config: OutboxConfig, attempts: int, identity: str) -> None:
    assert wait_s(config, attempts + 1, identity) >= 0.75 * wait_s(config, attempts, identity)


def test_first_waits_double() -> None:
    config = OutboxConfig(first_wait_s=1, longest_wait_s=64)
    waits = [wait_s(config, attempts, "x") for attempts in range(1, 8)]
    for number, waited in enumerate(waits):
        assert 0.75 * 2**number <= waited <= 2**number
