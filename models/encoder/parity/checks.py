"""What was computed and what the reference has enter; checks with their tolerances, and one row per file, leave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

TOKEN_TOLERANCE: Final = 2e-5  # times the largest absolute value of the reference array
SCORE_TOLERANCE: Final = 2e-6  # absolute


class Check(NamedTuple):
    """One compared array: its name, the error and the largest error that passes.

    `also` are further arrays of the file that the comparison took in.
    """

    array: str
    error: float
    tolerance: float
    also: tuple[str, ...] = ()

    @property
    def covers(self) -> tuple[str, ...]:
        """Arrays of the file that are accounted for by this."""
        return (self.array, *self.also)

    @property
    def severity(self) -> float:
        """Error in units of the tolerance; more than 1 fails, and so does what is not a number."""
        if not np.isfinite(self.error):
            return float("inf")
        if self.tolerance > 0:
            return self.error / self.tolerance
        return 0.0 if self.error <= 0 else float("inf")


class NotApplicableError(Exception):
    """A file that cannot be compared by the path asked for; the text says why."""


class MalformedError(ValueError):
    """A file that is not what its name says; the text says what is wrong."""


class Checker(NamedTuple):
    """Files whose names start with `prefix`, and the comparison of one of them by one path.

    `check(name, arrays, path)` raises NotApplicableError, KeyError (an array that is missing), and ValueError,
    IndexError or RuntimeError for what cannot be computed. `inputs` are arrays that say what to compute; any other
    that no check covers is named in the row.
    """

    prefix: str
    check: Callable[[str, Arrays, str], Iterable[Check]]
    inputs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """The worst array of one file by one path. A skip has a reason instead of numbers, and so has a failure to compute.

    `max_error` and `tolerance` are those of `array`, the one that is nearest to its tolerance or furthest above it.
    """

    file: str
    path: str
    max_error: float | None
    tolerance: float | None
    status: str
    reason: str = ""
    array: str = ""


def relative(array: str, got: NDArray[Any], reference: NDArray[Any], tolerance: float = TOKEN_TOLERANCE) -> Check:
    """Largest error as a share of the largest absolute value of `reference` (1 where all of it is zero)."""
    largest = float(np.abs(reference).max(initial=0)) or 1.0
    return Check(array, _largest_difference(array, got, reference) / largest, tolerance)


def absolute(array: str, got: NDArray[Any], reference: NDArray[Any], tolerance: float = SCORE_TOLERANCE) -> Check:
    """Largest absolute error."""
    return Check(array, _largest_difference(array, got, reference), tolerance)


def exact(array: str, got: NDArray[Any], reference: NDArray[Any]) -> Check:
    """Count the values that differ; none may."""
    if np.shape(got) != np.shape(reference):
        raise MalformedError(f"{array} is {np.shape(reference)} where {np.shape(got)} was expected")
    return Check(array, float(np.count_nonzero(np.asarray(got) != np.asarray(reference))), 0.0)


def row_of(file: str, path: str, checks: list[Check], note: str = "") -> ParityRow:
    """Say how the worst of `checks` went. Without any, nothing was compared and that is a failure."""
    if not checks:
        return failure(file, path, "no array of the file could be compared")
    worst = max(checks, key=lambda check: check.severity)
    failed = [check.array for check in checks if check.severity > 1]
    finite = np.isfinite(worst.error)
    return ParityRow(
        file=file,
        path=path,
        max_error=worst.error if finite else None,
        tolerance=worst.tolerance,
        status="fail" if failed else "pass",
        reason="; ".join(part for part in (_blame(failed, worst, is_number=bool(finite)), note) if part),
        array=worst.array,
    )


def failure(file: str, path: str, reason: str) -> ParityRow:
    """Row of a file that could not be compared although it should."""
    return ParityRow(file=file, path=path, max_error=None, tolerance=None, status="fail", reason=reason)


def skip(file: str, path: str, reason: str) -> ParityRow:
    """Row of a file that was left out."""
    return ParityRow(file=file, path=path, max_error=None, tolerance=None, status="skip", reason=reason)


def _blame(failed: list[str], worst: Check, *, is_number: bool) -> str:
    if not failed:
        return ""
    return f"above tolerance: {', '.join(failed)}" + ("" if is_number else f"; {worst.array} is not a number")


def _largest_difference(array: str, got: NDArray[Any], reference: NDArray[Any]) -> float:
    got, reference = np.asarray(got), np.asarray(reference)
    if got.size != reference.size:
        raise MalformedError(f"{array} is {reference.shape} where {got.shape} was expected")
    if not reference.size:
        raise MalformedError(f"{array} is empty")
    difference = np.abs(got.astype(np.float64).reshape(reference.shape) - reference.astype(np.float64))
    return float(difference.max())
