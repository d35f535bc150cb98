"""Fixtures of the vision language model enter; how far this implementation is from them leaves, by torch or by ONNX."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from models.shared.checkpoints import CheckpointError
from models.vlm.checkpoint import VlmCheckpoint, open_checkpoint
from models.vlm.decoding import Decoder, PromptLayout, TokenPrompt, all_logits, decode
from models.vlm.engine import FloatArray, GenerationOptions, IntArray
from models.vlm.nets.graph import write_decoder
from models.vlm.nets.model import TextModel, VlmModel, load_vlm
from models.vlm.nets.text import KvCache
from models.vlm.nets.tower import export_tower
from models.vlm.nets.weights import WeightType
from models.vlm.onnx_decoder import EmbeddingTable, OnnxDecoder, open_session
from models.vlm.positions import rotary_positions
from models.vlm.sizes import TEXT, TokenIds, VlmConfig

CHECKPOINT: Final = "vlm.safetensors"
CONFIG: Final = "vlm_config.json"
LOGIT_TOLERANCE: Final = 5e-5  # absolute
FEATURE_TOLERANCE: Final = 2e-5  # times the largest absolute value of the reference array
PENALTY: Final = 1.05
ROUTER_OF_DEPTH: Final = {240: 0, 1: 1, 30: 2}

Checks = list[tuple[str, float, float]]
Arrays = Mapping[str, NDArray[Any]]


def vlm_checks(fixtures: Path) -> VlmParity:
    """Open the checkpoint of a folder of fixtures. Raises CheckpointError, and FileNotFoundError without one."""
    return VlmParity(fixtures)


class VlmParity:
    """Checks of one folder; the model is loaded, and exported, at the first file that needs it."""

    def __init__(self, fixtures: Path) -> None:
        self._config = fixture_config(json.loads((fixtures / CONFIG).read_text(encoding="utf-8")))
        self._checkpoint = open_checkpoint(fixtures / CHECKPOINT)
        self._runner = cache(self._open_runner)

    @cached_property
    def _model(self) -> VlmModel:
        return load_vlm(self._checkpoint, self._config)

    def check(self, file_name: str, arrays: Arrays, path: str) -> Checks:
        """Compare one `vlm_*.npz` by `path`, "torch" or "onnx": (label, largest error, tolerance) per quantity.

        For tokens the error is the number that differ, the tolerance 0. Raises ValueError for another path.
        """
        del file_name  # what to compare follows from the arrays
        runner = self._runner(path)
        grid = self._model.sizes.grid_side
        layout = PromptLayout(image_token=self._config.ids.image, pad_token=self._config.ids.pad, grid_side=grid)
        features = runner.look(arrays["pixel_values"])
        prompts = _prompts(arrays, features, layout)
        checks: Checks = [_relative("vision_tokens", features, arrays["vision_tokens"], FEATURE_TOLERANCE)]
        checks += _position_checks(arrays, layout)
        checks += _logit_checks(arrays, all_logits(runner.decoder, layout, prompts))
        checks += _token_checks(arrays, runner.decoder, layout, prompts)
        return checks

    def _open_runner(self, path: str) -> TorchRunner | OnnxRunner:
        if path == "torch":
            return TorchRunner(self._model)
        if path == "onnx":
            return OnnxRunner(self._model, self._checkpoint)
        raise ValueError(f"no such path: {path}")


class TorchRunner:
    """The torch nets."""

    def __init__(self, model: VlmModel) -> None:
        self._model = model
        self.decoder: Decoder = TorchDecoder(model.text)

    def look(self, images: FloatArray) -> FloatArray:
        """(k, 1, D, S, S) to features (k * n, d)."""
        with torch.inference_mode():
            features: FloatArray = self._model.tower(torch.from_numpy(images), router_of(images)).flatten(0, 1).numpy()
        return features


class OnnxRunner:
    """The exported graphs in ONNX Runtime, written to a folder that goes with this object."""

    def __init__(self, model: VlmModel, checkpoint: VlmCheckpoint) -> None:
        self._model = model
        self._scratch = tempfile.TemporaryDirectory()
        self._towers = cache(self._open_tower)
        folder = Path(self._scratch.name)
        write_decoder(
            checkpoint,
            model.sizes.text,
            folder / "decoder.onnx",
            weights=WeightType.STORED,
            progress=lambda done, total: None,
        )
        embedding = checkpoint.tensors[f"{TEXT}embed_tokens.weight"]
        with (folder / "embed.bin").open("wb") as file:
            embedding.copy_to(file)
        rows, width = embedding.shape
        table = EmbeddingTable(folder / "embed.bin", dtype=embedding.dtype, shape=(rows, width))
        self.decoder: Decoder = OnnxDecoder(open_session(folder / "decoder.onnx"), table)

    def look(self, images: FloatArray) -> FloatArray:
        """(k, 1, D, S, S) to features (k * n, d)."""
        session = self._towers(images.shape[2], router_of(images))
        fed = images[:, 0, 0] if images.shape[2] == 1 else images[:, 0]
        features: FloatArray = session.run(["features"], {"images": fed})[0]
        return features.reshape(-1, features.shape[-1])

    def _open_tower(self, depth: int, router: int) -> onnxruntime.InferenceSession:
        path = Path(self._scratch.name) / f"vision-{depth}-{router}.onnx"
        export_tower(self._model.tower, path, side_px=self._model.sizes.side_px, depth=depth, router=router)
        return open_session(path)


class TorchDecoder:
    """`models.vlm.decoding.Decoder` on the torch text stack."""

    def __init__(self, model: TextModel) -> None:
        self._model = model

    def embed(self, token_ids: IntArray) -> FloatArray:
        """Rows of the embedding table."""
        with torch.inference_mode():
            rows: FloatArray = self._model.text.embed_tokens(torch.from_numpy(token_ids)).numpy()
        return rows

    def start(self) -> TorchState:
        """Begin with an empty cache."""
        return TorchState(self._model)


class TorchState:
    """`models.vlm.decoding.DecoderState` on the torch text stack."""

    def __init__(self, model: TextModel) -> None:
        self._model = model
        self._cache: KvCache | None = None

    def step(
        self, embeds: FloatArray, attention_mask: IntArray, position_ids: IntArray, logit_columns: IntArray
    ) -> FloatArray:
        """See DecoderState."""
        with torch.inference_mode():
            arrays = (torch.from_numpy(np.ascontiguousarray(a)) for a in (embeds, attention_mask, position_ids))
            states, self._cache = self._model.text(*arrays, self._cache)
            logits: FloatArray = self._model.lm_head(states[:, torch.from_numpy(logit_columns)]).numpy()
        return logits

    def keep_rows(self, rows: IntArray) -> None:
        """See DecoderState."""
        chosen = torch.from_numpy(rows)
        self._cache = [(key[chosen], value[chosen]) for key, value in self._cache or []]


def fixture_config(config: Mapping[str, Any]) -> VlmConfig:
    """Read `vlm_config.json` of a folder of fixtures. Raises CheckpointError: bad-config."""
    try:
        tokens = config["tokens"]
        return VlmConfig(
            heads=int(config["text"]["num_attention_heads"]),
            mrope_sections=tuple(config["mrope_section"]),
            rope_theta=float(config["rope_theta"]),
            rms_eps=float(config["rms_norm_eps"]),
            max_tokens=int(config["text"].get("max_position_embeddings", 1 << 15)),
            side_px=int(config["vision"]["image_size"]),
            ids=TokenIds(
                image=int(tokens["img"]),
                vision_start=int(tokens["vs"]),
                vision_end=int(tokens["ve"]),
                pad=int(tokens["pad"]),
                stop=(int(tokens["eos"]),),
            ),
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise CheckpointError("bad-config", [CONFIG]) from exc


def router_of(images: FloatArray) -> int:
    """Expert that the research code infers from the depth of (k, 1, D, S, S). Raises ValueError for other depths."""
    depth = images.shape[2]
    if depth not in ROUTER_OF_DEPTH:
        raise ValueError(f"no modality has a depth of {depth}")
    return ROUTER_OF_DEPTH[depth]


def _prompts(arrays: Arrays, features: FloatArray, layout: PromptLayout) -> list[TokenPrompt]:
    prompts, used = [], 0
    for ids, mask in zip(arrays["input_ids"], arrays["attention_mask"], strict=True):
        token_ids = ids[mask == 1]
        count = int((token_ids == layout.image_token).sum())
        prompts.append(TokenPrompt(token_ids=token_ids, features=features[used : used + count]))
        used += count
    return prompts


def _position_checks(arrays: Arrays, layout: PromptLayout) -> Checks:
    placed = rotary_positions(
        arrays["input_ids"], arrays["attention_mask"], image_token=layout.image_token, grid_side=layout.grid_side
    )
    return [
        _differing("position_ids", placed.ids, arrays["position_ids"]),
        _differing("rope_delta", placed.rope_delta, arrays["rope_delta"]),
    ]


def _logit_checks(arrays: Arrays, logits: FloatArray) -> Checks:
    """Compare the last logits, and the argmax where there is a prompt; at padding it means nothing."""
    kept = arrays["attention_mask"] == 1
    error = float(np.abs(logits[:, -1] - arrays["logits_last"]).max())
    return [
        ("logits_last", error, LOGIT_TOLERANCE),
        _differing("logits_all_argmax", logits.argmax(-1)[kept], arrays["logits_all_argmax"][kept]),
    ]


def _token_checks(
    arrays: Arrays, decoder: Decoder, layout: PromptLayout, prompts: Sequence[TokenPrompt]
) -> Iterator[tuple[str, float, float]]:
    """Compare greedy tokens; where the reference decoded padded rows at wrong positions, with each prompt alone."""
    alone, penalised = "greedy_tokens_each_prompt_alone", "greedy_tokens_rep_penalty_1_05"
    target = alone if alone in arrays else "greedy_tokens"
    expected = arrays[target]
    yield _differing(target, _greedy(decoder, layout, prompts, expected.shape[1]), expected)
    if alone not in arrays:
        expected = arrays[penalised]
        yield _differing(penalised, _greedy(decoder, layout, prompts, expected.shape[1], PENALTY), expected)


def _greedy(
    decoder: Decoder, layout: PromptLayout, prompts: Sequence[TokenPrompt], count: int, penalty: float = 1.0
) -> IntArray:
    tokens = np.zeros((len(prompts), count), dtype=np.int64)
    options = GenerationOptions(max_new_tokens=count, repetition_penalty=penalty)
    filled = [0] * len(prompts)
    for new in decode(decoder, layout, prompts, options, frozenset()):
        tokens[new.row, filled[new.row]] = new.token_id
        filled[new.row] += 1
    return tokens


def _relative(label: str, got: FloatArray, reference: FloatArray, tolerance: float) -> tuple[str, float, float]:
    return label, float(np.abs(got - reference).max() / np.abs(reference).max()), tolerance


def _differing(label: str, got: IntArray, reference: IntArray) -> tuple[str, float, float]:
    return label, float((got != reference).sum()), 0.0
