"""Fixtures of losses, metrics and the position table enter: formulas without weights; checks of every array leave."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from math import isqrt
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.encoder.parity.checks import Arrays, Check, Checker, NotApplicableError, absolute, exact, relative
from models.encoder.parity.folder import FixtureFolder
from models.encoder.train.objectives import (
    TripletRule,
    diagonal_contrastive,
    image_text_contrastive,
    smooth_average_precision,
    supervised_contrastive,
    triplet_ranking,
)
from models.shared.metrics import diagonal_recall_at, mean_relevance_at, ndcg_at, recall_at
from models.shared.positions import sinusoidal_positions

ONNX_NOT_APPLICABLE: Final = "losses, metrics and constants are not part of a served graph"
METRIC_TOLERANCE: Final = 1e-6
LOSS_TOLERANCE: Final = 1e-4  # times the largest value
NO_DIAGONAL_TOLERANCE: Final = 5e-4  # the reference forms this denominator by subtraction
TINY_LOSS_TOLERANCE: Final = 1e-7  # absolute: what single precision leaves of a loss that is nearly nothing
FIXTURE_TRIPLETS: Final = TripletRule(margin=0.1, gap=0.25, positive=0.7, negative=1.0)

Loss = Callable[[Tensor, Tensor, float], Tensor]
_LOSSES: Final[dict[str, tuple[Loss, float]]] = {
    "supcon": (image_text_contrastive, LOSS_TOLERANCE),
    "supcon_no_diag": (supervised_contrastive, NO_DIAGONAL_TOLERANCE),
    "multi_pos_infonce": (diagonal_contrastive, LOSS_TOLERANCE),
    "smooth_ap": (smooth_average_precision, LOSS_TOLERANCE),
}
_LOSS_INPUTS: Final = frozenset({"pred_sim", "true_sim", "bce_logits", "bce_labels"})
_METRIC_INPUTS: Final = frozenset({"scores", "relevance", "threshold", "k"})
_NAMED: Final = re.compile(r"(?P<loss>\w+?)_thr(?P<threshold>[\d.]+)_tau(?P<temperature>[\d.]+)")
_DIAGONAL: Final = re.compile(r"infonce_diag_tau(?P<temperature>[\d.]+)")


def formula_checkers(folder: FixtureFolder) -> tuple[Checker, ...]:
    """Checkers of files that no weights are needed for."""
    return (
        Checker("losses", lambda _, arrays, path: _losses(arrays, path), _LOSS_INPUTS),
        Checker("metrics", lambda _, arrays, path: _metrics(arrays, path), _METRIC_INPUTS),
        Checker("pos_embedding", lambda _, arrays, path: _positions(folder, arrays, path)),
    )


def _positions(folder: FixtureFolder, arrays: Arrays, path: str) -> Iterator[Check]:
    _torch_only(path)
    count, width = arrays["pos"].shape
    rows, columns = folder.config.position_grid
    if rows * columns < count:
        rows = columns = isqrt(count)
    yield relative("pos", sinusoidal_positions(rows, columns, width)[:count], arrays["pos"])


def _metrics(arrays: Arrays, path: str) -> Iterator[Check]:
    _torch_only(path)
    scores, relevance, cutoffs = arrays["scores"], arrays["relevance"], arrays["k"].tolist()
    threshold = float(arrays["threshold"])
    values = {"hard_recall_argmax": diagonal_recall_at(scores, cutoffs)}
    for skip_self, name in ((True, "exclude_self"), (False, "include_self")):
        values[f"recall_{name}"] = recall_at(scores, relevance, cutoffs, relevant_above=threshold, skip_self=skip_self)
        values[f"ndcg_{name}"] = ndcg_at(scores, relevance, cutoffs, skip_self=skip_self)
    values["mean_relevance"], values["mean_relevance_upper"] = mean_relevance_at(scores, relevance, cutoffs)
    for array, value in values.items():
        if array in arrays:
            yield absolute(array, value, arrays[array], METRIC_TOLERANCE)


def _losses(arrays: Arrays, path: str) -> Iterator[Check]:
    _torch_only(path)
    similarity, truth = (torch.from_numpy(arrays[name]).float() for name in ("pred_sim", "true_sim"))
    for array, reference in arrays.items():
        if (found := _NAMED.fullmatch(array)) and found["loss"] in _LOSSES:
            loss, tolerance = _LOSSES[found["loss"]]
            threshold, temperature = float(found["threshold"]), float(found["temperature"])
            values = [
                loss(row, relevance >= threshold, temperature) for row, relevance in zip(similarity, truth, strict=True)
            ]
            largest = float(np.abs(reference).max(initial=TINY_LOSS_TOLERANCE))
            tolerance = max(tolerance, TINY_LOSS_TOLERANCE / largest)
            yield relative(array, torch.stack(values).numpy(), reference, tolerance)
        elif found := _DIAGONAL.fullmatch(array):
            yield _diagonal(array, similarity, arrays, float(found["temperature"]))
    yield from _triplets(arrays, similarity, truth)
    if "bce" in arrays:
        logits, labels = (torch.from_numpy(arrays[name]).float() for name in ("bce_logits", "bce_labels"))
        costs = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        yield relative("bce", costs.mean(dim=-1).numpy(), arrays["bce"], LOSS_TOLERANCE)


def _diagonal(array: str, similarity: Tensor, arrays: Arrays, temperature: float) -> Check:
    none = torch.zeros(similarity.shape[1:], dtype=torch.bool)
    values = torch.stack([diagonal_contrastive(row.double(), none, temperature) for row in similarity])
    return absolute(array, _of_condition_zero(values, arrays[array].ndim), arrays[array], TINY_LOSS_TOLERANCE)


def _triplets(arrays: Arrays, similarity: Tensor, truth: Tensor) -> Iterator[Check]:
    for array, weighted in (("triplet_weighted", True), ("triplet_unweighted", False)):
        pairs = [
            triplet_ranking(row, relevance, FIXTURE_TRIPLETS, weighted=weighted)
            for row, relevance in zip(similarity, truth, strict=True)
        ]
        if array in arrays:
            values = _of_condition_zero(torch.stack([value for value, _ in pairs]), arrays[array].ndim)
            yield relative(array, values, arrays[array], LOSS_TOLERANCE)
        if f"{array}_count" in arrays:
            count = np.array(sum(int(count) for _, count in pairs))
            yield exact(f"{array}_count", count, arrays[f"{array}_count"])


def _of_condition_zero(values: Tensor, axes: int) -> np.ndarray:
    """Take a value per condition, or where the fixture has a single number that of condition 0."""
    return (values if axes else values[0]).numpy()


def _torch_only(path: str) -> None:
    if path != "torch":
        raise NotApplicableError(ONNX_NOT_APPLICABLE)
