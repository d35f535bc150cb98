"""The CPU engine: a verified bundle enters, an `Encoder` that runs its two graphs in ONNX Runtime leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from models.encoder.bundle import Bundle, BundleError, BundleErrorCode, open_bundle
from models.encoder.engine import (
    BundleInfo,
    EngineFailureError,
    EntityReadings,
    FloatArray,
    InputShapeError,
)

_RUNTIME_ERRORS = (
    onnxruntime.capi.onnxruntime_pybind11_state.Fail,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph,
    onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
    onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented,
    onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException,
)


def load_encoder(folder: Path, *, intra_op_threads: int = 0) -> OnnxEncoder:
    """Open and verify the bundle in `folder` and load its graphs. 0 threads = one per core. Raises BundleError."""
    return OnnxEncoder(open_bundle(folder), intra_op_threads=intra_op_threads)


class OnnxEncoder:
    """`models.encoder.engine.Encoder` on ONNX Runtime's CPU provider. Safe to call from several threads."""

    def __init__(self, bundle: Bundle, *, intra_op_threads: int = 0) -> None:
        self._info = bundle.info
        self._calibration = bundle.calibration
        self._encoder = _open_session(bundle.encoder_path, intra_op_threads)
        self._fusion = _open_session(bundle.fusion_path, intra_op_threads)

    @property
    def info(self) -> BundleInfo:
        """What the opened bundle is."""
        return self._info

    def encode(self, images: FloatArray) -> FloatArray:
        """Images (b, S, S) float32 in [0, 1] to tokens (b, n, d). Raises InputShapeError, EngineFailureError."""
        side = self._info.input_side_px
        _check(images, "images", (None, side, side))
        if images.size and not (images.min() >= 0 and images.max() <= 1):  # also catches NaN
            raise InputShapeError(argument="images", expected="values in [0, 1]", got="values outside, or NaN")
        tokens: FloatArray = _run(self._encoder, ["tokens"], {"images": images})[0]
        return tokens

    def read(
        self, tokens: FloatArray, entity_indices: Sequence[int], token_log_weight: FloatArray | None = None
    ) -> EntityReadings:
        """Read entities from tokens (b, n, d), in a place where `token_log_weight` (b, n) gives one.

        Raises InputShapeError, EntityNotServedError, EngineFailureError.
        """
        _check(tokens, "tokens", (None, self._info.token_count, self._info.token_width))
        rows = np.array([self._info.entity(index).index for index in entity_indices], dtype=np.int64)
        if token_log_weight is None:
            token_log_weight = np.zeros(tokens.shape[:2], dtype=np.float32)
        _check(token_log_weight, "token_log_weight", tokens.shape[:2])
        if not np.isfinite(token_log_weight).all():
            raise InputShapeError(argument="token_log_weight", expected="finite values", got="infinite, or NaN")
        embeddings, latents, attention, logits = _run(
            self._fusion,
            ["embeddings", "latents", "attention", "logits"],
            {"tokens": tokens, "entity_rows": rows, "token_log_weight": token_log_weight},
        )
        return EntityReadings(
            embeddings=embeddings,
            latents=latents,
            attention=attention,
            presence_prob=self._calibrate(logits, entity_indices),
        )

    def _calibrate(self, logits: FloatArray, entity_indices: Sequence[int]) -> FloatArray:
        slopes = np.array([self._calibration[index].slope for index in entity_indices])
        intercepts = np.array([self._calibration[index].intercept for index in entity_indices])
        scaled = slopes * logits.astype(np.float64) + intercepts
        probability: FloatArray = (0.5 * (1 + np.tanh(scaled / 2))).astype(np.float32)  # logistic, without overflow
        return probability


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


def _check(array: FloatArray, argument: str, shape: tuple[int | None, ...]) -> None:
    expected = " x ".join("any" if side is None else str(side) for side in shape) + " float32"
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=False)
    )
    if not fits or array.dtype != np.float32:
        got = " x ".join(str(side) for side in array.shape) + f" {array.dtype}"
        raise InputShapeError(argument=argument, expected=expected, got=got)
