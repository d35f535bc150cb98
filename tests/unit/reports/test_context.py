"""Presence, change and side of findings in sentences that were written for this test."""

import pytest

from models.reports.evaluate import ContextCase, read_context_cases
from models.reports.parser import parse_report


def name_of(case: ContextCase) -> str:
    return f"{case.sentence} [{case.finding}]"


@pytest.mark.parametrize("case", read_context_cases(), ids=name_of)
def test_a_sentence_says_of_a_finding_what_it_says(case: ContextCase) -> None:
    said = {
        (one.presence.value, one.change.value, one.side.value if one.side else "")
        for one in parse_report(case.sentence)
        if one.finding == case.finding
    }
    if case.presence:
        assert (case.presence, case.change, case.side) in said
    else:
        assert said == set()


@pytest.mark.parametrize(
    ("sentence", "severity"),
    [
        ("Mild cardiomegaly.", "mild"),
        ("Large right effusion.", "severe"),
        ("Trace left effusion.", "minimal"),
        ("Moderate to severe pulmonary edema.", "severe"),
        ("The heart is borderline enlarged.", "minimal"),
        ("Pulmonary edema.", None),
        ("No large effusion.", None),
    ],
)
def test_severity_is_read_of_what_is_there(sentence: str, severity: str | None) -> None:
    (statement,) = parse_report(sentence)
    assert statement.severity == severity


def test_severity_belongs_to_the_finding_it_stands_before() -> None:
    said = {one.finding: one.severity for one in parse_report("Severe cardiomegaly and pulmonary edema.")}
    assert said == {"cardiomegaly": "severe", "pulmonary edema": None}
