"""A seed enters; a folder of parity fixtures of other sizes than the reference's leaves, computed by the plain model.

    python -m tests.support.parity_folder OUT

Weights are random; every array comes from tests/bench/plain_medreco.py, which shares no code with the product.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.bench.fullsize import draw
from tests.bench.layout import EXPERTS, PublishedSizes, entries
from tests.bench.plain_medreco import PlainMedReCo, Reading, load_plain, position_table, select_tokens

SIZES = PublishedSizes(
    width=48,
    heads=3,
    head_width=16,
    patch_px=10,
    temporal_patch=4,
    spatial_depth=3,
    temporal_depth=1,
    inner=56,
    head_inner=30,
    codebook_rows=4,
    text_width=16,
)
SIDE_PX = 60
TOP_K = 5
KEPT_EXPERTS = 3

Arrays = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Write the folder; return the exit code."""
    (out,) = map(Path, arguments)
    out.mkdir(parents=True, exist_ok=True)
    state = _state(seed=7)
    save_file({key: value for key, value in state.items() if _is_kept(key)}, out / "retrieval.safetensors")
    config = {"vision": {"image_size": SIDE_PX}, "rerank": {"top_k": TOP_K}, "experts": KEPT_EXPERTS}
    (out / "retrieval_config.json").write_text(json.dumps(config))
    model = load_plain(state, SIZES)
    with torch.inference_mode():
        np.savez(out / "encoder_films_of_three_modalities.npz", **_encoder(model, depth=1, routers=[2, 0, 1]))
        np.savez(out / "encoder_one_film_in_bytes.npz", **_in_few_bytes(_encoder(model, depth=1, routers=[2])))
        np.savez(out / "encoder_volumes_of_two_depths.npz", **_encoder(model, depth=12, routers=[0, 2]))
        np.savez(out / "conditional_mixed_films.npz", **_conditional(model, 1, [1, 0, 1, 2], [5, 399, 5, 0]))
        np.savez(out / "conditional_volumes.npz", **_conditional(model, 8, [2, 0], [201, 7]))
        np.savez(out / "conditional_few_bytes.npz", **_in_few_bytes(_conditional(model, 1, [1, 0], [5, 300])))
        np.savez(out / "conditional_same_film.npz", **_conditional(model, 1, [1, 1, 1], [1, 2, 3], images=1))
        np.savez(out / "rerank_films.npz", **_rerank(model, 1, router=1, count=4))
        np.savez(out / "rerank_volumes.npz", **_rerank(model, 4, router=2, count=3))
    np.savez(out / "pos_embedding.npz", pos=position_table(SIZES.width).numpy())
    np.savez(out / "pos_embedding_first_rows.npz", pos=position_table(SIZES.width)[:36].numpy())
    return 0


def _state(seed: int) -> dict[str, torch.Tensor]:
    return {entry.key: torch.from_numpy(np.array(draw(entry, seed))) for entry in entries(SIZES, text=False)}


def _is_kept(key: str) -> bool:
    """Say whether the key is of the file: the plain model has five experts, the checkpoint fewer."""
    return not any(f".experts.{number}." in key for number in range(KEPT_EXPERTS, EXPERTS))


def _videos(depth: int, count: int) -> torch.Tensor:
    shape = (count, 1, depth, SIDE_PX, SIDE_PX)
    return torch.from_numpy(np.random.default_rng(depth).integers(0, 256, shape).astype(np.float32) / 255)


def _encoder(model: PlainMedReCo, depth: int, routers: list[int]) -> Arrays:
    videos = _videos(depth, len(routers))
    tokens = [model.visual_transformer(video[None], router) for video, router in zip(videos, routers, strict=True)]
    return {"video": videos.numpy(), "modality": np.array(routers), "tokens": torch.cat(tokens).numpy()}


def _in_few_bytes(arrays: Arrays) -> Arrays:
    """Store the same in other types: shades as bytes, small whole numbers, a lone one without an axis, doubles."""
    numbers = {name: arrays[name].astype(np.uint16) for name in ("modality", "condition_index") if name in arrays}
    lone = {name: values.reshape(()) for name, values in numbers.items() if values.size == 1}
    shades = {"video": np.rint(arrays["video"] * 255).astype(np.uint8)}
    rest = {name: values.astype(np.float64) for name, values in arrays.items()}
    return rest | numbers | lone | shades


def _read(model: PlainMedReCo, videos: torch.Tensor, conditions: list[int], routers: list[int]) -> Reading:
    rows = [
        model(video[None], condition, router)
        for video, condition, router in zip(videos, conditions, routers, strict=True)
    ]
    return Reading(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def _conditional(
    model: PlainMedReCo, depth: int, routers: list[int], conditions: list[int], images: int | None = None
) -> Arrays:
    videos = _videos(depth, images or len(routers))
    reading = _read(model, videos.expand(len(routers), -1, -1, -1, -1), conditions, routers)
    arrays = {
        "video": videos[:, None],
        "condition_index": torch.tensor(conditions),
        "modality": torch.tensor(routers),
        "fused_latents": reading.embeddings,
        "condition_latents": reading.latents,
        "last_attn_map": reading.attention[:, None],
        "abnormal_logit": reading.logits[:, None],
        "abnormal_pred": (reading.logits[:, None] > 0).float(),
        "pos": position_table(SIZES.width)[: reading.tokens.shape[1]],
    }
    if images is None:
        arrays["image_tokens"] = reading.tokens
    return {name: value.numpy() for name, value in arrays.items()}


def _rerank(model: PlainMedReCo, depth: int, router: int, count: int) -> Arrays:
    videos = _videos(depth, count)
    reading = _read(model, videos, [9] * count, [router] * count)
    sides, chosen = select_tokens(reading, TOP_K)
    query, candidates = sides[:1].expand(count - 1, -1, -1), sides[1:]
    logits = model.rank_module(query, candidates, router)
    coarse = reading.embeddings[1:] @ reading.embeddings[0]
    final = 0.6 * coarse + 0.4 * logits.sigmoid()
    arrays = {
        "video": videos[:, None],
        "condition_index": torch.tensor([9] * count),
        "modality": torch.tensor([router] * count),
        "alpha": torch.tensor(0.6, dtype=torch.float64),
        "fused": reading.embeddings,
        "condition": reading.latents,
        "topk_indices": chosen,
        "selected_tokens_plus_pos": sides[:, 1:],
        "coarse_scores": coarse,
        "rerank_logits": logits,
        "rerank_logits_swapped": model.rank_module(candidates, query, router),
        "rerank_probs": logits.sigmoid(),
        "final_scores": final,
        "order": final.argsort(descending=True),
    }
    return {name: value.numpy() for name, value in arrays.items()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
