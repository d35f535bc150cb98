"""CTViT as it is served: one modality's weights and one input size enter; a net of few, plain operations leaves.

What depends on the weights alone is worked out here: the position bias with its null column, one constant for all the
layers of a transformer; the product of the scales; the projections, cut where the results are used apart. Only the
expert of the modality is kept.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.encoder.nets.ctvit import CTViT, DepthwiseMixer, NullKeyAttention, Transformer
from models.encoder.nets.layers import GammaBetaNorm, unit

Shape = tuple[int, int, int]


class ServedMixer(nn.Module):
    """Depth-wise mixer over the geometry (t, g, g); in the plane alone for t = 1, when both neighbours are padding.

    ONNX Runtime takes as long for the one convolution in 3D as for three in the plane, and less memory.
    """

    def __init__(self, mixer: DepthwiseMixer, shape: Shape) -> None:
        super().__init__()
        weight = mixer.dsconv.weight.detach()
        self.shape = shape if shape[0] > 1 else shape[1:]
        self.kernel = nn.Parameter(weight if shape[0] > 1 else weight[:, :, 1].contiguous())
        self.bias = mixer.dsconv.bias

    def forward(self, tokens: Tensor) -> Tensor:
        """Any buffer (r, s, d) of b*t*g*g vectors to the same shape."""
        width, convolve = tokens.shape[-1], functional.conv3d if len(self.shape) == 3 else functional.conv2d
        grid = tokens.reshape(-1, prod(self.shape), width).transpose(1, 2).reshape(-1, width, *self.shape)
        mixed = convolve(grid, self.kernel, self.bias, padding=1, groups=width)
        return mixed.reshape(-1, width, prod(self.shape)).transpose(1, 2).reshape(tokens.shape)


class ServedAttention(nn.Module):
    """Attention with the null key put last, so that a token's column in the bias is its own number."""

    def __init__(self, attention: NullKeyAttention) -> None:
        super().__init__()
        self.heads = attention.heads
        self.norm = attention.norm
        self.head_width = attention.to_q.weight.shape[0] // self.heads
        keys, values = attention.to_kv.weight.detach().chunk(2)
        self.to_q, self.to_out = attention.to_q, attention.to_out
        self.to_k, self.to_v = _linear(keys), _linear(values)
        scale = attention.q_scale.detach() * attention.k_scale.detach() * self.head_width**-0.5
        null_key, null_value = attention.null_kv.detach().unbind(dim=1)
        self.register_buffer("scale", scale)
        self.register_buffer("null_key", unit(null_key)[None, :, :, None])
        self.register_buffer("null_value", null_value[None, :, None, :])

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """`tokens` (r, n, d), `bias` (heads, n, n + 1) with a null column of zeros at its end, to (r, n, d)."""
        queries = unit(self._heads(self.to_q(self.norm(tokens)))) * self.scale
        keys = unit(self._heads(self.to_k(tokens))).permute(0, 2, 3, 1)
        values = self._heads(self.to_v(tokens)).transpose(1, 2)
        rows = tokens.shape[0]
        keys = torch.cat((keys, self.null_key.expand(rows, -1, -1, -1)), dim=3)
        values = torch.cat((values, self.null_value.expand(rows, -1, -1, -1)), dim=2)
        weights = (queries.transpose(1, 2) @ keys + bias).softmax(dim=-1)
        merged = (weights @ values).transpose(1, 2).reshape(rows, tokens.shape[1], self.heads * self.head_width)
        attended: Tensor = self.to_out(merged)
        return attended

    def _heads(self, features: Tensor) -> Tensor:
        return features.reshape(features.shape[0], features.shape[1], self.heads, self.head_width)


class ServedExpert(nn.Module):
    """One gated expert, its up-projection cut into value and gate."""

    def __init__(self, expert: nn.Sequential, *, normed: bool) -> None:
        super().__init__()
        up, down = expert[1 if normed else 0], expert[-1]
        value, gate = up.weight.detach().chunk(2)
        self.norm = expert[0] if normed else nn.Identity()
        self.value, self.gate, self.down = _linear(value), _linear(gate), down

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        normed = self.norm(tokens)
        updated: Tensor = self.down(self.value(normed) * functional.gelu(self.gate(normed)))
        return updated


class ServedTransformer(nn.Module):
    """Layers of one modality over a geometry (t, g, g), and their bias."""

    def __init__(self, transformer: Transformer, router: int, shape: Shape, bias: Tensor) -> None:
        super().__init__()
        self.mixers, self.attentions, self.experts = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for layer in transformer.layers:
            self.mixers.append(ServedMixer(layer["0"], shape))
            self.attentions.append(ServedAttention(layer["1"]))
            self.experts.append(ServedExpert(layer["3"].expert(router), normed=True))
        self.norm_out: GammaBetaNorm = transformer.norm_out
        self.register_buffer("bias", functional.pad(bias, (0, 1)))

    def forward(self, tokens: Tensor) -> Tensor:
        """`tokens` (r, s, d) attend within a row; same shape out."""
        for mixer, attention, expert in zip(self.mixers, self.attentions, self.experts, strict=True):
            tokens = tokens + mixer(tokens)
            tokens = tokens + attention(tokens, self.bias)
            tokens = tokens + expert(tokens)
        normed: Tensor = self.norm_out(tokens)
        return normed


class ServedEncoder(nn.Module):
    """CTViT of one modality for inputs of one size: images (b, S, S), or volumes (b, D, S, S), to tokens (b, n, d).

    Raises ValueError for a size that does not divide into patches, IndexError where there is no expert `router`.
    """

    def __init__(self, encoder: CTViT, *, router: int, side_px: int, depth: int = 1) -> None:
        super().__init__()
        sizes = encoder.sizes
        self.patch_px, self.thick = sizes.patch_px, 1 if depth == 1 else sizes.temporal_patch
        if side_px % self.patch_px or depth % self.thick:
            raise ValueError(f"{depth} x {side_px} does not divide into patches of {self.thick} x {self.patch_px}")
        grid = side_px // self.patch_px
        self.shape = (depth // self.thick, grid, grid)
        self.embed = encoder.to_patch_emb_first_frame if depth == 1 else encoder.to_patch_emb
        with torch.no_grad():
            bias = encoder.position_bias(side_px, depth)
        self.register_buffer("modality", encoder.modal_embeddings.weight.detach()[router])
        self.spatial = ServedTransformer(encoder.enc_spatial_transformer, router, self.shape, bias.spatial)
        self.temporal = (
            ServedTransformer(encoder.enc_temporal_transformer, router, self.shape, bias.depth)
            if self.shape[0] > 1
            else None
        )

    def forward(self, images: Tensor) -> Tensor:
        """(b, S, S) or (b, D, S, S) to (b, n, d)."""
        frames, grid, _ = self.shape
        cut = images.reshape(-1, frames, self.thick, grid, self.patch_px, grid, self.patch_px)
        vectors = cut.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, grid * grid, self.thick * self.patch_px**2)
        # The first norm takes no notice of a common shift, but it cancels badly where a patch is nearly of one shade.
        level = vectors.mean(dim=-1, keepdim=True)
        tokens = self.spatial(self.embed(vectors - level) + self.modality)
        if self.temporal is None:
            return tokens
        width = tokens.shape[-1]
        by_pixel = tokens.reshape(-1, frames, grid * grid, width).transpose(1, 2).reshape(-1, frames, width)
        pooled: Tensor = self.temporal(by_pixel).mean(dim=1).reshape(-1, grid * grid, width)
        return pooled


def _linear(weight: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight)
    return linear
