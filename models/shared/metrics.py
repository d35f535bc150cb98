"""Figures of merit: scores, relevance and truth enter; numbers with intervals leave.

Ranking figures follow MedReCo (a hit rate called recall, linear gains). Intervals resample patients, not images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatVector = NDArray[np.float64]
Matrix = NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its 95 % percentile interval. `lo` and `hi` are NaN where no resample could be scored."""

    value: float
    lo: float
    hi: float


def auroc(truth: NDArray[np.bool_], scores: NDArray[np.floating]) -> float:
    """Area under the ROC curve, ties counted half; NaN unless both classes occur. Both (n,)."""
    truth = truth.astype(bool)
    positives = int(truth.sum())
    negatives = truth.size - positives
    if not positives or not negatives:
        return float("nan")
    ranks = _average_ranks(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def bootstrap_by_patient(
    figure: Callable[[NDArray[np.intp]], float], patients: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Evaluate `figure` on row indices, then on rows of patients drawn with replacement.

    A drawn patient brings all of their rows. Resamples whose figure is NaN (one class missing) are left out.
    """
    _, group = np.unique(np.array(patients), return_inverse=True)
    rows_of = [np.flatnonzero(group == number) for number in range(int(group.max()) + 1)] if len(patients) else []
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(resamples if rows_of else 0):
        drawn = generator.integers(0, len(rows_of), len(rows_of))
        value = figure(np.concatenate([rows_of[number] for number in drawn]))
        if not np.isnan(value):
            values.append(value)
    lo, hi = np.percentile(values, [2.5, 97.5]) if values else (np.nan, np.nan)
    return Interval(value=figure(np.arange(len(patients))), lo=float(lo), hi=float(hi))


def recall_at(
    scores: Matrix, relevance: Matrix, cutoffs: Sequence[int], *, relevant_above: float = 0.9, skip_self: bool = True
) -> FloatVector:
    """Share of queries with a relevant item among the best k, over queries that have one at all; -1 if none has.

    `scores`, `relevance`: (n, n), row = query; relevant is strictly above `relevant_above`. One value per cutoff.
    """
    ranked = _ranked_relevance(scores, relevance, skip_self=skip_self) > relevant_above
    ranked = ranked[ranked.any(axis=1)]
    if not len(ranked):
        return np.full(len(cutoffs), -1.0)
    return np.array([ranked[:, :k].any(axis=1).mean() for k in cutoffs])


def ndcg_at(scores: Matrix, relevance: Matrix, cutoffs: Sequence[int], *, skip_self: bool = True) -> FloatVector:
    """Mean NDCG with linear gain and log2(rank + 1) discount; a query without any gain counts 0."""
    ranked = _ranked_relevance(scores, relevance, skip_self=skip_self)
    ideal = -np.sort(-ranked, axis=1)
    discount = 1 / np.log2(np.arange(ranked.shape[1]) + 2)
    values = []
    for k in cutoffs:
        gained, best = ranked[:, :k] @ discount[:k], ideal[:, :k] @ discount[:k]
        values.append(np.divide(gained, best, out=np.zeros_like(gained), where=best > 0).mean())
    return np.array(values)


def mean_relevance_at(scores: Matrix, relevance: Matrix, cutoffs: Sequence[int]) -> tuple[FloatVector, FloatVector]:
    """Mean relevance of ranks 2 to k + 1, rank 1 being taken for the query itself, and its upper bound."""
    ranked = _ranked_relevance(scores, relevance, skip_self=False)
    ideal = -np.sort(-relevance.astype(np.float64), axis=1)
    pairs = [(ranked[:, 1 : k + 1].mean(), ideal[:, 1 : k + 1].mean()) for k in cutoffs]
    reached, bound = zip(*pairs, strict=True)
    return np.array(reached), np.array(bound)


def diagonal_recall_at(scores: Matrix, cutoffs: Sequence[int]) -> FloatVector:
    """Share of queries (row i) whose own item (column i) is among the best k: the hard recall of image to text."""
    own = np.diagonal(scores)[:, None]
    earlier = np.tri(len(scores), k=-1, dtype=bool)  # of equal scores the earlier column ranks first
    rank = (scores > own).sum(axis=1) + ((scores == own) & earlier).sum(axis=1)
    return np.array([(rank < k).mean() for k in cutoffs])


def _ranked_relevance(scores: Matrix, relevance: Matrix, *, skip_self: bool) -> NDArray[np.float64]:
    if skip_self:
        count = len(scores)
        others = ~np.eye(count, dtype=bool)
        scores = scores[others].reshape(count, count - 1)
        relevance = relevance[others].reshape(count, count - 1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.asarray(np.take_along_axis(relevance, order, axis=1), dtype=np.float64)


def _average_ranks(scores: NDArray[np.floating]) -> FloatVector:
    """Ranks from 1, equal scores sharing their mean rank."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: FloatVector = (last - (counts - 1) / 2)[inverse]
    return ranks
