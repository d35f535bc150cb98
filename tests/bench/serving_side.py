"""A bundle and arrays enter; the calls of the node's engine are made as they are asked for. Without torch.

    python -m tests.bench.serving_side film|ct|rerank RUNTIME BUNDLE INPUTS.npz ANSWERS.npz

A process of its own, so that its memory is the engine's alone; it is asked as tests.bench.turns says.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from models.encoder.bundle import open_bundle
from models.encoder.engine import Encoder, EncoderModel, FloatArray
from models.encoder.model import BundleModel
from models.encoder.selection import rerank_side, select_tokens
from models.shared.runtimes.graph import Runtime
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from tests.bench.turns import work
from tests.bench.workload import CT, FILM, THREADS

Calls = dict[str, Callable[[], FloatArray]]


def film(model: EncoderModel, images: FloatArray) -> Calls:
    """One film: one entity, and all of them, each time from the image on."""
    return _image(model.family(FILM), images)


def volume(model: EncoderModel, images: FloatArray) -> Calls:
    """One CT in the same way."""
    return _image(model.family(CT), images)


def _image(encoder: Encoder, images: FloatArray) -> Calls:
    indices = [entity.index for entity in encoder.info.entities]

    def read(count: int) -> FloatArray:
        embeddings: FloatArray = encoder.read(encoder.encode(images), indices[:count]).embeddings[0]
        return embeddings

    return {"one": partial(read, 1), "all": partial(read, len(indices))}


def rerank(model: EncoderModel, tokens: FloatArray) -> Calls:
    """One query against the other images, of stored tokens: selection and reranker, all pairs in one batch."""
    encoder = model.family(FILM)
    top_k = encoder.info.rerank_top_k
    if top_k is None:
        raise ValueError("the bundle has no reranker")
    entity = encoder.info.entities[0].index
    # One by one, as images come: the memory of a batch of 51 would count as the reranker's.
    read = [encoder.read(row[None], [entity]) for row in tokens]
    attention = np.concatenate([readings.attention for readings in read])
    latents = np.concatenate([readings.latents for readings in read])

    def score() -> FloatArray:
        sides = rerank_side(latents, select_tokens(tokens, attention, top_k))[:, 0]
        probabilities: FloatArray = encoder.rerank(sides[0], sides[1:])
        return probabilities

    return {"all": score}


TASKS: dict[str, Callable[[EncoderModel, FloatArray], Calls]] = {"film": film, "ct": volume, "rerank": rerank}


def runtime(name: str) -> Runtime:
    """Make the runtime of that name; the other one is not loaded, so that memory is that of the one alone."""
    if name == "openvino":
        from models.shared.runtimes.openvino_cpu import OpenVinoRuntime  # noqa: PLC0415

        return OpenVinoRuntime(threads=THREADS)
    return OnnxRuntime(threads=THREADS)


def main(arguments: list[str]) -> int:
    """Serve one task, then write the last answer of each call; return the exit code."""
    task, name, bundle, inputs, answers = arguments
    model = BundleModel(open_bundle(Path(bundle)), runtime(name))
    with np.load(inputs) as arrays:
        calls = TASKS[task](model, arrays["input"])
    np.savez(answers, **work(calls))  # type: ignore[arg-type]
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
