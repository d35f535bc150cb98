"""MedReCo for retrieval: a state dict enters; encoder, entity reader and reranker leave, every key accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from models.encoder.nets.ctvit import CTViT
from models.encoder.nets.fusion import EntityReader, FusionSizes
from models.encoder.nets.position import sinusoidal_positions
from models.encoder.nets.reranker import Reranker, RerankerSizes
from models.shared.checkpoints import (
    FUSION_HEADS,
    POSITION_GRID,
    RERANK_HEADS,
    RERANK_PREFIX,
    CheckpointError,
    KeyReport,
    RerankSizes,
    RetrievalSizes,
    infer_sizes,
    report_keys,
    strip_module_prefix,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalModel:
    """Encoder, entity reader and, where the checkpoint has one, reranker, in evaluation mode, for images of `side_px`.

    The nets share their memory with the float32 tensors they were loaded from.
    """

    encoder: CTViT
    reader: EntityReader
    reranker: Reranker | None
    sizes: RetrievalSizes
    side_px: int
    keys: KeyReport

    @property
    def token_count(self) -> int:
        """Tokens per image."""
        return (self.side_px // self.sizes.patch_px) ** 2

    def require_expert(self, router: int) -> None:
        """Raise IndexError where the checkpoint has no expert `router`, even where it has a modality row."""
        if not 0 <= router < self.sizes.experts:
            raise IndexError(f"router index {router}: the checkpoint has experts 0 to {self.sizes.experts - 1}")


def load_retrieval(
    state: Mapping[str, Tensor],
    *,
    side_px: int,
    fusion_heads: int = FUSION_HEADS,
    rerank_heads: int = RERANK_HEADS,
    position_grid: tuple[int, int] = POSITION_GRID,
) -> RetrievalModel:
    """Build the nets with the sizes found in `state` and load them strictly.

    What the weights do not tell is an argument: `side_px`, the configured image side (480 for the published weights),
    heads, and the grid of the position table. A checkpoint without any key of the reranker is allowed, one with some of
    them is not. Raises CheckpointError: missing-key, unknown-key, wrong-shape, not-square, not-finite, odd-heads,
    odd-side.
    """
    state = strip_module_prefix(state)
    sizes = infer_sizes({key: tuple(value.shape) for key, value in state.items()})
    _check_choices(sizes, side_px, (fusion_heads, rerank_heads), position_grid)
    positions = sinusoidal_positions(*position_grid, sizes.width)[: (side_px // sizes.patch_px) ** 2]
    with torch.device("meta"):  # nothing is drawn at random, nor is memory taken that the weights then replace
        nets: dict[str, nn.Module] = {
            "visual_transformer.": CTViT(sizes),
            "": EntityReader(fusion_sizes(sizes, fusion_heads), positions),
        }
        if sizes.rerank:
            nets[RERANK_PREFIX] = Reranker(_reranker_sizes(sizes, sizes.rerank, rerank_heads))
    keys = _account(state, nets)
    for prefix, net in nets.items():
        own = {key: state[prefix + key].to(torch.float32) for key in net.state_dict()}
        net.load_state_dict(own, strict=True, assign=True)
        net.eval()
    encoder, reader, *rest = nets.values()
    reranker = rest[0] if rest else None
    return RetrievalModel(encoder=encoder, reader=reader, reranker=reranker, sizes=sizes, side_px=side_px, keys=keys)


def fusion_sizes(sizes: RetrievalSizes, heads: int = FUSION_HEADS) -> FusionSizes:
    """Take the part of `sizes` that the fusion decoder needs."""
    return FusionSizes(
        width=sizes.width,
        layers=sizes.fusion_layers,
        heads=heads,
        inner=sizes.fusion_inner,
        experts=sizes.experts,
        condition_rows=sizes.condition_rows,
        embedding_width=sizes.embedding_width,
    )


def _reranker_sizes(sizes: RetrievalSizes, rerank: RerankSizes, heads: int) -> RerankerSizes:
    return RerankerSizes(
        width=sizes.width,
        layers=rerank.layers,
        heads=heads,
        inner=rerank.inner,
        head_inner=rerank.head_inner,
        experts=sizes.experts,
    )


def _check_choices(sizes: RetrievalSizes, side_px: int, heads: tuple[int, int], position_grid: tuple[int, int]) -> None:
    if any(count < 1 or sizes.width % count for count in heads):
        raise CheckpointError("odd-heads")
    if side_px < 1 or side_px % sizes.patch_px or (side_px // sizes.patch_px) ** 2 > prod(position_grid):
        raise CheckpointError("odd-side")


def _account(state: Mapping[str, Tensor], nets: Mapping[str, nn.Module]) -> KeyReport:
    needed = {prefix + key: value for prefix, net in nets.items() for key, value in net.state_dict().items()}
    keys = report_keys(state, needed)
    if keys.missing:
        raise CheckpointError("missing-key", keys.missing)
    if keys.unknown:
        raise CheckpointError("unknown-key", keys.unknown)
    if wrong := [key for key in keys.used if state[key].shape != needed[key].shape]:
        raise CheckpointError("wrong-shape", wrong)
    if wrong := [key for key in keys.used if not bool(torch.isfinite(state[key]).all())]:
        raise CheckpointError("not-finite", wrong)
    return keys
