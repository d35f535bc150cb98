"""HL7 values: numbers, times and segments."""

from datetime import datetime, timedelta, timezone

import pytest

from operators.domain.hl7.er7 import dicom_timestamp, escape_line, numeric, segment, timestamp


@pytest.mark.parametrize(("value", "text"), [(0.0, "0.000"), (1.0, "1.000"), (1e-9, "0.000"), (0.12349, "0.123")])
def test_number_is_digits_and_a_point(value: float, text: str) -> None:
    assert numeric(value, 3) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_number_that_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="number"):
        numeric(value, 3)


def test_moment_keeps_its_zone() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))

    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=zone)) == "20260102030405+0530"


@pytest.mark.parametrize(
    ("day", "time", "text"),
    [
        ("20260102", "030405.678", "20260102030405"),
        ("20260102", "03:04:05", "20260102030405"),
        ("20260102", "0304", "202601020304"),
        ("20260102", "03", "20260102"),
        ("20260102", "", "20260102"),
        ("20260102", "996060", "20260102"),
        ("2026.01.02", "0304", "202601020304"),
        ("soon", "0304", ""),
        ("", "", ""),
    ],
)
def test_study_date_and_time_are_as_precise_as_they_are(day: str, time: str, text: str) -> None:
    assert dicom_timestamp(day, time) == text


def test_segment_ends_with_its_last_value() -> None:
    assert segment("OBX", {1: "1", 3: "b", 9: ""}) == "OBX|1||b"


def test_delimiters_and_controls_of_a_line_are_escaped() -> None:
    assert escape_line("a|b^c&d~e\\f\x1bg\nh") == "a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f\\X1B\\g h"
