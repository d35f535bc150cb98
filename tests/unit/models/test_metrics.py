"""Figures of merit and their intervals."""

from pathlib import Path

import numpy as np
import pytest

from models.shared.metrics import (
    auroc,
    bootstrap_by_patient,
    diagonal_recall_at,
    mean_relevance_at,
    ndcg_at,
    recall_at,
)

REFERENCE = Path(__file__).parents[2] / "fixtures" / "medreco_parity" / "metrics.npz"


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray]:
    with np.load(REFERENCE) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("skip_self", "suffix"), [(True, "exclude_self"), (False, "include_self")])
def test_ranking_figures_agree_with_reference(skip_self: bool, suffix: str, reference: dict[str, np.ndarray]) -> None:
    scores, relevance, cutoffs = reference["scores"], reference["relevance"], reference["k"].tolist()
    recall = recall_at(scores, relevance, cutoffs, skip_self=skip_self)
    ndcg = ndcg_at(scores, relevance, cutoffs, skip_self=skip_self)
    np.testing.assert_allclose(recall, reference[f"recall_{suffix}"], atol=1e-6)
    np.testing.assert_allclose(ndcg, reference[f"ndcg_{suffix}"], atol=1e-6)


def test_mean_relevance_agrees_with_reference(reference: dict[str, np.ndarray]) -> None:
    cutoffs = reference["k"].tolist()
    reached, bound = mean_relevance_at(reference["scores"], reference["relevance"], cutoffs)
    np.testing.assert_allclose(reached, reference["mean_relevance"], atol=1e-6)
    np.testing.assert_allclose(bound, reference["mean_relevance_upper"], atol=1e-6)


def test_hard_recall_counts_the_rank_of_the_own_item() -> None:
    scores = np.array([[0.9, 0.1, 0.2], [0.9, 0.1, 0.2], [0.5, 0.1, 0.5]])  # own items rank first, last, second
    np.testing.assert_allclose(diagonal_recall_at(scores, [1, 2, 3]), [1 / 3, 2 / 3, 1])


def test_hard_recall_agrees_with_reference(reference: dict[str, np.ndarray]) -> None:
    recall = diagonal_recall_at(reference["scores"], reference["k"].tolist())
    np.testing.assert_allclose(recall, reference["hard_recall_argmax"], atol=1e-6)


def test_recall_is_minus_one_where_no_query_has_a_relevant_item() -> None:
    assert recall_at(np.eye(3), np.zeros((3, 3)), [1]).tolist() == [-1]


def test_auroc_counts_ties_half() -> None:
    assert auroc(np.array([True, True, False, False]), np.array([0.9, 0.5, 0.5, 0.1])) == 0.875


def test_auroc_of_one_class_is_not_a_number() -> None:
    assert np.isnan(auroc(np.array([True, True]), np.array([0.1, 0.2])))


def test_bootstrap_resamples_patients_not_images() -> None:
    values = np.repeat(
        [0.0, 1.0], 500
    )  # two patients of 500 like images: resampling images would all but hide the spread
    interval = bootstrap_by_patient(lambda rows: float(values[rows].mean()), ["A"] * 500 + ["B"] * 500)
    assert (interval.value, interval.lo, interval.hi) == (0.5, 0.0, 1.0)


def test_bootstrap_is_the_same_for_the_same_seed() -> None:
    values = np.random.default_rng(0).random(40)
    patients = [f"P{number}" for number in range(40)]
    intervals = {bootstrap_by_patient(lambda rows: float(values[rows].mean()), patients, seed=7) for _ in range(2)}
    assert len(intervals) == 1


def test_bootstrap_of_nothing_scorable_has_no_bounds() -> None:
    interval = bootstrap_by_patient(lambda _: float("nan"), ["A", "B"])
    assert np.isnan([interval.value, interval.lo, interval.hi]).all()
