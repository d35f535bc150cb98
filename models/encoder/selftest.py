"""Two engines of one family enter; how far their answers lie apart, and whether that is near enough, leaves.

The inputs are made from a seed, so that the same question can be put on any machine: smooth shades with noise, partly
padded, as images are. The tolerances are for arithmetic alone: float32 engines differ in the order of their sums, half
precision in its rounding. An engine outside them computes something else, and must not serve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from models.encoder.engine import Encoder, FamilyInfo, FloatArray
from models.encoder.selection import rerank_side, select_tokens

SEED: Final = 20260606
QUESTION_IMAGES: Final = 2
"""Images of the question to a family of plain images; of volumes, it is one."""
_PAIRS: Final = 3


class Precision(StrEnum):
    """In what arithmetic an engine computes."""

    FULL = "float32"
    HALF = "float16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far apart two engines may lie: smallest cosine of any vector, largest difference of any probability."""

    cosine: float
    probability: float
    attention: float


LIMITS: Final = {
    Precision.FULL: Limits(cosine=0.99999, probability=1e-3, attention=1e-3),
    Precision.HALF: Limits(cosine=0.999, probability=2e-2, attention=2e-2),
}
"""Half precision moves cosines by about 1e-3 in the published model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What a family's encoder answers to the questions of the self-test.

    `sides` are the pairs' sides that were reranked, (e, k+1, d), and `rerank` their scores; both are None where the
    family has no reranker.
    """

    tokens: FloatArray
    embeddings: FloatArray
    attention: FloatArray
    presence_prob: FloatArray
    sides: FloatArray | None
    rerank: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """One quantity of two engines. `value` is the worst case: the smallest cosine, or the largest difference."""

    quantity: str
    value: float
    limit: float
    ok: bool


def question(info: FamilyInfo, *, images: int | None = None) -> FloatArray:
    """Make images for a family: (b, *input_shape) float32 in [0, 1], the last tenth of the rows padding."""
    random = np.random.default_rng(SEED + info.router)
    count = images or (QUESTION_IMAGES if info.input_depth == 1 else 1)
    axes = np.meshgrid(*(np.linspace(0, 1, size, dtype=np.float32) for size in info.input_shape), indexing="ij")
    made = np.empty((count, *info.input_shape), dtype=np.float32)
    for image in made:
        waves = sum(np.sin(2 * np.pi * random.uniform(0.5, 3) * axis + random.uniform(0, 6)) for axis in axes)
        image[:] = 0.5 + 0.15 * waves + random.normal(0, 0.05, info.input_shape)
    np.clip(made, 0, 1, out=made)
    made[..., info.input_side_px - max(1, info.input_side_px // 10) :, :] = info.pad_value
    return made


def ask(encoder: Encoder, images: FloatArray, *, sides: FloatArray | None = None) -> Answers:
    """Put the question to an encoder. Raises EngineError.

    `sides`: rerank those of another engine, which may have selected other tokens where two are attended alike.
    """
    info = encoder.info
    tokens = encoder.encode(images)
    readings = encoder.read(tokens, [entity.index for entity in info.entities])
    if sides is None and info.rerank_top_k is not None:
        selected = select_tokens(tokens, readings.attention, info.rerank_top_k)
        sides = rerank_side(readings.latents, selected)[0]
    return Answers(
        tokens=tokens,
        embeddings=readings.embeddings,
        attention=readings.attention,
        presence_prob=readings.presence_prob,
        sides=sides,
        rerank=None if sides is None else encoder.rerank(sides[0], np.ascontiguousarray(sides[:_PAIRS])),
    )


def agreements(reference: Answers, other: Answers, limits: Limits) -> Iterator[Agreement]:
    """Compare two engines' answers to one question."""
    yield _near("tokens", _smallest_cosine(reference.tokens, other.tokens), limits.cosine)
    yield _near("embeddings", _smallest_cosine(reference.embeddings, other.embeddings), limits.cosine)
    yield _within("attention", reference.attention, other.attention, limits.attention)
    yield _within("presence_prob", reference.presence_prob, other.presence_prob, limits.probability)
    if reference.rerank is not None and other.rerank is not None:
        yield _within("rerank", reference.rerank, other.rerank, limits.probability)


def _smallest_cosine(one: FloatArray, other: FloatArray) -> float:
    first, second = one.astype(np.float64), other.astype(np.float64)
    norms = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return float(((first * second).sum(axis=-1) / np.maximum(norms, 1e-12)).min())


def _near(quantity: str, cosine: float, limit: float) -> Agreement:
    return Agreement(quantity=f"{quantity}_cosine", value=cosine, limit=limit, ok=cosine >= limit)


def _within(quantity: str, one: FloatArray, other: FloatArray, limit: float) -> Agreement:
    largest = float(np.abs(one.astype(np.float64) - other).max())
    return Agreement(quantity=f"{quantity}_difference", value=largest, limit=limit, ok=largest <= limit)
