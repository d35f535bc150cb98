"""Sentences and findings enter, the sentences that the findings support leave.

A sentence on findings must be, word for word, its group's template over the phrases of the findings it names, and each
of those findings must belong to that group: no other finding, place, side or degree can be told. A sentence on the
comparison itself rests on no finding and may name none.
"""

from collections.abc import Iterable, Mapping, Sequence

from operators.compare.grouping import GROUPS, About, group_of
from operators.compare.phrases import listed, load_phrases, phrase_of
from operators.domain.messages import EntityFinding, Sentence

_ABOUT_THE_COMPARISON = frozenset({About.COMPARISON, About.CAUTION})


def strike_unsupported(sentences: Sequence[Sentence], findings: Sequence[EntityFinding]) -> tuple[Sentence, ...]:
    """Keep the sentences that rest on findings, in their order."""
    by_index = {finding.entity.index: finding for finding in findings}
    phrases = set(load_phrases().values()) | {phrase_of(finding.entity) for finding in findings}
    return tuple(sentence for sentence in sentences if _is_supported(sentence, by_index, phrases))


def _is_supported(sentence: Sentence, by_index: Mapping[int, EntityFinding], phrases: Iterable[str]) -> bool:
    if sentence.about in _ABOUT_THE_COMPARISON:
        text = sentence.text.lower()
        return not sentence.entity_indices and not any(phrase.lower() in text for phrase in phrases)
    told = [by_index.get(index) for index in sentence.entity_indices]
    rests_on = [finding for finding in told if finding is not None]
    if not rests_on or len(rests_on) != len(told):
        return False
    names = listed([phrase_of(finding.entity) for finding in rests_on])
    return any(
        group.about == sentence.about
        and group.template.format(names) == sentence.text
        and all(group_of(finding) is group for finding in rests_on)
        for group in GROUPS
    )
