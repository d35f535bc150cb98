"""Acknowledgements."""

import pytest

from operators.notify.acks import Answer, Outcome, outcome_of, read_answer
from operators.notify.config import ErrorPolicy


def test_answer_is_read_with_its_error_code() -> None:
    message = b"MSH|^~\\&|RIS||INTERVAL||20260101||ACK^R01|9|P|2.5.1\rMSA|AE|IV1\rERR||PID^1^3|204^Unknown key|E\r"

    assert read_answer(message) == Answer(code="AE", control_id="IV1", error_code="204")


def test_answer_of_an_old_version_has_its_error_code_in_msa() -> None:
    message = b"MSH#*~\\&#RIS###20260101##ACK#9#P#2.3.1\nMSA#AR#IV1####207*Internal\n"

    assert read_answer(message) == Answer(code="AR", control_id="IV1", error_code="207")


@pytest.mark.parametrize("message", [b"", b"hello", b"MSH|^~\\&|RIS\r", b"MSA|AA|1\r", b"MSH|^~\\&\rMSA|AA\r"])
def test_what_is_no_answer_is_told_apart(message: bytes) -> None:
    assert read_answer(message) is None


@pytest.mark.parametrize(
    ("code", "error", "policy", "outcome"),
    [
        ("AA", "", ErrorPolicy.BY_CODE, Outcome.ACCEPTED),
        ("CA", "", ErrorPolicy.PARK, Outcome.ACCEPTED),
        ("AR", "", ErrorPolicy.RETRY, Outcome.REFUSED),
        ("CR", "207", ErrorPolicy.BY_CODE, Outcome.REFUSED),
        ("AE", "", ErrorPolicy.BY_CODE, Outcome.RETRY),
        ("AE", "207", ErrorPolicy.BY_CODE, Outcome.RETRY),
        ("CE", "206", ErrorPolicy.BY_CODE, Outcome.RETRY),
        ("AE", "101", ErrorPolicy.BY_CODE, Outcome.REFUSED),
        ("AE", "101", ErrorPolicy.RETRY, Outcome.RETRY),
        ("AE", "", ErrorPolicy.PARK, Outcome.REFUSED),
        ("??", "", ErrorPolicy.RETRY, Outcome.REFUSED),
    ],
)
def test_answer_means(code: str, error: str, policy: ErrorPolicy, outcome: Outcome) -> None:
    assert outcome_of(Answer(code=code, control_id="1", error_code=error), policy) is outcome
