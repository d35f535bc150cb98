"""Condition fusion: image tokens and entity rows enter; per entity an embedding, a latent, a map and a logit leave.

Keys and values are computed once per image and layer, then read by any number of entities: there is no attention
between entities, so each gets what it would get alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.encoder.nets.layers import ExpertBank, gated_expert, merge_heads, split_heads, unit


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionSizes:
    """Widths and counts of the fusion decoder and its heads."""

    width: int
    layers: int
    heads: int
    inner: int
    experts: int
    condition_rows: int
    embedding_width: int
    dropout: float = 0.0


class Readings(NamedTuple):
    """What is read per image and entity.

    `embeddings` (b, e, D) of unit length, `latents` (b, e, d), `attention` (b, e, n) with rows that sum to 1, `logits`
    (b, e), and `attention_layers` (layers, b, e, n), the maps of all layers, the last of which is `attention`.
    """

    embeddings: Tensor
    latents: Tensor
    attention: Tensor
    logits: Tensor
    attention_layers: Tensor


class CrossAttention(nn.Module):
    """Multi-head attention with a packed input projection; the mean map over heads comes back too."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(
        self, queries: Tensor, keyed: Tensor, tokens: Tensor, log_weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attend from `queries` (b, e, d) to `tokens` (b, n, d) by the keys of `keyed` (b, n, d).

        `log_weight` (b, n), where given, is added to every logit. Returns (b, e, d) and the map (b, e, n).
        """
        weights = self.in_proj_weight.chunk(3)
        biases = self.in_proj_bias.chunk(3)
        query, key, value = (
            split_heads(functional.linear(part, weight, bias), self.heads)
            for part, weight, bias in zip((queries, keyed, tokens), weights, biases, strict=True)
        )
        logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if log_weight is not None:
            logits = logits + log_weight[:, None, None, :]
        attention = logits.softmax(dim=-1)
        return self.out_proj(merge_heads(attention @ value)), attention.mean(dim=1)


class FusionLayer(nn.Module):
    """Pre-norm cross-attention, then an expert."""

    def __init__(self, sizes: FusionSizes) -> None:
        super().__init__()
        self.multihead_attn = CrossAttention(sizes.width, sizes.heads)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.norm3 = nn.LayerNorm(sizes.width)
        self.moe_ffn = ExpertBank(
            [gated_expert(sizes.width, sizes.inner, normed=False, dropout=sizes.dropout) for _ in range(sizes.experts)]
        )
        self.dropout = nn.Dropout(sizes.dropout)


class FusionModule(nn.Module):
    """The decoder's layers and its last norm."""

    def __init__(self, sizes: FusionSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(sizes) for _ in range(sizes.layers))
        self.norm = nn.LayerNorm(sizes.width)


class EntityReader(nn.Module):
    """Condition table, fusion decoder, retrieval projection and abnormality head, over the tokens of any encoder."""

    def __init__(self, sizes: FusionSizes, positions: Tensor) -> None:
        """`positions`: (n, d), one row per token of the encoder; constant, not part of the state dict."""
        super().__init__()
        self.condition_embeddings = nn.Embedding(sizes.condition_rows, sizes.width)
        self.fusion_module = FusionModule(sizes)
        self.to_fused_latent = nn.Linear(sizes.width, sizes.embedding_width, bias=False)
        self.abnormal_exist_classifier = nn.Linear(sizes.embedding_width, 1)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, tokens: Tensor, entity_rows: Tensor, token_log_weight: Tensor, router: int) -> Readings:
        """Read `entity_rows` (e,) int64 from `tokens` (b, n, d).

        `token_log_weight` (b, n) is added to every attention logit: zeros read the whole image, the logarithm of a soft
        mask reads a place. Raises IndexError where expert `router` does not exist.
        """
        keyed = tokens + self.positions
        queries = self.condition_embeddings(entity_rows).unsqueeze(0).expand(tokens.shape[0], -1, -1)
        maps = []
        for layer in self.fusion_module.layers:
            attended, attention = layer.multihead_attn(layer.norm2(queries), keyed, tokens, token_log_weight)
            queries = queries + layer.dropout(attended)
            queries = queries + layer.dropout(layer.moe_ffn(layer.norm3(queries), router))
            maps.append(attention)
        latents = self.fusion_module.norm(queries)
        fused = self.to_fused_latent(latents)
        logits = self.abnormal_exist_classifier(fused).squeeze(-1)
        return Readings(unit(fused), latents, maps[-1], logits, torch.stack(maps))
