"""A retrieved case enters; the comparison of its current study with the first readable prior leaves. Pure."""

from dataclasses import replace

import numpy as np

from operators.compare.cautions import cautions_between, cautions_of_image, withholding
from operators.compare.config import CompareConfig
from operators.compare.grounding import strike_unsupported
from operators.compare.presence import seen_on
from operators.compare.sentences import Circumstances, write_sentences
from operators.compare.states import Evidence, Rule, Seen, Verdict, decide, undetermined_without_prior
from operators.domain.messages import (
    ComparedCase,
    Comparison,
    EncodedCase,
    EncodedStudy,
    EntityFinding,
    EntityReading,
    EntityTerm,
    ReadScope,
    RetrievedCase,
)


class CompareStage:
    """Compares each finding of the current study with the most relevant prior that could be read."""

    def __init__(self, config: CompareConfig) -> None:
        self._config = config

    def __call__(self, case: RetrievedCase) -> ComparedCase:
        """Compare. Raises nothing of its own: what cannot be decided is undetermined."""
        encoded = case.encoded
        prior = encoded.priors[0] if encoded.priors else None
        circumstances = self._circumstances(encoded, prior)
        findings = _findings(encoded.current, prior, circumstances.cautions, self._config)
        comparison = Comparison(
            current=encoded.current.study,
            current_image=encoded.current.image,
            prior=prior.study if prior else None,
            prior_image=prior.image if prior else None,
            search=encoded.search,
            bundle=encoded.bundle,
            findings=findings,
            sentences=strike_unsupported(write_sentences(circumstances, findings), findings),
            cautions=circumstances.cautions,
            current_scope=encoded.current.scope,
            prior_scope=prior.scope if prior else ReadScope(),
        )
        return ComparedCase(comparison=comparison, similar=case.similar)

    def _circumstances(self, encoded: EncodedCase, prior: EncodedStudy | None) -> Circumstances:
        current_pair = (encoded.current.study, encoded.current.image)
        prior_pair = (prior.study, prior.image) if prior else None
        return Circumstances(
            current=current_pair,
            prior=prior_pair,
            search=encoded.search,
            unreadable=encoded.unreadable_priors,
            cautions=cautions_between(
                current_pair,
                prior_pair,
                long_interval_days=self._config.long_interval_days,
                scopes=(encoded.current.scope, prior.scope),
            )
            if prior and prior_pair
            else cautions_of_image(*current_pair),
            scope=encoded.current.scope,
        )


def _findings(
    current: EncodedStudy, prior: EncodedStudy | None, cautions: tuple[str, ...], config: CompareConfig
) -> tuple[EntityFinding, ...]:
    earlier_readings = prior.readings if prior else ()
    seen_now = seen_on(current.readings, present_from_prob=config.present_from_prob)
    seen_before = seen_on(earlier_readings, present_from_prob=config.present_from_prob)
    before = {reading.entity.index: reading for reading in earlier_readings}
    missing = Rule.NO_PRIOR if prior is None else Rule.NOT_READ_ON_PRIOR
    findings: list[EntityFinding] = []
    for reading in current.readings:
        index = reading.entity.index
        if index not in before:
            why = missing if reading.entity.is_measured else Rule.NOT_MEASURED
            findings.append(_alone(reading, seen_now[index], undetermined_without_prior(why)))
            continue
        evidence = Evidence(
            current=seen_now[index],
            prior=seen_before[index],
            similarity_cosine=cosine_of(reading, before[index]),
        )
        verdict = _verdict(reading.entity, evidence, cautions, config)
        findings.append(_compared(reading, before[index], evidence, verdict))
    return tuple(findings)


def _verdict(entity: EntityTerm, evidence: Evidence, cautions: tuple[str, ...], config: CompareConfig) -> Verdict:
    """Judge; of an entity that nobody measured nothing is stated, whatever the model answers."""
    if not entity.is_measured:
        return undetermined_without_prior(Rule.NOT_MEASURED)
    return decide(evidence, config, withheld_by=withholding(cautions, entity.index))


def _alone(reading: EntityReading, seen: Seen, verdict: Verdict) -> EntityFinding:
    return EntityFinding(
        entity=reading.entity,
        current=seen.presence,
        prior=None,
        current_prob=seen.prob if reading.entity.is_measured else None,
        prior_prob=None,
        similarity_cosine=None,
        state=verdict.state,
        state_swapped=verdict.swapped,
        confidence=verdict.confidence,
        rule=verdict.rule,
        current_region=reading.region,
        prior_region=None,
    )


def _compared(reading: EntityReading, earlier: EntityReading, evidence: Evidence, verdict: Verdict) -> EntityFinding:
    return replace(
        _alone(reading, evidence.current, verdict),
        prior=evidence.prior.presence,
        prior_prob=evidence.prior.prob if reading.entity.is_measured else None,
        similarity_cosine=evidence.similarity_cosine,
        prior_region=earlier.region,
    )


def cosine_of(one: EntityReading, other: EntityReading) -> float | None:
    """Cosine similarity of two unit-norm embeddings (D,), in [-1, 1]; None when they do not fit or are not numbers.

    Exactly symmetric: exchanging the two gives the same float.
    """
    if one.embedding.shape != other.embedding.shape:
        return None
    product = one.embedding.astype(np.float64) * other.embedding.astype(np.float64)
    cosine = float(product.sum())
    return max(-1.0, min(1.0, cosine)) if np.isfinite(cosine) else None
