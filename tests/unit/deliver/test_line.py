"""The line to one destination outlives what it does not know."""

import threading
from datetime import datetime
from typing import cast

from operators.deliver.config import OutboxConfig
from operators.deliver.dispatch import Line
from operators.deliver.outbox import Leased, Outbox
from operators.domain.clock import SystemClock
from operators.domain.drafts import Document
from operators.domain.ids import Destination


class Broken:
    """An outbox with a defect, for two looks."""

    def __init__(self, enough: threading.Event) -> None:
        self.looks = 0
        self._enough = enough

    def lease_due(self, destination: Destination, now: datetime, *, limit: int, lease_s: float) -> list[Leased]:
        del destination, now, limit, lease_s
        self.looks += 1
        if self.looks <= 2:
            raise ZeroDivisionError
        self._enough.set()
        return []


class Nobody:
    def send(self, document: Document) -> None:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def test_a_defect_does_not_end_the_line() -> None:
    enough, stop = threading.Event(), threading.Event()
    config = OutboxConfig(poll_s=0.01)
    line = Line(cast("Outbox", Broken(enough)), Destination("pacs"), Nobody(), clock=SystemClock(), config=config)
    thread = threading.Thread(target=line.run, args=(stop,), daemon=True)
    thread.start()
    assert enough.wait(10)
    stop.set()
    line.wake()
    thread.join(10)
    assert not thread.is_alive()
