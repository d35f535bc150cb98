"""The pairwise reranker: what two images show of one entity enters; the logit of "a relevant case" leaves."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.encoder.nets.fusion import CrossAttention
from models.encoder.nets.layers import ExpertBank, gated_expert


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankerSizes:
    """Widths and counts of the reranker."""

    width: int
    layers: int
    heads: int
    inner: int
    head_inner: int
    experts: int


class RerankerLayer(nn.Module):
    """Pre-norm self-attention, then an expert."""

    def __init__(self, sizes: RerankerSizes) -> None:
        super().__init__()
        self.self_attn = CrossAttention(sizes.width, sizes.heads)
        self.norm1 = nn.LayerNorm(sizes.width)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.moe_ffn = _bank(sizes, sizes.inner)

    def forward(self, sequence: Tensor, router: int, kept: int | None = None) -> Tensor:
        """(p, s, d) to the first `kept` rows of the layer's output: (p, kept, d); all of them by default."""
        normed = self.norm1(sequence)
        attended, _ = self.self_attn(normed[:, :kept], normed, normed)
        sequence = sequence[:, :kept] + attended
        updated: Tensor = sequence + self.moe_ffn(self.norm2(sequence), router)
        return updated


class Reranker(nn.Module):
    """Cross-encoder over one sequence of both sides; without a last norm, and without a residual in its head."""

    def __init__(self, sizes: RerankerSizes) -> None:
        super().__init__()
        self.cls_emb = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.sep_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.segment_emb = nn.Embedding(2, sizes.width)
        self.layers = nn.ModuleList(RerankerLayer(sizes) for _ in range(sizes.layers))
        self.classifier_moe = _bank(sizes, sizes.head_inner)
        self.classifier_out = nn.Linear(sizes.width, 1)

    def forward(self, query: Tensor, candidate: Tensor, router: int) -> Tensor:
        """Sides (p, k + 1, d), latent first, then selected tokens with their positions, to logits (p,).

        Not symmetric: the query comes first. Raises IndexError where expert `router` does not exist.
        """
        pairs = query.shape[0]
        segments = self.segment_emb.weight
        lead, between = (token.expand(pairs, -1, -1) for token in (self.cls_emb, self.sep_token))
        sequence = torch.cat((lead, query + segments[0], between, candidate + segments[1]), dim=1)
        for layer in self.layers[:-1]:
            sequence = layer(sequence, router)
        summary = self.layers[-1](sequence, router, kept=1)[:, 0]  # the head reads the first row alone
        logits: Tensor = self.classifier_out(self.classifier_moe(summary, router)).squeeze(-1)
        return logits


def _bank(sizes: RerankerSizes, inner: int) -> ExpertBank:
    return ExpertBank([gated_expert(sizes.width, inner, normed=False) for _ in range(sizes.experts)])
