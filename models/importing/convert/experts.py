"""The weights of a checkpoint enter; what they say of each expert's training leaves.

An expert that no sample was routed to keeps what it was drawn as: matrices uniform within a bound (all of them shrunk
alike by weight decay at most), norms of ones and zeros. So does a copy of another expert, which the research code makes
for modalities that are new.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from math import sqrt
from typing import Final

import torch
from torch import Tensor

from models.importing.facts import ExpertFacts

_EXPERT: Final = re.compile(r"(.+\.experts)\.(\d+)\.(.+)")
_FLAT: Final = sqrt(3)  # largest value over standard deviation of a uniform distribution around zero
_TOLERANCE: Final = 0.01
_LEAST_VALUES: Final = 5_000  # in fewer the largest value says too little

Expert = dict[str, Tensor]


def expert_facts(state: Mapping[str, Tensor]) -> tuple[ExpertFacts, ...]:
    """Judge each expert of the layers in `state`, of which each has its own bank of experts."""
    banks = _banks(state)
    numbers = sorted({number for bank in banks for number in bank})
    return tuple(_facts(number, [bank for bank in banks if number in bank]) for number in numbers)


def _banks(state: Mapping[str, Tensor]) -> list[dict[int, Expert]]:
    banks: dict[str, dict[int, Expert]] = defaultdict(lambda: defaultdict(dict))
    for key, value in state.items():
        if found := _EXPERT.fullmatch(key):
            bank, number, name = found.groups()
            banks[bank][int(number)][name] = value
    return list(banks.values())


def _facts(number: int, banks: list[dict[int, Expert]]) -> ExpertFacts:
    judged = [_flatness(bank[number]) for bank in banks]
    return ExpertFacts(
        expert=number,
        layers=len(banks),
        initial=sum(1 for bank, flat in zip(banks, judged, strict=True) if flat and not _moved_norm(bank[number])),
        copy_of=_copied(number, banks),
        spread=sum(_spread(bank[number]) for bank in banks) / len(banks),
    )


def _flatness(expert: Expert) -> bool:
    """Whether all matrices have the distribution that they were drawn from; False where they are too small to tell."""
    matrices = [value for value in expert.values() if value.dim() == 2]
    if not matrices or min(matrix.numel() for matrix in matrices) < _LEAST_VALUES:
        return False
    return all(_peak(matrix) < _FLAT + _TOLERANCE + _chance(matrix.numel()) for matrix in matrices)


def _chance(count: int) -> float:
    """Four times what the ratio of a uniform distribution scatters by, drawn `count` times."""
    return 4 * _FLAT * sqrt(0.2 / count)


def _peak(matrix: Tensor) -> float:
    values = matrix.float()
    spread = float(values.std())
    return float(values.abs().max()) / spread if spread else float("inf")


def _moved_norm(expert: Expert) -> bool:
    vectors = {name.rpartition(".")[2]: value for name, value in expert.items() if value.dim() == 1}
    starts = {"weight": 1.0, "bias": 0.0}
    return any(not bool((value == starts[name]).all()) for name, value in vectors.items() if name in starts)


def _copied(number: int, banks: list[dict[int, Expert]]) -> int | None:
    """Lowest other expert whose weights are the same in every layer."""
    for other in range(number):
        if all(other in bank and _same(bank[number], bank[other]) for bank in banks):
            return other
    return None


def _same(one: Expert, other: Expert) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _spread(expert: Expert) -> float:
    """Give the standard deviation of the matrices in units of what Xavier's rule draws."""
    ratios = [float(value.float().std()) / sqrt(2 / sum(value.shape)) for value in expert.values() if value.dim() == 2]
    return sum(ratios) / max(1, len(ratios))
