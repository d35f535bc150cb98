"""The tables of the folder `lexicon` enter, a checked `Lexicon` leaves: words to concepts, concepts to entities.

Nothing that is known about words stands in code: phrases, their meaning for an organ, places, context triggers with
direction and scope, headings and abbreviations are rows of CSV files.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.reports.statements import SectionKind, Severity, Side, Span
from models.reports.words import split_words

LEXICON_FOLDER: Final = Path(__file__).with_name("lexicon")
MODALITY_COLUMNS: Final = MappingProxyType(
    {"2D-CXR": "cxr", "3D-CT": "ct", "3D-Brain-MRI": "mr", "2D-Ultrasound": "us"}
)
ANY_ORGAN: Final = "*"
EACH_ORGAN: Final = "="


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A phrase that names a finding; `organ`, `severity` where the phrase itself says them."""

    name: str
    organ: str
    severity: Severity | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A phrase that names a place, a side, or both; "heart mediastinum" names two organs at once."""

    organs: tuple[str, ...]
    site: str
    side: Side | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """What a phrase does to the findings around it: `category`, its `value`, and how far it reaches."""

    category: str
    value: str
    direction: str
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a term means at an organ: `at` which organ it is reported, finding, code, and entity by modality column.

    `many` is the term that several of them are; `is_general`: where it is absent, so is any abnormality of the organ.
    """

    at: str
    finding: str
    code: str
    many: str
    is_general: bool
    entities: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Organ:
    """An organ: whether it has sides, the name of its code, and the entity that names the organ itself."""

    name: str
    paired: bool
    code: str
    entities: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A part of an organ; `zones` of the lung: upper, mid, lower."""

    name: str
    organ: str
    zones: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Phrase:
    """Node of the tree of phrases: what ends here, and what may follow."""

    term: Term | None = None
    place: Place | None = None
    roles: tuple[Role, ...] = ()
    next: dict[str, Phrase] = field(default_factory=dict)

    @property
    def means_something(self) -> bool:
        """Whether a phrase ends here."""
        return self.term is not None or self.place is not None or bool(self.roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """All tables, read once."""

    phrases: Phrase
    meanings: Mapping[str, Mapping[str, Meaning]]
    focal: frozenset[str]
    compounds: Mapping[tuple[str, str], str]
    organs: Mapping[str, Organ]
    sites: Mapping[str, Site]
    headings: Mapping[str, SectionKind]
    abbreviations: frozenset[str]


class LexiconError(ValueError):
    """A table of the lexicon contradicts itself or another."""

    def __init__(self, table: str, what: str) -> None:
        self.table = table
        self.what = what
        super().__init__(f"{table}: {what}")


@cache
def load_lexicon(folder: Path = LEXICON_FOLDER) -> Lexicon:
    """Read and check the tables. Raises LexiconError."""
    organs = {row["organ"]: _organ(row) for row in _rows(folder, "organs")}
    sites = {
        row["site"]: Site(name=row["name"], organ=row["organ"], zones=tuple(row["zones"].split()))
        for row in _rows(folder, "sites")
    }
    meanings: dict[str, dict[str, Meaning]] = {}
    focal = set()
    for row in _rows(folder, "meanings"):
        if row["organ"] in meanings.setdefault(row["term"], {}):
            raise LexiconError("meanings.csv", f"{row['term']} at {row['organ'] or 'no organ'} occurs twice")
        meanings[row["term"]][row["organ"]] = _meaning(row)
        if row["focal"]:
            focal.add(row["term"])
    lexicon = Lexicon(
        phrases=_phrases(folder),
        meanings=MappingProxyType({term: MappingProxyType(rows) for term, rows in meanings.items()}),
        focal=frozenset(focal),
        compounds=MappingProxyType(
            {(row["first"], row["second"]): row["together"] for row in _rows(folder, "compounds")}
        ),
        organs=MappingProxyType(organs),
        sites=MappingProxyType(sites),
        headings=MappingProxyType({row["heading"]: SectionKind(row["kind"]) for row in _rows(folder, "sections")}),
        abbreviations=frozenset(row["abbreviation"] for row in _rows(folder, "abbreviations")),
    )
    _check(lexicon, folder)
    return lexicon


def _rows(folder: Path, table: str) -> Iterable[dict[str, str]]:
    with (folder / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, strict=True)


def _organ(row: Mapping[str, str]) -> Organ:
    return Organ(name=row["name"], paired=row["paired"] == "yes", code=row["code"], entities=_entities(row))


def _meaning(row: Mapping[str, str]) -> Meaning:
    return Meaning(
        at=row["at"],
        finding=row["finding"],
        code=row["code"],
        many=row["many"],
        is_general=row["general"] == "yes",
        entities=_entities(row),
    )


def _entities(row: Mapping[str, str]) -> Mapping[str, int]:
    return MappingProxyType({column: int(row[column]) for column in MODALITY_COLUMNS.values() if row[column]})


def _phrases(folder: Path) -> Phrase:
    root = Phrase()
    for row in _rows(folder, "terms"):
        node = _node(root, row["phrase"], "terms.csv")
        if node.term is not None:
            raise LexiconError("terms.csv", f"{row['phrase']!r} occurs twice")
        severity = Severity(row["severity"]) if row["severity"] else None
        node.term = Term(name=row["term"], organ=row["organ"], severity=severity)
    for row in _rows(folder, "places"):
        node = _node(root, row["phrase"], "places.csv")
        if node.place is not None:
            raise LexiconError("places.csv", f"{row['phrase']!r} occurs twice")
        side = Side(row["side"]) if row["side"] else None
        node.place = Place(organs=tuple(row["organ"].split()), site=row["site"], side=side)
    for row in _rows(folder, "context"):
        node = _node(root, row["phrase"], "context.csv")
        node.roles = (
            *node.roles,
            Role(category=row["category"], value=row["value"], direction=row["direction"], scope=row["scope"]),
        )
    return root


def _node(root: Phrase, phrase: str, table: str) -> Phrase:
    words = split_words(phrase, Span(start=0, end=len(phrase)))
    if not words:
        raise LexiconError(table, "an empty phrase")
    node = root
    for word in words:
        node = node.next.setdefault(word.plain, Phrase())
    return node


def _check(lexicon: Lexicon, folder: Path) -> None:
    places = {organ for row in _rows(folder, "places") for organ in row["organ"].split()}
    sites = {row["site"] for row in _rows(folder, "places") if row["site"]}
    terms = {row["term"] for row in _rows(folder, "terms")}
    compounds = {name for pair, together in lexicon.compounds.items() for name in (*pair, together)}
    unknown = {
        "compounds.csv": compounds - set(lexicon.meanings),
        "places.csv": (places - set(lexicon.organs)) | (sites - set(lexicon.sites)),
        "terms.csv": terms - set(lexicon.meanings),
        "meanings.csv": {
            meaning.many
            for rows in lexicon.meanings.values()
            for meaning in rows.values()
            if meaning.many and meaning.many not in lexicon.meanings
        },
    }
    for table, names in unknown.items():
        if names:
            raise LexiconError(table, f"unknown: {', '.join(sorted(names))}")
