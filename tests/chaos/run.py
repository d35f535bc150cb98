"""One run: a house, its studies and its kills; the outcome as figures."""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from app.postgres import current_url
from tests.chaos.killing import HastyNode, Kill, Killer
from tests.chaos.sending import Modality
from tests.chaos.studies import StudyPlan, plan_studies, seeded
from tests.chaos.verdict import Verdict, judge
from tests.chaos.victims import OF_THE_NODE, Kind
from tests.support.house import House, Node
from tests.support.peers.process import wait_until

_POLL_S = 0.5
ALL = "any"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large a run is: how many studies, how many kills, over how many seconds both are spread."""

    studies: int
    kills: int
    within_s: float
    settle_s: float = 240.0
    kinds: tuple[Kind, ...] = OF_THE_NODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Per fault: how often it was tried, and how many studies that were under way then were lost or doubled."""

    fault: str
    tried: int
    lost: int
    doubled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to.

    `problems` are sentences; `refused` counts objects that the modality had to send again, `resent` messages that the
    RIS got again, byte by byte the same.
    """

    figures: tuple[Figure, ...]
    problems: tuple[str, ...]
    refused: int
    resent: int
    seconds: float

    @property
    def is_clean(self) -> bool:
        """Whether the criterion holds."""
        return not self.problems and all(figure.lost == figure.doubled == 0 for figure in self.figures)

    def metrics(self) -> list[Mapping[str, Any]]:
        """Return the figures as rows."""
        return [asdict(figure) for figure in self.figures]


class Teller:
    """Progress on stderr, with the seconds since the start."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()

    def __call__(self, said: str) -> None:
        """Print one line."""
        print(f"{time.monotonic() - self._began_s:7.1f} s  {said}", file=sys.stderr, flush=True)


def run(scale: Scale, *, seed: int, folder: Path) -> Outcome:
    """Start a house in `folder`, send, kill, wait, judge; the house ends with the run."""
    random, tell = seeded(seed), Teller()
    plans = plan_studies(scale.studies, folder / "objects", random, within_s=scale.within_s)
    moments_s = sorted(random.uniform(0.02, 1.0) * scale.within_s for _ in range(scale.kills))
    house = House(folder)
    node = HastyNode(house.node.folder, house.node.settings)
    house.node = node
    with house:
        tell(f"the house is up, logs are in {folder}")
        for plan in plans:
            house.pacs.archive.upload(plan.prior)
        began_s = time.monotonic()
        modality, killer = Modality(node.peer, tell), Killer(house, node, random, tell, scale.kinds)
        modality.begin(plans)
        killer.begin(moments_s)
        try:
            problems = _see_through(house, plans, modality, killer, scale.settle_s, tell)
        finally:
            killer.stop()
            modality.give_up()
        verdict = judge(house, plans)
        resent = len(house.ris.messages) - len(house.ris.distinct())
        seconds = time.monotonic() - began_s
    for sentence in verdict.sentences():
        tell(sentence)
    return Outcome(
        figures=figures(verdict, killer.kills),
        problems=(*problems, *killer.problems, *verdict.sentences()),
        refused=modality.refused,
        resent=resent,
        seconds=seconds,
    )


def figures(verdict: Verdict, kills: Sequence[Kill]) -> tuple[Figure, ...]:
    """Return one figure for all kills and one for each kind that was tried."""
    tried = Counter(kill.kind.value for kill in kills)
    lost, doubled = len(verdict.lost), len(verdict.doubled)
    whole = Figure(fault=f"kill -9 {ALL}", tried=len(kills), lost=lost, doubled=doubled)
    # One kill cannot be told from the next as the cause: a loss is held against every kind that was killed.
    parts = (
        Figure(fault=f"kill -9 {kind}", tried=count, lost=lost, doubled=doubled)
        for kind, count in sorted(tried.items())
    )
    return (whole, *parts)


def _see_through(
    house: House,
    plans: Sequence[StudyPlan],
    modality: Modality,
    killer: Killer,
    settle_s: float,
    tell: Teller,
) -> list[str]:
    """Wait until all kills were made, all objects acknowledged, all studies ended and no job is left."""
    killer.wait()
    ends_s = time.monotonic() + settle_s
    problems = []
    if modality.wait(ends_s - time.monotonic()):
        tell("everything was sent and acknowledged")
    else:
        problems.append("not everything that was sent was acknowledged")
    progress = _Progress(house, plans, tell)
    if not wait_until(progress.is_over, max(ends_s - time.monotonic(), 1.0)):
        problems.append(f"after {settle_s:.0f} s: {progress.last}")
    return problems


class _Progress:
    """Tells how many studies are done whenever that changes."""

    def __init__(self, house: House, plans: Sequence[StudyPlan], tell: Teller) -> None:
        self.last = "nothing was heard of the node"
        self._node = house.node
        self._uids = {plan.study_uid for plan in plans}
        self._tell = tell

    def is_over(self) -> bool:
        time.sleep(_POLL_S)
        try:
            rows = self._node.get("/api/v1/studies?limit=500")
        except httpx.HTTPError:
            return False
        states = Counter(row["state"] for row in rows if row["study_uid"] in self._uids)
        waiting = [row for row in rows if row["state"] == "done" and row["waits_for"]]
        said = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "no study is known"
        if said != self.last:
            self.last = said
            self._tell(said)
        return states["done"] == len(self._uids) and not waiting and _jobs_left(self._node) == 0


def _jobs_left(node: Node) -> int | None:
    """Return how many jobs the queue holds, those that a dead worker left behind too; None when it cannot be asked."""
    url = current_url(node.state_dir / "postgres")
    if url is None:
        return None
    try:
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone()
    except psycopg.OperationalError:
        return None
    return int(found[0]) if found else None
