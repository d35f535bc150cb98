import pytest

from operators.domain.errors import ConfigError
from operators.report.config import ReportConfig


@pytest.mark.parametrize("numbers", [(0, 1), (5, 5), (1, 2**31)])
def test_series_numbers_that_cannot_be_are_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(ConfigError):
        ReportConfig(sr_series_number=numbers[0], companion_series_number=numbers[1])
