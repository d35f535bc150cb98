"""Out-of-fold logits and truth of one entity enter; its probability scale and its cuts leave. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.encoder.bundle import Calibration
from models.encoder.figures import Cuts

TOLERATED_ERROR = 0.1  # at most this share of absent films is called present, and of present films called absent
_STEPS = 100
_RIDGE = 1e-3


def fit_platt(logits: NDArray[np.floating], truth: NDArray[np.bool_]) -> Calibration:
    """Logistic regression of `truth` (m,) on `logits` (m,) by Newton's method, with Platt's smoothed targets.

    Raises ValueError unless both classes occur.
    """
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        raise ValueError("calibration needs films with and without the entity")
    targets = np.where(truth, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack((logits.astype(np.float64), np.ones(len(logits))), axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        fitted = _logistic(design @ weights)
        gradient = design.T @ (fitted - targets)
        hessian = (design * (fitted * (1 - fitted))[:, None]).T @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        weights -= np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(slope=float(weights[0]), intercept=float(weights[1]))


def apply_platt(calibration: Calibration, logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Probabilities in [0, 1] of `logits`, any shape."""
    return _logistic(calibration.slope * logits.astype(np.float64) + calibration.intercept)


def choose_cuts(
    probability: NDArray[np.floating], truth: NDArray[np.bool_], *, tolerated_error: float = TOLERATED_ERROR
) -> Cuts:
    """Cuts that call at most `tolerated_error` of the absent films present, and as few of the present ones absent.

    Where the two cross, which a good separation brings about, both move to the middle. Raises ValueError unless both
    classes occur.
    """
    if truth.all() or not truth.any():
        raise ValueError("cuts need films with and without the entity")
    present = float(np.quantile(probability[~truth], 1 - tolerated_error, method="higher"))
    absent = float(np.quantile(probability[truth], tolerated_error, method="lower"))
    if absent > present:
        present = absent = (absent + present) / 2
    return Cuts(present=min(1.0, float(np.nextafter(present, 1.0))), absent=absent)


def _logistic(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1 + np.tanh(scaled / 2)), dtype=np.float64)
