"""A checkpoint and arrays enter; how long the plain torch model takes, its peak memory and its answers leave.

    python -m tests.bench.plain_side film|ct|rerank CHECKPOINT INPUTS.npz ANSWERS.npz        (needs torch)

One line of JSON on standard output. Reading further entities from the tokens of a pass serves the comparison of answers
alone and is not timed: the plain model makes the whole pass for each entity.
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
from torch.nn import functional

from models.shared.vocabulary import load_vocabulary
from tests.bench.layout import PUBLISHED
from tests.bench.plain_medreco import PlainMedReCo, Reading, load_plain, select_tokens
from tests.bench.timing import median_s, peak_mb
from tests.bench.workload import CT, FILM, THREADS, TOP_K

Answer = tuple[dict[str, float], dict[str, Tensor]]


def film(model: PlainMedReCo, images: Tensor) -> Answer:
    """One film, one entity."""
    return _image(model, images[:, None, None], FILM, rounds=3, warm_up=1)


def volume(model: PlainMedReCo, images: Tensor) -> Answer:
    """One CT, one entity: a single pass, since it takes a minute."""
    return _image(model, images[:, None], CT, rounds=1, warm_up=0)


def _image(model: PlainMedReCo, video: Tensor, modality: str, *, rounds: int, warm_up: int) -> Answer:
    vocabulary = load_vocabulary()
    router = vocabulary.router_index[modality]
    indices = [entity.index for entity in vocabulary.of_modality(modality)]
    kept: list[Reading] = []

    def one_pass() -> None:
        kept[:] = [model(video, indices[0], router)]

    seconds = {"one": median_s(f"plain {modality}, one entity", one_pass, rounds=rounds, warm_up=warm_up)}
    peak = peak_mb()
    queries = model.condition_embeddings.weight[indices][None]
    latents, _ = model.fusion_module(queries, kept[0].tokens, router)
    embeddings = functional.normalize(model.to_fused_latent(latents[0]), dim=-1)
    embeddings[0] = kept[0].embeddings[0]
    return seconds | {"peak_mb": peak}, {"embeddings": embeddings}


def rerank(model: PlainMedReCo, tokens: Tensor) -> Answer:
    """One query against the other images, of stored tokens: pair after pair, and all pairs in one batch."""
    vocabulary = load_vocabulary()
    router, condition = vocabulary.router_index[FILM], vocabulary.of_modality(FILM)[0].index
    query = model.condition_embeddings.weight[condition].expand(len(tokens), 1, -1)
    latents, attention = model.fusion_module(query, tokens, router)
    reading = Reading(tokens, latents[:, 0], latents[:, 0], attention[:, 0], latents[:, 0, 0])

    def batched() -> Tensor:
        sides, _ = select_tokens(reading, TOP_K)
        candidates = sides[1:]
        return model.rank_module(sides[:1].expand(len(candidates), -1, -1), candidates, router).sigmoid()

    def one_at_a_time() -> None:
        sides, _ = select_tokens(reading, TOP_K)
        for candidate in sides[1:]:
            model.rank_module(sides[:1], candidate[None], router).sigmoid()

    pairs = len(tokens) - 1
    seconds = {
        "single": median_s(f"plain rerank {pairs}, pair after pair", one_at_a_time, rounds=3),
        "batched": median_s(f"plain rerank {pairs}, in one batch", batched, rounds=3),
    }
    return seconds, {"probabilities": batched()}


TASKS: dict[str, Callable[[PlainMedReCo, Tensor], Answer]] = {"film": film, "ct": volume, "rerank": rerank}


def main(arguments: list[str]) -> int:
    """Run one task; return the exit code."""
    task, checkpoint, inputs, answers = arguments
    torch.set_num_threads(THREADS)
    model = load_plain(load_file(Path(checkpoint)), PUBLISHED)
    with np.load(inputs) as arrays, torch.inference_mode():
        seconds, found = partial(TASKS[task], model)(torch.from_numpy(arrays["input"]))
    np.savez(answers, **{name: value.numpy() for name, value in found.items()})
    peak = seconds.pop("peak_mb", None) or peak_mb()
    print(json.dumps({"seconds": seconds, "peak_mb": peak}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
