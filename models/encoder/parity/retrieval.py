"""Fixtures of encoder, entity reader and reranker enter; checks of every array they hold leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from models.encoder.nets.medreco import RetrievalModel
from models.encoder.parity.checks import (
    SCORE_TOLERANCE,
    TOKEN_TOLERANCE,
    Arrays,
    Check,
    Checker,
    MalformedError,
    absolute,
    exact,
    relative,
)
from models.encoder.parity.folder import FixtureFolder
from models.encoder.parity.inputs import images_of, numbers_of, per_row
from models.encoder.parity.runners import ALL_MAPS, FloatArray, IntArray, Named, encode_rows, read_rows
from models.encoder.selection import rerank_side, select_tokens, strongest_tokens
from models.shared.positions import sinusoidal_positions

LOW_CONTRAST_TOLERANCE: Final = 5e-5  # the first norm cancels
ALPHA: Final = 0.7  # share of the cosine in the final score, where the file does not tell
_READINGS: Final = {
    "embeddings": "fused_latents",
    "latents": "condition_latents",
    "attention": "last_attn_map",
    "logits": "abnormal_logit",
}


def retrieval_checkers(folder: FixtureFolder) -> tuple[Checker, ...]:
    """Checkers of the files that a retrieval checkpoint is needed for, training aside."""
    model_inputs = frozenset({"video", "modality", "condition_index"})
    return (
        Checker("encoder_", lambda name, arrays, path: _encoder(folder, name, arrays, path), model_inputs),
        Checker("conditional_", lambda _, arrays, path: _conditional(folder, arrays, path), model_inputs),
        Checker("rerank_", lambda _, arrays, path: _rerank(folder, arrays, path), model_inputs | {"top_k", "alpha"}),
    )


def _encoder(folder: FixtureFolder, name: str, arrays: Arrays, path: str) -> Iterator[Check]:
    tolerance = LOW_CONTRAST_TOLERANCE if "low_contrast" in name else TOKEN_TOLERANCE
    videos = images_of(arrays)
    routers = numbers_of(arrays, "modality", len(videos))
    if "tokens" in arrays:
        yield relative("tokens", encode_rows(folder.runner(path), videos, routers), arrays["tokens"], tolerance)
    if path != "torch":
        return  # what lies between is no output of a served graph
    for array, values in _intermediates(folder.model, videos, routers).items():
        if array in arrays:
            yield relative(array, values, arrays[array], tolerance)


def _intermediates(model: RetrievalModel, videos: FloatArray, routers: IntArray) -> Named:
    """Collect what the layers of the encoder give, by the names that the fixtures have for it; rows one by one."""
    encoder = model.encoder
    spatial, temporal = encoder.enc_spatial_transformer, encoder.enc_temporal_transformer
    depth = videos.shape[2]
    watched: dict[str, nn.Module] = {
        "patch_embed": encoder.to_patch_emb_first_frame if depth == 1 else encoder.to_patch_emb,
        "peg0_out": spatial.layers[0]["0"],
        "attn0_out": spatial.layers[0]["1"],
        "ff0_out": spatial.layers[0]["3"],
        "after_spatial": spatial,
        "peg0_temporal_out": temporal.layers[0]["0"],
        "after_temporal": temporal,
    }
    seen: dict[str, list[FloatArray]] = {}

    def watch(name: str, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda *call: seen.setdefault(name, []).append(call[-1].numpy()))

    handles = [watch(name, module) for name, module in watched.items()]
    try:
        with torch.inference_mode():
            for video, router in zip(videos, routers, strict=True):
                encoder(torch.from_numpy(video[None]), int(router))
            bias = encoder.position_bias(videos.shape[-1], depth)
    finally:
        for handle in handles:
            handle.remove()
    joined = {name: np.concatenate(values) for name, values in seen.items()}
    return joined | {"bias_spatial": bias.spatial.numpy(), "bias_depth": bias.depth.numpy()}


def _conditional(folder: FixtureFolder, arrays: Arrays, path: str) -> Iterator[Check]:
    """Per row its own condition, or all conditions on the only image."""
    runner = folder.runner(path)
    videos = images_of(arrays)
    videos = videos.reshape(-1, *videos.shape[2:])  # (conditions, images of each, 1, D, S, S)
    count = max(len(videos), arrays["condition_index"].size)
    conditions, routers = (numbers_of(arrays, name, count) for name in ("condition_index", "modality"))
    tokens = encode_rows(runner, videos, routers[: len(videos)])
    if "image_tokens" in arrays:
        yield relative("image_tokens", tokens, arrays["image_tokens"])
    readings = read_rows(runner, per_row(tokens, count), conditions, routers)
    for name, array in _READINGS.items():
        if array in arrays:
            yield relative(array, readings[name], arrays[array])
    if "abnormal_pred" in arrays:
        said = (readings["logits"] > 0).astype(np.float32)
        yield exact("abnormal_pred", said, arrays["abnormal_pred"].reshape(said.shape))
    if "attn_layers" in arrays and ALL_MAPS in readings:
        yield relative("attn_layers", readings[ALL_MAPS].swapaxes(0, 1), arrays["attn_layers"])
    if "pos" in arrays:
        yield relative("pos", _positions(folder)[: tokens.shape[1]], arrays["pos"])


def _rerank(folder: FixtureFolder, arrays: Arrays, path: str) -> Iterator[Check]:
    """Image 0 is the query, the others are its candidates."""
    runner = folder.runner(path)
    videos = images_of(arrays)
    videos = videos.reshape(-1, *videos.shape[-4:])
    conditions, routers = (numbers_of(arrays, name, len(videos)) for name in ("condition_index", "modality"))
    tokens = encode_rows(runner, videos, routers)
    readings = read_rows(runner, tokens, conditions, routers)
    if "fused" in arrays:
        yield relative("fused", readings["embeddings"], arrays["fused"])
    if "condition" in arrays:
        yield relative("condition", readings["latents"], arrays["condition"])
    attention = readings["attention"][:, None]
    top_k = _top_k(folder, arrays)
    chosen = strongest_tokens(attention, top_k)[:, 0]
    selected = select_tokens(tokens, attention, top_k, grid=folder.config.position_grid)[:, 0]
    yield from _selection(arrays, chosen, selected)
    sides = rerank_side(readings["latents"], selected)
    query, candidates = np.repeat(sides[:1], len(sides) - 1, axis=0), sides[1:]
    logits = runner.rerank(query, candidates, int(routers[0]))
    if "rerank_logits" in arrays:
        yield relative("rerank_logits", logits, arrays["rerank_logits"])
    if "rerank_logits_swapped" in arrays:
        swapped = runner.rerank(candidates, query, int(routers[0]))
        yield relative("rerank_logits_swapped", swapped, arrays["rerank_logits_swapped"])
    yield from _scores(arrays, readings["embeddings"], logits)


def _selection(arrays: Arrays, chosen: NDArray[np.intp], selected: FloatArray) -> Iterator[Check]:
    """Compare tokens as sets: the reranker does not see their order. Without their numbers, in that of attention."""
    if "topk_indices" not in arrays:
        if "selected_tokens_plus_pos" in arrays:
            yield relative("selected_tokens_plus_pos", selected, arrays["selected_tokens_plus_pos"])
        return
    reference = arrays["topk_indices"].reshape(chosen.shape)
    yield exact("topk_indices", np.sort(chosen), np.sort(reference))
    if "selected_tokens_plus_pos" in arrays and np.array_equal(np.sort(chosen), np.sort(reference)):
        ours = np.take_along_axis(selected, np.argsort(chosen)[..., None], axis=1)
        theirs = np.take_along_axis(
            arrays["selected_tokens_plus_pos"].reshape(selected.shape), np.argsort(reference)[..., None], axis=1
        )
        yield relative("selected_tokens_plus_pos", ours, theirs)


def _scores(arrays: Arrays, embeddings: FloatArray, logits: FloatArray) -> Iterator[Check]:
    alpha = float(arrays.get("alpha", ALPHA))
    coarse = (embeddings[1:] @ embeddings[0]).astype(np.float64)
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    final = alpha * coarse + (1 - alpha) * probabilities
    for array, values, tolerance in (
        ("coarse_scores", coarse, SCORE_TOLERANCE),
        ("rerank_probs", probabilities, SCORE_TOLERANCE / (1 - alpha) if alpha < 1 else SCORE_TOLERANCE),
        ("final_scores", final, SCORE_TOLERANCE),
    ):
        if array in arrays:
            yield absolute(array, values, arrays[array], tolerance)
    if "order" in arrays:
        yield exact("order", np.argsort(-final, kind="stable"), arrays["order"])


def _top_k(folder: FixtureFolder, arrays: Arrays) -> int:
    top_k = arrays.get("top_k", folder.config.top_k)
    if top_k is None:
        raise MalformedError("neither the file nor the configuration tells how many tokens are selected")
    return int(top_k)


def _positions(folder: FixtureFolder) -> NDArray[np.float32]:
    return sinusoidal_positions(*folder.config.position_grid, folder.model.sizes.width)
