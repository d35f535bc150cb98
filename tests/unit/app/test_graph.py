"""The long-lived graph: it sleeps while there is nothing, and ends, its work done, when its source is closed."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from app.pipeline import ReceiveApplication
from operators.domain.ids import AeTitle, InstanceUid, StudyUid
from operators.domain.inbox import Inbox
from operators.domain.messages import StoredInstance, StudyJob

Stored = tuple[StoredInstance, ...]


@pytest.fixture
def inbox() -> Inbox[Stored]:
    return Inbox()


def stored(number: int) -> Stored:
    return (
        StoredInstance(
            instance_uid=InstanceUid(f"1.2.{number}"),
            study_uid=StudyUid("1.2"),
            opens_study=True,
            duplicate=False,
            received_at=datetime(2026, 1, 1, tzinfo=UTC),
            calling_ae=AeTitle("TEST"),
        ),
    )


def running(inbox: Inbox[Stored], assemble: Callable[[Stored], tuple[StudyJob, ...]]) -> threading.Thread:
    graph = ReceiveApplication(stored=inbox, assemble=assemble)
    thread = threading.Thread(target=graph.run, daemon=True)
    thread.start()
    return thread


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_a_graph_that_sleeps_ends_when_its_inbox_is_closed(inbox: Inbox[Stored]) -> None:
    seen: list[Stored] = []

    def assemble(items: Stored) -> tuple[StudyJob, ...]:
        seen.append(items)
        return ()

    thread = running(inbox, assemble)
    inbox.put(stored(1))
    wait_for(lambda: len(seen) == 1)
    time.sleep(0.2)  # long enough for the scheduler to go to sleep
    inbox.close()
    thread.join(10)
    assert not thread.is_alive()


def test_a_graph_that_never_had_anything_ends_when_its_inbox_is_closed(inbox: Inbox[Stored]) -> None:
    thread = running(inbox, lambda _: ())
    time.sleep(0.2)
    inbox.close()
    thread.join(10)
    assert not thread.is_alive()


def test_an_inbox_closed_before_the_start_is_drained(inbox: Inbox[Stored]) -> None:
    seen: list[Stored] = []

    def assemble(items: Stored) -> tuple[StudyJob, ...]:
        seen.append(items)
        return ()

    sent = [stored(number) for number in range(50)]
    for items in sent:
        assert inbox.put(items)
    inbox.close()
    assert not inbox.put(stored(99))
    thread = running(inbox, assemble)
    thread.join(10)
    assert not thread.is_alive()
    assert seen == sent


def test_an_error_of_the_assembler_does_not_end_the_graph(inbox: Inbox[Stored]) -> None:
    seen: list[Stored] = []

    def assemble(items: Stored) -> tuple[StudyJob, ...]:
        seen.append(items)
        if len(seen) == 1:
            raise ZeroDivisionError
        return ()

    thread = running(inbox, assemble)
    inbox.put(stored(1))
    inbox.put(stored(2))
    wait_for(lambda: len(seen) == 2)
    inbox.close()
    thread.join(10)
    assert not thread.is_alive()
