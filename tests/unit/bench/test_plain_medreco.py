"""What the benchmarks compare with is the reference's model, at the reference's cost."""

import json

import pytest

from tests.support.training import run_training_module

RELATIVE_TOLERANCE = 2e-5
REFERENCE_GFLOP = {"film": 206.4, "mri": 303.7, "ct": 1177.0}
MODEL_FILES = 12


@pytest.fixture(scope="module")
def checked() -> dict[str, dict[str, float]]:
    done = run_training_module("tests.support.plain_checks")
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


def test_the_plain_model_agrees_with_every_array_of_the_reference(checked: dict[str, dict[str, float]]) -> None:
    assert len(checked["errors"]) == MODEL_FILES
    assert max(checked["errors"].values()) <= RELATIVE_TOLERANCE, checked["errors"]


def test_the_plain_model_costs_what_the_reference_costs(checked: dict[str, dict[str, float]]) -> None:
    for name, gflop in REFERENCE_GFLOP.items():
        assert checked["gflop"][name] == pytest.approx(gflop, rel=0.05)


def test_a_rerank_pair_costs_its_three_layers_over_260_tokens(checked: dict[str, dict[str, float]]) -> None:
    length, width, inner = 260, 512, 1365
    projections, attention, experts = 4 * width * width, 2 * length * width, 3 * width * inner
    assert checked["gflop"]["pair"] == pytest.approx(
        3 * 2 * length * (projections + attention + experts) / 1e9, rel=0.01
    )
