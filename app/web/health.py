"""Health and metrics: what a load balancer and Prometheus read. Neither carries anything about a patient."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app.overview import Overview
from operators.domain.database import Pool, transaction
from operators.domain.errors import TransientError

_COUNTERS = "SELECT name, label, value FROM counters ORDER BY name, label"
_REFUSALS = "SELECT calling_ae, reason, sum(times) AS times FROM refusals GROUP BY calling_ae, reason ORDER BY 1, 2"
_OUTBOX = """
SELECT destination, state, count(*) AS documents,
       coalesce(extract(epoch FROM now() - min(created_at)) FILTER (WHERE state = 'waiting'), 0)::float8 AS oldest_s
FROM outbox GROUP BY destination, state ORDER BY 1, 2"""
_BEATS = (
    "SELECT role, extract(epoch FROM now() - max(beat_at))::float8 AS silent_s FROM role_beats GROUP BY role ORDER BY 1"
)

SILENT_AFTER_S = 30.0


def database_answers(pool: Pool) -> bool:
    """Whether the database answers a trivial question."""
    try:
        with transaction(pool) as connection:
            connection.execute("SELECT 1")
    except TransientError:
        return False
    return True


def roles(pool: Pool) -> dict[str, str]:
    """Return each role that ever ran and whether it is `up` or `silent`."""
    with transaction(pool) as connection:
        rows = connection.execute(_BEATS).fetchall()
    return {row["role"]: "up" if row["silent_s"] < SILENT_AFTER_S else "silent" for row in rows}


class NodeCollector(Collector):
    """Reads the figures from the database at each scrape: they are right whichever process answers."""

    def __init__(self, pool: Pool, overview: Overview) -> None:
        self._pool = pool
        self._overview = overview

    def collect(self) -> Iterator[Metric]:
        """Yield the families; only `interval_up 0` when the database is away."""
        try:
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
            refusals = connection.execute(_REFUSALS).fetchall()
            outbox = connection.execute(_OUTBOX).fetchall()
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


def registry(pool: Pool, overview: Overview) -> CollectorRegistry:
    """Return the registry that /metrics exposes."""
    found = CollectorRegistry()
    found.register(NodeCollector(pool, overview))
    return found
