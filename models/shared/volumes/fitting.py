"""An axis of any length enters, the part of it that fits the model's input, and where it lies there, leave."""

import math
from dataclasses import dataclass

from models.shared.volumes.resampling import Taps


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedAxis:
    """Taps of what is kept; it fills `start` up to `stop` of the target; `cut` outputs were cut off before it."""

    taps: Taps
    start: int
    stop: int
    cut: int

    @property
    def place(self) -> slice:
        """Where the data lie on the target axis; the rest is padding."""
        return slice(self.start, self.stop)


def resampled_size(size: int, old_mm: float, new_mm: float) -> int:
    """Count the outputs of an axis of `size` that goes from one spacing to another: rounded down, at least 1."""
    return max(1, math.floor(size * old_mm / new_mm))


def fitted(taps: Taps, target: int) -> FittedAxis:
    """Cut the middle `target` outputs out, or place all of them in the middle; odd rests go to the end."""
    missing = target - taps.outputs
    if missing >= 0:
        return FittedAxis(taps=taps, start=missing // 2, stop=missing // 2 + taps.outputs, cut=0)
    cut = -missing // 2
    return FittedAxis(taps=taps.part(cut, cut + target), start=0, stop=target, cut=cut)
