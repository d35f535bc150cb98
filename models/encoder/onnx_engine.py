"""The CPU engine: a verified bundle enters, an `EncoderModel` that runs its graphs in ONNX Runtime leaves."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from models.encoder.bundle import Bundle, Family, open_bundle
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

_RUNTIME_ERRORS = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)


def load_model(folder: Path, *, intra_op_threads: int = 0) -> OnnxModel:
    """Open and verify the bundle in `folder`. 0 threads = one per core. Raises BundleError."""
    return OnnxModel(open_bundle(folder), intra_op_threads=intra_op_threads)


class OnnxModel:
    """`models.encoder.engine.EncoderModel` on ONNX Runtime's CPU provider; a family's graphs load at first use."""

    def __init__(self, bundle: Bundle, *, intra_op_threads: int = 0) -> None:
        self._bundle = bundle
        self._threads = intra_op_threads
        self._opened: dict[str, OnnxEncoder] = {}
        self._opening = threading.Lock()

    @property
    def info(self) -> BundleInfo:
        """What the opened bundle is."""
        return self._bundle.info

    def family(self, modality: str) -> OnnxEncoder:
        """Give the encoder of one family. Raises FamilyNotServedError, BundleError(BAD_GRAPH)."""
        family = self._bundle.family(modality)
        with self._opening:
            if modality not in self._opened:
                self._opened[modality] = OnnxEncoder(family, intra_op_threads=self._threads)
            return self._opened[modality]


class OnnxEncoder:
    """`models.encoder.engine.Encoder` on ONNX Runtime's CPU provider. Safe to call from several threads."""

    def __init__(self, family: Family, *, intra_op_threads: int = 0) -> None:
        self._info = family.info
        self._calibration = family.calibration
        self._encoder = _open_session(family.encoder_path, intra_op_threads)
        self._fusion = _open_session(family.fusion_path, intra_op_threads)
        self._reranker = _open_session(family.rerank_path, intra_op_threads) if family.rerank_path else None

    @property
    def info(self) -> FamilyInfo:
        """What the opened family is."""
        return self._info

    def encode(self, images: FloatArray) -> FloatArray:
        """Images (b, S, S) or volumes (b, D, S, S) to tokens (b, n, d). Raises InputShapeError, EngineFailureError."""
        check_images(images, self._info)
        tokens: FloatArray = _run(self._encoder, ["tokens"], {"images": images})[0]
        return tokens

    def read(
        self, tokens: FloatArray, entity_indices: Sequence[int], token_log_weight: FloatArray | None = None
    ) -> EntityReadings:
        """Read entities from tokens (b, n, d), in a place where `token_log_weight` (b, n) gives one.

        Raises InputShapeError, EntityNotServedError, EngineFailureError.
        """
        weight = check_reading(tokens, token_log_weight, self._info)
        rows = np.array([self._info.entity(index).index for index in entity_indices], dtype=np.int64)
        embeddings, latents, attention, logits = _run(
            self._fusion,
            ["embeddings", "latents", "attention", "logits"],
            {"tokens": tokens, "entity_rows": rows, "token_log_weight": weight},
        )
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
        pairs = np.broadcast_to(query, candidates.shape)
        (logits,) = _run(self._reranker, ["logits"], {"query": np.ascontiguousarray(pairs), "candidate": candidates})
        return logistic(logits)


def _open_session(path: Path, intra_op_threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _RUNTIME_ERRORS as exc:
        raise BundleError(BundleErrorCode.BAD_GRAPH, path.name) from exc


def _run(session: onnxruntime.InferenceSession, outputs: list[str], inputs: dict[str, np.ndarray]) -> list[FloatArray]:
    try:
        results: list[FloatArray] = session.run(outputs, inputs)
    except _RUNTIME_ERRORS as exc:
        raise EngineFailureError("the runtime failed on valid input") from exc
    if not all(np.isfinite(result).all() for result in results):
        raise EngineFailureError("a graph gave what is not a number")
    return results
