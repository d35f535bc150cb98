"""What every engine does the same: arrays enter and are checked against a family; logits enter, probabilities leave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.encoder.bundle import Calibration
from models.encoder.engine import FamilyInfo, FloatArray, InputShapeError


def check_images(images: FloatArray, info: FamilyInfo) -> None:
    """Raise InputShapeError unless `images` is (b, *input_shape) float32 in [0, 1], or the family's padding."""
    _check(images, "images", (None, *info.input_shape))
    if images.size == 0:
        return
    lowest, highest = min(0.0, info.pad_value), max(1.0, info.pad_value)
    if not (images.min() >= lowest and images.max() <= highest):  # also catches NaN
        raise InputShapeError(argument="images", expected=f"values in [{lowest:g}, {highest:g}]", got="others, or NaN")


def check_reading(tokens: FloatArray, token_log_weight: FloatArray | None, info: FamilyInfo) -> FloatArray:
    """Return the weights to read with: those given, or zeros. Raises InputShapeError."""
    _check(tokens, "tokens", (None, info.token_count, info.token_width))
    if token_log_weight is None:
        return np.zeros(tokens.shape[:2], dtype=np.float32)
    _check(token_log_weight, "token_log_weight", tokens.shape[:2])
    if not np.isfinite(token_log_weight).all():
        raise InputShapeError(argument="token_log_weight", expected="finite values", got="infinite, or NaN")
    return token_log_weight


def check_pairs(query: FloatArray, candidates: FloatArray, info: FamilyInfo) -> None:
    """Raise InputShapeError unless `query` is (k+1, d) and `candidates` (m, k+1, d)."""
    side = ((info.rerank_top_k or 0) + 1, info.token_width)
    _check(query, "query", side)
    _check(candidates, "candidates", (None, *side))


def calibrated(logits: FloatArray, calibrations: Sequence[Calibration]) -> FloatArray:
    """Probabilities of logits (b, e) by the calibration of each of the e entities."""
    slopes = np.array([calibration.slope for calibration in calibrations])
    intercepts = np.array([calibration.intercept for calibration in calibrations])
    return logistic(slopes * logits.astype(np.float64) + intercepts)


def logistic(logits: np.ndarray) -> FloatArray:
    """Sigmoid as float32, without overflow."""
    probability: FloatArray = (0.5 * (1 + np.tanh(np.asarray(logits, dtype=np.float64) / 2))).astype(np.float32)
    return probability


def _check(array: FloatArray, argument: str, shape: tuple[int | None, ...]) -> None:
    expected = " x ".join("any" if side is None else str(side) for side in shape) + " float32"
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=False)
    )
    if not fits or array.dtype != np.float32:
        got = " x ".join(str(side) for side in array.shape) + f" {array.dtype}"
        raise InputShapeError(argument=argument, expected=expected, got=got)
