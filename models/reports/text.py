"""Report text enters; its sections and the spans of their sentences leave. Pure.

Spans always count characters of the text as it came in: nothing is cleaned or replaced on the way.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from models.reports.statements import SectionKind, Span

# A heading stands at the start of a line or of a sentence and ends with a colon.
_HEADING: Final = re.compile(r"(?:^|(?<=\n)|(?<=[.:;] )|(?<=[.:;]  ))[ \t*#]*([A-Za-z][A-Za-z /-]{1,40}?)[ \t*]*:")
_LIST_MARK: Final = re.compile(r"[ \t]*(?:[-*\u2022\u00b7>]|\(?\d{1,2}[.)](?!\d))[ \t]*(?=\D)")
_STOP: Final = re.compile(r"[.!?;]+|\n[ \t]*\n|\n|(?<=[ \t])\(?\d{1,2}[.)](?=[ \t]+[A-Z])")
_CAPITAL: Final = re.compile(r"[ \t]*([A-Z][a-z]|[A-Z]{4,})")
_LONGEST_WORD: Final = 60
_LAST_WORD: Final = re.compile(r"([A-Za-z][A-Za-z.]*)$")
_ENUMERATED: Final = re.compile(r"(?:^|[\s.;:])\(?\d{1,2}$")
_OPEN_WORDS: Final = frozenset(
    {
        "a",
        "an",
        "and",
        "are",
        "at",
        "by",
        "for",
        "from",
        "in",
        "is",
        "no",
        "of",
        "on",
        "or",
        "the",
        "to",
        "with",
        "without",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section: its kind and the span of its body, the heading left out."""

    kind: SectionKind
    span: Span


def split_sections(text: str, headings: Mapping[str, SectionKind]) -> tuple[Section, ...]:
    """Split at headings that `headings` (lower case) knows; text before the first has kind NONE."""
    marks = [(match, _heading_kind(match, headings)) for match in _HEADING.finditer(text)]
    known = [(match, kind) for match, kind in marks if kind is not None]
    starts = [(0, SectionKind.NONE), *((match.end(), kind) for match, kind in known)]
    ends = [*(match.start() for match, _ in known), len(text)]
    return tuple(
        Section(kind=kind, span=Span(start=start, end=end))
        for (start, kind), end in zip(starts, ends, strict=True)
        if start < end
    )


def _heading_kind(match: re.Match[str], headings: Mapping[str, SectionKind]) -> SectionKind | None:
    return headings.get(" ".join(match.group(1).lower().split()))


def split_sentences(text: str, section: Span, abbreviations: Collection[str]) -> Iterator[Span]:
    """Spans of the sentences of one section, blanks and list marks around them left out.

    A sentence ends at a full stop, a semicolon, an empty line, a list mark, or a line whose successor begins with a
    capitalised word; not after an abbreviation, within a number, or where a line was merely wrapped.
    """
    start = section.start
    for match in _STOP.finditer(text, section.start, section.end):
        if match.start() < start or not _ends_sentence(text, match, section, abbreviations):
            continue
        enumerated = match.group().strip("()")[:1].isdigit()
        yield from _trimmed(text, start, match.start() if enumerated else match.end())
        start = match.end()
    yield from _trimmed(text, start, section.end)


def _ends_sentence(text: str, match: re.Match[str], section: Span, abbreviations: Collection[str]) -> bool:
    mark = match.group()
    if mark == "\n":
        return _line_ends(text, match.start(), section)
    if mark != ".":
        return True
    return _is_full_stop(text, match, section, abbreviations)


def _is_full_stop(text: str, match: re.Match[str], section: Span, abbreviations: Collection[str]) -> bool:
    after = text[match.end() : match.end() + 1]
    before = _before(text, match.start(), section)
    in_number = after.isdigit() and before[-1:].isdigit()
    if in_number or (_ENUMERATED.search(before) and after.isspace()):
        return False
    word = _LAST_WORD.search(before)
    if word is None:
        return True
    if after.isalpha() and (after.islower() or len(word.group()) == 1):
        return False  # "e.g", "i.e", "a.m"; but "apex.There" is two sentences
    return word.group().lower() not in abbreviations


def _line_ends(text: str, position: int, section: Span) -> bool:
    if _LIST_MARK.match(text, position + 1, section.end):
        return True
    if _CAPITAL.match(text, position + 1, section.end) is None:
        return False
    line = _before(text, position, section).rstrip()
    word = _LAST_WORD.search(line)
    return not line.endswith(",") and (word is None or word.group().lower() not in _OPEN_WORDS)


def _before(text: str, position: int, section: Span) -> str:
    """Give the end of what stands before a position: enough to know its last word."""
    return text[max(section.start, position - _LONGEST_WORD) : position]


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    mark = _LIST_MARK.match(text, start, end)
    if mark is None:
        blank = len(text[start:end]) - len(text[start:end].lstrip())
        mark = _LIST_MARK.match(text, start + blank, end)
        start += blank
    if mark is not None:
        start = mark.end()
    body = text[start:end]
    start += len(body) - len(body.lstrip())
    end = start + len(body.strip())
    if any(character.isalpha() for character in text[start:end]):
        yield Span(start=start, end=end)
