"""The model's benchmarks: a cache folder enters; the seconds of film, CT and reranker beside plain torch's leave."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from tests.bench.bundle import Subject, prepare
from tests.bench.result import Metric, speed_up
from tests.bench.sides import TASKS, Side, both

RUNTIMES = ("onnxruntime", "openvino")


class MedReco:
    """Both sides of each task, measured when a figure of it is first asked for."""

    def __init__(self, cache: Path, runtime: str = RUNTIMES[0]) -> None:
        self._cache = cache
        self._runtime = runtime

    @cached_property
    def subject(self) -> Subject:
        """Checkpoint and bundle of the published sizes. Raises MissingPrerequisiteError."""
        return prepare(self._cache)

    @cached_property
    def _film(self) -> tuple[Side, Side]:
        return self._both("film")

    def cxr_1(self) -> Sequence[Metric]:
        """One film, one entity."""
        ours, plain = self._film
        return [
            speed_up("cxr_1", ours.wall_s("one"), "plain torch, one pass", plain.wall_s("one")),
            speed_up("cxr_1_cpu_s", ours.cpu_s("one"), "plain torch, one pass", plain.cpu_s("one")),
            Metric(name="cxr_1_cosine", value=_least_cosine(ours, plain, "one"), unit="cosine"),
            _memory("cxr_1_peak_mb", ours, plain),
        ]

    def cxr_75(self) -> Sequence[Metric]:
        """One film, all entities of films."""
        ours, plain = self._film
        count = len(ours.answers["all"])
        baseline = f"plain torch, {count} x one measured pass"
        return [
            speed_up("cxr_75", ours.wall_s("all"), baseline, count * plain.wall_s("one")),
            speed_up("cxr_75_cpu_s", ours.cpu_s("all"), baseline, count * plain.cpu_s("one")),
            Metric(name="cxr_75_cosine", value=_least_cosine(ours, plain, "all"), unit="cosine"),
        ]

    def ct_56(self) -> Sequence[Metric]:
        """One CT, all entities of CT."""
        ours, plain = self._both("ct")
        count = len(ours.answers["all"])
        baseline = f"plain torch, {count} x one measured pass"
        return [
            speed_up("ct_56", ours.wall_s("all"), baseline, count * plain.wall_s("one")),
            speed_up("ct_56_cpu_s", ours.cpu_s("all"), baseline, count * plain.cpu_s("one")),
            speed_up("ct_1", ours.wall_s("one"), "plain torch, one pass", plain.wall_s("one")),
            Metric(name="ct_56_cosine", value=_least_cosine(ours, plain, "all"), unit="cosine"),
            _memory("ct_56_peak_mb", ours, plain),
        ]

    def rerank_50(self) -> Sequence[Metric]:
        """One query against 50 candidates, from stored tokens."""
        ours, plain = self._both("rerank")
        difference = float(np.abs(ours.answers["all"] - plain.answers["batched"]).max())
        batched, single = "plain torch, all pairs in one batch", "plain torch, pair after pair"
        return [
            speed_up("rerank_50", ours.wall_s("all"), batched, plain.wall_s("batched")),
            speed_up("rerank_50_cpu_s", ours.cpu_s("all"), batched, plain.cpu_s("batched")),
            speed_up("rerank_50_by_pair", ours.wall_s("all"), single, plain.wall_s("single")),
            Metric(name="rerank_50_max_difference", value=difference, unit="probability"),
            _memory("rerank_50_peak_mb", ours, plain),
        ]

    def _both(self, task: str) -> tuple[Side, Side]:
        return both(TASKS[task], self.subject, self._runtime)


def _least_cosine(ours: Side, plain: Side, call: str) -> float:
    """Least cosine of the entities' embeddings; in float64, for it is close to 1."""
    first, second = (side.answers[call].astype(np.float64) for side in (ours, plain))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / lengths).min())


def _memory(name: str, ours: Side, plain: Side) -> Metric:
    return Metric(
        name=name,
        value=ours.peak_mb,
        unit="MB",
        baseline="plain torch",
        baseline_value=plain.peak_mb,
        ratio=ours.peak_mb / plain.peak_mb,
    )
