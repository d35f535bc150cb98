"""The words of a sentence and the lexicon enter; the phrases found in it, in order, leave. Pure.

The longest phrase wins, from left to right; words of no phrase are left out, marks of punctuation stay as items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from models.reports.lexicon import Lexicon, Phrase, Place, Role, Term
from models.reports.statements import Side
from models.reports.words import Word

_NEAR_WORDS: Final = 3  # so many words may stand between a side and the place it belongs to


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One phrase, or one mark: words `first` to `last` (excluded) of the sentence."""

    first: int
    last: int
    term: Term | None = None
    place: Place | None = None
    roles: tuple[Role, ...] = ()
    mark: str = ""

    def role(self, category: str) -> Role | None:
        """Give the role of this category, if the phrase plays it."""
        return next((role for role in self.roles if role.category == category), None)

    def plays(self, *categories: str) -> bool:
        """Whether the phrase plays one of these roles."""
        return any(role.category in categories for role in self.roles)

    @property
    def joins(self) -> bool:
        """Whether it stands between the members of a list."""
        return self.mark in {",", "/"} or self.plays("coordinator")

    @property
    def parts(self) -> bool:
        """Whether what stands before it and what stands behind it belong to different parts of a sentence."""
        return bool(self.mark) or self.joins or self.plays("copula", "preposition", "negation", "terminator")

    @property
    def is_side(self) -> bool:
        """Whether it says a side and no place."""
        return self.place is not None and not self.place.organs and self.term is None


def find_items(words: Sequence[Word], lexicon: Lexicon) -> tuple[Item, ...]:
    """Items of one sentence; a side is joined to its place, an attribute to its finding ("calcified hilar nodule")."""
    return _with_compounds(
        _with_shared_sides(_with_sides(_with_whole_places(list(_matches(words, lexicon.phrases))))), lexicon.compounds
    )


def _with_compounds(items: list[Item], compounds: Mapping[tuple[str, str], str]) -> tuple[Item, ...]:
    findings = [number for number, item in enumerate(items) if item.term is not None]
    for first, second in pairwise(findings):
        terms = items[first].term, items[second].term
        if terms[0] is None or terms[1] is None or any(item.parts for item in items[first + 1 : second]):
            continue
        together = compounds.get((terms[0].name, terms[1].name))
        if together is not None:
            items[second] = replace(items[second], term=replace(terms[1], name=together))
            items[first] = replace(items[first], term=None)
    return tuple(items)


def _matches(words: Sequence[Word], phrases: Phrase) -> Iterator[Item]:
    position = 0
    while position < len(words):
        length, found = _longest(words, position, phrases)
        if found is not None:
            yield Item(first=position, last=position + length, term=found.term, place=found.place, roles=found.roles)
        elif words[position].is_mark:
            yield Item(first=position, last=position + 1, mark=words[position].plain)
        position += max(length, 1)


def _longest(words: Sequence[Word], position: int, phrases: Phrase) -> tuple[int, Phrase | None]:
    node, best, length = phrases, None, 0
    for count, word in enumerate(words[position:], start=1):
        following = node.next.get(word.plain)
        if following is None:
            break
        node = following
        if node.means_something:
            best, length = node, count
    return length, best


def _with_whole_places(items: list[Item]) -> list[Item]:
    """Complete the shortened member of a list: "upper and left lower lobe". Alone, "upper" is no place."""
    for number, item in enumerate(items):
        if item.place is None or item.place.organs or not item.place.site:
            continue
        organs = _organs_of_list(items[number + 1 : number + 4])
        items[number] = replace(item, place=replace(item.place, organs=organs) if organs else None)
    return items


def _organs_of_list(following: Sequence[Item]) -> tuple[str, ...]:
    if not following or not following[0].joins:
        return ()
    places = (item.place for item in following if item.place is not None and item.place.organs)
    place = next(places, None)
    return place.organs if place is not None and place.organs == ("lung",) else ()


def _with_shared_sides(items: list[Item]) -> list[Item]:
    """Give the second of two listed places of one organ the side of the first: "left apex and base"."""
    for number, item in enumerate(items):
        place, following = item.place, items[number + 1 : number + 3]
        if place is None or place.side is None or len(following) < 2 or not following[0].joins:
            continue
        other = following[1].place
        if other is not None and other.side is None and other.organs == place.organs:
            items[number + 2] = replace(following[1], place=replace(other, side=place.side))
    return items


def _with_sides(items: list[Item]) -> list[Item]:
    for number, item in enumerate(items):
        if not item.is_side or item.place is None:
            continue
        for other in (_place_after(items, number), _place_before(items, number)):
            if other is not None:
                items[other] = _sided(items[other], item.place.side)
                items[number] = replace(item, place=None)
                break
    return items


def _sided(item: Item, side: Side | None) -> Item:
    return item if item.place is None else replace(item, place=replace(item.place, side=_both(item.place.side, side)))


def _both(one: Side | None, other: Side | None) -> Side | None:
    if one is None or other is None or one is other:
        return one or other
    return Side.BOTH


def _place_after(items: Sequence[Item], number: int) -> int | None:
    """Place that a side before it belongs to: "left small lower lobe"; also over a second side: "right and left"."""
    for other in range(number + 1, len(items)):
        item = items[other]
        if item.first - items[number].last > _NEAR_WORDS:
            return None
        if item.place is not None and item.place.organs:
            return other if item.term is None else None
        if item.term is not None or item.mark or item.plays("copula", "preposition", "terminator", "negation"):
            return None
        if item.joins and not (other + 1 < len(items) and items[other + 1].is_side):
            return None
    return None


def _place_before(items: Sequence[Item], number: int) -> int | None:
    """Place that a side after it belongs to: "the lung bases bilaterally", "the base on the left"."""
    before = number - 1
    if before >= 0 and items[before].plays("preposition"):
        before -= 1
    if before < 0 or items[number].first - items[before].last > 2:
        return None
    place = items[before].place
    return before if place is not None and place.organs and place.side is None and items[before].term is None else None
