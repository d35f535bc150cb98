"""MeSH tags of a report, or its statements, enter; sets of (concept, part, side) that can be compared leave. Pure.

Tags have the form `head/qualifier/...` of the Open-i collection. Concepts are the findings of the lexicon, merged where
the tags know no difference (mesh_tables/concepts.csv), so that both ways of naming meet in one set.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.reports.statements import Presence, Side, Statement

_FOLDER: Final = Path(__file__).with_name("mesh_tables")
_NO_FINDING: Final = frozenset({"normal", "No Indexing", "Technical Quality of Image Unsatisfactory"})
NOT_INDEXED: Final = "No Indexing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """What both sides are reduced to. `part`: of the organ, empty where none is named."""

    concept: str
    part: str
    side: Side | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tags:
    """Tags of one report that the vocabulary can hold, and the number of those that it cannot."""

    known: frozenset[Tag]
    outside: int


def tags_of_mesh(mesh: str) -> Tags:
    """Read one report's tags, separated by semicolons; "normal" and remarks on technique are no findings."""
    known, outside = set(), 0
    for raw in mesh.split(";"):
        head, *qualifiers = raw.strip().split("/")
        if head in _NO_FINDING or not head:
            continue
        concept = _concept(head, qualifiers)
        if concept:
            known.add(Tag(concept=concept, part=_part(qualifiers), side=_side(qualifiers)))
        else:
            outside += 1
    return Tags(known=frozenset(known), outside=outside)


def tags_of_statements(statements: Sequence[Statement], presences: Collection[Presence]) -> frozenset[Tag]:
    """Reduce the statements whose presence is one of `presences` and whose finding a tag can hold."""
    merged, parts, concepts = _merged(), _parts(), _concepts()
    known = set()
    for statement in statements:
        if statement.presence not in presences:
            continue
        for concept in concepts & merged.get(statement.finding, {statement.finding}):
            known.add(Tag(concept=concept, part=parts.get(statement.site, ""), side=statement.side))
    return frozenset(tag for tag in known if not any(_says_more(other, tag) for other in known))


def _says_more(other: Tag, tag: Tag) -> bool:
    """Whether another mention names the same finding with the place that this one leaves open."""
    if other == tag or other.concept != tag.concept:
        return False
    return tag.part in ("", other.part) and tag.side in (None, other.side)


def _concept(head: str, qualifiers: Sequence[str]) -> str:
    rows = [(qualifier, concept) for known, qualifier, concept in _heads() if known == head]
    qualified = (concept for qualifier, concept in rows if qualifier in qualifiers)
    plain = (concept for qualifier, concept in rows if not qualifier)
    return next(qualified, next(plain, ""))


def _part(qualifiers: Sequence[str]) -> str:
    parts = _parts()
    return next((parts[word] for word in qualifiers if word in parts), "")


def _side(qualifiers: Sequence[str]) -> Side | None:
    words = {"left": Side.LEFT, "right": Side.RIGHT, "bilateral": Side.BOTH}
    return next((words[word] for word in qualifiers if word in words), None)


@cache
def _heads() -> tuple[tuple[str, str, str], ...]:
    return tuple((row["head"], row["qualifier"], row["concept"]) for row in _rows("heads"))


@cache
def _concepts() -> frozenset[str]:
    return frozenset(concept for _, _, concept in _heads() if concept)


@cache
def _merged() -> Mapping[str, frozenset[str]]:
    rows: dict[str, set[str]] = {}
    for row in _rows("concepts"):
        rows.setdefault(row["finding"], set()).add(row["concept"])
    return MappingProxyType({finding: frozenset(concepts) for finding, concepts in rows.items()})


@cache
def _parts() -> Mapping[str, str]:
    return MappingProxyType({row["word"]: row["part"] for row in _rows("places")})


def _rows(table: str) -> Iterator[dict[str, str]]:
    with (_FOLDER / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, strict=True)
