"""The items of a sentence enter; for each finding in it, the places that it is said to be at leave. Pure.

A place belongs to a finding that stands directly after it ("left base atelectasis"), that a preposition ties it to
("atelectasis in the left base"), or whose subject it is ("the left base is clear"). A finding of a list without a
place of its own shares that of its neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from models.reports.items import Item
from models.reports.lexicon import ANY_ORGAN, EACH_ORGAN, Lexicon, Place

_SHARED_OVER: Final = ("coordinator", "uncertainty")


@dataclass(slots=True, kw_only=True)
class _Search:
    """State of one sentence: which place belongs to which finding so far."""

    items: Sequence[Item]
    lexicon: Lexicon
    owner: dict[int, int] = field(default_factory=dict)
    found: dict[int, tuple[Place, ...]] = field(default_factory=dict)

    def fits(self, finding: int, place: Place) -> bool:
        """Whether the finding can be at the place; sides fit everywhere."""
        term = self.items[finding].term
        if term is None:
            return False
        meanings = self.lexicon.meanings[term.name]
        return not place.organs or any(key in meanings for key in (ANY_ORGAN, EACH_ORGAN, *place.organs))


def places_of_findings(items: Sequence[Item], lexicon: Lexicon) -> Mapping[int, tuple[Place, ...]]:
    """Places of every finding, by its item number; an empty tuple where the sentence says none."""
    search = _Search(items=items, lexicon=lexicon)
    findings = [number for number, item in enumerate(items) if item.term is not None]
    for finding in findings:
        _claim_after(search, finding)
    for finding in findings:
        search.found[finding] = _chosen(search, finding)
    _share(search, findings)
    return search.found


def _claim_after(search: _Search, finding: int) -> None:
    """Give the finding the places behind it, as far as a preposition or mere adjacency ties them to it."""
    tied = False
    for number in range(finding + 1, len(search.items)):
        item = search.items[number]
        if item.term is not None or item.mark in {";", ":"} or item.plays("terminator"):
            return
        if item.plays("preposition"):
            tied = True
        elif item.place is not None:
            if _leads_on(search, number):
                return
            if tied or item.is_side or _is_adjacent(search, finding, number):
                search.owner[number] = finding
                tied = True
        elif item.joins and not _place_follows(search, number):
            return


def _leads_on(search: _Search, number: int) -> bool:
    """Whether a place is the attribute or the subject of a later finding rather than where an earlier one is."""
    for item in search.items[number + 1 :]:
        if item.term is not None:
            return True
        if item.mark or item.plays("preposition", "coordinator", "terminator", "negation"):
            return False
    return False


def _is_adjacent(search: _Search, finding: int, number: int) -> bool:
    return not any(item.parts for item in search.items[finding + 1 : number])


def _place_follows(search: _Search, number: int) -> bool:
    """Whether the list of places goes on behind a comma or "and", and not as a new assertion."""
    for item in search.items[number + 1 :]:
        if item.place is not None:
            return item.term is None
        if item.term is not None or (item.parts and not item.plays("preposition")):
            return False
    return False


def _chosen(search: _Search, finding: int) -> tuple[Place, ...]:
    behind = [search.items[number].place for number, owner in search.owner.items() if owner == finding]
    after = _folded([place for place in behind if place is not None and search.fits(finding, place)])
    before = _folded(_before(search, finding))
    exact_before = [place for place in before if place.site or place.side]
    exact_after = [place for place in after if place.site or place.side]
    if exact_after and (exact_before or not any(place.organs for place in exact_after)):
        return _combined(exact_before or before, exact_after)
    return tuple(exact_before or exact_after or before or after)


def _folded(places: Sequence[Place]) -> list[Place]:
    """Put a side that stands alone to the places beside it: "bilaterally, mostly in the bases"."""
    sides = [place for place in places if not place.organs]
    named = [place for place in places if place.organs]
    return [_with_side(place, sides[0]) for place in named] if sides and named else list(places)


def _combined(before: Sequence[Place], after: Sequence[Place]) -> tuple[Place, ...]:
    """Side said before and place said behind make one place: "left effusion in the fissure"."""
    if len(before) == 1 and not before[0].organs and before[0].side is not None:
        return tuple(_with_side(place, before[0]) for place in after)
    if before and len(after) == 1 and not after[0].organs:
        return tuple(_with_side(place, after[0]) for place in before)
    return tuple(before or after)


def _with_side(place: Place, side: Place) -> Place:
    return Place(organs=place.organs, site=place.site, side=place.side or side.side)


def _before(search: _Search, finding: int) -> list[Place]:
    """Places in front of the finding, the nearest first, back to the finding before it."""
    chosen: list[Place] = []
    broken = False
    for number in range(finding - 1, -1, -1):
        item = search.items[number]
        if item.term is not None or item.mark == ";" or _is_hard_end(item) or number in search.owner:
            break
        place = item.place
        if place is None:
            broken = broken or (bool(chosen) and item.parts and not item.joins)
        elif search.fits(finding, place) and not (broken and chosen):
            chosen.append(place)
    return chosen[::-1]


def _is_hard_end(item: Item) -> bool:
    terminator = item.role("terminator")
    return terminator is not None and terminator.value == "hard"


def _share(search: _Search, findings: Sequence[int]) -> None:
    for earlier, later in pairwise(findings):
        if _may_share(search, earlier, later):
            search.found[later] = search.found[earlier]
    for later, earlier in pairwise(findings[::-1]):
        if _may_share(search, later, earlier):
            search.found[earlier] = search.found[later]


def _may_share(search: _Search, giver: int, taker: int) -> bool:
    """Whether a finding without a place takes its neighbour's: both focal, and nothing but a list between them."""
    if search.found[taker] or not search.found[giver]:
        return False
    terms = [search.items[number].term for number in (giver, taker)]
    if not all(term is not None and term.name in search.lexicon.focal for term in terms):
        return _is_adjective_of(search, taker, giver)
    between = search.items[min(giver, taker) + 1 : max(giver, taker)]
    joined = any(item.plays(*_SHARED_OVER) or item.mark == "/" or _is_soft_end(item) for item in between)
    broken = any(item.plays("negation") or item.mark == ";" or _is_hard_end(item) for item in between)
    return joined and not broken and all(search.fits(taker, place) for place in search.found[giver])


def _is_adjective_of(search: _Search, taker: int, giver: int) -> bool:
    """Whether two findings stand together before or behind one place: "tortuous and calcified aorta"."""
    between = search.items[min(giver, taker) + 1 : max(giver, taker)]
    plain = not any(
        item.mark in {";", ":"} or item.plays("preposition", "negation", "terminator", "copula") for item in between
    )
    places = search.found[giver]
    return plain and all(place.organs and _is_named(search, taker, place) for place in places)


def _is_named(search: _Search, finding: int, place: Place) -> bool:
    term = search.items[finding].term
    return term is not None and any(organ in search.lexicon.meanings[term.name] for organ in place.organs)


def _is_soft_end(item: Item) -> bool:
    terminator = item.role("terminator")
    return terminator is not None and terminator.value == "soft"
