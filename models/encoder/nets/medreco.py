"""MedReCo for retrieval: a state dict enters; the encoder and the entity reader leave, every key accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from models.encoder.nets.ctvit import CTViT
from models.encoder.nets.fusion import EntityReader, FusionSizes
from models.encoder.nets.position import sinusoidal_positions
from models.shared.checkpoints import (
    FUSION_HEADS,
    POSITION_GRID,
    CheckpointError,
    KeyReport,
    RetrievalSizes,
    infer_sizes,
    report_keys,
    strip_module_prefix,
)

_ENCODER_PREFIX = "visual_transformer."


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalModel:
    """Encoder and entity reader of one checkpoint, in evaluation mode, for images of `side_px`."""

    encoder: CTViT
    reader: EntityReader
    sizes: RetrievalSizes
    side_px: int
    keys: KeyReport


def load_retrieval(state: Mapping[str, Tensor], *, side_px: int) -> RetrievalModel:
    """Build both nets with the sizes found in `state` and load them strictly.

    `side_px` is the configured image side (480 for the published weights), which the weights do not tell. Raises
    CheckpointError: missing-key, unknown-key, wrong-shape, not-square.
    """
    state = strip_module_prefix(state)
    sizes = infer_sizes({key: tuple(value.shape) for key, value in state.items()})
    encoder = CTViT(sizes)
    grid = side_px // sizes.patch_px
    reader = EntityReader(fusion_sizes(sizes), sinusoidal_positions(*POSITION_GRID, sizes.width)[: grid * grid])
    needed = {_ENCODER_PREFIX + key: value for key, value in encoder.state_dict().items()} | reader.state_dict()
    keys = report_keys(state, needed)
    if keys.missing:
        raise CheckpointError("missing-key", keys.missing)
    if keys.unknown:
        raise CheckpointError("unknown-key", keys.unknown)
    if wrong := [key for key in keys.used if state[key].shape != needed[key].shape]:
        raise CheckpointError("wrong-shape", wrong)
    _load(encoder, state, _ENCODER_PREFIX)
    _load(reader, state, "")
    return RetrievalModel(encoder=encoder.eval(), reader=reader.eval(), sizes=sizes, side_px=side_px, keys=keys)


def fusion_sizes(sizes: RetrievalSizes) -> FusionSizes:
    """Take the part of `sizes` that the fusion decoder needs."""
    return FusionSizes(
        width=sizes.width,
        layers=sizes.fusion_layers,
        heads=FUSION_HEADS,
        inner=sizes.fusion_inner,
        experts=sizes.experts,
        condition_rows=sizes.condition_rows,
        embedding_width=sizes.embedding_width,
    )


def _load(net: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    net.load_state_dict({key: state[prefix + key] for key in net.state_dict()}, strict=True)
