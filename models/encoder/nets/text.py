"""The report encoder of a retrieval checkpoint (MPNet): token ids enter; unit vectors in the images' space leave.

Architecture after Song et al., "MPNet" (2020): post-norm layers, positions both as rows of a table and as a bias shared
by all layers, by buckets of the signed distance as in T5. Training compares with it; serving does not need it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.encoder.nets.layers import merge_heads, split_heads, unit
from models.shared.checkpoints import CheckpointError

PAD_ID: Final = 1
"""Token id of padding; the row of the position table that padding has, too."""

NORM_EPS: Final = 1e-5
"""Of the published text encoder (BioLORD-2023, after mpnet-base); the weights do not tell it."""

_FARTHEST: Final = 128
_PREFIX: Final = "text_transformer."


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSizes:
    """Sizes of a report encoder, as inferred from its weights."""

    width: int
    layers: int
    heads: int
    inner: int
    buckets: int
    vocabulary: int
    positions: int
    latent_width: int
    norm_eps: float = NORM_EPS


class _Embeddings(nn.Module):
    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(sizes.vocabulary, sizes.width)
        self.position_embeddings = nn.Embedding(sizes.positions, sizes.width)
        self.LayerNorm = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)

    def forward(self, token_ids: Tensor) -> Tensor:
        """(b, s) to (b, s, w); positions count from the row after padding's."""
        real = token_ids != PAD_ID
        places = real.cumsum(dim=1) * real + PAD_ID
        embedded: Tensor = self.LayerNorm(self.word_embeddings(token_ids) + self.position_embeddings(places))
        return embedded


class _SelfAttention(nn.Module):
    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.attn = nn.ModuleDict({name: nn.Linear(sizes.width, sizes.width) for name in "qkvo"})
        self.LayerNorm = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """`tokens` (b, s, w), `bias` broadcastable to (b, heads, s, s)."""
        query, key, value = (split_heads(self.attn[name](tokens), self.heads) for name in "qkv")
        weights = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias).softmax(dim=-1)
        attended: Tensor = self.LayerNorm(tokens + self.attn["o"](merge_heads(weights @ value)))
        return attended


class _Inner(nn.Module):
    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.width, sizes.inner)


class _Output(nn.Module):
    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.dense = nn.Linear(sizes.inner, sizes.width)
        self.LayerNorm = nn.LayerNorm(sizes.width, eps=sizes.norm_eps)


class _Layer(nn.Module):
    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.attention = _SelfAttention(sizes)
        self.intermediate = _Inner(sizes)
        self.output = _Output(sizes)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """`tokens` (b, s, w), `bias` broadcastable to (b, heads, s, s)."""
        attended = self.attention(tokens, bias)
        inner = functional.gelu(self.intermediate.dense(attended))
        updated: Tensor = self.output.LayerNorm(attended + self.output.dense(inner))
        return updated


class _Layers(nn.Module):
    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(sizes) for _ in range(sizes.layers))
        self.relative_attention_bias = nn.Embedding(sizes.buckets, sizes.heads)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """`tokens` (b, s, w), `mask` (b, s)."""
        buckets = distance_buckets(tokens.shape[1], self.relative_attention_bias.num_embeddings).to(tokens.device)
        bias = self.relative_attention_bias(buckets).permute(2, 0, 1)[None]
        bias = bias.masked_fill(mask[:, None, None, :] == 0, torch.finfo(tokens.dtype).min)
        for layer in self.layer:
            tokens = layer(tokens, bias)
        return tokens


class TextEncoder(nn.Module):
    """Report encoder and its projection into the space of the images."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.embeddings = _Embeddings(sizes)
        self.encoder = _Layers(sizes)
        self.to_text_latent = nn.Linear(sizes.width, sizes.latent_width, bias=False)

    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """`token_ids` and `mask` (1 = token, 0 = padding), (b, s) int64, to unit vectors (b, D)."""
        tokens = self.encoder(self.embeddings(token_ids), mask)
        kept = mask[..., None].to(tokens.dtype)
        pooled = (tokens * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1e-9)
        return unit(self.to_text_latent(unit(pooled)))


def distance_buckets(count: int, buckets: int) -> Tensor:
    """Bucket of each pair of `count` tokens: (count, count) int64 below `buckets`.

    Half of them for tokens before, half for tokens after; within a half, one each for near ones, then wider and wider.
    """
    places = torch.arange(count)
    ahead = places[None, :] - places[:, None]
    half = buckets // 2
    near = half // 2
    far = near + (ahead.abs().clamp(min=1) / near).log() / math.log(_FARTHEST / near) * (half - near)
    within = torch.where(ahead.abs() < near, ahead.abs(), far.long().clamp(max=half - 1))
    return within + half * (ahead > 0)


def load_text(state: Mapping[str, Tensor], *, norm_eps: float = NORM_EPS) -> TextEncoder:
    """Build the report encoder with the sizes found in `state` and load it. Raises CheckpointError: missing-key."""
    own = {key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)}
    own["to_text_latent.weight"] = _required(state, "to_text_latent.weight")
    with torch.device("meta"):
        encoder = TextEncoder(_infer(own, norm_eps))
    if missing := encoder.state_dict().keys() - own.keys():
        raise CheckpointError("missing-key", [_PREFIX + key for key in missing])
    encoder.load_state_dict({key: own[key].float() for key in encoder.state_dict()}, strict=True, assign=True)
    return encoder.eval()


def _infer(state: Mapping[str, Tensor], norm_eps: float) -> TextSizes:
    vocabulary, width = _required(state, "embeddings.word_embeddings.weight").shape
    buckets, heads = _required(state, "encoder.relative_attention_bias.weight").shape
    numbers = [int(found.group(1)) for key in state if (found := re.match(r"encoder\.layer\.(\d+)\.", key))]
    return TextSizes(
        width=width,
        layers=max(numbers, default=-1) + 1,
        heads=heads,
        inner=_required(state, "encoder.layer.0.intermediate.dense.weight").shape[0],
        buckets=buckets,
        vocabulary=vocabulary,
        positions=_required(state, "embeddings.position_embeddings.weight").shape[0],
        latent_width=_required(state, "to_text_latent.weight").shape[0],
        norm_eps=norm_eps,
    )


def _required(state: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in state:
        raise CheckpointError("missing-key", [key])
    return state[key]
