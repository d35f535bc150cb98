"""The dispatch loop: entries of the outbox go to their senders, one thread for each destination.

A destination that is away holds up nobody but itself. The loop ends when it is told to, between two documents; a
process that is killed leaves leases behind, which end by the clock.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from operators.deliver.backoff import wait_s
from operators.deliver.config import OutboxConfig
from operators.deliver.outbox import Leased, Outbox
from operators.domain.clock import Clock
from operators.domain.drafts import Sender
from operators.domain.errors import NodeError, PermanentError, TransientError
from operators.domain.ids import Destination, pseudonym
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)

_DATABASE_WAIT_S = 1.0


class Dispatcher:
    """Sends what waits. Several may run on one database, in one process or many: leases keep them apart."""

    def __init__(
        self, outbox: Outbox, senders: Mapping[Destination, Sender], *, clock: Clock, config: OutboxConfig
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._config = config
        self._lines = [Line(outbox, name, sender, clock=clock, config=config) for name, sender in senders.items()]

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set; return when no document is under way any more."""
        ended = threading.Event()
        renewer = threading.Thread(target=self._renew_until, args=(ended,), name="dispatch-leases")
        threads = [
            threading.Thread(target=line.run, args=(stop,), name=f"dispatch-{line.destination}") for line in self._lines
        ]
        for thread in (renewer, *threads):
            thread.start()
        stop.wait()
        self.wake()
        for thread in threads:
            thread.join()
        ended.set()
        renewer.join()

    def wake(self) -> None:
        """Look at the outbox now: something was filed, or the end has come."""
        for line in self._lines:
            line.wake()

    def _renew_until(self, ended: threading.Event) -> None:
        """Keep the leases of what is being sent: an archive may take longer than a lease to answer."""
        while not ended.wait(self._config.lease_s / 3):
            under_way = [line.under_way for line in self._lines if line.under_way is not None]
            if not under_way:
                continue
            until = self._clock.now() + timedelta(seconds=self._config.lease_s)
            try:
                self._outbox.renew(under_way, until)
            except TransientError:
                logger.warning("dispatch.lease_not_renewed", extra={"entries": len(under_way)})


class Line:
    """The way to one destination: one document at a time, in order. Holds after a failure; resumes at once after it."""

    def __init__(
        self, outbox: Outbox, destination: Destination, sender: Sender, *, clock: Clock, config: OutboxConfig
    ) -> None:
        self.destination = destination
        self.under_way: int | None = None
        self._outbox = outbox
        self._sender = sender
        self._clock = clock
        self._config = config
        self._called = threading.Event()
        self._failures = 0
        self._hold_until_s = 0.0

    def run(self, stop: threading.Event) -> None:
        """Send what is due until `stop` is set."""
        while not stop.is_set():
            held_s = self._hold_until_s - self._clock.monotonic_s()
            if held_s > 0 or not self._try_step(stop):
                self._rest(min(held_s, self._config.poll_s) if held_s > 0 else self._config.poll_s)

    def wake(self) -> None:
        """End a rest."""
        self._called.set()

    def _try_step(self, stop: threading.Event) -> bool:
        """Make a step; a defect in it must not end the line, since nobody would send to its destination any more."""
        try:
            return self.step(stop)
        except Exception as exc:  # noqa: BLE001 - the top of the thread
            facts = {"destination": self.destination, "kind": type(exc).__name__}
            logger.error("dispatch.defect", extra=facts)  # noqa: TRY400 - no values in logs
            return False

    def step(self, stop: threading.Event) -> bool:
        """Send the next document that is due; False when there is none, or the database is away."""
        try:
            due = self._outbox.lease_due(self.destination, self._clock.now(), limit=1, lease_s=self._config.lease_s)
        except TransientError:
            return False
        for leased in due:
            self.under_way = leased.outbox_id
            try:
                self._carry(leased, stop)
            finally:
                self.under_way = None
        return bool(due)

    def _carry(self, leased: Leased, stop: threading.Event) -> None:
        error = self._send(leased)
        facts: dict[str, str | int] = {"destination": self.destination, "study": pseudonym(leased.entry.study_uid)}
        kind = leased.entry.document.kind.value
        if error is None:
            self._note(stop, lambda: self._outbox.mark_sent(leased, self._clock.now()))
            logger.info("document.sent", extra={**facts, "kind": kind})
            self._recover(stop)
            return
        facts |= {"kind": kind, "reason": error.sentence}
        failures = self._failures + 1
        if not isinstance(error, TransientError) or leased.attempts + 1 >= self._config.most_attempts:
            logger.warning("document.not_sent", extra={**facts, "parked": True})
        elif _is_power_of_two(failures):  # an archive may be away for a week
            logger.warning("document.not_sent", extra={**facts, "failures": failures})
        if isinstance(error, TransientError):
            self._wait_for_it(leased, error, stop)
        else:
            self._note(stop, lambda: self._outbox.park(leased, error))

    def _send(self, leased: Leased) -> NodeError | None:
        """Send one document; what went wrong is a value here, whatever it was: a line must not die of a document."""
        try:
            self._sender.send(leased.entry.document)
        except NodeError as error:
            return error
        except Exception as exc:  # noqa: BLE001 - the top boundary of the thread: a defect parks its document
            return PermanentError(ReasonCode.INTERNAL_ERROR, stage="deliver", kind=type(exc).__name__)
        return None

    def _wait_for_it(self, leased: Leased, error: TransientError, stop: threading.Event) -> None:
        """Put the entry back for later and hold the line: what is away for one document is away for the next."""
        failed = leased.attempts + 1
        if failed >= self._config.most_attempts:
            given_up = PermanentError(ReasonCode.RETRIES_EXHAUSTED, attempts=failed, last=error.code.value)
            self._note(stop, lambda: self._outbox.park(leased, given_up))
            return
        wait = timedelta(seconds=wait_s(self._config, failed, leased.entry.document.identity))
        next_attempt_at = self._clock.now() + wait
        self._note(stop, lambda: self._outbox.mark_failed(leased, error, next_attempt_at))
        self._failures += 1
        self._hold_until_s = self._clock.monotonic_s() + wait_s(self._config, self._failures, self.destination)

    def _recover(self, stop: threading.Event) -> None:
        """After the first success again, let everything that waited for this destination go at once."""
        if self._failures:
            self._failures = 0
            self._note(stop, lambda: self._outbox.hasten(self.destination, self._clock.now()))

    def _note(self, stop: threading.Event, action: Callable[[], object]) -> None:
        """Write what came of a document, waiting for a database that is away.

        When the end comes first it stays unwritten: the lease ends, and the same bytes are sent again.
        """
        while True:
            try:
                action()
            except TransientError:
                if stop.wait(_DATABASE_WAIT_S):
                    return
            else:
                return

    def _rest(self, seconds: float) -> None:
        self._called.wait(seconds)
        self._called.clear()


def _is_power_of_two(count: int) -> bool:
    return count & (count - 1) == 0
