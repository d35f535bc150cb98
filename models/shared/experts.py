"""Weights of a retrieval checkpoint enter; what they tell of each expert leaves: trained, untouched, or a copy.

An expert that no training image was routed to keeps what it was initialised with: weights uniform within Xavier's
bound, perhaps shrunk by weight decay, and norms of one and zero. Training turns that into distributions with tails.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

UNIFORM_KURTOSIS: Final = 1.8
KURTOSIS_ERRORS: Final = 5.0
"""Standard errors of a sample's kurtosis that a uniform one may be off by."""

PEAK_MARGIN: Final = 1.03
"""How far the largest value of a uniform matrix may exceed sqrt(3) standard deviations."""

COPY_COSINE: Final = 1 - 1e-6

_SAMPLE: Final = 1 << 16
_LEAST_VALUES: Final = 256  # of fewer, the shape of a distribution cannot be told
_EXPERT: Final = re.compile(r"(?P<bank>.+)\.experts\.(?P<number>\d+)\.(?P<part>\d+\.\w+)")


class ExpertState(StrEnum):
    """What the weights say of an expert. `UNCERTAIN`: some of its matrices look untouched, some do not."""

    TRAINED = "trained"
    UNTOUCHED = "never-trained"
    COPY = "copied-untrained"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertStatistics:
    """What the banks of one expert look like.

    `matrices` and `uniform_matrices` count its weight matrices and those that look like an initialisation;
    `shrink_least` and `shrink_most` are their spreads as a share of Xavier's (both near one: never even decayed);
    `norms_untouched` tells whether all of its norms are one and zero (None without norms); `copy_of` is the expert that
    it equals up to one factor per matrix, if any.
    """

    number: int
    state: ExpertState
    matrices: int
    uniform_matrices: int
    shrink_least: float
    shrink_most: float
    norms_untouched: bool | None
    copy_of: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixShape:
    """How the values of one matrix are distributed: kurtosis, peak over standard deviation, spread over Xavier's."""

    kurtosis: float
    peak: float
    shrink: float
    values: int

    @property
    def is_uniform(self) -> bool:
        """Whether it looks drawn uniformly."""
        error = math.sqrt(_KURTOSIS_VARIANCE / self.values)
        return (
            self.values >= _LEAST_VALUES
            and abs(self.kurtosis - UNIFORM_KURTOSIS) <= KURTOSIS_ERRORS * error
            and self.peak <= math.sqrt(3) * PEAK_MARGIN
        )


_KURTOSIS_VARIANCE: Final = 1.317
"""Of a sample of n uniform values: the variance of their kurtosis, times n, for large n (delta method)."""


def expert_statistics(state: Mapping[str, NDArray[Any]]) -> tuple[ExpertStatistics, ...]:
    """Judge the experts of all banks of `state` together, by number.

    `state` may hold other entries, and may load an array only when it is asked for one: at most two are held at a time.
    Returns nothing where there is no expert.
    """
    banks: dict[int, list[str]] = {}
    for key in sorted(state):
        if found := _EXPERT.fullmatch(key):
            banks.setdefault(int(found["number"]), []).append(key)
    copies = {number: _copied(state, number, keys, sorted(banks)) for number, keys in banks.items()}
    return tuple(_judge(state, number, banks[number], copies[number]) for number in sorted(banks))


def matrix_shape(matrix: NDArray[Any]) -> MatrixShape:
    """Describe a weight matrix (rows, columns); of a large one, the kurtosis of an even sample of its values."""
    flat = np.asarray(matrix, dtype=np.float32).reshape(-1)
    deviation = float(np.sqrt(np.mean(np.square(flat), dtype=np.float64)))
    xavier = math.sqrt(2 / sum(matrix.shape))  # deviation of a uniform draw within sqrt(6 / (fan in + fan out))
    if not deviation:
        return MatrixShape(kurtosis=0.0, peak=0.0, shrink=0.0, values=flat.size)
    sample = flat[:: max(1, flat.size // _SAMPLE)].astype(np.float64)
    kurtosis = float(np.mean(sample**4) / np.mean(sample**2) ** 2)
    return MatrixShape(
        kurtosis=kurtosis,
        peak=float(np.abs(flat).max()) / deviation,
        shrink=deviation / xavier,
        values=sample.size,
    )


def _judge(
    state: Mapping[str, NDArray[Any]], number: int, keys: Sequence[str], copy_of: int | None
) -> ExpertStatistics:
    shapes = [matrix_shape(state[key]) for key in keys if len(state[key].shape) == 2]
    norms = [key for key in keys if len(state[key].shape) == 1]
    untouched = all(np.all(state[key] == (1 if key.endswith("weight") else 0)) for key in norms) if norms else None
    shrinks = [shape.shrink for shape in shapes]
    uniform = sum(shape.is_uniform for shape in shapes)
    return ExpertStatistics(
        number=number,
        state=_state(uniform, len(shapes), norms_untouched=untouched, copy_of=copy_of),
        matrices=len(shapes),
        uniform_matrices=uniform,
        shrink_least=min(shrinks, default=0.0),
        shrink_most=max(shrinks, default=0.0),
        norms_untouched=untouched,
        copy_of=copy_of,
    )


def _state(uniform: int, matrices: int, *, norms_untouched: bool | None, copy_of: int | None) -> ExpertState:
    if copy_of is not None:
        return ExpertState.COPY
    if not uniform:
        return ExpertState.TRAINED
    if uniform == matrices and norms_untouched is not False:
        return ExpertState.UNTOUCHED
    return ExpertState.UNCERTAIN


def _copied(state: Mapping[str, NDArray[Any]], number: int, keys: Sequence[str], numbers: Sequence[int]) -> int | None:
    """Find the first lower-numbered expert whose matrices are those of `number`, each up to a positive factor."""
    own = [key for key in keys if len(state[key].shape) == 2]
    for other in numbers:
        if other >= number:
            break
        twins = [_EXPERT.sub(rf"\g<bank>.experts.{other}.\g<part>", key) for key in own]
        if own and all(twin in state and _equal(state[key], state[twin]) for key, twin in zip(own, twins, strict=True)):
            return other
    return None


def _equal(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.shape != other.shape:
        return False
    flat, twin = np.asarray(one, dtype=np.float32).reshape(-1), np.asarray(other, dtype=np.float32).reshape(-1)
    lengths = float(np.linalg.norm(flat)) * float(np.linalg.norm(twin))
    return lengths > 0 and float(flat @ twin) / lengths >= COPY_COSINE
