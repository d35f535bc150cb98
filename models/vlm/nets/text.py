"""The text stack of Qwen2.5 in torch: embedded tokens with three-row positions enter; logits and the cache leave.

Attribute names are those of the published keys, so a state dict loads strictly. Arithmetic is float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.vlm.sizes import TextSizes

KvCache = list[tuple[Tensor, Tensor]]


class RmsNorm(nn.Module):
    """Root-mean-square norm over the last axis, no centring, no bias."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        return self.weight * (tokens * torch.rsqrt(tokens.square().mean(-1, keepdim=True) + self.eps))


class GatedMlp(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x)), no biases."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.up_proj = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.down_proj = nn.Linear(sizes.inner, sizes.width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(tokens)) * self.up_proj(tokens))
        return out


class GroupedAttention(nn.Module):
    """Grouped-query attention with biases on queries, keys and values, and rotary positions."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.sizes = sizes
        kv_width = sizes.kv_heads * sizes.head_width
        self.q_proj = nn.Linear(sizes.width, sizes.heads * sizes.head_width)
        self.k_proj = nn.Linear(sizes.width, kv_width)
        self.v_proj = nn.Linear(sizes.width, kv_width)
        self.o_proj = nn.Linear(sizes.heads * sizes.head_width, sizes.width, bias=False)

    def forward(
        self, tokens: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """`tokens` (b, s, d), `rotation` cosine and sine (b, 1, s, w/2), additive `mask` (b, 1, s, p + s)."""
        query = rotate(self._split(self.q_proj(tokens)), rotation)
        key = rotate(self._split(self.k_proj(tokens)), rotation)
        value = self._split(self.v_proj(tokens))
        if past is not None:
            key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
        group = self.sizes.heads // self.sizes.kv_heads
        logits = query @ key.repeat_interleave(group, dim=1).transpose(-1, -2) * self.sizes.head_width**-0.5
        weights = (logits + mask).softmax(dim=-1)
        attended = (weights @ value.repeat_interleave(group, dim=1)).transpose(1, 2).flatten(2)
        return self.o_proj(attended), (key, value)

    def _split(self, features: Tensor) -> Tensor:
        batch, length, _ = features.shape
        return features.reshape(batch, length, -1, self.sizes.head_width).transpose(1, 2)


class TextLayer(nn.Module):
    """Pre-norm attention and MLP, both residual."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.input_layernorm = RmsNorm(sizes.width, sizes.rms_eps)
        self.self_attn = GroupedAttention(sizes)
        self.post_attention_layernorm = RmsNorm(sizes.width, sizes.rms_eps)
        self.mlp = GatedMlp(sizes)

    def forward(
        self, tokens: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """See GroupedAttention."""
        attended, present = self.self_attn(self.input_layernorm(tokens), rotation, mask, past)
        tokens = tokens + attended
        return tokens + self.mlp(self.post_attention_layernorm(tokens)), present


class TextStack(nn.Module):
    """Embedding table, layers and last norm."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed_tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.layers = nn.ModuleList(TextLayer(sizes) for _ in range(sizes.layers))
        self.norm = RmsNorm(sizes.width, sizes.rms_eps)

    def forward(
        self, embeds: Tensor, attention_mask: Tensor, position_ids: Tensor, past: KvCache | None = None
    ) -> tuple[Tensor, KvCache]:
        """Continue a sequence.

        `embeds` (b, s, d), `attention_mask` (b, p + s) of 0 and 1, `position_ids` (3, b, s), `past` keys and values
        (b, kv, p, w) per layer. Returns the normed states (b, s, d) and the cache, now p + s long.
        """
        rotation = self.rotation(position_ids)
        mask = causal_mask(attention_mask, embeds.shape[1])
        presents: KvCache = []
        tokens = embeds
        for number, layer in enumerate(self.layers):
            tokens, present = layer(tokens, rotation, mask, past[number] if past else None)
            presents.append(present)
        return self.norm(tokens), presents

    def rotation(self, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine (b, 1, s, w/2) of positions (3, b, s)."""
        width = self.sizes.head_width
        frequencies = 1.0 / self.sizes.rope_theta ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
        rows = torch.tensor(self.sizes.frequency_rows)
        angles = position_ids[rows].permute(1, 2, 0).float() * frequencies
        return angles.cos().unsqueeze(1), angles.sin().unsqueeze(1)


def rotate(features: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn (b, h, s, w): element i of the first half and of the second are the two coordinates of pair i."""
    cosine, sine = rotation
    first, second = features.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


def causal_mask(attention_mask: Tensor, length: int) -> Tensor:
    """Additive mask (b, 1, length, p + length): the lowest float where a key is padding or lies ahead."""
    total = attention_mask.shape[1]
    ahead = torch.arange(total) > torch.arange(total - length, total)[:, None]
    blocked = ahead | (attention_mask[:, None, :] == 0)
    return torch.zeros(blocked.shape).masked_fill(blocked, torch.finfo(torch.float32).min).unsqueeze(1)
