"""The model's benchmarks: a cache folder enters; the seconds of film, CT and reranker beside plain torch's leave.

Each side is a process of its own, one after the other, on the same inputs: the engine in the serving environment,
the plain model with torch. Their answers are compared too.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench import workload
from tests.bench.bundle import Subject, prepare, training_python
from tests.bench.result import Metric, speed_up

RUNTIMES = ("onnxruntime", "openvino")
_REPOSITORY = Path(__file__).resolve().parents[2]
_INPUTS: Mapping[str, Callable[[], NDArray[np.float32]]] = {
    "film": workload.film,
    "ct": workload.ct,
    "rerank": workload.stored_tokens,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one side's process found."""

    seconds: Mapping[str, float]
    peak_mb: float
    answers: Mapping[str, NDArray[np.float32]]


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
            speed_up("cxr_1", ours.seconds["one"], "plain torch, one pass", plain.seconds["one"]),
            Metric(name="cxr_1_cosine", value=_least_cosine(ours, plain, 1), unit="cosine"),
            _memory("cxr_1_peak_mb", ours, plain),
        ]

    def cxr_75(self) -> Sequence[Metric]:
        """One film, all entities of films."""
        ours, plain = self._film
        count = len(ours.answers["embeddings"])
        baseline = f"plain torch, {count} x one measured pass"
        return [
            speed_up("cxr_75", ours.seconds["all"], baseline, count * plain.seconds["one"]),
            Metric(name="cxr_75_cosine", value=_least_cosine(ours, plain), unit="cosine"),
        ]

    def ct_56(self) -> Sequence[Metric]:
        """One CT, all entities of CT."""
        ours, plain = self._both("ct")
        count = len(ours.answers["embeddings"])
        baseline = f"plain torch, {count} x one measured pass"
        return [
            speed_up("ct_56", ours.seconds["all"], baseline, count * plain.seconds["one"]),
            speed_up("ct_1", ours.seconds["one"], "plain torch, one pass", plain.seconds["one"]),
            Metric(name="ct_56_cosine", value=_least_cosine(ours, plain), unit="cosine"),
            _memory("ct_56_peak_mb", ours, plain),
        ]

    def rerank_50(self) -> Sequence[Metric]:
        """One query against 50 candidates, from stored tokens."""
        ours, plain = self._both("rerank")
        value = ours.seconds["all"]
        difference = float(np.abs(ours.answers["probabilities"] - plain.answers["probabilities"]).max())
        return [
            speed_up("rerank_50", value, "plain torch, all pairs in one batch", plain.seconds["batched"]),
            speed_up("rerank_50_by_pair", value, "plain torch, pair after pair", plain.seconds["single"]),
            Metric(name="rerank_50_max_difference", value=difference, unit="probability"),
            _memory("rerank_50_peak_mb", ours, plain),
        ]

    def _both(self, task: str) -> tuple[Side, Side]:
        subject, plain = self.subject, training_python()
        print(f"bench: {task}, load average {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix="interval-bench-") as name:
            inputs = Path(name) / "inputs.npz"
            np.savez(inputs, input=_INPUTS[task]())
            serving = [sys.executable, "-m", "tests.bench.serving_side", task, self._runtime, str(subject.bundle)]
            torch = [plain, "-m", "tests.bench.plain_side", task, str(subject.checkpoint)]
            return _run(serving, inputs, Path(name) / "ours.npz"), _run(torch, inputs, Path(name) / "plain.npz")


def _run(command: Sequence[str], inputs: Path, answers: Path) -> Side:
    done = subprocess.run(
        [*command, str(inputs), str(answers)], check=True, stdout=subprocess.PIPE, text=True, cwd=_REPOSITORY
    )
    said = json.loads(done.stdout.splitlines()[-1])
    with np.load(answers) as arrays:
        return Side(seconds=said["seconds"], peak_mb=said["peak_mb"], answers=dict(arrays))


def _least_cosine(ours: Side, plain: Side, count: int | None = None) -> float:
    """Least cosine of the first `count` entities' embeddings, of all by default; in float64, for it is close to 1."""
    first, second = (side.answers["embeddings"][:count].astype(np.float64) for side in (ours, plain))
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
