"""What a bundle should compute: a seed enters, inputs leave; what the checkpoint gave for them is kept and compared.

`selftest/<family>.npz` of an imported bundle holds what torch computed from the checkpoint itself, so that any engine
can be compared on any machine without torch:

seed            () int64       the inputs follow from it, by `image` and `sides`
token_rows      (r,) int64     rows of the token grid that are kept
tokens_sample   (r, d)         those rows of the tokens of the image
entity_rows     (e,) int64     entities that were read, as rows of the condition table
embeddings      (e, D)         of the image, through its tokens, as the two arrays that follow
latents         (e, d)
logits          (e,)
rerank_logits   (p,)           of `sides`: the first is the query, the p others are its candidates; absent, no reranker
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.encoder.checks import logistic
from models.encoder.engine import Encoder, FamilyInfo, FloatArray

FOLDER: Final = "selftest"
SEED: Final = 20260611
MAX_RELATIVE_ERROR: Final = 1e-4
MIN_COSINE: Final = 0.99999
_KEPT_ROWS: Final = 32
_PAIRS: Final = 3
_PAD_SHARE: Final = 8
_IMAGE, _SIDES = 0, 1
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expected:
    """The arrays of one family's file. `rerank_logits` is None where it has no reranker."""

    seed: int
    token_rows: NDArray[np.int64]
    tokens_sample: FloatArray
    entity_rows: NDArray[np.int64]
    embeddings: FloatArray
    latents: FloatArray
    logits: FloatArray
    rerank_logits: FloatArray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How far one output is from what is expected: largest difference in units of the largest value, worst cosine."""

    output: str
    relative_error: float
    cosine: float

    def within(self, *, relative_error: float = MAX_RELATIVE_ERROR, cosine: float = MIN_COSINE) -> bool:
        """Whether the deviation is allowed; the defaults are those of float32. NaN is not."""
        return self.relative_error <= relative_error and self.cosine >= cosine


def file_name(family_folder: str) -> str:
    """Name of a family's file in its bundle."""
    return f"{FOLDER}/{family_folder}.npz"


def write_expected(path: Path, expected: Expected) -> None:
    """Write the file of one family."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "seed": np.array(expected.seed, dtype=np.int64),
        "token_rows": expected.token_rows,
        "tokens_sample": expected.tokens_sample,
        "entity_rows": expected.entity_rows,
        "embeddings": expected.embeddings,
        "latents": expected.latents,
        "logits": expected.logits,
    }
    if expected.rerank_logits is not None:
        arrays["rerank_logits"] = expected.rerank_logits
    np.savez(path, allow_pickle=False, **arrays)


def read_expected(path: Path) -> Expected:
    """Read the file of one family. Raises OSError, KeyError and ValueError for a file that is none."""
    with np.load(path, allow_pickle=False) as arrays:
        return Expected(
            seed=int(arrays["seed"]),
            token_rows=arrays["token_rows"],
            tokens_sample=arrays["tokens_sample"],
            entity_rows=arrays["entity_rows"],
            embeddings=arrays["embeddings"],
            latents=arrays["latents"],
            logits=arrays["logits"],
            rerank_logits=arrays.get("rerank_logits"),
        )


def image(info: FamilyInfo, seed: int) -> FloatArray:
    """One input of the family, (1, S, S) or (1, D, S, S): noise in [0, 1], the first rows of each plane padding.

    Flat patches are among the inputs because their variance is nothing but the epsilon of the first norm.
    """
    side = info.input_side_px
    planes = [_noise(seed, _IMAGE, plane, side * side).reshape(side, side) for plane in range(info.input_depth)]
    made = np.stack(planes)[None]
    made[..., : side // _PAD_SHARE, :] = info.pad_value
    return made[:, 0] if info.input_depth == 1 else made


def sides(info: FamilyInfo, seed: int) -> FloatArray:
    """One query and its candidates for the reranker, (1 + p, k + 1, d). Raises ValueError where there is none."""
    if info.rerank_top_k is None:
        raise ValueError(f"{info.modality} has no reranker")
    shape = (info.rerank_top_k + 1, info.token_width)
    spread = np.float32(np.sqrt(12))
    return np.stack(
        [(_noise(seed, _SIDES, row, shape[0] * shape[1]).reshape(shape) - 0.5) * spread for row in range(1 + _PAIRS)]
    )


def kept_rows(token_count: int) -> NDArray[np.int64]:
    """Rows of the token grid whose tokens are kept: some, spread evenly."""
    return np.unique(np.linspace(0, token_count - 1, _KEPT_ROWS).astype(np.int64))


def deviations(encoder: Encoder, expected: Expected) -> tuple[Deviation, ...]:
    """Run a family's graphs on the inputs and compare. Raises EngineError."""
    info = encoder.info
    tokens = encoder.encode(image(info, expected.seed))
    readings = encoder.read(tokens, [int(row) for row in expected.entity_rows])
    compared = [
        compare("tokens", tokens[0, expected.token_rows], expected.tokens_sample),
        compare("embeddings", readings.embeddings[0], expected.embeddings),
        compare("latents", readings.latents[0], expected.latents),
    ]
    if all(info.entity(int(row)).measured is None for row in expected.entity_rows):  # else logits were calibrated
        compared.append(compare("presence", readings.presence_prob[0], logistic(expected.logits)))
    if expected.rerank_logits is not None:
        made = sides(info, expected.seed)
        compared.append(compare("rerank", encoder.rerank(made[0], made[1:]), logistic(expected.rerank_logits)))
    return tuple(compared)


def failing(compared: Sequence[Deviation]) -> tuple[Deviation, ...]:
    """Those beyond what float32 allows."""
    return tuple(deviation for deviation in compared if not deviation.within())


def compare(output: str, got: FloatArray, want: FloatArray) -> Deviation:
    """Compare one output; rows are vectors of the last axis. A wrong shape is as far away as can be."""
    if got.shape != want.shape:
        return Deviation(output=output, relative_error=float("inf"), cosine=-1.0)
    exact, other = want.astype(np.float64), got.astype(np.float64)
    largest = max(float(np.abs(exact).max(initial=0.0)), 1e-12)
    lengths = np.linalg.norm(exact, axis=-1) * np.linalg.norm(other, axis=-1)
    cosines = (exact * other).sum(axis=-1) / np.maximum(lengths, 1e-24)
    return Deviation(
        output=output,
        relative_error=float(np.abs(other - exact).max(initial=0.0)) / largest,
        cosine=float(cosines.min(initial=1.0)),
    )


def _noise(seed: int, stream: int, part: int, count: int) -> FloatArray:
    """`count` values in [0, 1) by SplitMix64, which, unlike numpy's generators, is the same in every version."""
    start = (seed * 0x2545F4914F6CDD1D + (stream << 32) + part) % 2**64
    begin = _mix(np.array([start], dtype=np.uint64))
    drawn = _mix(begin + np.arange(1, count + 1, dtype=np.uint64) * _STEP)
    return (drawn >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
