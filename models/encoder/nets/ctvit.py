"""CTViT, the MedReCo image encoder: images or volumes enter, one token per patch of the plane leaves.

What looks odd here is kept for weight compatibility: keys and values from the un-normalised tokens, the null key, the
depth-wise convolution of the temporal stack over a buffer in the other axis order, the key spelling `deptial`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.encoder.nets.layers import ExpertBank, GammaBetaNorm, gated_expert, merge_heads, split_heads, unit
from models.encoder.nets.position import ContinuousPositionBias
from models.shared.checkpoints import RetrievalSizes


class PositionBias(NamedTuple):
    """Attention biases, which depend on the weights alone: (heads, n, n) in the plane, (heads, t, t) along depth."""

    spatial: Tensor
    depth: Tensor


class DepthwiseMixer(nn.Module):
    """Position-encoding generator: depth-wise 3x3x3 convolution over the token buffer viewed as (t, g, g)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dsconv = nn.Conv3d(width, width, 3, padding=1, groups=width)

    def forward(self, tokens: Tensor, shape: tuple[int, int, int, int]) -> Tensor:
        """`tokens`: any (r, s, d) buffer of b*t*g*g vectors; `shape`: (b, t, g, g). Same shape out.

        The temporal stack hands over a buffer ordered (b, g, g, t) and it is still read as (b, t, g, g): required.
        """
        grid = tokens.reshape(*shape, tokens.shape[-1]).permute(0, 4, 1, 2, 3)
        if shape[1] == 1:  # both neighbours in depth are padding, so the middle slice of the kernel is all that acts
            kernel = self.dsconv.weight[:, :, 1]
            mixed = functional.conv2d(grid[:, :, 0], kernel, self.dsconv.bias, padding=1, groups=kernel.shape[0])
            mixed = mixed.unsqueeze(2)
        else:
            mixed = self.dsconv(grid)
        return mixed.permute(0, 2, 3, 4, 1).reshape(tokens.shape)


class NullKeyAttention(nn.Module):
    """Self-attention with unit-length queries and keys, per-dimension scales, and one learned null key and value."""

    def __init__(self, sizes: RetrievalSizes) -> None:
        super().__init__()
        inner = sizes.heads * sizes.head_width
        self.heads = sizes.heads
        self.null_kv = nn.Parameter(torch.randn(sizes.heads, 2, sizes.head_width))
        self.q_scale = nn.Parameter(torch.ones(sizes.head_width))
        self.k_scale = nn.Parameter(torch.ones(sizes.head_width))
        self.norm = GammaBetaNorm(sizes.width)
        self.to_q = nn.Linear(sizes.width, inner, bias=False)
        self.to_kv = nn.Linear(sizes.width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, sizes.width, bias=False)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """`tokens` (b, n, d), `bias` (heads, n, n) to (b, n, d)."""
        batch = tokens.shape[0]
        queries = split_heads(self.to_q(self.norm(tokens)), self.heads)
        keys, values = (split_heads(part, self.heads) for part in self.to_kv(tokens).chunk(2, dim=-1))
        null_key, null_value = self.null_kv.unsqueeze(0).expand(batch, -1, -1, -1).chunk(2, dim=2)
        keys = unit(torch.cat((null_key, keys), dim=2)) * self.k_scale
        values = torch.cat((null_value, values), dim=2)
        queries = unit(queries) * self.q_scale
        logits = queries @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
        weights = (logits + functional.pad(bias, (1, 0))).softmax(dim=-1)
        attended: Tensor = self.to_out(merge_heads(weights @ values))
        return attended


class Transformer(nn.Module):
    """Layers of mixer, attention and experts, each residual, then a norm."""

    def __init__(self, sizes: RetrievalSizes, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "0": DepthwiseMixer(sizes.width),
                    "1": NullKeyAttention(sizes),
                    "3": ExpertBank(
                        [gated_expert(sizes.width, sizes.expert_inner, normed=True) for _ in range(sizes.experts)]
                    ),
                }
            )
            for _ in range(depth)
        )
        self.norm_out = GammaBetaNorm(sizes.width)

    def forward(self, tokens: Tensor, shape: tuple[int, int, int, int], bias: Tensor, router: int) -> Tensor:
        """`tokens` (r, s, d) attend within a row; `shape` (b, t, g, g) is the geometry of the whole buffer."""
        for layer in self.layers:
            tokens = layer["0"](tokens, shape) + tokens
            tokens = layer["1"](tokens, bias) + tokens
            tokens = layer["3"](tokens, router) + tokens
        normed: Tensor = self.norm_out(tokens)
        return normed


class CTViT(nn.Module):
    """Patch embedding, spatial transformer, temporal transformer for volumes, mean over depth."""

    def __init__(self, sizes: RetrievalSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.to_patch_emb_first_frame = _patch_embedding(sizes.patch_px**2, sizes.width)
        self.to_patch_emb = _patch_embedding(sizes.temporal_patch * sizes.patch_px**2, sizes.width)
        self.modal_embeddings = nn.Embedding(sizes.modality_rows, sizes.width)
        self.spatial_rel_pos_bias = ContinuousPositionBias(axes=2, width=sizes.width, heads=sizes.heads)
        self.deptial_rel_pos_bias = ContinuousPositionBias(axes=1, width=sizes.width, heads=sizes.heads)
        self.enc_spatial_transformer = Transformer(sizes, sizes.spatial_depth)
        self.enc_temporal_transformer = Transformer(sizes, sizes.temporal_depth)

    def position_bias(self, side_px: int, depth: int = 1) -> PositionBias:
        """Both biases for images of `side_px` and volumes of `depth` slices; compute once, pass to every call."""
        grid = side_px // self.sizes.patch_px
        frames = max(1, depth // self.sizes.temporal_patch)
        return PositionBias(self.spatial_rel_pos_bias((grid, grid)), self.deptial_rel_pos_bias((frames,)))

    def embed_patches(self, video: Tensor) -> Tensor:
        """(b, 1, D, S, S) to patch tokens (b, t, g, g, d). Raises ValueError for a size that does not divide."""
        batch, _, depth, rows, columns = video.shape
        patch = self.sizes.patch_px
        thick = 1 if depth == 1 else self.sizes.temporal_patch
        if rows != columns or rows % patch or depth % thick:
            raise ValueError(f"volume {depth} x {rows} x {columns} does not divide into patches of {thick} x {patch}")
        grid, frames = rows // patch, depth // thick
        cut = video.reshape(batch, frames, thick, grid, patch, grid, patch).permute(0, 1, 3, 5, 2, 4, 6)
        vectors = cut.reshape(batch, frames, grid, grid, thick * patch * patch)
        embed = self.to_patch_emb_first_frame if depth == 1 else self.to_patch_emb
        tokens: Tensor = embed(vectors)
        return tokens

    def forward(self, video: Tensor, router: int, bias: PositionBias | None = None) -> Tensor:
        """`video` (b, 1, D, S, S) float32 of one modality, D = 1 or a multiple of the temporal patch, to (b, g*g, d).

        `router` is the modality's row and expert. Raises ValueError (sizes) and IndexError (no such expert).
        """
        batch, _, depth, side, _ = video.shape
        bias = bias or self.position_bias(side, depth)
        tokens = self.embed_patches(video) + self.modal_embeddings.weight[router]
        frames, grid, width = tokens.shape[1], tokens.shape[2], tokens.shape[-1]
        shape = (batch, frames, grid, grid)
        flat = tokens.reshape(batch * frames, grid * grid, width)
        flat = self.enc_spatial_transformer(flat, shape, bias.spatial, router)
        if frames == 1:
            return flat
        by_pixel = flat.reshape(batch, frames, grid * grid, width).transpose(1, 2)
        by_pixel = by_pixel.reshape(batch * grid * grid, frames, width)
        by_pixel = self.enc_temporal_transformer(by_pixel, shape, bias.depth, router)
        return by_pixel.reshape(batch, grid * grid, frames, width).mean(dim=2)


def _patch_embedding(length: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Identity(), nn.LayerNorm(length), nn.Linear(length, width), nn.LayerNorm(width))
