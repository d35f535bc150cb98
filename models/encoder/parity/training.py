"""The fixture of a training step enters: images with their reports; checks of latents and losses leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.encoder.nets.text import load_text
from models.encoder.parity.checks import (
    TOKEN_TOLERANCE,
    Arrays,
    Check,
    Checker,
    NotApplicableError,
    absolute,
    relative,
)
from models.encoder.parity.folder import FixtureFolder
from models.encoder.parity.formulas import LOSS_TOLERANCE
from models.encoder.parity.inputs import images_of, numbers_of
from models.encoder.parity.runners import encode_rows, read_rows
from models.encoder.train.objectives import image_text_contrastive, smooth_average_precision

ONNX_NOT_APPLICABLE: Final = "training is not part of a served graph"
TEMPERATURES: Final = (0.05, 0.5)
"""Bounds of the learned temperature of the image-text loss."""

_INPUTS: Final = frozenset(
    {
        "video",
        "condition_index",
        "modality",
        "input_ids",
        "attention_mask",
        "gt_similarity",
        "abnormal_labels",
        "smooth_ap_tau",
        "positive_threshold",
    }
)


def training_checkers(folder: FixtureFolder) -> tuple[Checker, ...]:
    """Checker of the training step."""
    return (Checker("training_forward", lambda _, arrays, path: _forward(folder, arrays, path), _INPUTS),)


def _forward(folder: FixtureFolder, arrays: Arrays, path: str) -> Iterator[Check]:
    """Conditions by images, in evaluation mode; the reranker's loss is off there, and its values are zero."""
    if path != "torch":
        raise NotApplicableError(ONNX_NOT_APPLICABLE)
    temperature = float(folder.state["log_temperature"].double().exp().clamp(*TEMPERATURES))
    values = _values(folder, arrays, temperature)
    for array, value in values.items():
        if array in arrays:
            tolerance = TOKEN_TOLERANCE if array.endswith("_latents") else LOSS_TOLERANCE
            yield relative(array, value.numpy(), arrays[array], tolerance)
    for array, number in (
        ("log_temperature", folder.state["log_temperature"].numpy()),
        ("temperature_used", np.array(temperature)),
    ):
        if array in arrays:
            yield absolute(array, number, arrays[array])


def _values(folder: FixtureFolder, arrays: Arrays, temperature: float) -> dict[str, Tensor]:
    """Latents (conditions, images, D), the losses of each condition, and their total."""
    latents, logits = _images(folder, arrays)
    texts = _texts(folder, arrays).reshape(latents.shape)
    positive = torch.from_numpy(arrays["gt_similarity"]).float() >= float(arrays["positive_threshold"])
    tau = float(arrays["smooth_ap_tau"])
    losses = {
        "info_nce": _each(
            image_text_contrastive(image @ text.mT, wanted, temperature)
            for image, text, wanted in zip(latents, texts, positive, strict=True)
        ),
        "smooth_ap": _each(
            smooth_average_precision(image @ image.mT, wanted, tau)
            for image, wanted in zip(latents, positive, strict=True)
        ),
        "abnormal_bce": functional.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(arrays["abnormal_labels"]).float(), reduction="none"
        ).mean(dim=-1),
        "rerank": torch.zeros(len(latents)),
    }
    total = _each(values.mean() for values in losses.values()).sum()
    return {"image_latents": latents, "text_latents": texts, **losses, "total_loss": total}


def _images(folder: FixtureFolder, arrays: Arrays) -> tuple[Tensor, Tensor]:
    """Latents (conditions, images, D) and abnormality logits (conditions, images)."""
    videos = images_of(arrays)
    conditions, images = videos.shape[:2]
    videos = videos.reshape(conditions * images, *videos.shape[2:])
    routers, entities = (numbers_of(arrays, name, len(videos)) for name in ("modality", "condition_index"))
    runner = folder.runner("torch")
    readings = read_rows(runner, encode_rows(runner, videos, routers), entities, routers)
    latents, logits = torch.from_numpy(readings["embeddings"]), torch.from_numpy(readings["logits"])
    return latents.reshape(conditions, images, -1), logits.reshape(conditions, images)


def _texts(folder: FixtureFolder, arrays: Arrays) -> Tensor:
    encoder = load_text(folder.state, norm_eps=folder.config.text_norm_eps)
    with torch.inference_mode():
        return encoder(*(torch.from_numpy(arrays[name]).long() for name in ("input_ids", "attention_mask")))


def _each(values: Iterator[Tensor]) -> Tensor:
    return torch.stack(list(values))
