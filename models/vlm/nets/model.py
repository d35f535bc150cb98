"""MedReCo-VLM in torch: a checkpoint and its configuration enter; tower and text stack, strictly loaded, leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.encoder.nets.ctvit import CTViT, PositionBias
from models.shared.checkpoints import CheckpointError
from models.vlm.checkpoint import VlmCheckpoint, check_names
from models.vlm.nets.text import TextStack
from models.vlm.sizes import VISION, TextSizes, VlmConfig, VlmSizes, infer_vlm_sizes


class VisionTower(CTViT):
    """CTViT with its projection to the width of the text stack."""

    def __init__(self, sizes: VlmSizes) -> None:
        super().__init__(sizes.tower)
        self.to_visual_latent = nn.Linear(sizes.tower.width, sizes.text.width)

    def forward(self, video: Tensor, router: int, bias: PositionBias | None = None) -> Tensor:
        """`video` (b, 1, D, S, S) float32 of one modality to features (b, n, text width)."""
        features: Tensor = self.to_visual_latent(super().forward(video, router, bias))
        return features


class TextModel(nn.Module):
    """Text stack and untied head."""

    def __init__(self, sizes: TextSizes) -> None:
        super().__init__()
        self.text = TextStack(sizes)
        self.lm_head = nn.Linear(sizes.width, sizes.vocabulary, bias=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmModel:
    """Both nets in evaluation mode."""

    tower: VisionTower
    text: TextModel
    sizes: VlmSizes
    config: VlmConfig


def load_vlm(checkpoint: VlmCheckpoint, config: VlmConfig) -> VlmModel:
    """Load the whole model into memory as float32. For parity and small models; see `convert` for the large one.

    Raises CheckpointError.
    """
    sizes = infer_vlm_sizes(checkpoint.shapes, config)
    check_names(checkpoint.shapes, needed_shapes(sizes))
    tower, text = VisionTower(sizes), TextModel(sizes.text)
    load_part(tower, checkpoint, VISION)
    load_part(text, checkpoint, "")
    return VlmModel(tower=tower.eval(), text=text.eval(), sizes=sizes, config=config)


def load_tower(checkpoint: VlmCheckpoint, sizes: VlmSizes) -> VisionTower:
    """Load the vision tower alone. Raises CheckpointError."""
    tower = VisionTower(sizes)
    load_part(tower, checkpoint, VISION)
    return tower.eval()


def needed_shapes(sizes: VlmSizes) -> dict[str, tuple[int, ...]]:
    """Canonical names and shapes of every tensor that the model uses; nothing is allocated."""
    with torch.device("meta"):
        tower, text = VisionTower(sizes), TextModel(sizes.text)
    named: dict[str, Any] = {VISION + key: value for key, value in tower.state_dict().items()}
    named |= text.state_dict()
    return {name: tuple(value.shape) for name, value in named.items()}


def load_part(net: nn.Module, checkpoint: VlmCheckpoint, prefix: str) -> None:
    """Fill `net` from the tensors under `prefix`, as float32. Raises CheckpointError: missing-key, wrong-shape."""
    state: Mapping[str, Tensor] = net.state_dict()
    with torch.no_grad():
        for key, target in state.items():
            stored = checkpoint.tensors.get(prefix + key)
            if stored is None:
                raise CheckpointError("missing-key", [prefix + key])
            if stored.shape != tuple(target.shape):
                raise CheckpointError("wrong-shape", [prefix + key])
            target.copy_(torch.from_numpy(np.ascontiguousarray(stored.read_float32())))
