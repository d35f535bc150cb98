"""A stretch of text enters, its words with their places in the text leave. Pure.

Words are compared in a plain form: lower case, singular, without possessive. Hyphens and slashes part words, so that
"ground-glass" and "ground glass" are the same two.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from models.reports.statements import Span

_WORD: Final = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|\d+(?:\.\d+)?|[,;:()/?]")
_SHORTEST_PLURAL: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word or mark: its plain form and its place in the text."""

    plain: str
    start: int
    end: int

    @property
    def is_mark(self) -> bool:
        """Whether it is punctuation."""
        return not self.plain[0].isalnum()


def split_words(text: str, span: Span) -> tuple[Word, ...]:
    """Words and marks within `span`, in order."""
    return tuple(
        Word(plain=plain_form(match.group()), start=match.start(), end=match.end())
        for match in _WORD.finditer(text, span.start, span.end)
    )


def plain_form(word: str) -> str:
    """Lower-case singular of a word, by its ending alone. "opacities" and "opacity" give the same, so do "s" forms."""
    plain = word.lower()
    if plain.endswith("'s"):
        return plain[:-2]
    if len(plain) < _SHORTEST_PLURAL or not plain.endswith("s") or plain.endswith(("ss", "us", "is")):
        return plain
    if plain.endswith("ies"):
        return plain[:-3] + "y"
    return plain[:-2] if plain.endswith("sses") else plain[:-1]
