"""A checkpoint and the bundle made of it enter; how far the bundle's graphs are from the torch nets leaves.

The text stack is computed one layer at a time, each loaded, used and overwritten by the next, so that a model of any
depth is compared in the memory of one layer. The graphs run in ONNX Runtime, as they are served.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from models.vlm.bundle import open_vlm_bundle
from models.vlm.checkpoint import VlmCheckpoint, as_float32, open_checkpoint
from models.vlm.engine import FloatArray, IntArray
from models.vlm.nets.convert import read_config
from models.vlm.nets.model import load_part, load_tower
from models.vlm.nets.text import TextStack, causal_mask
from models.vlm.nets.weights import head_pieces
from models.vlm.onnx_decoder import EmbeddingTable, OnnxDecoder, open_session
from models.vlm.sizes import HEAD, TEXT, TextSizes, VlmSizes, infer_vlm_sizes

_TOKENS = 16
_ROUNDED = frozenset({"int8", "int4"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmDifference:
    """Largest differences between graphs and nets, relative to the largest absolute value of the nets.

    `vision` is of one random plane: volumes share its weights and code. `is_rounded`: the decoder's weights were
    rounded on purpose, so `decoder` says what that costs on random tokens, not whether the conversion is right.
    """

    vision: float
    decoder: float
    is_rounded: bool


def verify_vlm(source: Path, bundle_folder: Path, *, seed: int = 0) -> VlmDifference:
    """Compare on a random image and random tokens.

    Raises CheckpointError, BundleError, VlmFailureError, GraphRunError.
    """
    checkpoint, bundle = open_checkpoint(source), open_vlm_bundle(bundle_folder)
    sizes = infer_vlm_sizes(checkpoint.shapes, read_config(source))
    generator = np.random.default_rng(seed)
    planes = [family for family in bundle.info.families if family.depth == 1]
    vision = 0.0
    if planes:
        image = generator.random((1, sizes.side_px, sizes.side_px), dtype=np.float32)
        graph = OnnxRuntime().open(bundle.vision_paths[planes[0].modality])
        got = graph.run(["features"], {"images": image})[0]
        vision = _difference(got, _tower_features(checkpoint, sizes, image, planes[0].router))
    token_ids = generator.integers(0, sizes.text.vocabulary, (1, _TOKENS))
    table = EmbeddingTable(bundle.embedding.path, dtype=bundle.embedding.dtype, shape=bundle.embedding.shape)
    decoder = OnnxDecoder(open_session(bundle.decoder_path, keep_narrow=bundle.is_narrow), table)
    positions = _positions()
    mask = np.ones((1, _TOKENS), dtype=np.int64)
    embeds = decoder.embed(token_ids)
    logits = decoder.start().step(embeds, mask, positions, np.arange(_TOKENS))
    return VlmDifference(
        vision=vision,
        decoder=_difference(logits, layered_logits(checkpoint, sizes.text, token_ids, positions)),
        is_rounded=bundle.matrix_dtype in _ROUNDED,
    )


def layered_logits(
    checkpoint: VlmCheckpoint, sizes: TextSizes, token_ids: IntArray, position_ids: IntArray
) -> FloatArray:
    """Logits (1, s, v) of tokens (1, s) at positions (3, 1, s), with one layer in memory at a time."""
    table = checkpoint.tensors[f"{TEXT}embed_tokens.weight"]
    rows = [as_float32(table.rows(int(token), int(token) + 1), table.dtype) for token in token_ids[0]]
    stack = TextStack(replace(sizes, layers=1, vocabulary=1)).eval()
    load_part(stack.norm, checkpoint, f"{TEXT}norm.")
    head = checkpoint.tensors[HEAD]
    with torch.inference_mode():
        tokens = torch.from_numpy(np.concatenate(rows)[None])
        rotation = stack.rotation(torch.from_numpy(position_ids))
        mask = causal_mask(torch.ones(token_ids.shape, dtype=torch.int64), token_ids.shape[1])
        for number in range(sizes.layers):
            load_part(stack.layers[0], checkpoint, f"{TEXT}layers.{number}.")
            tokens, _ = stack.layers[0](tokens, rotation, mask, None)
        normed = stack.norm(tokens)
        pieces = [
            normed @ torch.from_numpy(as_float32(head.rows(start, stop), head.dtype)).T
            for start, stop in head_pieces(sizes.vocabulary)
        ]
        logits: FloatArray = torch.cat(pieces, dim=-1).numpy()
    return logits


def _positions() -> IntArray:
    """Positions (3, 1, s) that differ between the rows, so that a mistaken section shows."""
    steps = np.arange(_TOKENS, dtype=np.int64)
    return np.stack((steps, steps + 3, 2 * steps + 1))[:, None]


def _tower_features(checkpoint: VlmCheckpoint, sizes: VlmSizes, image: FloatArray, router: int) -> FloatArray:
    tower = load_tower(checkpoint, sizes)
    with torch.inference_mode():
        features: FloatArray = tower(torch.from_numpy(image)[:, None, None], router).numpy()
    return features


def _difference(got: FloatArray, reference: FloatArray) -> float:
    return float(np.abs(got - reference).max() / np.abs(reference).max())
