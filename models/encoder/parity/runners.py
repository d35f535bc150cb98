"""A model enters; the paths through it leave: the torch nets, and the exported graphs in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from models.encoder.nets.export import (
    READING_OUTPUTS,
    export_image_encoder,
    export_reader,
    export_reranker,
)
from models.encoder.nets.medreco import RetrievalModel
from models.encoder.nets.served import ServedEncoder
from models.encoder.parity.checks import MalformedError

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
Named = dict[str, FloatArray]

ALL_MAPS: Final = "attention_layers"
"""Maps of all fusion layers, (b, e, layers, n): the torch nets give them, a served graph does not."""


class Runner(Protocol):
    """One path through the model, for rows of one modality."""

    def encode(self, videos: FloatArray, router: int) -> FloatArray:
        """(b, 1, D, S, S) to tokens (b, n, d)."""
        ...

    def read(self, tokens: FloatArray, entities: IntArray, router: int) -> Named:
        """Tokens (b, n, d) and rows (e,) to readings by name, (b, e, ...)."""
        ...

    def rerank(self, query: FloatArray, candidate: FloatArray, router: int) -> FloatArray:
        """Sides (p, k + 1, d) to logits (p,). Raises MalformedError where the checkpoint has no reranker."""
        ...


class TorchRunner:
    """The torch nets."""

    def __init__(self, model: RetrievalModel) -> None:
        self._model = model

    def encode(self, videos: FloatArray, router: int) -> FloatArray:
        """See Runner."""
        with torch.inference_mode():
            return self._model.encoder(torch.from_numpy(videos), router).numpy()

    def read(self, tokens: FloatArray, entities: IntArray, router: int) -> Named:
        """See Runner."""
        everywhere = torch.zeros(tokens.shape[:2])
        with torch.inference_mode():
            readings = self._model.reader(torch.from_numpy(tokens), torch.from_numpy(entities), everywhere, router)
        named = {name: value.numpy() for name, value in readings._asdict().items()}
        named[ALL_MAPS] = named[ALL_MAPS].transpose(1, 2, 0, 3)
        return named

    def rerank(self, query: FloatArray, candidate: FloatArray, router: int) -> FloatArray:
        """See Runner."""
        reranker = _reranker(self._model)
        with torch.inference_mode():
            return reranker(torch.from_numpy(query), torch.from_numpy(candidate), router).numpy()


class OnnxRunner:
    """The exported graphs; each is written to `scratch` when it is first needed."""

    def __init__(self, model: RetrievalModel, scratch: Path) -> None:
        self._model = model
        self._scratch = scratch
        self._encoder = cache(self._export_encoder)
        self._reader = cache(self._export_reader)
        self._reranker = cache(self._export_reranker)

    def encode(self, videos: FloatArray, router: int) -> FloatArray:
        """See Runner."""
        depth = videos.shape[2]
        fed = videos[:, 0, 0] if depth == 1 else videos[:, 0]
        return self._encoder(router, depth).run(["tokens"], {"images": np.ascontiguousarray(fed)})[0]

    def read(self, tokens: FloatArray, entities: IntArray, router: int) -> Named:
        """See Runner."""
        everywhere = np.zeros(tokens.shape[:2], dtype=np.float32)
        inputs = {"tokens": tokens, "entity_rows": entities, "token_log_weight": everywhere}
        outputs = self._reader(router).run(list(READING_OUTPUTS), inputs)
        return dict(zip(READING_OUTPUTS, outputs, strict=True))

    def rerank(self, query: FloatArray, candidate: FloatArray, router: int) -> FloatArray:
        """See Runner."""
        session = self._reranker(router, query.shape[1] - 1)
        return session.run(["logits"], {"query": query, "candidate": candidate})[0]

    def _export_encoder(self, router: int, depth: int) -> onnxruntime.InferenceSession:
        side = self._model.side_px
        served = ServedEncoder(self._model.encoder, router=router, side_px=side, depth=depth)
        return self._open(
            f"encoder-{router}-{depth}", lambda path: export_image_encoder(served, path, side_px=side, depth=depth)
        )

    def _export_reader(self, router: int) -> onnxruntime.InferenceSession:
        return self._open(f"fusion-{router}", lambda path: export_reader(self._model.reader, path, router=router))

    def _export_reranker(self, router: int, top_k: int) -> onnxruntime.InferenceSession:
        reranker = _reranker(self._model)
        return self._open(
            f"rerank-{router}-{top_k}", lambda path: export_reranker(reranker, path, router=router, top_k=top_k)
        )

    def _open(self, name: str, write: Callable[[Path], None]) -> onnxruntime.InferenceSession:
        path = self._scratch / f"{name}.onnx"
        write(path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def encode_rows(runner: Runner, videos: FloatArray, routers: IntArray) -> FloatArray:
    """Tokens (b, n, d) of videos (b, 1, D, S, S) of mixed modalities, those of one modality in one call."""
    videos = np.ascontiguousarray(videos, dtype=np.float32)
    parts = {
        int(router): runner.encode(np.ascontiguousarray(videos[routers == router]), int(router))
        for router in np.unique(routers)
    }
    return _scattered(parts, routers)


def read_rows(runner: Runner, tokens: FloatArray, entities: IntArray, routers: IntArray) -> Named:
    """Read of each row of tokens (b, n, d) its own entity, by its own modality: readings by name, (b, ...)."""
    parts: dict[str, dict[int, FloatArray]] = {}
    for router in np.unique(routers).tolist():
        chosen = routers == router
        asked, column = np.unique(entities[chosen], return_inverse=True)
        readings = runner.read(np.ascontiguousarray(tokens[chosen]), asked, router)
        for name, values in readings.items():
            parts.setdefault(name, {})[router] = values[np.arange(len(column)), column]
    return {name: _scattered(by_router, routers) for name, by_router in parts.items()}


def _scattered(parts: Mapping[int, FloatArray], routers: IntArray) -> FloatArray:
    first = next(iter(parts.values()))
    rows = np.empty((len(routers), *first.shape[1:]), dtype=first.dtype)
    for router, values in parts.items():
        rows[routers == router] = values
    return rows


def _reranker(model: RetrievalModel) -> torch.nn.Module:
    if model.reranker is None:
        raise MalformedError("the checkpoint has no reranker")
    return model.reranker
