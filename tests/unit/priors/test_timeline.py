import pytest

from operators.priors.timeline import moment_of


def is_before(first: tuple[str, str], second: tuple[str, str]) -> bool:
    then, now = moment_of(*first), moment_of(*second)
    assert then is not None
    assert now is not None
    return then.is_before(now)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (("20240101", ""), ("20240102", ""), True),
        (("20240102", ""), ("20240101", ""), False),
        (("20240101", "0800"), ("20240101", "0801"), True),
        (("20240101", "0800"), ("20240101", "080030"), False),  # may be 08:00:59
        (("20240101", "08"), ("20240101", "0830"), False),  # may be 08:59
        (("20240101", "080000.1"), ("20240101", "080000.25"), True),
        (("20240101", "080000.2"), ("20240101", "080000.25"), False),  # may be .29
        (("20240101", ""), ("20240101", "2359"), False),
        (("20240101", "nonsense"), ("20240101", "2359"), False),
        (("20240101", "2500"), ("20240101", "2359"), False),
        (("1992.12.31", "10:11:12"), ("19930101", "101112"), True),
        (("19930101", "10:11:12"), ("19930101", "101113"), True),
        (("20240101", "080000"), ("20240101", "080000"), False),
    ],
)
def test_before_means_before_however_precisely_it_is_said(
    first: tuple[str, str], second: tuple[str, str], expected: bool
) -> None:
    assert is_before(first, second) is expected


@pytest.mark.parametrize("text", ["", "2024", "20241301", "20240230", "today", "20240101-20240102"])
def test_what_is_no_date_is_no_moment(text: str) -> None:
    assert moment_of(text, "1200") is None


def test_days_are_counted_between_dates() -> None:
    then, now = moment_of("20240228", "235959"), moment_of("20240301", "000000")
    assert then is not None
    assert now is not None
    assert then.days_before(now) == 2
