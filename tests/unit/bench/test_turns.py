"""A worker makes its calls when it is told to, and tells how long they took."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bench.sides import Task, take_turns
from tests.bench.turns import Worker

REPOSITORY = Path(__file__).parents[3]


def _worker(folder: Path) -> Worker:
    return Worker([sys.executable, "-m", "tests.support.told_worker", str(folder / "answers")], REPOSITORY)


def _task(*, rounds: int, plain_rounds: int, warm_up: int) -> Task:
    return Task(
        name="x",
        make_input=lambda: np.zeros(1, dtype=np.float32),
        ours=("fast",),
        plain=("slow",),
        rounds=rounds,
        plain_rounds=plain_rounds,
        warm_up=warm_up,
    )


def test_a_call_takes_as_long_as_it_takes_and_its_last_answer_is_kept(tmp_path: Path) -> None:
    with _worker(tmp_path) as worker:
        assert worker.take("slow").wall_s >= 0.05
        assert worker.take("slow").cpu_s < 0.05
        assert worker.finish() > 1
    assert json.loads((tmp_path / "answers").read_text()) == {"slow": "slow"}


def test_a_worker_that_ends_by_itself_is_told_as_such(tmp_path: Path) -> None:
    with _worker(tmp_path) as worker, pytest.raises(RuntimeError, match=r"told_worker ended with 7"):
        worker.take("fail")


@pytest.mark.parametrize(("rounds", "plain_rounds"), [(3, 3), (3, 1)])
def test_both_sides_have_their_rounds_and_warm_up_rounds_do_not_count(
    tmp_path: Path, rounds: int, plain_rounds: int
) -> None:
    with _worker(tmp_path) as ours, _worker(tmp_path) as plain:
        task = _task(rounds=rounds, plain_rounds=plain_rounds, warm_up=2)
        took = take_turns(task, ours, plain)
    assert len(took["ours"]["fast"]) == rounds
    assert len(took["plain"]["slow"]) == plain_rounds
    assert all(row.wall_s >= 0.05 for row in took["plain"]["slow"])
