"""Chains of merges: which identifier a patient has now. Pure.

A merge says that one identifier is no longer used and another takes its place. An identifier goes into one other at
most, and that may go into a third: the end of the chain is the current one. What one merge did can be undone without
touching another: the others are kept as they were said. The order in which merges come does not matter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from operators.domain.errors import PermanentError
from operators.domain.reasons import ReasonCode


class MergeProblem(StrEnum):
    """Why a merge or its undoing is refused."""

    SAME = "same"
    CIRCULAR = "circular"
    CONFLICT = "conflict"
    NOT_MERGED = "not-merged"


_CODES = {
    MergeProblem.SAME: ReasonCode.PATIENT_SAME,
    MergeProblem.CIRCULAR: ReasonCode.MERGE_CIRCULAR,
    MergeProblem.CONFLICT: ReasonCode.MERGE_CONFLICT,
    MergeProblem.NOT_MERGED: ReasonCode.NOT_MERGED,
}


class MergeRefusedError(PermanentError):
    """A merge, or its undoing, that cannot be meant."""

    def __init__(self, problem: MergeProblem) -> None:
        self.problem = problem
        super().__init__(_CODES[problem])


@dataclass(frozen=True, slots=True)
class Chains:
    """Merges in force: `into` maps each identifier that is no longer used to the one that took its place."""

    into: Mapping[str, str] = field(default_factory=dict)

    def current(self, key: str) -> str:
        """Return the identifier that the patient has now."""
        while key in self.into:
            key = self.into[key]
        return key

    def kin(self, key: str) -> frozenset[str]:
        """Return every identifier of the patient, the current one among them."""
        current = self.current(key)
        return frozenset({current, *(former for former in self.into if self.current(former) == current)})

    def merge(self, former: str, survivor: str) -> "Chains":
        """Return the chains with one merge more; the same where both are one patient's already by this merge.

        Raises MergeRefusedError: SAME for one identifier, CIRCULAR when the survivor itself went into `former`,
        CONFLICT when `former` went into another patient's.
        """
        if former == survivor:
            raise MergeRefusedError(MergeProblem.SAME)
        if former in self.steps(survivor):
            raise MergeRefusedError(MergeProblem.CIRCULAR)
        if former in self.into:
            if self.current(former) != self.current(survivor):
                raise MergeRefusedError(MergeProblem.CONFLICT)
            return self
        return Chains(MappingProxyType({**self.into, former: survivor}))

    def unmerge(self, former: str) -> "Chains":
        """Return the chains without the merge of `former`. Raises MergeRefusedError(NOT_MERGED)."""
        if former not in self.into:
            raise MergeRefusedError(MergeProblem.NOT_MERGED)
        return Chains(MappingProxyType({key: into for key, into in self.into.items() if key != former}))

    def steps(self, key: str) -> Iterator[str]:
        """Yield the identifiers that a patient's went into, one after the other."""
        while key in self.into:
            key = self.into[key]
            yield key

    def changed_since(self, before: "Chains") -> dict[str, str]:
        """Return the current identifier of everyone whose current identifier is another than before."""
        return {
            key: self.current(key) for key in {*self.into, *before.into} if self.current(key) != before.current(key)
        }
