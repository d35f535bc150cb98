"""A task enters; both sides do it in turns, and what each took, its peak memory and its answers leave.

The sides are the node's engine in the serving environment and the plain model with torch, a process each, on the same
inputs. After warm-up rounds that do not count, every round goes once through all calls of both sides.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.bench import workload
from tests.bench.bundle import Subject, training_python
from tests.bench.turns import Took, Worker

_REPOSITORY: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is done: the calls of both sides and how often. What the plain side does once is not warmed up."""

    name: str
    make_input: Callable[[], NDArray[np.float32]]
    ours: tuple[str, ...]
    plain: tuple[str, ...]
    rounds: int
    plain_rounds: int
    warm_up: int


TASKS: Final = {
    task.name: task
    for task in (
        Task(
            name="film",
            make_input=workload.film,
            ours=("one", "all"),
            plain=("one",),
            rounds=7,
            plain_rounds=7,
            warm_up=2,
        ),
        Task(
            name="ct", make_input=workload.ct, ours=("one", "all"), plain=("one",), rounds=3, plain_rounds=1, warm_up=1
        ),
        Task(
            name="rerank",
            make_input=workload.stored_tokens,
            ours=("all",),
            plain=("batched", "single"),
            rounds=3,
            plain_rounds=3,
            warm_up=1,
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one side did: the rounds of each call, its peak memory, and the last answer of each call."""

    took: Mapping[str, Sequence[Took]]
    peak_mb: float
    answers: Mapping[str, NDArray[np.float32]]

    def wall_s(self, call: str) -> float:
        """Median of the seconds on the clock."""
        return statistics.median(took.wall_s for took in self.took[call])

    def cpu_s(self, call: str) -> float:
        """Median of the processors' seconds."""
        return statistics.median(took.cpu_s for took in self.took[call])


def both(task: Task, subject: Subject, runtime: str) -> tuple[Side, Side]:
    """Do the task on both sides. Raises MissingPrerequisiteError, RuntimeError where a side fails."""
    plain_python = training_python()
    print(f"bench: {task.name}, load average {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="interval-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        inputs = folder / "inputs.npz"
        np.savez(inputs, input=task.make_input())
        ends = {side: [str(inputs), str(folder / f"{side}.npz")] for side in ("ours", "plain")}
        serving = [sys.executable, "-m", "tests.bench.serving_side", task.name, runtime, str(subject.bundle)]
        torch = [plain_python, "-m", "tests.bench.plain_side", task.name, str(subject.checkpoint)]
        ours = stack.enter_context(Worker([*serving, *ends["ours"]], _REPOSITORY))
        plain = stack.enter_context(Worker([*torch, *ends["plain"]], _REPOSITORY))
        took = take_turns(task, ours, plain)
        first, second = (
            Side(took=took[side], peak_mb=worker.finish(), answers=_load(Path(ends[side][1])))
            for side, worker in (("ours", ours), ("plain", plain))
        )
        return first, second


def take_turns(task: Task, ours: Worker, plain: Worker) -> dict[str, dict[str, list[Took]]]:
    """Rounds of every call, by side and call."""
    sides = (("ours", ours, task.ours, task.rounds), ("plain", plain, task.plain, task.plain_rounds))
    found: dict[str, dict[str, list[Took]]] = {side: {call: [] for call in calls} for side, _, calls, _ in sides}
    for number in range(-task.warm_up, task.rounds):
        for side, worker, calls, rounds in sides:
            if number >= rounds or (number < 0 and rounds == 1):
                continue
            for call in calls:
                took = worker.take(call)
                if number >= 0:
                    found[side][call].append(took)
                    said = f"round {number + 1}, {side} {call}: {took.wall_s:.3f} s, processors {took.cpu_s:.3f} s"
                    print(f"{task.name}: {said}", file=sys.stderr, flush=True)
    return found


def _load(path: Path) -> dict[str, NDArray[np.float32]]:
    with np.load(path) as arrays:
        return dict(arrays)
