"""Tokens and attention maps enter; what the reranker reads of an image leaves: its most attended tokens."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.encoder.engine import FloatArray
from models.shared.checkpoints import POSITION_GRID
from models.shared.positions import sinusoidal_positions


def strongest_tokens(attention: FloatArray, k: int) -> NDArray[np.intp]:
    """Numbers of the `k` most attended tokens of each map (..., n), in descending attention: (..., k).

    Of equal tokens the earlier comes first. Raises ValueError unless 1 <= k <= n.
    """
    count = attention.shape[-1]
    if not 1 <= k <= count:
        raise ValueError(f"{k} of {count} tokens cannot be selected")
    return np.argsort(-attention, axis=-1, kind="stable")[..., :k]


def select_tokens(
    tokens: FloatArray, attention: FloatArray, k: int, *, grid: tuple[int, int] = POSITION_GRID
) -> FloatArray:
    """Most attended tokens of each entity plus their position rows, in descending attention: (b, e, k, d).

    `tokens` (b, n, d), `attention` (b, e, n); `grid` is that of the model's position table, of which the first n rows
    are taken. Raises ValueError where k or n do not fit.
    """
    batch, count, width = tokens.shape
    if attention.shape[0] != batch or attention.shape[-1] != count or count > grid[0] * grid[1]:
        raise ValueError(f"maps {attention.shape} do not belong to tokens {tokens.shape}")
    placed = tokens + sinusoidal_positions(*grid, width)[:count]
    chosen = strongest_tokens(attention, k)
    selected: FloatArray = placed[np.arange(batch)[:, None, None], chosen]
    return selected


def rerank_side(latents: FloatArray, selected: FloatArray) -> FloatArray:
    """One side of the pairs that a reranker reads: latents (..., d) before the selected tokens (..., k, d)."""
    return np.concatenate((latents[..., None, :], selected), axis=-2)
