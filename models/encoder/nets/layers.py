"""Layers that the encoder and the fusion decoder share. Names of parameters are those of published checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class GammaBetaNorm(nn.Module):
    """Layer norm (eps 1e-5) whose weight is called `gamma` and whose stored `beta` is a buffer, not trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        return functional.layer_norm(tokens, (tokens.shape[-1],), self.gamma, self.beta)


class GatedGelu(nn.Module):
    """(..., 2 f) to (..., f): the first half times the exact GELU of the second."""

    def forward(self, pair: Tensor) -> Tensor:
        """Gate the first half by the second."""
        value, gate = pair.chunk(2, dim=-1)
        return value * functional.gelu(gate)


def gated_expert(width: int, inner: int, *, normed: bool, dropout: float = 0.0) -> nn.Sequential:
    """Feed-forward expert `width -> 2 inner -> gate -> width` without biases.

    With `normed` a layer norm leads, which shifts the numbers in the keys: (0, 1, 4) instead of (0, 3).
    """
    up = nn.Linear(width, 2 * inner, bias=False)
    down = nn.Linear(inner, width, bias=False)
    lead = [nn.LayerNorm(width)] if normed else []
    return nn.Sequential(*lead, up, GatedGelu(), nn.Dropout(dropout), down)


class ExpertBank(nn.Module):
    """Hard-routed experts: the whole call goes to one of them."""

    def __init__(self, experts: list[nn.Sequential]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)

    def expert(self, router: int) -> nn.Sequential:
        """Expert `router`. Raises IndexError where there is none, although the modality table may have such a row."""
        if not 0 <= router < len(self.experts):
            raise IndexError(f"router index {router}: the checkpoint has experts 0 to {len(self.experts) - 1}")
        return self.experts[router]

    def forward(self, tokens: Tensor, router: int) -> Tensor:
        """(..., width) to the same shape by expert `router`. Raises IndexError where there is no such expert."""
        routed: Tensor = self.expert(router)(tokens)
        return routed


def split_heads(features: Tensor, heads: int) -> Tensor:
    """(b, n, heads * w), feature index = head * w + i, to (b, heads, n, w)."""
    batch, count, width = features.shape
    return features.reshape(batch, count, heads, width // heads).transpose(1, 2)


def merge_heads(features: Tensor) -> Tensor:
    """(b, heads, n, w) to (b, n, heads * w)."""
    batch, heads, count, width = features.shape
    return features.transpose(1, 2).reshape(batch, count, heads * width)


def unit(vectors: Tensor) -> Tensor:
    """Vectors over the last axis divided by their length (at least 1e-12)."""
    return functional.normalize(vectors, dim=-1, eps=1e-12)
