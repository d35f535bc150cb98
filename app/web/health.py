"""Health and metrics: what a load balancer and Prometheus read. Neither carries anything about a patient."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.overview import Overview
from app.reindexing import progress_of_all
from operators.domain.clock import Clock
from operators.domain.database import Pool, transaction
from operators.domain.errors import TransientError
from operators.domain.reasons import ReasonCode

logger = logging.getLogger(__name__)

_COUNTERS = "SELECT name, label, value FROM counters ORDER BY name, label"
# Peers choose their names: each is a time series of its own, and so only those refused most are told apart.
_REFUSALS = """
WITH top AS (SELECT calling_ae FROM refusals GROUP BY calling_ae ORDER BY sum(times) DESC, calling_ae LIMIT %s)
SELECT coalesce(top.calling_ae, 'other') AS calling_ae, reason, sum(times) AS times
FROM refusals LEFT JOIN top USING (calling_ae) GROUP BY 1, 2 ORDER BY 1, 2"""
_OUTBOX = """
SELECT destination, state, count(*) AS documents,
       coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE state = 'waiting')), 0)::float8 AS oldest_s
FROM outbox GROUP BY destination, state ORDER BY 1, 2"""
_BEATS = (
    "SELECT role, extract(epoch FROM now() - max(beat_at))::float8 AS silent_s FROM role_beats GROUP BY role ORDER BY 1"
)

SILENT_AFTER_S = 10.0  # several beats (app/beats.py): one that a busy database makes late is no silence
_NAMES_TOLD = 50
_LOOK_EVERY_S = 1.0
_STALE_AFTER_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a look at the database found: whether it answered, and each role that ever ran, `up` or `silent`."""

    at_s: float
    answers: bool
    roles: dict[str, str] = field(default_factory=dict)


class Watch:
    """Looks at the database from a thread of its own, so that health is told at once, however the database hangs.

    `pool` is the watch's own: pages that wait for connections must not make the database look away.
    """

    def __init__(self, pool: Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._seen = Sight(at_s=float("-inf"), answers=False)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; a look that hangs is not waited for."""
        self._stopping.set()

    def sight(self) -> Sight:
        """Return what was last seen; a look that takes too long counts as one that found nothing."""
        seen, now_s = self._seen, self._clock.monotonic_s()
        return seen if now_s - seen.at_s < _STALE_AFTER_S else Sight(at_s=now_s, answers=False)

    def look(self) -> None:
        """Look now."""
        try:
            with transaction(self._pool) as connection:
                rows = connection.execute(_BEATS).fetchall()
        except TransientError:
            self._seen = Sight(at_s=self._clock.monotonic_s(), answers=False)
            return
        roles = {row["role"]: "up" if row["silent_s"] < SILENT_AFTER_S else "silent" for row in rows}
        self._seen = Sight(at_s=self._clock.monotonic_s(), answers=True, roles=roles)

    def require(self) -> None:
        """Raise TransientError(DATABASE_AWAY) when the database was seen to be away: nobody needs to wait for it."""
        if not self.sight().answers:
            raise TransientError(ReasonCode.DATABASE_AWAY)

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception as exc:  # noqa: BLE001 - the top of the thread; before the migrations, tables are missing
                logger.warning("watch.failed", extra={"kind": type(exc).__name__})
                self._seen = Sight(at_s=self._clock.monotonic_s(), answers=False)
            if self._stopping.wait(_LOOK_EVERY_S):
                return


class NodeCollector(Collector):
    """Reads the figures from the database at each scrape: they are right whichever process answers."""

    def __init__(self, pool: Pool, overview: Overview, watch: Watch) -> None:
        self._pool = pool
        self._overview = overview
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        """Yield the families; only `interval_up 0` when the database is away."""
        try:
            self._watch.require()
            families = list(self._read())
            up = 1.0
        except TransientError:
            families, up = [], 0.0
        yield GaugeMetricFamily("interval_up", "Whether the database answers.", value=up)
        yield from families

    def _read(self) -> Iterator[Metric]:
        studies = GaugeMetricFamily("interval_studies", "Studies by state of their latest revision.", labels=["state"])
        for state, count in self._overview.count_by_state().items():
            studies.add_metric([state], count)
        yield studies
        with transaction(self._pool) as connection:
            counters = connection.execute(_COUNTERS).fetchall()
            refusals = connection.execute(_REFUSALS, (_NAMES_TOLD,)).fetchall()
            outbox = connection.execute(_OUTBOX).fetchall()
            reindexings = progress_of_all(connection)
        events = CounterMetricFamily("interval_events", "Events counted by name.", labels=["name", "label"])
        for row in counters:
            events.add_metric([row["name"], row["label"]], row["value"])
        yield events
        refused = CounterMetricFamily("interval_refused", "Associations refused.", labels=["calling_ae", "reason"])
        for row in refusals:
            refused.add_metric([row["calling_ae"], row["reason"]], float(row["times"]))
        yield refused
        waiting = GaugeMetricFamily(
            "interval_outbox", "Documents by destination and state.", labels=["destination", "state"]
        )
        oldest = GaugeMetricFamily(
            "interval_outbox_oldest_seconds", "Age of the oldest waiting.", labels=["destination"]
        )
        for row in outbox:
            waiting.add_metric([row["destination"], row["state"]], row["documents"])
            if row["state"] == "waiting":
                oldest.add_metric([row["destination"]], row["oldest_s"])
        yield waiting
        yield oldest
        reindexed = GaugeMetricFamily(
            "interval_reindex_studies", "Studies in the spool by bundle and state.", labels=["bundle", "state"]
        )
        for found in reindexings:
            for state, count in (("indexed", found.indexed), ("unreadable", found.unreadable), ("left", found.left)):
                reindexed.add_metric([found.bundle_id, state], count)
        yield reindexed


def registry(pool: Pool, overview: Overview, watch: Watch) -> CollectorRegistry:
    """Return the registry that /metrics exposes."""
    found = CollectorRegistry()
    found.register(NodeCollector(pool, overview, watch))
    return found
