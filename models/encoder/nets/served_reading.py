"""Entity reader and reranker as they are served: one modality's weights enter; nets of few, plain operations leave.

The packed projections are cut where their results are used apart, which a runtime would otherwise do in every call;
only the expert of the modality is kept.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.encoder.nets.fusion import CrossAttention, EntityReader
from models.encoder.nets.layers import merge_heads, split_heads, unit
from models.encoder.nets.reranker import Reranker
from models.encoder.nets.served import ServedExpert


class ServedReadings(NamedTuple):
    """What the fusion graph gives: (b, e, D), (b, e, d), (b, e, n) and (b, e)."""

    embeddings: Tensor
    latents: Tensor
    attention: Tensor
    logits: Tensor


class ServedCross(nn.Module):
    """Multi-head attention with three projections, the scale within that of the queries."""

    def __init__(self, attention: CrossAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        weights, biases = attention.in_proj_weight.detach().chunk(3), attention.in_proj_bias.detach().chunk(3)
        scale = (weights[0].shape[0] // self.heads) ** -0.5
        self.to_q = _linear(weights[0] * scale, biases[0] * scale)
        self.to_k, self.to_v = _linear(weights[1], biases[1]), _linear(weights[2], biases[2])
        self.to_out = attention.out_proj

    def forward(
        self, queries: Tensor, keyed: Tensor, tokens: Tensor, log_weight: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `CrossAttention.forward`, but the maps (b, heads, e, n) of all heads come back."""
        query = split_heads(self.to_q(queries), self.heads)
        key = split_heads(self.to_k(keyed), self.heads)
        value = split_heads(self.to_v(tokens), self.heads)
        logits = query @ key.transpose(-1, -2)
        if log_weight is not None:
            logits = logits + log_weight[:, None, None, :]
        maps = logits.softmax(dim=-1)
        return self.to_out(merge_heads(maps @ value)), maps


class ServedReader(nn.Module):
    """Entity reader of one modality. Keys and values are worked out once per image and layer, for all entities."""

    def __init__(self, reader: EntityReader, router: int) -> None:
        super().__init__()
        layers = reader.fusion_module.layers
        self.conditions = reader.condition_embeddings
        self.crosses = nn.ModuleList(ServedCross(layer.multihead_attn) for layer in layers)
        self.norms = nn.ModuleList(layer.norm2 for layer in layers)
        self.expert_norms = nn.ModuleList(layer.norm3 for layer in layers)
        self.experts = nn.ModuleList(ServedExpert(layer.moe_ffn.expert(router), normed=False) for layer in layers)
        self.norm = reader.fusion_module.norm
        self.to_embedding, self.classifier = reader.to_fused_latent, reader.abnormal_exist_classifier
        self.register_buffer("positions", reader.positions)

    def forward(self, tokens: Tensor, entity_rows: Tensor, token_log_weight: Tensor) -> ServedReadings:
        """(b, n, d), (e,) and (b, n) to readings of every entity in every image."""
        keyed = tokens + self.positions
        queries = self.conditions(entity_rows).unsqueeze(0).expand(tokens.shape[0], -1, -1)
        maps = token_log_weight
        for cross, norm, expert_norm, expert in zip(
            self.crosses, self.norms, self.expert_norms, self.experts, strict=True
        ):
            attended, maps = cross(norm(queries), keyed, tokens, token_log_weight)
            queries = queries + attended
            queries = queries + expert(expert_norm(queries))
        latents = self.norm(queries)
        fused = self.to_embedding(latents)
        return ServedReadings(unit(fused), latents, maps.mean(dim=1), self.classifier(fused).squeeze(-1))


class ServedReranker(nn.Module):
    """Reranker of one modality."""

    def __init__(self, reranker: Reranker, router: int) -> None:
        super().__init__()
        layers = reranker.layers
        self.lead, self.between, self.segments = reranker.cls_emb, reranker.sep_token, reranker.segment_emb.weight
        self.crosses = nn.ModuleList(ServedCross(layer.self_attn) for layer in layers)
        self.norms = nn.ModuleList(layer.norm1 for layer in layers)
        self.expert_norms = nn.ModuleList(layer.norm2 for layer in layers)
        self.experts = nn.ModuleList(ServedExpert(layer.moe_ffn.expert(router), normed=False) for layer in layers)
        self.head = ServedExpert(reranker.classifier_moe.expert(router), normed=False)
        self.classifier = reranker.classifier_out

    def forward(self, query: Tensor, candidate: Tensor) -> Tensor:
        """Sides (p, k + 1, d) to logits (p,). Of the last layer, only the row that the head reads is worked out."""
        pairs = query.shape[0]
        lead, between = self.lead.expand(pairs, -1, -1), self.between.expand(pairs, -1, -1)
        sequence = torch.cat((lead, query + self.segments[0], between, candidate + self.segments[1]), dim=1)
        last = len(self.crosses) - 1
        for number, cross in enumerate(self.crosses):
            normed, kept = self.norms[number](sequence), 1 if number == last else None
            attended, _ = cross(normed[:, :kept], normed, normed)
            sequence = sequence[:, :kept] + attended
            sequence = sequence + self.experts[number](self.expert_norms[number](sequence))
        logits: Tensor = self.classifier(self.head(sequence[:, 0])).squeeze(-1)
        return logits


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
    return linear
