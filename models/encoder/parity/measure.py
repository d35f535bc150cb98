"""Fixtures enter; how far this implementation is from them leaves, by torch and by the exported graphs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from models.encoder.nets.export import export_retrieval
from models.encoder.nets.medreco import RetrievalModel, load_retrieval
from models.encoder.nets.position import sinusoidal_positions
from models.encoder.train.objectives import smooth_average_precision, supervised_contrastive
from models.shared.metrics import mean_relevance_at, ndcg_at, recall_at

CHECKPOINT: Final = "retrieval.safetensors"
SIDE_PX: Final = 80  # of the fixtures' images
RELATIVE_TOLERANCE: Final = 2e-5  # times the largest absolute value of the reference array
LOW_CONTRAST_TOLERANCE: Final = 5e-5  # the first norm cancels
ONNX_NOT_APPLICABLE: Final = "losses, metrics and constants are not part of a served graph"
NOT_YET: Final = "not built yet"

FloatArray = NDArray[np.floating]
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityRow:
    """Largest error of one fixture file by one path. A skip has a reason instead of numbers."""

    file: str
    path: str
    max_error: float | None
    tolerance: float | None
    status: str
    reason: str = ""


def measure_parity(fixtures: Path, paths: tuple[str, ...] = ("torch", "onnx")) -> Iterator[ParityRow]:
    """Compare every fixture file by each of `paths`."""
    model = load_retrieval(load_file(fixtures / CHECKPOINT), side_px=SIDE_PX)
    with tempfile.TemporaryDirectory() as scratch:
        runners: dict[str, Runner] = {"torch": TorchRunner(model), "onnx": OnnxRunner(model, Path(scratch))}
        for file in sorted(fixtures.glob("*.npz")):
            with np.load(file) as arrays:
                content = dict(arrays)
            for path in paths:
                yield _measure_file(file.name, content, path, runners[path])


def _measure_file(name: str, arrays: Arrays, path: str, runner: Runner) -> ParityRow:
    if name.startswith(("encoder_", "conditional_")):
        if path == "onnx" and arrays["video"].shape[-3] > 1:
            return _skip(name, path, "graphs of volumes are not exported yet")
        tolerance = LOW_CONTRAST_TOLERANCE if "low_contrast" in name else RELATIVE_TOLERANCE
        pairs = _encoder_pairs(arrays, runner) if name.startswith("encoder_") else _reader_pairs(arrays, runner)
        return _row(name, path, max(_relative_error(*pair) for pair in pairs), tolerance)
    for prefix, tolerance, check in _CONSTANT_CHECKS:
        if name.startswith(prefix):
            if path == "onnx":
                return _skip(name, path, ONNX_NOT_APPLICABLE)
            return _row(name, path, max(_scaled_error(*triple) for triple in check(arrays)), tolerance)
    return _skip(name, path, NOT_YET)


class Runner:
    """One path through the model: `encode` and `read` one image of one modality."""

    def encode(self, video: FloatArray, router: int) -> FloatArray:
        """(1, 1, D, S, S) to tokens (1, n, d)."""
        raise NotImplementedError

    def read(self, tokens: FloatArray, entities: NDArray[np.int64], router: int) -> dict[str, FloatArray]:
        """Tokens (1, n, d) and rows (e,) to readings by name."""
        raise NotImplementedError


class TorchRunner(Runner):
    """The torch nets."""

    def __init__(self, model: RetrievalModel) -> None:
        self.model = model

    def encode(self, video: FloatArray, router: int) -> FloatArray:
        """(1, 1, D, S, S) to tokens (1, n, d)."""
        with torch.inference_mode():
            return self.model.encoder(torch.from_numpy(video), router).numpy()

    def read(self, tokens: FloatArray, entities: NDArray[np.int64], router: int) -> dict[str, FloatArray]:
        """Tokens (1, n, d) and rows (e,) to readings by name."""
        plain = torch.zeros(tokens.shape[:2])
        with torch.inference_mode():
            readings = self.model.reader(torch.from_numpy(tokens), torch.from_numpy(entities), plain, router)
        return {name: value.numpy() for name, value in readings._asdict().items()}


class OnnxRunner(Runner):
    """The exported graphs in ONNX Runtime; 2D only, exported once per modality."""

    def __init__(self, model: RetrievalModel, scratch: Path) -> None:
        self.model = model
        self.scratch = scratch
        self.sessions = cache(self._export)

    def encode(self, video: FloatArray, router: int) -> FloatArray:
        """(1, 1, 1, S, S) to tokens (1, n, d)."""
        tokens: FloatArray = self.sessions(router)[0].run(["tokens"], {"images": video[:, 0, 0]})[0]
        return tokens

    def read(self, tokens: FloatArray, entities: NDArray[np.int64], router: int) -> dict[str, FloatArray]:
        """Tokens (1, n, d) and rows (e,) to readings by name."""
        names = ["embeddings", "latents", "attention", "logits"]
        plain = np.zeros(tokens.shape[:2], dtype=np.float32)
        inputs = {"tokens": tokens, "entity_rows": entities, "token_log_weight": plain}
        return dict(zip(names, self.sessions(router)[1].run(names, inputs), strict=True))

    def _export(self, router: int) -> list[onnxruntime.InferenceSession]:
        paths = (self.scratch / f"encoder-{router}.onnx", self.scratch / f"fusion-{router}.onnx")
        export_retrieval(self.model, *paths, router=router)
        return [onnxruntime.InferenceSession(path) for path in paths]


def _encoder_pairs(arrays: Arrays, runner: Runner) -> Iterator[tuple[FloatArray, FloatArray]]:
    videos = arrays["video"].astype(np.float32)
    got = [runner.encode(videos[row : row + 1], int(router)) for row, router in enumerate(arrays["modality"])]
    yield np.concatenate(got), arrays["tokens"]


def _reader_pairs(arrays: Arrays, runner: Runner) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Per image its own condition, or all conditions on the only image."""
    videos = arrays["video"].astype(np.float32)[:, 0]
    routers, conditions = arrays["modality"], arrays["condition_index"].astype(np.int64)
    if len(videos) == 1:
        tokens = runner.encode(videos, int(routers[0]))
        readings = runner.read(tokens, conditions, int(routers[0]))
        got = {name: value[0] for name, value in readings.items() if name != "attention_layers"}
    else:
        parts = []
        for row, router in enumerate(routers):
            tokens = runner.encode(videos[row : row + 1], int(router))
            readings = runner.read(tokens, conditions[row : row + 1], int(router))
            parts.append({"tokens": tokens[0]} | {k: v[0, 0] for k, v in readings.items() if k != "attention_layers"})
        got = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
    for ours, theirs in _READER_NAMES.items():
        if theirs in arrays and ours in got:
            yield got[ours].reshape(arrays[theirs].shape), arrays[theirs]


_READER_NAMES: Final = {
    "tokens": "image_tokens",
    "embeddings": "fused_latents",
    "latents": "condition_latents",
    "attention": "last_attn_map",
    "logits": "abnormal_logit",
}

Triples = Iterator[tuple[FloatArray, FloatArray, float]]


def _position_triples(arrays: Arrays) -> Triples:
    yield sinusoidal_positions(24, 24, 512).numpy(), arrays["pos"], 1.0


def _metric_triples(arrays: Arrays) -> Triples:
    scores, relevance, cutoffs = arrays["scores"], arrays["relevance"], arrays["k"].tolist()
    for skip_self, name in ((True, "exclude_self"), (False, "include_self")):
        yield recall_at(scores, relevance, cutoffs, skip_self=skip_self), arrays[f"recall_{name}"], 1.0
        yield ndcg_at(scores, relevance, cutoffs, skip_self=skip_self), arrays[f"ndcg_{name}"], 1.0
    reached, bound = mean_relevance_at(scores, relevance, cutoffs)
    yield reached, arrays["mean_relevance"], 1.0
    yield bound, arrays["mean_relevance_upper"], 1.0


def _loss_triples(arrays: Arrays) -> Triples:
    """Errors relative to the reference value. The contrastive loss without the diagonal is held to a fifth (5e-4)."""
    similarity, truth = torch.from_numpy(arrays["pred_sim"]), torch.from_numpy(arrays["true_sim"])
    losses = {
        "smooth_ap_thr0.9_tau0.01": (smooth_average_precision, 0.9, 0.01, 1.0),
        "smooth_ap_thr0.7_tau0.1": (smooth_average_precision, 0.7, 0.1, 1.0),
        "supcon_no_diag_thr0.7_tau0.1": (supervised_contrastive, 0.7, 0.1, 0.2),
    }
    for name, (loss, threshold, temperature, weight) in losses.items():
        values = [
            loss(row, relevance >= threshold, temperature) for row, relevance in zip(similarity, truth, strict=True)
        ]
        yield torch.stack(values).numpy(), arrays[name], weight / float(np.abs(arrays[name]).max())


_CONSTANT_CHECKS: Final[tuple[tuple[str, float, Callable[[Arrays], Triples]], ...]] = (
    ("pos_embedding", RELATIVE_TOLERANCE, _position_triples),
    ("metrics", 1e-6, _metric_triples),
    ("losses", 1e-4, _loss_triples),
)


def _relative_error(got: FloatArray, reference: FloatArray) -> float:
    return _scaled_error(got, reference, 1 / float(np.abs(reference).max()))


def _scaled_error(got: FloatArray, reference: FloatArray, factor: float) -> float:
    return float(np.abs(got - reference).max()) * factor


def _row(file: str, path: str, error: float, tolerance: float) -> ParityRow:
    status = "pass" if error <= tolerance else "fail"
    return ParityRow(file=file, path=path, max_error=error, tolerance=tolerance, status=status)


def _skip(file: str, path: str, reason: str) -> ParityRow:
    return ParityRow(file=file, path=path, max_error=None, tolerance=None, status="skip", reason=reason)
