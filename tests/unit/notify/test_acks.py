"""MLLP blocks and acknowledgements."""

import pytest

from operators.notify.acks import (
    ANSWER_MAX_BYTES,
    Answer,
    AnswerTooLargeError,
    BlockBuffer,
    Outcome,
    block,
    outcome_of,
    read_answer,
)
from operators.notify.config import ErrorPolicy


def test_blocks_are_found_in_single_bytes_and_with_noise_between() -> None:
    stream = b"noise" + block(b"one") + b"\r\n" + block(b"two") + block(b"three")
    buffer = BlockBuffer()

    found = [content for byte in stream for content in buffer.feed(bytes([byte]))]

    assert found == [b"one", b"two", b"three"]


def test_several_blocks_in_one_portion_are_all_found() -> None:
    assert BlockBuffer().feed(block(b"one") + block(b"two") + b"\x0bthr") == [b"one", b"two"]


def test_endless_answer_is_refused() -> None:
    buffer = BlockBuffer()

    assert buffer.feed(b"\x0b" + b"x" * (ANSWER_MAX_BYTES - 1)) == []
    with pytest.raises(AnswerTooLargeError):
        buffer.feed(b"x")


@pytest.mark.parametrize("message", [b"a\x0bb", b"a\x1cb"])
def test_message_with_a_delimiter_of_the_block_is_refused(message: bytes) -> None:
    with pytest.raises(ValueError, match="delimiter"):
        block(message)


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
