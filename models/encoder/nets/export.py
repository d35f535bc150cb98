"""Nets enter; the ONNX graphs of a bundle leave: image to tokens, tokens with entity rows to readings, pairs to logits.

Graphs of one modality: its expert alone is kept, and what depends on the weights alone is a constant. Batch axes are
free; sides, depth and the number of selected tokens are not.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from models.encoder.nets.fusion import EntityReader
from models.encoder.nets.medreco import RetrievalModel
from models.encoder.nets.reranker import Reranker
from models.encoder.nets.served import ServedEncoder
from models.encoder.nets.served_reading import ServedReader, ServedReranker

OPSET: Final = 20
READING_OUTPUTS: Final = ("embeddings", "latents", "attention", "logits")
EXTERNAL_ABOVE_BYTES: Final = 32 * 2**20
"""Weights of more than this lie in a file of their own beside the graph, `<graph>.data`."""

_Axes = tuple[dict[int, torch.export.Dim], ...]


def export_image_encoder(net: nn.Module, path: Path, *, side_px: int, depth: int = 1) -> None:
    """Write `net`, (b, S, S) or for more than one slice (b, D, S, S) to (b, n, d), as a graph `images` -> `tokens`."""
    planes = (2, side_px, side_px) if depth == 1 else (2, depth, side_px, side_px)
    _export(net, (torch.zeros(planes),), path, (["images"], ["tokens"]), ({0: _free("batch")},))


def export_reader(reader: EntityReader, path: Path, *, router: int) -> None:
    """Write the reader of modality `router` as a graph over free numbers of images and entities.

    Raises IndexError where there is no such expert.
    """
    batch, entities = _free("batch"), _free("entities")
    count, width = reader.positions.shape
    _export(
        ServedReader(reader, router),
        (torch.zeros(2, count, width), torch.tensor([0, 1, 2]), torch.zeros(2, count)),
        path,
        (["tokens", "entity_rows", "token_log_weight"], list(READING_OUTPUTS)),
        ({0: batch}, {0: entities}, {0: batch}),
    )


def export_reranker(reranker: Reranker, path: Path, *, router: int, top_k: int) -> None:
    """Write the reranker of modality `router` for sides of `top_k` tokens as `query`, `candidate` -> `logits`.

    Raises IndexError where there is no such expert.
    """
    pairs = _free("pairs")
    shape = (2, top_k + 1, reranker.segment_emb.weight.shape[1])
    sides = (
        torch.zeros(shape),
        torch.zeros(shape),
    )  # two tensors: the exporter takes one that comes twice for one input
    names = (["query", "candidate"], ["logits"])
    _export(ServedReranker(reranker, router), sides, path, names, ({0: pairs}, {0: pairs}))


def export_retrieval(
    model: RetrievalModel, encoder_path: Path, fusion_path: Path, *, router: int, depth: int = 1
) -> None:
    """Write encoder and reader of a MedReCo checkpoint for inputs of one modality and of `depth` slices.

    Raises IndexError where the checkpoint has no expert `router`, ValueError where `depth` does not divide.
    """
    model.require_expert(router)
    served = ServedEncoder(model.encoder, router=router, side_px=model.side_px, depth=depth)
    export_image_encoder(served, encoder_path, side_px=model.side_px, depth=depth)
    export_reader(model.reader, fusion_path, router=router)


def _free(name: str) -> torch.export.Dim:
    return torch.export.Dim(name, min=1)


def _export(
    net: nn.Module, example: tuple[Tensor, ...], path: Path, names: tuple[list[str], list[str]], axes: _Axes
) -> None:
    net.eval()
    weights = sum(value.numel() * value.element_size() for value in (*net.parameters(), *net.buffers()))
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter warns about its own internals and prints its progress
        torch.onnx.export(
            net,
            example,
            path,
            input_names=names[0],
            output_names=names[1],
            dynamic_shapes=axes,
            opset_version=OPSET,
            external_data=weights > EXTERNAL_ABOVE_BYTES,
            dynamo=True,
        )
    _forget_origin(path)
    onnx.checker.check_model(path)


def _forget_origin(path: Path) -> None:
    """Strip the source lines and folders of the exporting machine, which the exporter writes beside every node."""
    model = onnx.load(path, load_external_data=False)
    graph = model.graph
    for described in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        described.ClearField("metadata_props")
        described.ClearField("doc_string")
    onnx.save(model, path)
