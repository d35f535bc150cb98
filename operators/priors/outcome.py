"""What a search came to: decisions enter, the outcome and one sentence without patient data leave.

"No prior exists" and "could not ask" are different facts; the draft says which.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

from operators.domain.messages import PriorDecision, PriorOutcome
from operators.priors.relevance import REASON_SENTENCES, DecisionCode

_UNDELIVERED = frozenset({DecisionCode.NOT_DELIVERED, DecisionCode.GONE, DecisionCode.UNREADABLE})


class Hindrance(StrEnum):
    """Why the PACS could not be asked; the value is the sentence."""

    NO_PACS = "Priors could not be looked for: no PACS is set up to be asked."
    NO_PATIENT_ID = "Priors could not be looked for: the study has no patient ID."
    PACS_AWAY = "Priors could not be looked for: the PACS did not answer in time."
    PACS_REFUSED = "Priors could not be looked for: the PACS refused this node for too long."
    INCOMPLETE = "Priors could not be fully looked for: the PACS's answers cannot be shown to be complete."


def conclude(decisions: Sequence[PriorDecision], *, is_complete: bool = True) -> tuple[PriorOutcome, str]:
    """Return the outcome of a search that was answered, and its sentence."""
    chosen = sum(decision.chosen for decision in decisions)
    codes = [DecisionCode(decision.reason_code) for decision in decisions]
    if chosen:
        return PriorOutcome.FOUND, _found(chosen, codes)
    if _UNDELIVERED & set(codes):
        return (
            PriorOutcome.COULD_NOT_ASK,
            f"Relevant priors exist but could not be had: {_why(code for code in codes if code in _UNDELIVERED)}",
        )
    if not is_complete:
        return PriorOutcome.COULD_NOT_ASK, Hindrance.INCOMPLETE.value
    if all(code is DecisionCode.NOT_EARLIER for code in codes):
        return PriorOutcome.NONE_EXISTS, "The PACS holds no earlier study of this patient."
    return PriorOutcome.NONE_RELEVANT, f"No other study of this patient in the PACS is relevant: {_why(codes)}"


def no_rule(modalities: Sequence[str]) -> tuple[PriorOutcome, str]:
    """Return the outcome for a study that no rule serves."""
    named = ", ".join(sorted(set(modalities))) or "unknown"
    return PriorOutcome.NONE_RELEVANT, f"No relevance rule serves this study's modality ({named}) and body part."


def _found(chosen: int, codes: Sequence[DecisionCode]) -> str:
    head = "One prior was chosen" if chosen == 1 else f"{chosen} priors were chosen"
    left = [code for code in codes if code is not DecisionCode.CHOSEN]
    return f"{head}; left out: {_why(left)}" if left else f"{head}."


def _why(codes: Iterable[DecisionCode]) -> str:
    counted = Counter(codes)
    return " ".join(f"{counted[code]} x: {sentence}" for code, sentence in REASON_SENTENCES.items() if counted[code])
