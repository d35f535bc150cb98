"""Patients enter with what must not be separated; the split of each leaves, the same for the same seed.

A patient is never in two splits, nor are two patients of whom near-identical images are known.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping


def split_patients(
    strata: Mapping[str, str],
    *,
    shares: Mapping[str, float],
    seed: int,
    inseparable: Iterable[tuple[str, str]] = (),
) -> dict[str, str]:
    """Deal patients to splits so that each stratum is shared out as `shares` says.

    `strata` names a stratum per patient (the rarest finding, say); `inseparable` pairs patients that must stay
    together, and is ignored where it names an unknown patient. Raises ValueError unless the shares are positive and
    sum to 1.
    """
    if min(shares.values(), default=0) <= 0 or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError("shares must be positive and sum to 1")
    groups = _groups(strata, inseparable)
    generator = random.Random(seed)  # noqa: S311  (a reproducible shuffle, no secret)
    by_stratum: dict[str, list[list[str]]] = defaultdict(list)
    for group in groups:
        by_stratum[min(strata[patient] for patient in group)].append(group)
    splits: dict[str, str] = {}
    dealt = dict.fromkeys(shares, 0)
    for stratum in sorted(by_stratum):
        members = by_stratum[stratum]
        generator.shuffle(members)
        for group in members:
            total = sum(dealt.values()) + len(group)
            split = max(shares, key=lambda name: shares[name] * total - dealt[name])
            dealt[split] += len(group)
            splits.update(dict.fromkeys(group, split))
    return splits


def _groups(strata: Mapping[str, str], inseparable: Iterable[tuple[str, str]]) -> list[list[str]]:
    """List connected components of patients, each sorted, in the order of their first patient."""
    leader = {patient: patient for patient in strata}

    def find(patient: str) -> str:
        while leader[patient] != patient:
            patient = leader[patient]
        return patient

    for one, other in inseparable:
        if one in leader and other in leader:
            first, second = sorted((find(one), find(other)))
            leader[second] = first
    members: dict[str, list[str]] = defaultdict(list)
    for patient in sorted(strata):
        members[find(patient)].append(patient)
    return list(members.values())
