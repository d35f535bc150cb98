"""Logits of one row enter; the next token leaves: repetition penalty, temperature, top-k, top-p, in that order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.vlm.engine import FloatArray, GenerationOptions


def next_token(
    logits: FloatArray, seen: NDArray[np.bool_], options: GenerationOptions, generator: np.random.Generator
) -> int:
    """Choose from `logits` (v,); `seen` (v,) marks the tokens of the prompt and of the answer so far."""
    scores = penalised(logits, seen, options.repetition_penalty)
    if options.temperature == 0:
        return int(scores.argmax())
    scaled = scores.astype(np.float64) / options.temperature
    probability = nucleus(softmax(top_k(scaled, options.top_k)), options.top_p)
    drawn = np.searchsorted(probability.cumsum(), generator.random() * probability.sum(), side="right")
    return int(min(drawn, np.flatnonzero(probability)[-1]))


def penalised(logits: FloatArray, seen: NDArray[np.bool_], penalty: float) -> FloatArray:
    """Divide positive and multiply negative logits of seen tokens by `penalty`."""
    factor = np.float32(penalty)
    lowered = np.where(logits < 0, logits * factor, logits / factor)
    chosen: FloatArray = np.where(seen, lowered, logits)
    return chosen


def top_k(scores: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Keep the `count` highest scores and their equals, the rest to minus infinity; 0 keeps all."""
    if not 0 < count < len(scores):
        return scores
    floor = np.partition(scores, -count)[-count]
    return np.where(scores < floor, -np.inf, scores)


def nucleus(probability: NDArray[np.float64], mass: float) -> NDArray[np.float64]:
    """Keep the likeliest tokens until their sum reaches `mass`, at least one; the rest to 0. Not normalised again."""
    if mass >= 1:
        return probability
    order = np.argsort(-probability, kind="stable")
    before = np.concatenate(([0.0], probability[order].cumsum()[:-1]))
    kept = order[before < mass]
    narrowed = np.zeros_like(probability)
    narrowed[kept] = probability[kept]
    return narrowed


def softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (v,) of scores (v,), of which minus infinity gets 0."""
    weights = np.exp(scores - scores.max())
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised
