"""The one who kills: at moments drawn before, a random process of the house ends, and what nobody else restarts is."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.chaos.victims import OF_THE_NODE, Kind, Victim, choose, find_victims, kill
from tests.support.house import House, Node

_LOOK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One kill, in seconds of the monotonic clock."""

    kind: Kind
    at_s: float


class HastyNode(Node):
    """A node that is started again without waiting for its roles: the next kill may come while they start."""

    hasty = False

    def is_ready(self) -> bool:
        """Return whether all roles are up; at once when in haste."""
        return self.hasty or super().is_ready()

    def respawn(self) -> None:
        """Start the supervisor again."""
        self.hasty = True
        self.start()
        self.hasty = False


class Killer:
    """Kills at the given moments, one process at a time, on a thread of its own; keeps what was killed, and why not."""

    def __init__(
        self, house: House, node: HastyNode, random: Random, tell: Callable[[str], None], kinds: Sequence[Kind]
    ) -> None:
        self.kills: list[Kill] = []
        self.problems: list[str] = []
        self._house = house
        self._node = node
        self._random = random
        self._tell = tell
        self._kinds = frozenset(kinds or OF_THE_NODE)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, moments_s: Sequence[float]) -> None:
        """Kill at these seconds from now, and keep the supervisor alive until `end`."""
        began_s = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, args=([began_s + moment for moment in moments_s],), name="killer"
        )
        self._thread.start()

    def wait(self) -> None:
        """Return when all moments have passed."""
        if self._thread is not None:
            self._thread.join()

    def stop(self) -> None:
        """Kill no more."""
        self._over.set()
        self.wait()

    def _run(self, moments_s: Sequence[float]) -> None:
        for number, moment_s in enumerate(moments_s, start=1):
            while time.monotonic() < moment_s:
                if self._over.wait(_LOOK_S):
                    return
                self._notice_end()
            self._strike(number, len(moments_s))

    def _notice_end(self) -> None:
        if not self._node.is_running:
            self.problems.append("the supervisor ended by itself")
            self._node.respawn()

    def _strike(self, number: int, of: int) -> None:
        victims = self._living()
        while not victims:
            if self._over.wait(_LOOK_S):
                return
            victims = self._living()
        victim = choose(victims, self._random)
        kill(victim)
        self.kills.append(Kill(kind=victim.kind, at_s=time.monotonic()))
        self._tell(f"kill {number}/{of}: {victim.kind} (process {victim.pid})")
        self._restart(victim)

    def _living(self) -> list[Victim]:
        pid = self._node.pid if self._node.is_running else None
        found = find_victims(pid, self._node.state_dir)
        found += [Victim(kind=Kind.PACS, pid=self._house.pacs.pid), Victim(kind=Kind.RIS, pid=self._house.ris.pid)]
        return [victim for victim in found if victim.kind in self._kinds]

    def _restart(self, victim: Victim) -> None:
        """Start again what has nobody above it."""
        if victim.kind is Kind.SUPERVISOR:
            self._node.kill()
            self._node.respawn()
        elif victim.kind is Kind.PACS:
            self._house.pacs.kill()
            self._house.pacs.start()
        elif victim.kind is Kind.RIS:
            self._house.ris.kill()
            self._house.ris.start()
