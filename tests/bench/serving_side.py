"""A bundle and arrays enter; how long the node's engine takes, its peak memory and its answers leave. Without torch.

    python -m tests.bench.serving_side film|ct|rerank RUNTIME BUNDLE INPUTS.npz ANSWERS.npz

A process of its own, so that its memory is the engine's alone. One line of JSON on standard output.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.encoder.bundle import open_bundle
from models.encoder.engine import Encoder, EncoderModel, EntityReadings, FloatArray
from models.encoder.model import BundleModel
from models.encoder.selection import rerank_side, select_tokens
from models.shared.runtimes.graph import Runtime
from models.shared.runtimes.onnxruntime_cpu import OnnxRuntime
from tests.bench.timing import median_s, peak_mb
from tests.bench.workload import CT, FILM, THREADS

Answer = tuple[dict[str, float], dict[str, FloatArray]]


def film(model: EncoderModel, images: FloatArray) -> Answer:
    """One film: one entity, and all of them, each time from the image on."""
    return _image(model.family(FILM), images, rounds=9)


def volume(model: EncoderModel, images: FloatArray) -> Answer:
    """One CT in the same way."""
    return _image(model.family(CT), images, rounds=3)


def _image(encoder: Encoder, images: FloatArray, rounds: int) -> Answer:
    indices = [entity.index for entity in encoder.info.entities]

    def read(count: int) -> EntityReadings:
        return encoder.read(encoder.encode(images), indices[:count])

    seconds = {
        "one": median_s(f"{encoder.info.modality}, one entity", partial(read, 1), rounds=rounds),
        "all": median_s(
            f"{encoder.info.modality}, {len(indices)} entities", partial(read, len(indices)), rounds=rounds
        ),
    }
    return seconds, {"embeddings": read(len(indices)).embeddings[0]}


def rerank(model: EncoderModel, tokens: FloatArray) -> Answer:
    """One query against the other images, of stored tokens: selection and reranker, all pairs in one batch."""
    encoder = model.family(FILM)
    top_k = encoder.info.rerank_top_k
    if top_k is None:
        raise ValueError("the bundle has no reranker")
    read = encoder.read(tokens, [encoder.info.entities[0].index])

    def score() -> NDArray[np.float32]:
        selected = select_tokens(tokens, read.attention, top_k)
        sides = rerank_side(read.latents, selected)[:, 0]
        return encoder.rerank(sides[0], sides[1:])

    return {"all": median_s(f"rerank {len(tokens) - 1}", score, rounds=3)}, {"probabilities": score()}


TASKS: dict[str, Callable[[EncoderModel, FloatArray], Answer]] = {"film": film, "ct": volume, "rerank": rerank}


def runtime(name: str) -> Runtime:
    """Make the runtime of that name; the other one is not loaded, so that memory is that of the one alone."""
    if name == "openvino":
        from models.shared.runtimes.openvino_cpu import OpenVinoRuntime  # noqa: PLC0415

        return OpenVinoRuntime(threads=THREADS)
    return OnnxRuntime(threads=THREADS)


def main(arguments: list[str]) -> int:
    """Run one task; return the exit code."""
    task, name, bundle, inputs, answers = arguments
    model = BundleModel(open_bundle(Path(bundle)), runtime(name))
    with np.load(inputs) as arrays:
        seconds, arrays_out = TASKS[task](model, arrays["input"])
    np.savez(answers, **arrays_out)  # type: ignore[arg-type]
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
