"""Report text enters, its statements leave. Pure: the tables are read once, nothing is logged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from models.reports.items import Item, find_items
from models.reports.lexicon import ANY_ORGAN, EACH_ORGAN, MODALITY_COLUMNS, Lexicon, Meaning, Place, Term, load_lexicon
from models.reports.places import places_of_findings
from models.reports.scopes import Context, contexts
from models.reports.statements import Change, Presence, SectionKind, Side, Span, Statement
from models.reports.text import split_sections, split_sentences
from models.reports.words import Word, split_words
from models.shared.vocabulary import EntityKind, Vocabulary, load_vocabulary

_OR_WORDS = frozenset({"or", "nor", "/", "vs", "versus"})


class UnknownModalityError(ValueError):
    """No lexicon column carries this modality."""

    def __init__(self, modality: str) -> None:
        self.modality = modality
        super().__init__(f"no report vocabulary for modality {modality!r}; known: {', '.join(MODALITY_COLUMNS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sentence:
    """One sentence on its way: its number, section and words."""

    number: int
    section: SectionKind
    words: tuple[Word, ...]


def parse_report(text: str, *, modality: str = "2D-CXR", lexicon: Lexicon | None = None) -> tuple[Statement, ...]:
    """Statements of a report, in the order of the text. Raises UnknownModalityError.

    Sections about indication, history, technique or comparison state nothing. Entities are those of `modality`.
    """
    if modality not in MODALITY_COLUMNS:
        raise UnknownModalityError(modality)
    parser = _Parser(lexicon=lexicon or load_lexicon(), vocabulary=load_vocabulary(), column=MODALITY_COLUMNS[modality])
    return tuple(parser.statements(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parser:
    lexicon: Lexicon
    vocabulary: Vocabulary
    column: str

    def statements(self, text: str) -> Iterator[Statement]:
        for sentence in self._sentences(text):
            if sentence.section.is_stated:
                yield from self._of_sentence(sentence)

    def _sentences(self, text: str) -> Iterator[_Sentence]:
        number = 0
        for section in split_sections(text, self.lexicon.headings):
            for span in split_sentences(text, section.span, self.lexicon.abbreviations):
                yield _Sentence(number=number, section=section.kind, words=split_words(text, span))
                number += 1

    def _of_sentence(self, sentence: _Sentence) -> Iterator[Statement]:
        items = find_items(sentence.words, self.lexicon)
        said = contexts(items, _or_words(items, sentence.words))
        places = places_of_findings(items, self.lexicon)
        uncertain = _alternatives(items, sentence.words)
        for number, context in said.items():
            item = items[number]
            if item.term is None or context.is_hypothetical:
                continue
            is_open = context.is_uncertain or number in uncertain
            seen = set()
            for place in places[number] or (None,):
                for statement in self._at(sentence, item, item.term, place, context, is_open=is_open):
                    key = (statement.entity_index, statement.finding, statement.site, statement.side)
                    if key not in seen:
                        seen.add(key)
                        yield statement

    def _at(
        self,
        sentence: _Sentence,
        item: Item,
        term: Term,
        place: Place | None,
        context: Context,
        *,
        is_open: bool,
    ) -> Iterator[Statement]:
        for organ in self._organs(term, place):
            meaning = self._meaning(term, organ, many=context.is_many)
            index = self._entity(meaning, organ) if meaning else None
            if meaning is None or index is None:
                continue
            entity = self.vocabulary.entity(index)
            presence = _presence(term, context, is_open=is_open)
            if entity.kind is EntityKind.ANATOMY and context.is_negated and not meaning.is_general:
                continue  # "no edema" does not say that the lung is normal
            at = organ if meaning.at == EACH_ORGAN else meaning.at
            site, zones, side = self._site(at, place)
            yield Statement(
                entity_index=index,
                entity=entity.name,
                finding=meaning.finding,
                code=meaning.code,
                organ=self.lexicon.organs[at].code,
                site=site,
                side=side,
                zones=zones,
                presence=presence,
                change=_change(context, term),
                severity=None if context.is_negated else context.severity or term.severity,
                span=Span(start=sentence.words[item.first].start, end=sentence.words[item.last - 1].end),
                section=sentence.section,
                sentence=sentence.number,
            )

    def _organs(self, term: Term, place: Place | None) -> tuple[str, ...]:
        """Organs that a finding is told of. Only what holds of any organ is told of both that a place names."""
        named = (place.organs if place else ()) or (term.organ,)
        rows = self.lexicon.meanings[term.name]
        if EACH_ORGAN in rows or len(named) == 1:
            return named
        return next(((organ,) for organ in named if organ in rows), named[:1])

    def _meaning(self, term: Term, organ: str, *, many: bool) -> Meaning | None:
        rows = self.lexicon.meanings[term.name]
        keys = (organ, ANY_ORGAN, EACH_ORGAN) if organ else ("", ANY_ORGAN)
        meaning = next((rows[key] for key in keys if key in rows), None)
        if meaning is not None and many and meaning.many:
            return self._meaning(Term(name=meaning.many, organ="", severity=None), organ, many=False)
        return meaning

    def _entity(self, meaning: Meaning, organ: str) -> int | None:
        if meaning.at == EACH_ORGAN:
            return self.lexicon.organs[organ].entities.get(self.column)
        return meaning.entities.get(self.column) if meaning.at else None

    def _site(self, at: str, place: Place | None) -> tuple[str, tuple[str, ...], Side | None]:
        organ = self.lexicon.organs[at]
        side = place.side if place is not None and organ.paired else None
        site = self.lexicon.sites.get(place.site) if place is not None else None
        if site is None:
            return organ.name, (), side
        sides = [Side.RIGHT, Side.LEFT] if side is Side.BOTH else [side] if side else []
        zones = tuple(f"{one.value} {zone}" for one in sides for zone in site.zones)
        return (site.name if site.organ == at else organ.name), zones, side


def _or_words(items: Sequence[Item], words: Sequence[Word]) -> frozenset[int]:
    return frozenset(
        number
        for number, item in enumerate(items)
        if any(words[position].plain in _OR_WORDS for position in range(item.first, item.last))
    )


def _alternatives(items: Sequence[Item], words: Sequence[Word]) -> frozenset[int]:
    """Give the findings that "or", "versus" or a slash sets against each other: none of them is certain."""
    joints = _or_words(items, words)
    findings = [number for number, item in enumerate(items) if item.term is not None]
    doubted = set()
    for earlier, later in pairwise(findings):
        between = range(earlier + 1, later)
        if any(number in joints for number in between) and not any(items[number].mark == ";" for number in between):
            doubted |= {earlier, later}
    return frozenset(doubted)


def _presence(term: Term, context: Context, *, is_open: bool) -> Presence:
    if term.name == "normal":
        return Presence.PRESENT if context.is_negated else Presence.ABSENT
    if context.is_negated or context.change is Change.RESOLVED:
        return Presence.ABSENT
    return Presence.UNCERTAIN if is_open else Presence.PRESENT


def _change(context: Context, term: Term) -> Change:
    """Of what is absent, only that it went away is a change."""
    absent = context.is_negated or term.name == "normal"
    return Change.NONE if absent and context.change is not Change.RESOLVED else context.change
