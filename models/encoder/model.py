"""A verified bundle and a runtime enter; the `EncoderModel` that runs the bundle's graphs in that runtime leaves."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.encoder.bundle import Bundle, Family
from models.encoder.checks import calibrated, check_images, check_pairs, check_reading, logistic
from models.encoder.engine import (
    BundleInfo,
    EngineFailureError,
    EntityReadings,
    FamilyInfo,
    FloatArray,
    RerankUnavailableError,
)
from models.shared.bundle_files import BundleError, BundleErrorCode
from models.shared.runtimes.graph import Array, Graph, GraphOpenError, GraphRunError, Runtime

READINGS = ("embeddings", "latents", "attention", "logits")


class BundleModel:
    """`models.encoder.engine.EncoderModel` on any runtime; a family's graphs are opened when it is first asked for."""

    def __init__(self, bundle: Bundle, runtime: Runtime) -> None:
        self._bundle = bundle
        self._runtime = runtime
        self._opened: dict[str, FamilyEncoder] = {}
        self._opening = threading.Lock()

    @property
    def info(self) -> BundleInfo:
        """What the opened bundle is."""
        return self._bundle.info

    def family(self, modality: str) -> FamilyEncoder:
        """Give the encoder of one family. Raises FamilyNotServedError, BundleError(BAD_GRAPH)."""
        family = self._bundle.family(modality)
        with self._opening:
            if modality not in self._opened:
                self._opened[modality] = FamilyEncoder(family, self._runtime)
            return self._opened[modality]


class FamilyEncoder:
    """`models.encoder.engine.Encoder` on any runtime. Safe to call from several threads."""

    def __init__(self, family: Family, runtime: Runtime) -> None:
        """Open the family's graphs. Raises BundleError(BAD_GRAPH)."""
        self._info = family.info
        self._calibration = family.calibration
        self._encoder = _open(runtime, family.encoder_path)
        self._fusion = _open(runtime, family.fusion_path)
        self._reranker = _open(runtime, family.rerank_path) if family.rerank_path else None

    @property
    def info(self) -> FamilyInfo:
        """What the opened family is."""
        return self._info

    def encode(self, images: FloatArray) -> FloatArray:
        """Images (b, S, S) or volumes (b, D, S, S) to tokens (b, n, d). Raises InputShapeError, EngineFailureError."""
        check_images(images, self._info)
        (tokens,) = _run(self._encoder, ("tokens",), {"images": np.ascontiguousarray(images)})
        return tokens

    def read(
        self, tokens: FloatArray, entity_indices: Sequence[int], token_log_weight: FloatArray | None = None
    ) -> EntityReadings:
        """Read entities from tokens (b, n, d), in a place where `token_log_weight` (b, n) gives one.

        Raises InputShapeError, EntityNotServedError, EngineFailureError.
        """
        weight = check_reading(tokens, token_log_weight, self._info)
        rows = np.array([self._info.entity(index).index for index in entity_indices], dtype=np.int64)
        inputs: dict[str, Array] = {
            "tokens": np.ascontiguousarray(tokens),
            "entity_rows": rows,
            "token_log_weight": weight,
        }
        embeddings, latents, attention, logits = _run(self._fusion, READINGS, inputs)
        return EntityReadings(
            embeddings=embeddings,
            latents=latents,
            attention=attention,
            presence_prob=calibrated(logits, [self._calibration[index] for index in entity_indices]),
        )

    def rerank(self, query: FloatArray, candidates: FloatArray) -> FloatArray:
        """Score candidates (m, k+1, d) against one query (k+1, d): (m,) probabilities.

        Raises RerankUnavailableError, InputShapeError, EngineFailureError.
        """
        if self._reranker is None:
            raise RerankUnavailableError(modality=self._info.modality, bundle_id=self._info.bundle_id)
        check_pairs(query, candidates, self._info)
        pairs = np.ascontiguousarray(np.broadcast_to(query, candidates.shape))
        inputs = {"query": pairs, "candidate": np.ascontiguousarray(candidates)}
        (logits,) = _run(self._reranker, ("logits",), inputs)
        return logistic(logits)


def _open(runtime: Runtime, path: Path) -> Graph:
    try:
        return runtime.open(path)
    except GraphOpenError as exc:
        raise BundleError(BundleErrorCode.BAD_GRAPH, path.name) from exc


def _run(graph: Graph, outputs: Sequence[str], inputs: dict[str, Array]) -> list[FloatArray]:
    try:
        return graph.run(outputs, inputs)
    except GraphRunError as exc:
        raise EngineFailureError(str(exc)) from exc
