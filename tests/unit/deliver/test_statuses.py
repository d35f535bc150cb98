import pytest

from operators.deliver.statuses import Outcome, outcome_of, outcome_of_failure, raise_for
from operators.domain.errors import PermanentError, TransientError
from operators.domain.ids import Destination
from operators.domain.reasons import ReasonCode

PACS = Destination("pacs")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, Outcome.STORED),
        (0xB000, Outcome.STORED),
        (0xB007, Outcome.STORED),
        (0x0111, Outcome.STORED),
        (0xA700, Outcome.AGAIN),
        (0xA7FF, Outcome.AGAIN),
        (0x0110, Outcome.AGAIN),
        (0x0213, Outcome.AGAIN),
        (0x0124, Outcome.REFUSED_US),
        (0x0122, Outcome.REFUSED),
        (0xA900, Outcome.REFUSED),
        (0xC000, Outcome.REFUSED),
        (0xFFFF, Outcome.REFUSED),
    ],
)
def test_status_of_a_store_means_what_the_standard_says(status: int, outcome: Outcome) -> None:
    assert outcome_of(status) is outcome


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (0x0111, Outcome.STORED),
        (45070, Outcome.STORED),
        (0xA700, Outcome.AGAIN),
        (0x0124, Outcome.REFUSED_US),
        (0xB000, Outcome.REFUSED),
        (0x0000, Outcome.REFUSED),
        (0xC000, Outcome.REFUSED),
    ],
)
def test_failure_reason_is_a_success_only_where_the_document_is_there(reason: int, outcome: Outcome) -> None:
    assert outcome_of_failure(reason) is outcome


def test_stored_document_raises_nothing() -> None:
    raise_for(Outcome.STORED, PACS, status="0000h")


def test_what_passes_is_sent_again() -> None:
    with pytest.raises(TransientError) as caught:
        raise_for(Outcome.AGAIN, PACS, status="A700h")
    assert caught.value.code is ReasonCode.PACS_AWAY


def test_archive_that_refuses_us_is_waited_for() -> None:
    with pytest.raises(TransientError) as caught:
        raise_for(Outcome.REFUSED_US, PACS, status="0124h")
    assert caught.value.code is ReasonCode.PACS_REFUSED


def test_refused_document_is_parked_with_its_status() -> None:
    with pytest.raises(PermanentError, match="C000h"):
        raise_for(Outcome.REFUSED, PACS, status="C000h")
