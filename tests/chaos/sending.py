"""The modality of a run: sends what is planned and repeats, as modalities do, what was not answered with success."""

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.chaos.studies import StudyPlan
from tests.support.peers import Peer, dcmsend

_PAUSE_S = 0.5
_TIMEOUTS = ("-to", "5", "-ta", "10", "-td", "20")
_ASSOCIATIONS = 4


class Modality:
    """Sends plans at their times, several associations side by side."""

    def __init__(self, peer: Peer, tell: Callable[[str], None]) -> None:
        self._peer = peer
        self._tell = tell
        self._pool = ThreadPoolExecutor(_ASSOCIATIONS)
        self._given_up = threading.Event()
        self._sent: list[Future[None]] = []
        self._refused = 0

    @property
    def refused(self) -> int:
        """How often an object was not answered with success."""
        return self._refused

    def begin(self, plans: Sequence[StudyPlan]) -> None:
        """Send the plans, from now on."""
        started_s = time.monotonic()
        for plan in plans:
            self._sent.append(self._pool.submit(self._send_plan, plan, started_s + plan.at_s))

    def wait(self, timeout_s: float) -> bool:
        """Return whether everything was acknowledged in time."""
        ends_s = time.monotonic() + timeout_s
        try:
            for sent in self._sent:
                sent.result(max(ends_s - time.monotonic(), 0.1))
        except TimeoutError:
            return False
        return not self._given_up.is_set()

    def give_up(self) -> None:
        """Send no more."""
        self._given_up.set()
        self._pool.shutdown()

    def _send_plan(self, plan: StudyPlan, at_s: float) -> None:
        if self._given_up.wait(max(at_s - time.monotonic(), 0.0)):
            return
        if self._deliver(plan.images):
            self._tell(f"study {plan.patient_id}: {len(plan.images)} images acknowledged")
        if plan.late and not self._given_up.wait(plan.late_after_s) and self._deliver(plan.late):
            self._tell(f"study {plan.patient_id}: a late image acknowledged")

    def _deliver(self, paths: Sequence[Path]) -> bool:
        """Repeat until all are acknowledged; False when it was given up before."""
        left = list(paths)
        while left and not self._given_up.is_set():
            stored = self._try(left)
            left = [path for path in left if path not in stored]
            self._refused += len(left)
            if left:
                self._given_up.wait(_PAUSE_S)
        return not left

    def _try(self, paths: Sequence[Path]) -> set[Path]:
        try:
            outcome = dcmsend(paths, self._peer, options=_TIMEOUTS)
        except subprocess.TimeoutExpired:
            return set()
        return {file.path for file in outcome.files if file.status == 0}
