"""The vision tower enters; one ONNX graph per kind of image leaves: `images` to `features` of the text stack's width.

`images` (b, S, S) for planes, (b, D, S, S) for volumes of D slices; `features` (b, n, d). One expert is kept, the
position bias is a constant.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from models.encoder.nets.ctvit import PositionBias
from models.vlm.nets.model import VisionTower

OPSET: Final = 20


class RoutedTower(nn.Module):
    """The tower for images of one modality and depth."""

    def __init__(self, tower: VisionTower, *, side_px: int, depth: int, router: int) -> None:
        super().__init__()
        self.tower = tower
        self.router = router
        with torch.no_grad():
            bias = tower.position_bias(side_px, depth)
        self.register_buffer("spatial", bias.spatial, persistent=False)
        self.register_buffer("depth", bias.depth, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(b, S, S) or (b, D, S, S) to features (b, n, d)."""
        video = images[:, None, None] if images.ndim == 3 else images[:, None]
        features: Tensor = self.tower(video, self.router, PositionBias(self.spatial, self.depth))
        return features


def export_tower(tower: VisionTower, path: Path, *, side_px: int, depth: int, router: int) -> None:
    """Write the graph for images of `depth` slices (1: planes) through expert `router`, weights in `path`.data."""
    net = RoutedTower(tower, side_px=side_px, depth=depth, router=router).eval()
    shape = (2, side_px, side_px) if depth == 1 else (2, depth, side_px, side_px)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter warns about its own internals and prints its progress
        torch.onnx.export(
            net,
            (torch.zeros(shape),),
            path,
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            opset_version=OPSET,
            external_data=True,
            dynamo=True,
        )
    _forget_origin(path)


def _forget_origin(path: Path) -> None:
    """Take out the exporter's notes: they hold stack traces with the paths of the machine it ran on."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    for noted in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del noted.metadata_props[:]
        noted.doc_string = ""
    onnx.save(model, path)
