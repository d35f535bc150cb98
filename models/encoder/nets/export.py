"""Nets enter; the two ONNX graphs of a bundle leave: image to tokens, and tokens with entity rows to readings."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from models.encoder.nets.ctvit import CTViT, PositionBias
from models.encoder.nets.fusion import EntityReader
from models.encoder.nets.medreco import RetrievalModel

OPSET: Final = 20
READING_OUTPUTS: Final = ("embeddings", "latents", "attention", "logits")


class FlatImageEncoder(nn.Module):
    """CTViT for images (b, S, S) of one modality, its position bias evaluated once and kept as a constant."""

    def __init__(self, encoder: CTViT, *, side_px: int, router: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.router = router
        with torch.no_grad():
            bias = encoder.position_bias(side_px)
        self.register_buffer("spatial", bias.spatial, persistent=False)
        self.register_buffer("depth", bias.depth, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(b, S, S) to tokens (b, n, d)."""
        tokens: Tensor = self.encoder(images[:, None, None], self.router, PositionBias(self.spatial, self.depth))
        return tokens


class RoutedReader(nn.Module):
    """Entity reader of one modality, with the outputs that serving needs."""

    def __init__(self, reader: EntityReader, router: int) -> None:
        super().__init__()
        self.reader = reader
        self.router = router

    def forward(
        self, tokens: Tensor, entity_rows: Tensor, token_log_weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(b, n, d), (e,) and (b, n) to embeddings, latents, attention and logits."""
        readings = self.reader(tokens, entity_rows, token_log_weight, self.router)
        return readings.embeddings, readings.latents, readings.attention, readings.logits


def export_image_encoder(net: nn.Module, path: Path, *, side_px: int) -> None:
    """Write `net`, (b, S, S) to (b, n, d), as a graph `images` -> `tokens` with a free batch axis."""
    batch = torch.export.Dim("batch", min=1)
    _export(net, (torch.rand(2, side_px, side_px),), path, ["images"], ["tokens"], ({0: batch},))


def export_reader(reader: EntityReader, path: Path, *, router: int) -> None:
    """Write the reader as a graph over free numbers of images and entities; one expert is kept, that of `router`."""
    batch, entities = torch.export.Dim("batch", min=1), torch.export.Dim("entities", min=1)
    count, width = reader.positions.shape
    example = (torch.rand(2, count, width), torch.tensor([0, 1, 2]), torch.zeros(2, count))
    _export(
        RoutedReader(reader, router),
        example,
        path,
        ["tokens", "entity_rows", "token_log_weight"],
        list(READING_OUTPUTS),
        ({0: batch}, {0: entities}, {0: batch}),
    )


def export_retrieval(model: RetrievalModel, encoder_path: Path, fusion_path: Path, *, router: int) -> None:
    """Write both graphs of a MedReCo checkpoint for images of one modality."""
    flat = FlatImageEncoder(model.encoder, side_px=model.side_px, router=router)
    export_image_encoder(flat, encoder_path, side_px=model.side_px)
    export_reader(model.reader, fusion_path, router=router)


def _export(
    net: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    inputs: list[str],
    outputs: list[str],
    axes: tuple[dict[int, torch.export.Dim], ...],
) -> None:
    net.eval()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter warns about its own internals and prints its progress
        torch.onnx.export(
            net,
            example,
            path,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=axes,
            opset_version=OPSET,
            external_data=False,
            dynamo=True,
        )
