"""The items of a sentence enter; for each finding in it, what its context says of it leaves. Pure.

The rules are those of ConText (Harkema et al. 2009): a trigger reaches forward or backward from where it stands,
until a terminator or a trigger of the same kind. Beyond ConText, members of a list are told from a new assertion:
"no effusion or consolidation" denies both, "no effusion, small nodule" only the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from models.reports.items import Item
from models.reports.lexicon import Role
from models.reports.statements import Change, Severity

_CONDITIONAL: Final = "change_if_compared"
_CHANGES: Final = ("change", _CONDITIONAL)
_FARTHEST_ITEMS: Final = 60  # no assertion of a written report reaches over more phrases than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What is said of one finding. `is_hypothetical`: it is only asked or planned for, not stated."""

    is_negated: bool
    is_uncertain: bool
    is_hypothetical: bool
    is_many: bool
    change: Change
    severity: Severity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """A trigger and the items that it reaches, both by number."""

    trigger: int
    role: Role
    numbers: range


def contexts(items: Sequence[Item], or_words: frozenset[int]) -> dict[int, Context]:
    """Context of every finding, by its item number. `or_words`: numbers of the items that say "or"."""
    compared = any(item.plays("comparison") for item in items)
    reaching: dict[int, list[_Reach]] = {number: [] for number, item in enumerate(items) if item.term is not None}
    for reach in _reaches(items, or_words, compared=compared):
        for number in reach.numbers:
            if number in reaching:
                reaching[number].append(reach)
    return {number: _context(number, items, mine) for number, mine in reaching.items()}


def _context(number: int, items: Sequence[Item], mine: Sequence[_Reach]) -> Context:
    categories = {reach.role.category for reach in mine}
    changes = sorted(
        (reach for reach in mine if reach.role.category in _CHANGES),
        key=lambda reach: abs(items[reach.trigger].first - items[number].first),
    )
    severities = [reach for reach in mine if reach.role.category == "severity"]
    return Context(
        is_negated="negation" in categories,
        is_uncertain="uncertainty" in categories,
        is_hypothetical="hypothetical" in categories,
        is_many="multiple" in categories,
        change=Change(changes[0].role.value) if changes else Change.NONE,
        severity=Severity(severities[-1].role.value) if severities else None,
    )


def _reaches(items: Sequence[Item], or_words: frozenset[int], *, compared: bool) -> Iterator[_Reach]:
    for number, item in enumerate(items):
        for role in item.roles:
            if not role.direction or (role.category == _CONDITIONAL and not compared):
                continue
            for direction in _directions(items, number, role):
                if direction == "forward":
                    numbers = range(number + 1, _forward_end(items, number, role, or_words))
                else:
                    numbers = range(_backward_start(items, number), number)
                yield _Reach(trigger=number, role=role, numbers=numbers)


def _directions(items: Sequence[Item], number: int, role: Role) -> tuple[str, ...]:
    """Ways that a trigger reaches. One that can stand before or after its finding is judged by its neighbours."""
    if role.direction != "both":
        return (role.direction,)
    if role.category == "uncertainty":
        return ("forward", "backward")
    before = items[number - 1] if number else None
    if before is not None and _has_finding(items[max(0, number - _FARTHEST_ITEMS) : number]):
        if before.plays("copula") and before.last == items[number].first:
            return ("backward",)
        if before.mark == "," and not _has_finding(items[number : number + _FARTHEST_ITEMS]):
            return ("backward",)
    return ("forward",) if _finding_follows(items, number) else ("backward",)


def _has_finding(items: Sequence[Item]) -> bool:
    return any(item.term is not None for item in items)


def _finding_follows(items: Sequence[Item], number: int) -> bool:
    """Whether a finding stands after the trigger, with no break between them."""
    for item in items[number + 1 : number + _FARTHEST_ITEMS]:
        if item.term is not None:
            return True
        if item.mark in {",", ";", ":"} or item.plays("terminator", "copula", "negation"):
            return False
    return False


def _forward_end(items: Sequence[Item], number: int, role: Role, or_words: frozenset[int]) -> int:
    seen = False
    last = min(len(items), number + _FARTHEST_ITEMS)
    for other in range(number + 1, last):
        item = items[other]
        if _stops(item, role):
            return other
        if seen and item.joins and (role.scope == "near" or _begins_anew(items, other, role, or_words)):
            return other
        if item.term is not None:
            if role.scope == "near":
                return other + 1
            seen = True
    return last


def _stops(item: Item, role: Role) -> bool:
    """Whether a trigger's reach ends at this item whatever stands around it."""
    if item.mark in {";", "?"} or item.plays("terminator"):
        return not (role.category in {"negation", "hypothetical"} and item.plays("uncertainty"))
    if role.category in _CHANGES:
        return item.plays("change", "negation")
    if role.category == "uncertainty":
        return item.plays("negation") and not item.plays("uncertainty")
    return role.category in {"severity", "multiple"} and item.plays("copula")


def _begins_anew(items: Sequence[Item], joint: int, role: Role, or_words: frozenset[int]) -> bool:
    """Whether what follows a comma or "and" is a new assertion, not the next member of the trigger's list."""
    if role.scope == "clause" or joint in or_words:
        return False
    following = items[joint + 1] if joint + 1 < len(items) else None
    if following is None or not following.plays("resume"):
        return False
    listed = range(joint + 1, _clause_end(items, joint + 1))
    return not any(number in or_words for number in listed)


def _clause_end(items: Sequence[Item], start: int) -> int:
    last = min(len(items), start + _FARTHEST_ITEMS)
    for number in range(start, last):
        if items[number].mark == ";" or items[number].plays("terminator"):
            return number
    return last


def _backward_start(items: Sequence[Item], number: int) -> int:
    """First item that a trigger reaches backward: to a terminator, or to where an earlier assertion ended."""
    seen = False
    first = max(0, number - _FARTHEST_ITEMS)
    for other in range(number - 1, first - 1, -1):
        item = items[other]
        if item.mark == ";" or item.plays("terminator"):
            return other + 1
        if seen and item.joins and _ended_before(items, other, number):
            return other + 1
        seen = seen or item.term is not None
    return first


def _ended_before(items: Sequence[Item], joint: int, number: int) -> bool:
    """Whether an assertion of its own ends at a comma or "and": it has its own verb, or no "and"/"or" carries on."""
    for item in reversed(items[max(0, joint - _FARTHEST_ITEMS) : joint]):
        if item.plays("copula", "change"):
            return True
        if item.mark or item.plays("terminator"):
            break
    joined = any(item.plays("coordinator") for item in items[joint:number])
    return not joined
