"""Which body part a study shows: headers and a rule's words enter, whether it is the rule's body part leaves."""

import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum

from operators.domain.messages import InstanceHeader
from operators.domain.radiograph import words_of
from operators.priors.config import RelevanceRule

_SAYS_NOTHING = frozenset(
    {"UNKNOWN", "OTHER", "NONE", "UNSPECIFIED", "UNDEFINED", "NA", "N/A", "ANY", "DEFAULT", "TEST"}
)


class Shows(StrEnum):
    """Whether the rule's body part is shown."""

    THIS = "this"
    OTHER = "other"
    UNKNOWN = "unknown"


def study_shows(rule: RelevanceRule, images: Sequence[InstanceHeader], study_description: str) -> Shows:
    """Judge a study by its images: one that shows the body part is enough, all must show another to be another."""
    shown = {image_shows(rule, image, study_description) for image in images}
    if Shows.THIS in shown:
        return Shows.THIS
    return Shows.OTHER if shown == {Shows.OTHER} else Shows.UNKNOWN


def image_shows(rule: RelevanceRule, image: InstanceHeader, study_description: str) -> Shows:
    """Judge by Body Part Examined; where that says nothing, by the descriptions of series, study and procedure."""
    if not rule.body_words:
        return Shows.THIS
    if image.body_part.strip() and image.body_part.strip().upper() not in _SAYS_NOTHING:
        return Shows.THIS if _names(rule, (image.body_part,)) else Shows.OTHER
    texts = (image.series_description, study_description, image.study_description, image.requested_procedure)
    return Shows.THIS if any(_names(rule, (text,)) for text in texts) else Shows.UNKNOWN


def _names(rule: RelevanceRule, texts: Iterable[str]) -> bool:
    words = {word for text in texts for word in words_of(_plain(text))}
    return any(word.startswith(rule.body_words) for word in words) and not any(
        word.startswith(rule.not_body_words) for word in words
    )


def _plain(text: str) -> str:
    """Return the text in capitals without accents."""
    decomposed = unicodedata.normalize("NFKD", text.upper())
    return "".join(character for character in decomposed if not unicodedata.combining(character))
