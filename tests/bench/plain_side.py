"""A checkpoint and arrays enter; the calls of the plain torch model are made as they are asked for. Needs torch.

    python -m tests.bench.plain_side film|ct|rerank CHECKPOINT INPUTS.npz ANSWERS.npz

Asked as tests.bench.turns says. Reading the other entities from the tokens of a pass serves the comparison of answers
alone and is not timed: the plain model makes the whole pass for each entity.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from models.shared.vocabulary import load_vocabulary
from tests.bench.layout import PUBLISHED
from tests.bench.plain_medreco import PlainMedReCo, Reading, load_plain, select_tokens
from tests.bench.turns import work
from tests.bench.workload import CT, FILM, THREADS, TOP_K

Answers = dict[str, Tensor]


def film(model: PlainMedReCo, images: Tensor) -> Answers:
    """One film, one entity."""
    return _image(model, images[:, None, None], FILM)


def volume(model: PlainMedReCo, images: Tensor) -> Answers:
    """One CT, one entity."""
    return _image(model, images[:, None], CT)


def _image(model: PlainMedReCo, video: Tensor, modality: str) -> Answers:
    vocabulary = load_vocabulary()
    router = vocabulary.router_index[modality]
    indices = [entity.index for entity in vocabulary.of_modality(modality)]
    last = work({"one": lambda: model(video, indices[0], router)})["one"]
    latents, _ = model.fusion_module(model.condition_embeddings.weight[indices][None], last.tokens, router)
    embeddings = functional.normalize(model.to_fused_latent(latents[0]), dim=-1)
    return {"one": last.embeddings, "all": torch.cat((last.embeddings, embeddings[1:]))}


def rerank(model: PlainMedReCo, tokens: Tensor) -> Answers:
    """One query against the other images, of stored tokens: pair after pair, and all pairs in one batch."""
    vocabulary = load_vocabulary()
    router, condition = vocabulary.router_index[FILM], vocabulary.of_modality(FILM)[0].index
    query = model.condition_embeddings.weight[condition].expand(1, 1, -1)
    read = [model.fusion_module(query, row[None], router) for row in tokens]
    latents, attention = (torch.cat(parts)[:, 0] for parts in zip(*read, strict=True))
    reading = Reading(tokens, latents, latents, attention, latents[:, 0])

    def batched() -> Tensor:
        sides, _ = select_tokens(reading, TOP_K)
        candidates = sides[1:]
        return model.rank_module(sides[:1].expand(len(candidates), -1, -1), candidates, router).sigmoid()

    def one_at_a_time() -> Tensor:
        sides, _ = select_tokens(reading, TOP_K)
        return torch.cat([model.rank_module(sides[:1], side[None], router).sigmoid() for side in sides[1:]])

    return work({"batched": batched, "single": one_at_a_time})


TASKS: dict[str, Callable[[PlainMedReCo, Tensor], Answers]] = {"film": film, "ct": volume, "rerank": rerank}


def main(arguments: list[str]) -> int:
    """Serve one task, then write the last answers; return the exit code."""
    task, checkpoint, inputs, answers = arguments
    torch.set_num_threads(THREADS)
    model = load_plain(load_file(Path(checkpoint)), PUBLISHED)
    with np.load(inputs) as arrays, torch.inference_mode():
        found = TASKS[task](model, torch.from_numpy(arrays["input"]))
    np.savez(answers, **{name: value.numpy() for name, value in found.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
