"""The retrieval model as one would write it from its description: one image and one entity enter, a reading leaves.

This is what the benchmarks compare with, and it shares no code with the node. Every call makes the whole pass, position
bias over all pairs of tokens included, as the published research code does. Nothing is slowed down on purpose, and
nothing is kept from one call to the next. Parameter names are the published keys.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody calls it

from tests.bench.layout import CONDITION_ROWS, EXPERTS, MODALITY_ROWS, PublishedSizes

_GRID_SIDE = 24  # of the position table, whatever the image


class Reading(NamedTuple):
    """What one pass gives, batch first."""

    tokens: Tensor
    embeddings: Tensor
    latents: Tensor
    attention: Tensor
    logits: Tensor


class Norm(nn.Module):
    """Layer norm with the names `gamma` and `beta`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))
        self.register_buffer("beta", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.gamma, self.beta)


class GatedGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        return value * F.gelu(gate)


class Experts(nn.Module):
    """One feed-forward net per modality; `normed` ones start with a layer norm."""

    def __init__(self, width: int, inner: int, *, normed: bool) -> None:
        super().__init__()
        self.experts = nn.ModuleList(
            nn.Sequential(
                *([nn.LayerNorm(width)] if normed else []),
                nn.Linear(width, 2 * inner, bias=False),
                GatedGelu(),
                nn.Dropout(0.0),
                nn.Linear(inner, width, bias=False),
            )
            for _ in range(EXPERTS)
        )

    def forward(self, x: Tensor, modality: int) -> Tensor:
        return self.experts[modality](x)


class PositionBias(nn.Module):
    """Bias (heads, n, n) between all pairs of cells of a grid, by a small net of their offset."""

    def __init__(self, axes: int, width: int, heads: int) -> None:
        super().__init__()
        self.net = nn.ModuleList(
            [
                nn.Sequential(nn.Linear(axes, width), nn.LeakyReLU(0.1)),
                nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(0.1)),
                nn.Linear(width, heads),
            ]
        )

    def forward(self, *sides: int) -> Tensor:
        device = self.net[2].weight.device
        axes = torch.meshgrid(*(torch.arange(side, device=device) for side in sides), indexing="ij")
        cells = torch.stack(axes, dim=-1).reshape(-1, len(sides))
        offset = (cells[:, None] - cells[None, :]).float()
        x = torch.sign(offset) * torch.log(offset.abs() + 1)
        for layer in self.net:
            x = layer(x)
        return x.permute(2, 0, 1)


class PositionConv(nn.Module):
    """Depth-wise convolution over the tokens viewed as (b, t, g, g), whatever their order is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dsconv = nn.Conv3d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
        grid = x.reshape(*shape, -1).permute(0, 4, 1, 2, 3)
        return self.dsconv(grid).permute(0, 2, 3, 4, 1).reshape(x.shape)


class Attention(nn.Module):
    def __init__(self, sizes: PublishedSizes) -> None:
        super().__init__()
        inner = sizes.heads * sizes.head_width
        self.heads = sizes.heads
        self.scale = sizes.head_width**-0.5
        self.norm = Norm(sizes.width)
        self.null_kv = nn.Parameter(torch.randn(sizes.heads, 2, sizes.head_width))
        self.q_scale = nn.Parameter(torch.ones(sizes.head_width))
        self.k_scale = nn.Parameter(torch.ones(sizes.head_width))
        self.to_q = nn.Linear(sizes.width, inner, bias=False)
        self.to_kv = nn.Linear(sizes.width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, sizes.width, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        b, n, _ = x.shape
        q = self.to_q(self.norm(x)).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = (part.view(b, n, self.heads, -1).transpose(1, 2) for part in self.to_kv(x).chunk(2, dim=-1))
        null_k, null_v = (part.expand(b, -1, -1, -1) for part in self.null_kv.chunk(2, dim=1))
        k, v = torch.cat((null_k, k), dim=2), torch.cat((null_v, v), dim=2)
        q, k = F.normalize(q, dim=-1) * self.q_scale, F.normalize(k, dim=-1) * self.k_scale
        logits = q @ k.transpose(-1, -2) * self.scale + F.pad(bias, (1, 0))
        out = logits.softmax(dim=-1) @ v
        return self.to_out(out.transpose(1, 2).reshape(b, n, -1))


class Transformer(nn.Module):
    def __init__(self, sizes: PublishedSizes, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "0": PositionConv(sizes.width),
                    "1": Attention(sizes),
                    "3": Experts(sizes.width, sizes.inner, normed=True),
                }
            )
            for _ in range(depth)
        )
        self.norm_out = Norm(sizes.width)

    def forward(self, x: Tensor, shape: tuple[int, int, int, int], bias: Tensor, modality: int) -> Tensor:
        for layer in self.layers:
            x = x + layer["0"](x, shape)
            x = x + layer["1"](x, bias)
            x = x + layer["3"](x, modality)
        return self.norm_out(x)


class VisionTransformer(nn.Module):
    def __init__(self, sizes: PublishedSizes) -> None:
        super().__init__()
        self.patch, self.thick = sizes.patch_px, sizes.temporal_patch
        self.to_patch_emb_first_frame = _patch_embedding(self.patch**2, sizes.width)
        self.to_patch_emb = _patch_embedding(self.thick * self.patch**2, sizes.width)
        self.modal_embeddings = nn.Embedding(MODALITY_ROWS, sizes.width)
        self.spatial_rel_pos_bias = PositionBias(2, sizes.width, sizes.heads)
        self.deptial_rel_pos_bias = PositionBias(1, sizes.width, sizes.heads)
        self.enc_spatial_transformer = Transformer(sizes, sizes.spatial_depth)
        self.enc_temporal_transformer = Transformer(sizes, sizes.temporal_depth)

    def forward(self, video: Tensor, modality: int) -> Tensor:
        """(b, 1, D, S, S) to tokens (b, n, d)."""
        b, _, depth, side, _ = video.shape
        thick = 1 if depth == 1 else self.thick
        t, g, p = depth // thick, side // self.patch, self.patch
        patches = video.reshape(b, t, thick, g, p, g, p).permute(0, 1, 3, 5, 2, 4, 6).reshape(b, t, g, g, -1)
        x = self.to_patch_emb_first_frame(patches) if depth == 1 else self.to_patch_emb(patches)
        x = x + self.modal_embeddings.weight[modality]
        shape = (b, t, g, g)
        bias, depth_bias = self.spatial_rel_pos_bias(g, g), self.deptial_rel_pos_bias(t)
        x = self.enc_spatial_transformer(x.reshape(b * t, g * g, -1), shape, bias, modality)
        if t > 1:
            x = x.reshape(b, t, g * g, -1).transpose(1, 2).reshape(b * g * g, t, -1)
            x = self.enc_temporal_transformer(x, shape, depth_bias, modality)
            x = x.reshape(b, g * g, t, -1).mean(dim=2)
        return x


class FusionLayer(nn.Module):
    def __init__(self, sizes: PublishedSizes) -> None:
        super().__init__()
        self.multihead_attn = nn.MultiheadAttention(sizes.width, 8, batch_first=True)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.norm3 = nn.LayerNorm(sizes.width)
        self.moe_ffn = Experts(sizes.width, sizes.inner, normed=False)

    def forward(self, q: Tensor, tokens: Tensor, positions: Tensor, modality: int) -> tuple[Tensor, Tensor]:
        update, attention = self.multihead_attn(self.norm2(q), tokens + positions, tokens)
        q = q + update
        return q + self.moe_ffn(self.norm3(q), modality), attention


class Fusion(nn.Module):
    def __init__(self, sizes: PublishedSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FusionLayer(sizes) for _ in range(sizes.decoder_layers))
        self.norm = nn.LayerNorm(sizes.width)

    def forward(self, q: Tensor, tokens: Tensor, modality: int) -> tuple[Tensor, Tensor]:
        positions = position_table(tokens.shape[-1])[: tokens.shape[1]].to(tokens.device)
        attention = tokens
        for layer in self.layers:
            q, attention = layer(q, tokens, positions, modality)
        return self.norm(q), attention


class RerankLayer(nn.Module):
    def __init__(self, sizes: PublishedSizes) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(sizes.width, 8, batch_first=True)
        self.norm1 = nn.LayerNorm(sizes.width)
        self.norm2 = nn.LayerNorm(sizes.width)
        self.moe_ffn = Experts(sizes.width, sizes.inner, normed=False)

    def forward(self, x: Tensor, modality: int) -> Tensor:
        normed = self.norm1(x)
        x = x + self.self_attn(normed, normed, normed, need_weights=False)[0]
        return x + self.moe_ffn(self.norm2(x), modality)


class Reranker(nn.Module):
    """Two sides (p, k + 1, d), each a latent and its selected tokens, to logits (p,)."""

    def __init__(self, sizes: PublishedSizes) -> None:
        super().__init__()
        self.cls_emb = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.sep_token = nn.Parameter(torch.zeros(1, 1, sizes.width))
        self.segment_emb = nn.Embedding(2, sizes.width)
        self.layers = nn.ModuleList(RerankLayer(sizes) for _ in range(sizes.decoder_layers))
        self.classifier_moe = Experts(sizes.width, sizes.head_inner, normed=False)
        self.classifier_out = nn.Linear(sizes.width, 1)

    def forward(self, query: Tensor, candidate: Tensor, modality: int) -> Tensor:
        first, second = (side + row for side, row in zip((query, candidate), self.segment_emb.weight, strict=True))
        cls, sep = (token.expand(len(query), -1, -1) for token in (self.cls_emb, self.sep_token))
        x = torch.cat((cls, first, sep, second), dim=1)
        for layer in self.layers:
            x = layer(x, modality)
        return self.classifier_out(self.classifier_moe(x[:, 0], modality))[:, 0]


class PlainMedReCo(nn.Module):
    """The whole retrieval model."""

    def __init__(self, sizes: PublishedSizes) -> None:
        super().__init__()
        self.visual_transformer = VisionTransformer(sizes)
        self.condition_embeddings = nn.Embedding(CONDITION_ROWS, sizes.width)
        self.fusion_module = Fusion(sizes)
        self.to_fused_latent = nn.Linear(sizes.width, sizes.width, bias=False)
        self.abnormal_exist_classifier = nn.Linear(sizes.width, 1)
        self.rank_module = Reranker(sizes)

    def forward(self, video: Tensor, condition: int, modality: int) -> Reading:
        """(b, 1, D, S, S) to the readings of one entity."""
        tokens = self.visual_transformer(video, modality)
        q = self.condition_embeddings.weight[condition].expand(len(video), 1, -1)
        latents, attention = self.fusion_module(q, tokens, modality)
        latents, attention = latents[:, 0], attention[:, 0]
        fused = self.to_fused_latent(latents)
        logits = self.abnormal_exist_classifier(fused)[:, 0]
        return Reading(tokens, F.normalize(fused, dim=-1), latents, attention, logits)


def load_plain(state: Mapping[str, Tensor], sizes: PublishedSizes) -> PlainMedReCo:
    """Take what the model needs from a published checkpoint. Raises RuntimeError where a key is missing."""
    with torch.device("meta"):
        model = PlainMedReCo(sizes)
    model.load_state_dict({key: state[key] for key in model.state_dict() if key in state}, strict=True, assign=True)
    return model.eval()


def select_tokens(reading: Reading, top_k: int) -> tuple[Tensor, Tensor]:
    """One side of the reranker (b, k + 1, d): the latent, then the `top_k` tokens of highest attention; and which."""
    tokens = reading.tokens + position_table(reading.tokens.shape[-1])[: reading.tokens.shape[1]]
    chosen = reading.attention.topk(top_k, dim=-1).indices
    picked = tokens.gather(1, chosen[..., None].expand(-1, -1, tokens.shape[-1]))
    return torch.cat((reading.latents[:, None], picked), dim=1), chosen


def position_table(width: int) -> Tensor:
    """Sine and cosine of row, then of column, on the 24 x 24 grid: (576, width)."""
    half = 2 * math.ceil(width / 4)
    angles = torch.arange(_GRID_SIDE)[:, None] / 10000 ** (torch.arange(0, half, 2) / half)
    axis = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
    rows = axis[:, None].expand(-1, _GRID_SIDE, -1)
    columns = axis[None].expand(_GRID_SIDE, -1, -1)
    return torch.cat((rows, columns), dim=-1).reshape(_GRID_SIDE**2, -1)[:, :width]


def _patch_embedding(length: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Identity(), nn.LayerNorm(length), nn.Linear(length, width), nn.LayerNorm(width))
