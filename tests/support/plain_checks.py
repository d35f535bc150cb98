"""Nothing enters; JSON on standard output says how far the benchmarks' plain model is from the reference. Needs torch.

`errors`: per parity file the largest error relative to the reference array's maximum, or the error itself for scores;
`gflop`: per kind of forward what torch counts at the published sizes, on the meta device, so nothing is computed.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.bench.layout import PUBLISHED, SMALL
from tests.bench.plain_medreco import PlainMedReCo, Reading, load_plain, position_table, select_tokens

FIXTURES = Path(__file__).parents[1] / "fixtures" / "medreco_parity"
Arrays = dict[str, Tensor]
_NAMES = {
    "tokens": "image_tokens",
    "embeddings": "fused_latents",
    "latents": "condition_latents",
    "attention": "last_attn_map",
    "logits": "abnormal_logit",
}
_SIDE_PX, _TOP_K = 480, 128


def main() -> int:
    """Print both tables."""
    with torch.inference_mode():
        result = {"errors": _errors(), "gflop": _gflop()}
    print(json.dumps(result))
    return 0


def _errors() -> dict[str, float]:
    model = load_plain(load_file(FIXTURES / "retrieval.safetensors"), SMALL)
    checks: dict[str, Callable[[PlainMedReCo, Arrays], float]] = {
        "encoder_": _encoder_error,
        "conditional_": _conditional_error,
        "rerank_": _rerank_error,
        "pos_embedding_": _position_error,
    }
    found = {}
    for file in sorted(FIXTURES.glob("*.npz")):
        for prefix, check in checks.items():
            if file.name.startswith(prefix):
                with np.load(file) as arrays:
                    content = {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays.files}
                found[file.name] = check(model, content)
    return found


def _encoder_error(model: PlainMedReCo, arrays: Arrays) -> float:
    videos = arrays["video"].float()
    got = [
        model.visual_transformer(video[None], int(router))
        for video, router in zip(videos, arrays["modality"], strict=True)
    ]
    return _relative(torch.cat(got), arrays["tokens"])


def _readings(model: PlainMedReCo, arrays: Arrays) -> list[Reading]:
    """Per image its own condition, or every condition on the only image."""
    videos, routers = arrays["video"].float()[:, 0], arrays["modality"]
    count = len(arrays["condition_index"])
    videos, routers = videos.expand(count, -1, -1, -1, -1), routers.expand(count)
    return [
        model(videos[row : row + 1], int(arrays["condition_index"][row]), int(routers[row])) for row in range(count)
    ]


def _conditional_error(model: PlainMedReCo, arrays: Arrays) -> float:
    readings = _readings(model, arrays)
    errors = []
    for ours, theirs in _NAMES.items():
        if theirs in arrays:
            got = torch.cat([getattr(reading, ours) for reading in readings])
            errors.append(_relative(got.reshape(arrays[theirs].shape), arrays[theirs]))
    return max(errors)


def _rerank_error(model: PlainMedReCo, arrays: Arrays) -> float:
    sides, chosen = zip(
        *(select_tokens(reading, int(arrays["top_k"])) for reading in _readings(model, arrays)), strict=True
    )
    same = all(
        set(mine[0].tolist()) == set(theirs.tolist())
        for mine, theirs in zip(chosen, arrays["topk_indices"], strict=True)
    )
    router = int(arrays["modality"][0])
    candidates = torch.cat(sides[1:])
    query = sides[0].expand(len(candidates), -1, -1)
    logits = model.rank_module(query, candidates, router)
    swapped = model.rank_module(candidates, query, router)
    alpha = float(arrays["alpha"])
    final = alpha * arrays["coarse_scores"] + (1 - alpha) * logits.sigmoid()
    if not same or float((final - arrays["final_scores"]).abs().max()) > 2e-6:
        return float("inf")
    return max(_relative(logits, arrays["rerank_logits"]), _relative(swapped, arrays["rerank_logits_swapped"]))


def _position_error(_: PlainMedReCo, arrays: Arrays) -> float:
    return _relative(position_table(512), arrays["pos"])


def _relative(got: Tensor, reference: Tensor) -> float:
    return float((got - reference).abs().max() / reference.abs().max())


def _gflop() -> dict[str, float]:
    """Two operations per multiply-add; one image, one entity, one pair."""
    with torch.device("meta"):
        model = PlainMedReCo(PUBLISHED).eval()
        images = {name: torch.empty(1, 1, depth, _SIDE_PX, _SIDE_PX) for name, depth in _DEPTHS.items()}
        pair = torch.empty(1, _TOP_K + 1, PUBLISHED.width)
        found = {name: _count(partial(model, video, 0, 0)) for name, video in images.items()}
        found["pair"] = _count(partial(model.rank_module, pair, pair, 0))
    return found


_DEPTHS = {"film": 1, "mri": 30, "ct": 240}


def _count(forward: Callable[[], object]) -> float:
    with FlopCounterMode(display=False) as counter:
        forward()
    return float(counter.get_total_flops()) / 1e9


if __name__ == "__main__":
    sys.exit(main())
